"""Compares runs: a table with verdicts, ``comparison.csv``, ``comparison.png`` and the page ``report.html``.

lrdecay compare outputs/sweeps/NAME
lrdecay compare outputs/runs/A outputs/runs/B --output outputs/a-b
lrdecay compare outputs/sweeps/NAME --baseline cosine
# each schedule at its own best base rate
lrdecay compare outputs/sweeps/NAME --tuned-over optimizer.lr
# the rate chosen by seeds 1 and 2, and judged by all others
lrdecay compare outputs/sweeps/NAME --tuned-over optimizer.lr --tuned-by 1,2
# figures for a paper
lrdecay compare outputs/sweeps/NAME --format pdf,svg --columns 1,2
"""

import sys
from pathlib import Path

from lrdecay.analysis.groups import load_records
from lrdecay.cli.arguments import parse, parser_of, seeds
from lrdecay.errors import ConfigError
from lrdecay.reports.console import relative
from lrdecay.reports.report import FORMATS, check_formats, report


def separated(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def main(conf: Path) -> None:
    parser = parser_of("compare", __doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders of runs or sweeps")
    parser.add_argument("--output", type=Path, help="folder for the files; the first PATH by default")
    parser.add_argument("--baseline", metavar="GROUP", help="a label, or words of one; the constant rate by default")
    parser.add_argument(
        "--tuned-over",
        type=separated,
        default=[],
        metavar="KEY,…",
        help="compare groups each at its own best value of these, chosen by validation: optimizer.lr",
    )
    parser.add_argument(
        "--tuned-by",
        type=seeds,
        default=(),
        metavar="SEED,…",
        help="the seeds that choose these values, as 1,2 or 1..5; the others judge them",
    )
    parser.add_argument(
        "--format", type=separated, default=["png"], metavar="FORMAT,…", help=f"of the figures: {', '.join(FORMATS)}"
    )
    parser.add_argument(
        "--columns",
        type=separated,
        default=[],
        metavar="1,2",
        help="also draw figures as wide as this many columns of a paper",
    )
    parser.add_argument(
        "--cut-short",
        action="store_true",
        help="average runs that did not reach their planned end with those that did",
    )
    arguments = parse(parser)
    check_formats(arguments.format, arguments.columns)
    for path in arguments.paths:
        if not path.is_dir():
            raise ConfigError(f"{path}: no such folder")
    records, problems = load_records(arguments.paths)
    if not records and not problems:
        raise ConfigError(f"no runs in {', '.join(map(str, arguments.paths))}: no folder there has a record.json")
    if records:
        output = arguments.output or arguments.paths[0]
        for file in report(
            records,
            output,
            arguments.baseline,
            arguments.tuned_over,
            arguments.tuned_by,
            arguments.format,
            [int(columns) for columns in arguments.columns],
            arguments.cut_short,
        ):
            print(relative(file), flush=True)
    if len(data := sorted({record.plan.data for record in records if record.plan.data is not None})) > 1:
        problems.append(f"runs on {len(data)} data sets ({', '.join(data)}): compared apart, never with each other")
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))
