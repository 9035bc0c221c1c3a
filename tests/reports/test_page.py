"""``report.html`` in a real browser."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright
from support.programs import run_apart
from support.records import a_run, write_runs

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")]

HOSTILE = "<img src=x onerror=alert(1)></script><b>$title</b>"


def noisy(schedule: str, seed: int, lr: float = 0.1, effect: float = 0.0, **more):
    """A run with curves of its own."""
    run = a_run(schedule, seed, 0.9 + effect + 0.003 * math.sin(7 * seed + len(schedule)), epochs=6, **more)
    run.plan.config["optimizer"]["lr"] = lr
    for epoch, row in enumerate(run.progress.epochs):
        row["val/loss"] = 0.5 / (epoch + 1) + 0.01 * math.sin(seed + epoch) + effect
        row["train/loss_std"] = 0.1
    return run


def make(folder: Path, runs, *options: str) -> Path:
    done = run_apart("scripts/compare.py", write_runs(folder / "runs", runs), *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs/report.html"


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


@pytest.fixture
def show(browser):
    """Opens a page, and fails at the end if it had an error on the console or asked a network for anything."""
    said: list[str] = []
    contexts = []

    def open_page(file: Path, width: int = 1300, **context) -> Page:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **context))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: said.append(request.url) if request.url.startswith("http") else None)
        page.goto(file.as_uri())
        page.wait_for_selector("#panel0 .plot-container, #panel0 .main-svg")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def column(page: Page, title: str) -> list[str]:
    titles = page.locator("#groups thead th").all_inner_texts()
    number = [text.split(" ▲")[0].split(" ▼")[0] for text in titles].index(title) + 1
    return page.locator(f"#groups tbody td:nth-child({number})").all_inner_texts()


def lines(page: Page, plot: str) -> list[str]:
    return page.evaluate(f"document.getElementById('{plot}').data.map((trace) => trace.name)")


EFFECTS = {"constant": 0.0, "step": 0.03, "cosine": -0.04}


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    """The page of three groups of three seeds, and a run that failed."""
    runs = [noisy(schedule, seed, effect=effect) for schedule, effect in EFFECTS.items() for seed in (1, 2, 3)]
    failed = noisy("cosine", 4, status="failed")
    failed.outcome.error, failed.plan.overrides = "out of luck", ["schedule=cosine", "seed=4"]
    return make(tmp_path_factory.mktemp("three"), [*runs, failed])


def test_the_verdict_is_first_and_true(show, three):
    page = show(three)
    assert page.locator("main > *").first.get_attribute("id") == "verdict"
    verdict = page.locator("#verdict").inner_text()
    assert verdict.startswith("Against constant: step is better and cosine is worse in test accuracy; ")
    assert re.search(r"better: step \+\d\.\d\d points \(\+", verdict)


def test_the_table_is_sorted_by_a_click_and_back_by_another(show, three):
    page = show(three)
    assert [name.split("\n")[0] for name in column(page, "group")] == ["constant", "step", "cosine"]
    for order in (["cosine", "constant", "step"], ["step", "constant", "cosine"]):
        page.get_by_role("button", name="test/acc", exact=False).first.click()
        assert [name.split("\n")[0] for name in column(page, "group")] == order
    assert page.locator("#groups th[aria-sort=descending]").inner_text().startswith("test/acc")


def test_the_filter_holds_for_tables_and_curves(show, three):
    page = show(three)
    page.locator("#filter").fill("COS")
    page.wait_for_function("document.querySelectorAll('#groups tbody tr').length === 1")
    assert page.locator("#runs tbody tr").count() == 4
    assert {name.split()[0] for name in lines(page, "panel0")} == {"cosine"}
    page.locator("#filter").fill("nothing of the kind")
    page.wait_for_function("document.querySelectorAll('#groups tbody tr').length === 0")


def test_groups_are_switched_off_and_on(show, three):
    page = show(three)
    chip = page.locator("#legend button", has_text="step")
    chip.click()
    assert "step val" not in lines(page, "panel0")
    assert "step" not in lines(page, "lr")
    assert "constant val" in lines(page, "panel0")
    page.locator("#legend button", has_text="step").click()
    assert "step val" in lines(page, "panel0")


def test_curves_are_those_of_the_records(show, three):
    page = show(three)
    trace = page.evaluate("document.getElementById('panel0').data.findLast((t) => t.name === 'step val')")
    records = [json.loads(file.read_text()) for file in three.parent.glob("*step*/record.json")]
    for epoch, value in enumerate(trace["y"]):
        mean = sum(record["epochs"][epoch]["val/loss"] for record in records) / 3
        assert value == pytest.approx(mean, rel=1e-5)
    assert trace["x"] == [1, 2, 3, 4, 5, 6]


def test_axis_smoothing_and_seeds(show, three):
    page = show(three)
    axis = "document.getElementById('panel0').layout.yaxis.type"
    assert page.evaluate(axis) == "log"
    page.locator("#log").uncheck()
    assert page.evaluate(axis) == "linear"
    page.locator("#train").uncheck()
    assert not [name for name in lines(page, "panel0") if name.endswith("train")]
    page.locator("#seeds").check()
    assert "step val, seed 2" in lines(page, "panel0")
    values = "document.getElementById('panel0').data.find((t) => t.name === 'step val, seed 2').y"
    before = page.evaluate(values)
    page.locator("#smoothing").fill("0.8")
    after = page.evaluate(values)
    assert after[0] == before[0]
    assert after[-1] > before[-1]  # it lags behind what falls


def test_each_run_says_how_it_went_and_how_to_repeat_it(show, three):
    page = show(three)
    row = page.locator("#runs tbody tr", has_text="failed")
    assert row.count() == 1
    row.locator("summary").click()
    text = row.inner_text()
    assert "out of luck" in text
    assert "python train.py schedule=cosine seed=4" in text


def test_every_measure_can_be_shown(show, three):
    page = show(three)
    before = page.locator("#groups thead th").count()
    page.locator("#every").check()
    assert page.locator("#groups thead th").count() > before
    page.locator("#measure").select_option("val/loss")
    assert "val/loss" in page.evaluate("document.getElementById('seedplot').layout.xaxis.title.text")
    assert page.locator("#sweep").is_hidden()  # one key was swept, the schedule


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1300, "dark")])
def test_fits_a_phone_and_the_dark(show, three, width, scheme):
    page = show(three, width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


def test_is_printed_on_white(show, three, tmp_path):
    page = show(three, color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    ends = "[...document.querySelectorAll('.js-plotly-plot .main-svg')].map((svg) => svg.getBoundingClientRect().right)"
    before = page.evaluate(f"Math.max(...{ends}) - document.querySelector('main').getBoundingClientRect().left")
    assert before <= 721  # the width of a sheet, 45rem
    pdf = page.pdf(path=tmp_path / "report.pdf")
    assert pdf.startswith(b"%PDF")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    page.wait_for_function(f"Math.max(...{ends}) > 1200")


def test_two_swept_keys_are_a_heat_map(show, tmp_path):
    runs = [noisy(s, seed, lr, lr) for s in ("constant", "cosine") for lr in (0.01, 0.1, 0.02) for seed in (1, 2)]
    page = show(make(tmp_path, runs))
    (trace,) = page.evaluate("document.getElementById('keys').data")
    assert trace["type"] == "heatmap"
    assert (trace["y"], trace["x"]) == (["constant", "cosine"], ["0.01", "0.02", "0.1"])
    assert all(len(row) == 3 and None not in row for row in trace["z"])
    assert trace["z"][0] == sorted(trace["z"][0])


def test_three_swept_keys_are_parallel_coordinates(show, tmp_path):
    runs = [noisy(s, 1, lr, lr * final, final=final) for s in ("a", "b") for lr in (0.01, 0.1) for final in (0.1, 0.2)]
    page = show(make(tmp_path, runs))
    (trace,) = page.evaluate("document.getElementById('keys').data")
    assert trace["type"] == "parcoords"
    assert [dimension["label"] for dimension in trace["dimensions"]] == [
        "schedule", "optimizer.lr", "schedule.final", "test/acc"
    ]  # fmt: skip


def test_text_of_strangers_is_text(show, tmp_path):
    run, other = noisy("cosine", 1, what=HOSTILE), noisy("cosine", 1, what="tame")
    run.outcome.error = run.plan.data = other.plan.data = HOSTILE
    run.plan.overrides = [HOSTILE]
    page = show(make(tmp_path, [run, other]))
    page.wait_for_timeout(300)
    assert page.locator("img").count() == 0
    assert HOSTILE in page.locator("#groups").inner_text()
    assert HOSTILE in page.title()


@pytest.mark.parametrize("status", ["failed", "running"])
def test_no_run_completed(show, tmp_path, status):
    page = show(make(tmp_path, [noisy(s, 1, status=status) for s in ("constant", "cosine")]))
    assert "cosine: no run completed" in page.locator("#verdict").inner_text()
    assert column(page, "test/acc") == ["–", "–"]


def test_five_hundred_runs(show, tmp_path):
    runs = [noisy("s" * (1 + k), seed, lr) for k in range(10) for lr in range(1, 11) for seed in range(5)]
    file = make(tmp_path, runs)
    assert file.stat().st_size < 15e6
    page = show(file)
    assert page.locator("#groups tbody tr").count() == 100
    assert page.locator("#runs tbody tr").count() == 500
    assert 1 < len(lines(page, "lr")) <= 24
    page.locator("#filter").fill("lr=3")
    page.wait_for_function("document.querySelectorAll('#groups tbody tr').length === 10")
    assert len(lines(page, "lr")) == 10  # what was found is drawn, whether or not it was before
    page.locator("#legend").get_by_role("button", name="none").click()
    assert lines(page, "lr") == []


def test_of_thousands_of_groups_the_best_are_shown_with_their_baselines(show, tmp_path):
    """500 on the page, 100 on the terminal, all of them in the table that is a file."""
    rates = [1 - number / 1000 for number in range(600)]
    runs = [noisy(schedule, 1, lr, effect=lr / 10) for lr in rates for schedule in ("constant", "step")]
    page = show(make(tmp_path, runs))
    names = page.locator("#groups tbody tr").count()
    assert 500 <= names <= 502
    text = page.locator("body").inner_text()
    assert "of 1,200 groups: those that validate best by val/acc, and their baselines; comparison.csv has all" in text
    assert len((tmp_path / "runs/comparison.csv").read_text().splitlines()) > 1200


def test_groups_without_numbers_do_not_push_out_the_others(show, tmp_path):
    runs = [noisy("s" * (1 + k), seed, status="failed") for k in range(15) for seed in (1, 2)]
    page = show(make(tmp_path, [*runs, noisy("constant", 1), noisy("cosine", 1)]))
    assert {"constant", "cosine"} <= set(lines(page, "lr"))


def test_a_sweep_leaves_its_page(show, sweep):
    folder, done = sweep
    assert "report.html" in done.stdout
    page = show(folder / "report.html")
    assert page.title().startswith("digits: 4 runs in 2 groups, 0:")
    commands = page.locator("#runs td code").all_text_contents()
    assert any("train.py data=digits" in text and "schedule=cosine" in text for text in commands)


def test_two_data_sets_are_two_pages(show, tmp_path):
    runs = [noisy("cosine", 1), noisy("cosine", 1)]
    runs[1].plan.data = "mnist"
    folder = write_runs(tmp_path / "runs", runs)
    done = run_apart("scripts/compare.py", folder, cwd=tmp_path)
    assert done.returncode == 1
    for data in ("digits", "mnist"):
        assert show(folder / f"report-{data}.html").title() == f"{data}: 1 run in 1 group"
