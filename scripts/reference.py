"""The pages of the site that follow from the code: keys, schedules, commands, and the gallery.

MkDocs calls this file whenever the site is built (``hooks`` in ``mkdocs.yml``), so that no page can be out of date.
"""

import collections.abc
import functools
import importlib
import inspect
import itertools
import re
import subprocess
import sys
import tomllib
import typing
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import griffe
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from lrdecay.commands import COMMANDS
from lrdecay.config.compose import compose_all
from lrdecay.config.preview import BoundedCurve, bounded_curve, rate_curve
from lrdecay.config.rules import RULES
from lrdecay.reports.rates import catalogue_figure, preview_figure
from lrdecay.reports.verdicts import read_verdicts
from lrdecay.schedules.curves import RateCurve

ROOT = Path(__file__).resolve().parent.parent
CONF, DOCS = ROOT / "conf", ROOT / "docs"
RUN = ["data=mnist", "trainer.max_epochs=20"]
"""What schedules are drawn over."""
UNDRAWN = ("plateau", "greedy", "torch")
"""Schedules whose rates only training knows, and a place for others' schedulers."""
GROUPS = (
    "schedule",
    "scale",
    "optimizer",
    "module",
    "model",
    "data",
    "trainer",
    "logger",
    "callbacks",
    "debug",
    "hydra",
)
ALLOWED = {key: allowed for key, _, allowed in RULES}
COMMON = {
    "schedule": ("Placement (all schedules)", "schedule/base/placement.yaml"),
    "optimizer": ("Groups (all optimizers)", "optimizer/base/groups.yaml"),
    "data": ("Sizes (all data sets)", "data/base/sizes.yaml"),
}
"""What all choices of a group have: a title, and the file."""
COMMAND = re.compile(r"(^| )python ")
ARXIV = re.compile(r"\b\d{4}\.\d{5}\b")


class Doctests(griffe.Extension):
    """Shows the examples of docstrings as code, which are doctests between paragraphs there."""

    def on_instance(self, *, obj: griffe.Object, **others: Any) -> None:
        if obj.docstring is not None:
            example = re.compile(r"(?:^(?:>>>|\.\.\.) ?.*\n?(?:^(?!>>>|\.\.\.|$).+\n?)*)+", re.MULTILINE)
            obj.docstring.value = example.sub(
                lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value
            )


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Puts a page for each schedule where the navigation has none."""
    for entry in config.nav or []:
        for part in entry.get("Reference", []) if isinstance(entry, dict) else []:
            if isinstance(part, dict) and part.get("Schedules") == "reference/schedules":
                part["Schedules"] = [f"reference/schedules/{name}.md" for name in schedules()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    drawn = dict(curves())
    pages: dict[str, str | bytes] = {
        "reference/keys.md": keys(),
        "reference/commands.md": commands(),
        "gallery.md": gallery(drawn),
        "images/design.svg": design(),
        "images/gallery.png": catalogue_figure([curve for curve, _ in drawn.values()], []),
    }
    for name in schedules():
        pages[f"reference/schedules/{name}.md"] = schedule_page(name, name in drawn)
        if name in drawn:
            pages[f"images/schedules/{name}.png"] = preview_figure([replace(drawn[name][0], label=name)], [])
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def schedules() -> list[str]:
    """The choices of ``schedule``, by name."""
    return sorted(path.stem for path in (CONF / "schedule").glob("*.yaml"))


def curves() -> Iterator[tuple[str, tuple[RateCurve, BoundedCurve]]]:
    """Each schedule over one run, and what the convex bound says of it."""
    for name in schedules():
        if name not in UNDRAWN:
            ((label, config),) = compose_all(CONF, [f"schedule={name}", *RUN])
            curve = rate_curve(label, config)
            yield name, (curve, bounded_curve(curve, config))


def keys() -> str:
    """Every key of the configuration, with its type, default and range."""
    lines = ["# Keys", "", "Every key that can be set as `key=value`, from the files in `conf`.", ""]
    lines += ["## Run settings", "", *_table([CONF / "config.yaml"], ""), ""]
    for group in GROUPS:
        lines += [f"## {group}", ""]
        for file in sorted((CONF / group).rglob("*.yaml")):
            if "base" in file.parts or file.parent.name == "job_logging" or file == CONF / "hydra/default.yaml":
                continue
            choice = file.relative_to(CONF / group).with_suffix("").as_posix()
            name = f"hydra/{choice.replace('/', '=')}" if group == "hydra" else f"{group}={choice}"
            what, _ = _head(file)
            prefix = f"hydra.{choice.partition('/')[0]}" if group == "hydra" else group
            if file.read_text(encoding="utf-8").startswith("# @package _global_"):
                prefix = ""
            lines += [f"### {name}", "", what, "", *_table([file], prefix), ""]
            if others := [f"`{group}={other.stem}`" for other in _begun(file)]:
                lines += [f"Otherwise as {' and '.join(others)}.", ""]
        if group in COMMON:
            title, common = COMMON[group]
            lines += [f"### {title}", "", *_table([CONF / common], group), ""]
    return "\n".join(lines)


def _head(file: Path) -> tuple[str, list[str]]:
    """What the comment on top of a file of configuration says, up to its first command, and its commands."""
    comments = itertools.takewhile(lambda row: row.startswith("#"), file.read_text(encoding="utf-8").splitlines())
    rows = [row[1:].strip() for row in comments if not row.startswith("# @package")]
    first = next((number for number, row in enumerate(rows) if COMMAND.search(row)), len(rows))
    return _as_code(" ".join(rows[:first])), [row for row in rows[first:] if row.startswith("python ")]


def _as_code(text: str) -> str:
    """A comment with what Markdown would take for its own marks as code: ``model._target_``, ``{constraint: a100}``."""
    return re.sub(r"(?<![`\w])(\{[^}]*\}|[\w.]*_[\w.=]*)(?![`\w])", r"`\1`", text)


def _begun(file: Path) -> list[Path]:
    """The choices of the same group that a file begins with."""
    values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    choices = {one.stem for one in file.parent.glob("*.yaml")}
    named = [one for one in values.get("defaults", []) if isinstance(one, str) and one in choices]
    return [file.with_name(f"{one}.yaml") for one in named]


def _table(files: Sequence[Path], prefix: str) -> list[str]:
    """A row for each key of files, as the last one that has it gives it."""
    file = files[-1]
    values = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    target = target_of(file.stem) if file.parent == CONF / "schedule" else values.get("_target_")
    types = _types("lrdecay.schedules.Schedule" if file.stem == "placement" else target)
    rows = list({row[0]: row for one in files for row in _rows(one, prefix)}.values())
    if not rows:
        return [f"It has {'only the keys that are common to all' if prefix in COMMON else 'no keys'}."]
    head = ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for key, default, comment in rows:
        allowed = ALLOWED.get(key, "")
        new = set(re.findall(r"\w+", allowed)) - set(re.findall(r"\w+", comment)) - {"or", "null"}
        meaning = _as_code("; ".join(part for part in (comment, allowed if new else "") if part))
        known = yaml.safe_load(default)
        kind = types.get(key.rpartition(".")[2]) or ("" if known is None else _type(type(known)))
        cells = [f"`{key}`", kind, f"`{default}`", meaning]
        head.append(f"| {' | '.join(cell.replace('|', '&#124;').replace('<', '&lt;') for cell in cells)} |")
    return head


def _rows(file: Path, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Key, default and comment of each line of a file that has a value."""
    above: list[tuple[int, str]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if place := re.fullmatch(r" +- /(\w+)@(\w+): (\w+)", line):  # a choice of another group within this one
            yield f"{place[1]}@{prefix}.{place[2]}", place[3], f"a choice of {place[1]}"
        found = re.fullmatch(r"( *)([\w@/]+):(?: +(.*?))?(?: +# (.*))?", line)
        if not found or found[2] in ("defaults", "_partial_") or (found[2] == "_target_" and found[3] != "???"):
            continue
        indent, name, value, comment = len(found[1]), found[2], found[3] or "", found[4] or ""
        above = [(depth, other) for depth, other in above if depth < indent]
        key = ".".join([*filter(None, [prefix]), *(other for _, other in above), name])
        if value.startswith("#"):
            value, comment = "", value[1:].strip()
        if value:
            yield key, value, comment
        else:
            above.append((indent, name))


@functools.cache
def target_of(name: str) -> str:
    """The class of a schedule, which its file may have from another."""
    ((_, config),) = compose_all(CONF, [f"schedule={name}", *RUN])
    return str(config.schedule._target_)


def _types(target: Any) -> dict[str, str]:
    """The types of the arguments of a class, by name."""
    if not isinstance(target, str) or "???" in target:
        return {}
    module, _, name = target.rpartition(".")
    made = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(made).parameters.values()
    return {one.name: _type(one.annotation) for one in parameters if one.annotation is not inspect.Parameter.empty}


def _type(annotation: Any) -> str:
    """A type in few words: of several classes the plain ones, and the values of a literal."""
    if typing.get_origin(annotation) is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    plain = re.findall(r"\b(?:int|float|str|bool|None)\b", text if "[" in text or "|" in text else f"{text}")
    several = typing.get_args(annotation)
    if typing.get_origin(annotation) in (list, tuple, collections.abc.Sequence):
        return "list"
    if several and typing.get_origin(annotation) not in (list, tuple, dict):
        return " or ".join(dict.fromkeys(filter(None, map(_type, several))))
    return {"NoneType": "null", "None": "null"}.get(text, " or ".join(dict.fromkeys(plain)) or text.rpartition(".")[2])


def schedule_page(name: str, is_drawn: bool) -> str:
    """What there is to know of a schedule."""
    file = CONF / f"schedule/{name}.yaml"
    what, commands = _head(file)
    lines = [f"# {name}", "", what, ""]
    if is_drawn:
        lines += [f"![The rate over a run](../../images/schedules/{name}.png)", ""]
    lines += ["## When to use it", "", when()[name], ""]
    lines += ["## Use", "", "```sh", *(commands or [f"python train.py schedule={name}"]), "```", ""]
    lines += ["## Keys", "", *_table([*_begun(file), file], "schedule"), ""]
    if (CONF / f"scale/{name}.yaml").exists():
        lines += [f"Those of its scale are keys of [`scale`](../keys.md#scale{name}).", ""]
    if name != "torch":
        lines += ["It also takes the [placement keys](../keys.md#placement-all-schedules) common to all schedules.", ""]
    target = target_of(name)
    if target.startswith("lrdecay.schedules."):
        made = getattr(importlib.import_module("lrdecay.schedules"), target.rpartition(".")[2])
        lines += ["## In Python", "", f"::: lrdecay.schedules.{made.__name__}", ""]
        sources = dict.fromkeys(ARXIV.findall(f"{what} {inspect.getdoc(made) or ''}"))
        if sources:
            links = ", ".join(f"[arXiv {number}](https://arxiv.org/abs/{number})" for number in sources)
            lines += ["## Source", "", f"{links}.", ""]
    return "\n".join(lines)


def when() -> dict[str, str]:
    """When each schedule is the one to use."""
    found: dict[str, str] = yaml.safe_load((DOCS / "reference/when.yaml").read_text(encoding="utf-8"))
    return found


def commands() -> str:
    """The help of every command."""
    lines = [
        "# Commands",
        "",
        "`lrdecay COMMAND`, or in a checkout `python train.py` and `python scripts/COMMAND.py` (`scripts/find_lr.py`).",
        "",
    ]
    for name, what in COMMANDS.items():
        done = subprocess.run(
            [sys.executable, "-m", "lrdecay", name, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
        )
        lines += [
            f"## lrdecay {name}",
            "",
            f"{what[0].upper()}{what[1:]}.",
            "",
            "```text",
            done.stdout.rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines)


def gallery(drawn: dict[str, tuple[RateCurve, BoundedCurve]]) -> str:
    """Each schedule: its curve, the bound, and what came of it where a claim compared it with the fixed rate."""
    lowest = min(bounded.best for _, bounded in drawn.values())
    measured = standings()
    problems = list(dict.fromkeys(problem for name in drawn for problem in measured.get(name, {})))
    lines = [
        "# Gallery",
        "",
        "The convex bound is on the loss that is left at the end of a run as long as the one drawn, relative to the "
        "lowest; it needs no training, and holds for convex losses. The other columns are measured: the gain over the "
        "fixed rate in test accuracy, or in test loss where accuracy was not compared, from the first "
        "[claim](findings.md) that has it.",
        "",
        "![Every schedule over one run](images/gallery.png)",
        "",
        f"| schedule | bound | {' | '.join(problems)} |",
        f"| --- | --- |{' --- |' * len(problems)}",
    ]
    for name, (_, bounded) in drawn.items():
        cells = [measured.get(name, {}).get(problem, "") for problem in problems]
        lines.append(
            f"| [{name}](reference/schedules/{name}.md) | ×{bounded.best / lowest:.2f} | {' | '.join(cells)} |"
        )
    unknown = [f"| [{name}](reference/schedules/{name}.md) | – |{' |' * len(problems)}" for name in UNDRAWN]
    return "\n".join([*lines, *unknown, "", "–: the rate follows a metric, or is a third-party scheduler.", ""])


def standings() -> dict[str, dict[str, str]]:
    """By schedule and problem: the gain on the fixed rate."""
    found: dict[str, dict[str, str]] = {}
    for verdict in read_verdicts(DOCS / "findings.yaml"):
        problem = verdict.claim.name.rpartition("/")[0] or "mnist"
        for finding in verdict.findings:
            name, baseline = finding.group.split(" ")[0], finding.baseline.split(" ")[0]
            if baseline == "constant" and finding.measure in ("test/acc", "test/loss"):
                gain = finding.found
                text = finding.kind.interval(gain.mean, gain.low, gain.high)
                found.setdefault(name, {}).setdefault(problem, f"{finding.measure} {text}")
    return found


KNOWS = {
    "cli": "command lines",
    "sweeps": "many runs: plan, launchers, searches",
    "runs": "one run: built, trained, tested, resumed",
    "reports": "figures, pages, words",
    "training": "modules, checkpoints, journal",
    "config": "configurations, checked and built",
    "analysis": "records to evidence",
    "theory": "bound and law",
    "adapters": "schedules meet optimizers",
    "records": "what a run leaves on disk",
    "data": "data sets in memory",
    "schedules": "rates as functions of the step",
    "metrics": "what is measured",
    "errors": "how mistakes are worded",
}


def design() -> str:
    """The packages in their layers, as a drawing: each imports only from those below it."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    rows = [[name.removeprefix("lrdecay.") for name in layer.split(" | ")] for layer in contracts[0]["layers"]]
    shown = [row for row in rows if any(name in KNOWS for name in row)]
    width, height, parts = 640, 40, []
    for number, row in enumerate(shown):
        each = width / len(row)
        for place, name in enumerate(row):
            x, y = place * each + 4, number * (height + 6) + 4
            parts.append(
                f'<rect x="{x}" y="{y}" width="{each - 8}" height="{height}" rx="6" fill="#e8eaf6" stroke="#3f51b5"/>'
                f'<text x="{x + 12}" y="{y + 25}"><tspan font-weight="bold">{name}</tspan>'
                f'<tspan dx="10" fill="#444">{KNOWS[name]}</tspan></text>'
            )
    total = len(shown) * (height + 6) + 8
    style = 'font-family="system-ui, sans-serif" font-size="14" fill="#111"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" {style}>{"".join(parts)}</svg>'
