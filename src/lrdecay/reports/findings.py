"""Verdicts on claims written down: as Markdown, and as a figure of the differences that they rest on."""

import math
import shlex
import time
from collections.abc import Mapping, Sequence

from lrdecay.analysis.claim import Claim
from lrdecay.analysis.groups import seed
from lrdecay.analysis.judgement import Finding, Verdict
from lrdecay.analysis.power import MOST_SEEDS
from lrdecay.reports.matrix import cells, markdown_matrix, problems
from lrdecay.text import format_seconds, listed, plural

MATRIX = "claims and problems"
"""The name of the figure of the matrix; no claim is called so."""

MEANING = {
    "better": "better than",
    "worse": "worse than",
    "not worse": "not worse than",
    "same": "the same as",
}


def sentence(finding: Finding) -> str:
    """A finding in a line: what was expected, the gain with its interval, and the word."""
    measure, found = finding.kind, finding.found
    size = measure.difference(finding.margin, "") + measure.points
    margin = f" {'within' if finding.expect == 'same' else 'by'} {size}" if finding.margin else ""
    numbers = []
    if math.isfinite(found.mean):
        covers = ", for new data too" if found.new_data else ""
        numbers.append(f"gain {measure.interval(found.mean, found.low, found.high)}, n = {found.n}{covers}")
    numbers += [finding.why] if finding.why else []
    if finding.word == "inconclusive" and not finding.why:
        numbers.append(seeds_needed(finding.seeds))
    expected = f"{finding.group} {MEANING[finding.expect]} {finding.baseline}{margin} in {finding.measure}"
    return f"{expected}: {'; '.join(numbers)}: {finding.word}"


def seeds_needed(seeds: int | None) -> str:
    """``24 seeds would decide it``."""
    return f"{seeds:,} seeds would decide it" if seeds else f"{MOST_SEEDS:,} seeds would not decide it"


def mixed(verdict: Verdict) -> str:
    """For what a claim holds and for what not, where it is mixed; else nothing."""
    if verdict.word != "mixed":
        return ""
    sides = []
    for word, verb in (("supported", "holds"), ("refuted", "does not hold")):
        sides.append(f"{verb} for {listed([part for part, found in verdict.holds if found == word])}")
    return "; ".join(sides)


def cost(verdict: Verdict) -> str:
    """Runs, seeds, data, time, devices and day: what it took."""
    runs = verdict.runs
    began, ended = min(run.plan.started for run in runs), max(run.plan.started + run.progress.seconds for run in runs)
    devices = sorted({f"{run.plan.device}, {plural(run.plan.threads, 'thread')}" for run in runs if run.plan.device})
    trained = format_seconds(sum(run.progress.seconds for run in runs))
    day = time.strftime("%Y-%m-%d", time.gmtime(ended))
    data = ", ".join(sorted({str(run.plan.data) for run in runs}))
    return (
        f"{plural(len(runs), 'run')} of {plural(len({seed(run) for run in runs}), 'seed')} on {data}, "
        f"{trained} of training, {format_seconds(ended - began)} from first to last ({'; '.join(devices)}), {day}"
    )


def markdown(verdicts: Sequence[Verdict], command: str, figures: Mapping[str, str] = {}) -> str:
    """All verdicts: a table of them, then each with its claim, its numbers and its cost.

    Args:
        verdicts: those of the claims.
        command: what wrote it.
        figures: for each claim's name, and for `MATRIX`, the path of its figure.
    """
    lines = ["# Findings", "", f"Written by `{command}`.", ""]
    if len(problems(matrix := cells(verdicts))) > 1:
        lines += [*markdown_matrix(matrix), ""]
        lines += [f"![Claims and problems]({figures[MATRIX]})", ""] if MATRIX in figures else []
    lines += summary(verdicts)
    for verdict in verdicts:
        claim = verdict.claim
        lines += ["", f"## {claim.says}", "", f"**{verdict.word.capitalize()}.** Source: {claim.source}.", ""]
        lines += [f"It {mixed(verdict)}.", ""] if verdict.word == "mixed" else []
        lines += [f"- {sentence(finding)}" for finding in verdict.findings]
        lines += [
            "",
            f"Intervals have {100 * verdict.level:.4g}% each, so that all together{_looks(claim)} have 95%. "
            f"{cost(verdict)}.",
        ]
        if verdict.notes:
            lines += ["", *(f"- note: {note}" for note in verdict.notes)]
        lines += ["", f"Supported would be: {claim.supported}. Refuted: {claim.refuted}."]
        lines += ["", f"`{shlex.join(['python', 'scripts/claims.py', claim.name, *claim.overrides])}`"]
        if claim.name in figures:
            lines += ["", f"![Gains with their intervals]({figures[claim.name]})"]
    return "\n".join(lines) + "\n"


def _looks(claim: Claim) -> str:
    return ", at every look," if claim.looks else ""


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    """A table in Markdown: claim, verdict, and how many of its parts are what."""
    rows = ["| claim | source | verdict | of its comparisons |", "| --- | --- | --- | --- |"]
    for verdict in verdicts:
        words = [finding.word for finding in verdict.findings]
        parts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words, reverse=True)))
        rows.append(f"| {verdict.claim.says} | {verdict.claim.source} | **{verdict.word}** | {parts} |")
    return rows
