"""Tests claims about schedules: runs what is missing of their sweeps, and says what the records show.

python scripts/claims.py                        # all of conf/experiment/claims
python scripts/claims.py faster stabler         # some of them
python scripts/claims.py faster --no-run        # of the runs that are there
python scripts/claims.py faster data=digits name=faster-digits trainer.max_epochs=5    # under other conditions
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from lrdecay.analysis.claim import Claim
from lrdecay.analysis.groups import load_records
from lrdecay.analysis.judgement import Verdict, judge
from lrdecay.config.claims import claim_names, read_claim
from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.reports.console import relative
from lrdecay.reports.figures import gains_figure
from lrdecay.reports.findings import cost, markdown, mixed, sentence

INTERRUPTED = (130, 143, -2, -15)


def main(conf: Path) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arguments", nargs="*", metavar="CLAIM|KEY=VALUE", help="claims, overrides for their runs")
    parser.add_argument("--no-run", action="store_true", help="train nothing")
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/claims/findings.md"), help="Markdown file; figures go beside it"
    )
    arguments = parser.parse_intermixed_args()
    overrides = [word for word in arguments.arguments if "=" in word]
    chosen = [word for word in arguments.arguments if "=" not in word]
    if arguments.output.suffix != ".md" or arguments.output.is_dir():
        raise ConfigError(f"--output={arguments.output}: must be a file that ends in .md")
    claims = [read_claim(conf, name, overrides) for name in chosen or claim_names(conf)]
    check(claims, overrides)
    if not arguments.no_run:
        run(claims, conf)
    verdicts, problems = [], []
    for claim in claims:
        records, broken = load_records(claim.folders)
        problems += broken
        if not records:
            problems.append(f"claim {claim.name}: no runs in {', '.join(relative(path) for path in claim.folders)}")
            continue
        try:
            verdicts.append(judge(claim, records))
        except ConfigError as error:
            problems.append(f"claim {claim.name}: {error}")
        else:
            show(verdicts[-1])
    if verdicts:
        write(verdicts, arguments.output, shlex.join(["python", "scripts/claims.py", *sys.argv[1:]]))
    if problems:
        sys.exit("\n".join(f"error: {problem}" for problem in dict.fromkeys(problems)))


def check(claims: list[Claim], overrides: list[str]) -> None:
    """Refuses overrides whose runs would get between those of others."""
    if not overrides:
        return
    if not any(word.startswith("name=") for word in overrides):
        raise ConfigError(f"{overrides[0]}: must come with name=, so that these runs have a folder of their own")
    if len(claims) != 1 or claims[0].folders != [claims[0].own]:
        raise ConfigError(f"{overrides[0]}: must be for one claim, which reads one sweep")


def run(claims: list[Claim], conf: Path) -> None:
    """Trains what is missing: the sweeps of these claims, each once, those of others that they read too."""
    folders = dict.fromkeys(folder for claim in claims for folder in claim.folders)
    owners = {claim.own: claim for claim in claims}
    if folders.keys() - owners.keys():
        owners = {claim.own: claim for claim in (read_claim(conf, name) for name in claim_names(conf))}
    for folder in folders:
        if folder not in owners:
            raise ConfigError(f"{folder.name}: must be the sweep of a claim, and is that of none")
        claim = owners[folder]
        words = ["-m", f"experiment=claims/{claim.name}", "hydra/launcher=parallel", *claim.overrides]
        print(shlex.join(["python", "train.py", *words]), flush=True)
        status = subprocess.run([sys.executable, conf.parent / "train.py", *words], check=False).returncode
        if status in INTERRUPTED:
            sys.exit(status if status > 0 else 128 - status)
        if status:  # a run that failed or diverged is part of the evidence, and counted as such
            print(f"warning: not every run of claims/{claim.name} completed", file=sys.stderr)


def show(verdict: Verdict) -> None:
    holds = f": {mixed(verdict)}" if verdict.word == "mixed" else ""
    print(f"\n{verdict.claim.says} ({verdict.claim.source})\n  {verdict.word.upper()}{holds}")
    for finding in verdict.findings:
        print(f"  {sentence(finding)}")
    for line in [*verdict.notes, cost(verdict)]:
        print(f"  {line}")


def write(verdicts: list[Verdict], output: Path, command: str) -> None:
    folder = output.parent / "images" / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    for verdict in verdicts:
        file = folder / f"{verdict.claim.name}.png"
        write_atomically(file, gains_figure(verdict.findings, f"{verdict.claim.says} {verdict.word.capitalize()}"))
        figures[verdict.claim.name] = file.relative_to(output.parent).as_posix()
    write_atomically(output, markdown(verdicts, command, figures).encode())
    print(f"\n{relative(output)}")
