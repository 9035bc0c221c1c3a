"""Compares runs: a table, ``comparison.csv`` and ``comparison.png``.

python scripts/compare.py outputs/sweeps/NAME
python scripts/compare.py outputs/runs/A outputs/runs/B --output outputs/comparisons/a-b
"""

import argparse
import sys
from pathlib import Path

from lrdecay.compare import load
from lrdecay.console import relative
from lrdecay.errors import ConfigError
from lrdecay.messages import one_line_errors
from lrdecay.report import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders of runs or sweeps")
    parser.add_argument("--output", type=Path, help="folder for the files; the first PATH by default")
    arguments = parser.parse_args()
    for path in arguments.paths:
        if not path.is_dir():
            raise ConfigError(f"{path}: no such folder")
    records, problems = load(arguments.paths)
    if not records and not problems:
        raise ConfigError(f"no runs in {', '.join(map(str, arguments.paths))}: no folder there has a record.json")
    if records:
        for file in report(records, arguments.output or arguments.paths[0]):
            print(relative(file), flush=True)
    if len(data := sorted({str(record.data) for record in records})) > 1:
        problems.append(f"runs on {len(data)} data sets ({', '.join(data)}): compared apart, never with each other")
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in problems))


if __name__ == "__main__":
    with one_line_errors():
        main()
