"""Draws the figures of the documentation that no other command draws: ``python scripts/figures.py --help``.

Those of the claims are written by ``scripts/claims.py``, those of the speed by ``scripts/benchmark.py``, and those of
single schedules whenever the site is built.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SWEEPS = ROOT / "outputs" / "sweeps"
WIDTH = 1300
"""Of the page, in pixels."""


def catalogue() -> None:
    """Every schedule of the catalogue over one run: seconds."""
    _run("scripts/preview.py", "--all", "data=mnist", "--output", str(IMAGES / "catalogue.png"))


def report() -> None:
    """The page of the demonstration's comparison, in Chromium: two minutes."""
    from playwright.sync_api import sync_playwright

    _run("train.py", "-m", "experiment=demo", "name=figure-demo")
    names = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=next(names, None), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 900})
        page.goto((SWEEPS / "figure-demo" / "report.html").as_uri())
        below = page.get_by_role("heading", name="Runs", exact=True).bounding_box()
        assert below is not None, "the list of runs is not drawn"
        height = below["y"]
        page.screenshot(
            path=IMAGES / "report.png", full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height}
        )
        browser.close()


def article() -> None:
    """The article's experiment: about an hour, with MNIST."""
    _run("train.py", "-m", "experiment=article", "hydra/launcher=parallel", "name=figure-article")
    shutil.copy(SWEEPS / "figure-article" / "comparison.png", IMAGES / "article.png")


FIGURES: dict[str, Callable[[], None]] = {draw.__name__: draw for draw in (catalogue, report, article)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws figures of the documentation into docs/images.")
    listed = "; ".join(f"{name}: {str(draw.__doc__).rstrip('.')}" for name, draw in FIGURES.items())
    parser.add_argument("names", nargs="*", choices=[*FIGURES, []], metavar="NAME", help=f"[all] {listed}")
    for name in parser.parse_args().names or FIGURES:
        FIGURES[name]()


def _run(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
