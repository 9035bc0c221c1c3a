"""Claims × problems: on which problem each claim is supported, refuted or open, as a table and as a figure."""

import textwrap
from collections import Counter
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from lrdecay.analysis.judgement import Verdict
from lrdecay.analysis.power import seeds_wanted
from lrdecay.reports.figures import COLOURS, png

SHADES = {"supported": COLOURS[4], "refuted": COLOURS[3], "mixed": COLOURS[1], "inconclusive": COLOURS[-1]}

Cells = dict[str, dict[str, Verdict]]
"""Verdicts by what the claim says and by the data set of its runs."""


def cells(verdicts: Sequence[Verdict]) -> Cells:
    """The verdicts as a matrix, without those under overrides.

    Claims of the source with the most of them come first; otherwise they keep their order. Several that say the same
    on the same problem have rows of their own.
    """
    found: Cells = {}
    sources: dict[str, str] = {}
    for verdict in [verdict for verdict in verdicts if not verdict.claim.overrides]:
        says, problem = verdict.claim.says, ", ".join(verdict.effort.data)
        if problem in found.get(says, {}):
            says = f"{says} ({verdict.claim.name})"
        found.setdefault(says, {})[problem] = verdict
        sources.setdefault(says, verdict.claim.source)
    by_source = [source for source, _ in Counter(sources.values()).most_common()]  # those with as many in their order
    return {says: found[says] for source in by_source for says in found if sources[says] == source}


def problems(matrix: Cells) -> list[str]:
    """Its columns, the one with the most claims first."""
    counts = Counter(problem for row in matrix.values() for problem in row)
    return sorted(counts, key=lambda problem: (-counts[problem], problem))


def markdown_matrix(matrix: Cells) -> list[str]:
    """A row for each claim; of what is open, the seeds that would decide it, or else why it is."""
    columns = problems(matrix)
    lines = [f"| claim | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for says, row in matrix.items():
        told = [_cell(row[problem]) if problem in row else "" for problem in columns]
        lines.append(f"| {escaped(says)} | {' | '.join(told)} |")
    return lines


def escaped(text: str) -> str:
    """As it can stand in a table in Markdown."""
    return text.replace("|", r"\|")


def _cell(verdict: Verdict) -> str:
    bold = f"**{verdict.word}**"
    return f"{bold}: {', '.join(_open(verdict))}" if verdict.word == "inconclusive" else bold


def _open(verdict: Verdict) -> list[str]:
    """Of an inconclusive one: how many of its parts hold, if some do, and the seeds that it takes, or else why."""
    open_findings = [finding for finding in verdict.findings if finding.word == "inconclusive"]
    hold = sum(word == "supported" for _, word in verdict.holds)
    parts = [f"{hold} of {len(verdict.holds)} hold"] if hold else []
    if verdict.seeds is not None:
        return [*parts, seeds_wanted(verdict.seeds)]
    return [
        *parts,
        next((finding.why for finding in open_findings if finding.why), "unknown how many seeds"),
    ]


def matrix_figure(matrix: Cells) -> bytes:
    """The same as PNG."""
    columns = problems(matrix)
    figure = Figure(figsize=(5.5 + 1.6 * len(columns), 0.6 + 0.55 * len(matrix)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    told = [
        [textwrap.fill(says, 62), *(_short(row.get(problem)) for problem in columns)] for says, row in matrix.items()
    ]
    widths = [5.0, *[1.6] * len(columns)]
    grid = axes.table(
        told,
        colLabels=["", *columns],
        colWidths=[width / sum(widths) for width in widths],
        cellLoc="center",
        bbox=Bbox.from_bounds(0.01, 0.01, 0.98, 0.98),
    )
    grid.auto_set_font_size(False)
    grid.set_fontsize(8)
    for (line, column), cell in grid.get_celld().items():
        cell.set_edgecolor("white")
        if column == 0:
            cell.set_text_props(ha="left")
        elif line > 0 and (verdict := list(matrix.values())[line - 1].get(columns[column - 1])) is not None:
            cell.set_facecolor(SHADES[verdict.word])
            cell.set_alpha(0.45)
    return png(figure)


def _short(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    open_ = _open(verdict) if verdict.word == "inconclusive" else []
    return "\n".join([verdict.word, *(textwrap.fill(line, 24) for line in open_)])
