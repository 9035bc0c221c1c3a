"""Tests claims about schedules: runs what is missing of their sweeps, and says what the records show.

python scripts/claims.py                        # all of conf/experiment/claims
python scripts/claims.py faster stabler         # some of them
python scripts/claims.py faster --no-run        # of the runs that are there
python scripts/claims.py faster data=digits name=faster-digits trainer.max_epochs=5    # under other conditions
"""

import argparse
import subprocess
import sys
from pathlib import Path

from lrdecay.claims import Claim, Verdict, judge, names, read_claim
from lrdecay.compare import load
from lrdecay.console import relative
from lrdecay.errors import ConfigError
from lrdecay.figures import gains_figure
from lrdecay.findings import cost, markdown, sentence
from lrdecay.messages import one_line_errors
from lrdecay.record import write_atomically

ROOT = Path(__file__).parent.parent
INTERRUPTED = (130, 143, -2, -15)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="*", metavar="CLAIM|KEY=VALUE", help="claims, overrides for their runs")
    parser.add_argument("--no-run", action="store_true", help="train nothing")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/claims/findings.md"), help="Markdown file; figures go beside it"
    )
    arguments = parser.parse_args()
    overrides = [word for word in arguments.arguments if "=" in word]
    chosen = [word for word in arguments.arguments if "=" not in word]
    if arguments.output.suffix != ".md" or arguments.output.is_dir():
        raise ConfigError(f"--output={arguments.output}: must be a file that ends in .md")
    claims = [read_claim(ROOT / "conf", name, overrides) for name in chosen or names(ROOT / "conf")]
    if not arguments.no_run:
        run(claims, overrides)
    verdicts, problems = [], []
    for claim in claims:
        records, broken = load(claim.folders)
        problems += broken
        if not records:
            problems.append(f"claim {claim.name}: no runs in {', '.join(relative(path) for path in claim.folders)}")
            continue
        verdicts.append(judge(claim, records))
        show(verdicts[-1])
    if verdicts:
        write(verdicts, arguments.output, ["python", "scripts/claims.py", *sys.argv[1:]])
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in dict.fromkeys(problems)))


def run(claims: list[Claim], overrides: list[str]) -> None:
    """Trains what is missing: the sweeps of these claims, each once, those of others that they read too."""
    owners = {claim.folders[0]: claim for claim in claims}
    for name in names(ROOT / "conf"):
        claim = read_claim(ROOT / "conf", name, overrides)
        if claim.folders[0] not in owners and any(claim.folders[0] in other.folders for other in claims):
            owners[claim.folders[0]] = claim
    for claim in owners.values():
        words = ["-m", f"experiment=claims/{claim.name}", "hydra/launcher=parallel", *overrides]
        print(f"python train.py {' '.join(words)}", flush=True)
        status = subprocess.run([sys.executable, ROOT / "train.py", *words], check=False).returncode
        if status in INTERRUPTED:
            sys.exit(abs(status) if status > 0 else 128 - status)
        if status:  # a run that failed or diverged is part of the evidence, and counted as such
            print(f"warning: not every run of claims/{claim.name} completed", file=sys.stderr)


def show(verdict: Verdict) -> None:
    print(f"\n{verdict.claim.says} ({verdict.claim.source})\n  {verdict.word.upper()}")
    for finding in verdict.findings:
        print(f"  {sentence(finding)}")
    for line in [*verdict.notes, cost(verdict)]:
        print(f"  {line}")


def write(verdicts: list[Verdict], output: Path, command: list[str]) -> None:
    folder = output.parent / "images" / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    for verdict in verdicts:
        file = folder / f"{verdict.claim.name}.png"
        write_atomically(file, gains_figure(verdict.findings, f"{verdict.claim.says} {verdict.word.capitalize()}"))
        figures[verdict.claim.name] = file.relative_to(output.parent).as_posix()
    write_atomically(output, markdown(verdicts, " ".join(command), figures).encode())
    print(f"\n{relative(output)}")


if __name__ == "__main__":
    with one_line_errors():
        main()
