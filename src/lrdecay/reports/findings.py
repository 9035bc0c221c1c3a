"""Verdicts on claims written down: as Markdown, and as a figure of the differences that they rest on."""

import math
import shlex
import time
from collections.abc import Mapping, Sequence

from lrdecay.analysis.judgement import Verdict
from lrdecay.analysis.power import seeds_wanted
from lrdecay.analysis.question import Finding
from lrdecay.commands import as_called
from lrdecay.reports.matrix import cells, escaped, markdown_matrix, problems
from lrdecay.text import format_seconds, listed, plural

MATRIX = "claims and problems"
"""The name of the figure of the matrix; no claim is called so."""

MATRIX_READ = (
    "Where a claim is inconclusive, the matrix says how many of its parts hold, and how many seeds would decide each "
    "of the others (80% power, were the differences as measured). What exactly was tested differs between problems; "
    "each section below says how."
)

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
    by = {"same": f" within {size}", "not worse": f" by {size}"}.get(finding.expect, "")
    numbers = []
    if math.isfinite(found.mean):
        covers = ", for new data too" if found.new_data else ""
        numbers.append(f"gain {measure.interval(found.mean, found.low, found.high)}, n = {found.n}{covers}")
    numbers += [finding.why] if finding.why else []
    if finding.margin and not by:
        small = finding.word == "supported" and max(abs(found.low), abs(found.high)) < finding.margin
        numbers.append(f"less than the {size} that would matter" if small else f"a difference of {size} would matter")
    if finding.seeds is not None:
        numbers.append(f"deciding it would take {seeds_wanted(finding.seeds)}")
    expected = f"{finding.group} {MEANING[finding.expect]} {finding.baseline}{by} in {finding.measure}"
    return f"{expected}: {'; '.join(numbers)}: {finding.word}"


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
    effort = verdict.effort
    day = time.strftime("%Y-%m-%d", time.gmtime(effort.ended))
    return (
        f"{plural(effort.runs, 'run')} of {plural(effort.seeds, 'seed')} on {', '.join(effort.data)}, "
        f"{format_seconds(effort.seconds)} of training, {format_seconds(effort.elapsed)} from first to last "
        f"({'; '.join(effort.devices) or 'device unknown'}), {day}"
    )


def markdown(verdicts: Sequence[Verdict], command: str, figures: Mapping[str, str] = {}) -> str:
    """All verdicts: a table of them, then each with its claim, its numbers and its cost.

    Args:
        verdicts: those of the claims.
        command: what wrote it.
        figures: for each claim's `identity`, and for `MATRIX`, the path of its figure.
    """
    lines = ["# Findings", "", f"Last added to by `{command}`.", ""]
    if len(problems(matrix := cells(verdicts))) > 1:
        lines += [*markdown_matrix(matrix), "", MATRIX_READ, ""]
        lines += [f"![Claims and problems]({figures[MATRIX]})", ""] if MATRIX in figures else []
    lines += summary(verdicts)
    for verdict in verdicts:
        lines += ["", *_section(verdict)]
        if (name := verdict.claim.identity) in figures:
            lines += ["", f"![Gains with their intervals]({figures[name]})"]
    return "\n".join(lines) + "\n"


def _section(verdict: Verdict) -> list[str]:
    claim = verdict.claim
    lines = [f"## {claim.says} ({', '.join(verdict.effort.data)})", ""]
    lines += [f"**{verdict.word.capitalize()}.** Source: {claim.source}.", ""]
    lines += [f"It {mixed(verdict)}.", ""] if verdict.word == "mixed" else []
    lines += [f"- {sentence(finding)}" for finding in verdict.findings]
    looks = ", at every look," if claim.looks else ""
    lines += [
        "",
        f"Each interval is at {100 * verdict.level:.4g}%, so that together{looks} they hold at 95%. {cost(verdict)}.",
    ]
    if verdict.notes:
        lines += ["", *(f"- note: {note}" for note in verdict.notes)]
    other = "; mixed where another part is supported" if len(verdict.holds) > 1 else ""
    lines += ["", f"Criteria: supported if {claim.supported}; otherwise refuted if {claim.refuted}{other}."]
    seeds = ["--seeds", verdict.seeds_judged] if claim.looks else []
    place = ["--config-dir", str(claim.config_dir)] if claim.config_dir else []
    words = [*place, claim.name, *claim.overrides, *seeds]
    return [*lines, "", f"`{as_called('lrdecay claims')} {shlex.join(words)}`"]


def summary(verdicts: Sequence[Verdict]) -> list[str]:
    """A table in Markdown: claim, problem, verdict, and how many of its comparisons are what."""
    rows = ["| claim | on | source | verdict | of its comparisons |", "| --- | --- | --- | --- | --- |"]
    for verdict in verdicts:
        words = [finding.word for finding in verdict.findings]
        parts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(sorted(words, reverse=True)))
        claim, data = verdict.claim, ", ".join(verdict.effort.data)
        rows.append(f"| {escaped(claim.says)} | {data} | {escaped(claim.source)} | **{verdict.word}** | {parts} |")
    return rows
