"""Tests claims about schedules: runs what is missing of their sweeps, and says what the records show.

# all of conf/experiment/claims, or some of them
lrdecay claims
lrdecay claims faster stabler
# only judge the runs that are there
lrdecay claims faster --no-run
# more seeds, up to the next look that the claim's file names
lrdecay claims mnist1d/linear_matches_cosine --seeds 21..30
# eight runs at a time, say on one GPU
lrdecay claims faster hydra.launcher.processes=8
# on a cluster
lrdecay claims faster hydra/launcher=slurm hydra.launcher.partition=NAME
# under other conditions
lrdecay claims faster data=digits name=faster-digits
"""

import functools
import itertools
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lrdecay.analysis.claim import Claim
from lrdecay.analysis.groups import load_records
from lrdecay.analysis.judgement import Verdict, check_groups, judge, to_run
from lrdecay.cli.arguments import add_config_dir, numbered, parse, parser_of
from lrdecay.commands import as_called, by_command
from lrdecay.config.claims import Claims
from lrdecay.config.overrides import key_of
from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.reports.console import relative
from lrdecay.reports.figures import gains_figure
from lrdecay.reports.findings import MATRIX, cost, markdown, mixed, sentence
from lrdecay.reports.matrix import cells, matrix_figure, problems
from lrdecay.reports.verdicts import merged, read_verdicts, write_verdicts
from lrdecay.text import listed

INTERRUPTED = (130, 143, -2, -15)
LAUNCHER = "hydra/launcher"


def main(conf: Path) -> None:
    parser = parser_of("claims", __doc__)
    parser.add_argument("arguments", nargs="*", metavar="CLAIM|KEY=VALUE", help="claims, and overrides for their runs")
    add_config_dir(parser)
    parser.add_argument("--no-run", action="store_true", help="train nothing")
    parser.add_argument(
        "--seeds", type=numbered, metavar="FIRST..LAST", help="train these seeds; runs that are there are not repeated"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("outputs/claims/findings.md"),
        help="Markdown file, figures beside it; what it has of other claims is kept",
    )
    arguments = parse(parser, conf, Claims(conf).names())
    known = Claims(conf, arguments.config_dir)
    words = [word for word in arguments.arguments if "=" in word]
    launching = [word for word in words if key_of(word) == LAUNCHER or key_of(word).startswith("hydra.launcher.")]
    overrides = [word for word in words if word not in launching]
    chosen = [word for word in arguments.arguments if "=" not in word]
    if arguments.output.suffix != ".md" or arguments.output.is_dir():
        raise ConfigError(f"--output={arguments.output}: must be a file that ends in .md")
    claims = [known.read(name, overrides) for name in chosen or known.asked_for()]
    check(claims, overrides)
    if arguments.seeds:
        check_seeds(claims, arguments.seeds, arguments.no_run)
    kept = arguments.output.with_suffix(".yaml")
    read_verdicts(kept)  # what cannot be added to is refused now, and not after hours of training
    if not arguments.no_run:
        for claim in claims:
            check_plan(claim, known)
        run(claims, known, launching, arguments.seeds)
    fresh, wrong = verdicts_on(claims, known)
    if fresh:
        verdicts, changed = merged(fresh, read_verdicts(kept), known)
        for name in changed:
            print(f"warning: claim {name} has changed since it was judged, and is left out", file=sys.stderr)
        write(verdicts, fresh, arguments.output, f"{as_called('lrdecay claims')} {shlex.join(sys.argv[1:])}".strip())
    if wrong:
        sys.exit("\n".join(f"error: {what}" for what in wrong))


def verdicts_on(claims: list[Claim], known: Claims) -> tuple[list[Verdict], list[str]]:
    """The verdicts, which it prints, and what is wrong with runs and claims, a line each."""
    verdicts, wrong = [], []
    for claim in claims:
        records, broken = load_records(claim.folders)
        wrong += broken
        if not records:
            wrong.append(f"claim {claim.name}: no runs in {', '.join(relative(path) for path in claim.folders)}")
            continue
        try:
            verdicts.append(judge(claim, records, planned_seeds(claim, known)))
        except ConfigError as error:
            wrong.append(f"claim {claim.name}: {error}")
        else:
            show(verdicts[-1])
    return verdicts, list(dict.fromkeys(wrong))


def planned_seeds(claim: Claim, known: Claims) -> dict[Path, set[int]]:
    """The seeds of a claim's sweeps, by their folders; of one that is no claim's, nothing is known."""
    if claim.looks:
        return {}
    return {folder: known.seeds(owner.name, owner.overrides) for folder, owner in _found_owners([claim], known).items()}


def check(claims: list[Claim], overrides: list[str]) -> None:
    """Refuses overrides whose runs would get between those of others."""
    if not overrides:
        return
    if "name" not in map(key_of, overrides):
        raise ConfigError(f"{overrides[0]}: must come with name=, so that these runs have a folder of their own")
    if len(claims) != 1 or claims[0].folders != [claims[0].own]:
        raise ConfigError(f"{overrides[0]}: needs a single claim that reads a single sweep")


def check_seeds(claims: list[Claim], seeds: range, no_run: bool) -> None:
    """Refuses to look at a claim more often than its file says, or to judge it by seeds that have chosen."""
    if no_run:
        raise ConfigError("--seeds: cannot be combined with --no-run")
    for claim in claims:
        if not claim.looks:
            raise ConfigError(
                f"--seeds: claim {claim.name} has one look, at the seeds of its sweep; "
                "its file must say at how many seeds it is judged (looks: [5, 10, 20, 40]) before any of them is run"
            )
        if seeds.start != claim.first_seed:
            raise ConfigError(
                f"--seeds={seeds.start}..{seeds.stop - 1}: must begin at {claim.first_seed}, "
                f"the first seed that judges claim {claim.name}"
            )
        if len(seeds) not in claim.looks:
            looks = listed(list(map(str, claim.looks)))
            raise ConfigError(
                f"--seeds={seeds.start}..{seeds.stop - 1}: must be as many as a look at claim {claim.name} takes, "
                f"which is {looks}"
            )


def check_plan(claim: Claim, known: Claims) -> None:
    """Refuses a claim on groups that none of the sweeps it reads will have, before hours of training."""
    owners = _owners_of([claim], known)
    of_sweeps = [owners[folder] for folder in claim.folders]
    records = [run for owner in of_sweeps for run in known.planned(owner.name, owner.overrides)]
    try:
        check_groups(claim, records)
    except ConfigError as error:
        raise ConfigError(f"claim {claim.name}: {error}") from error


def _owners_of(claims: Sequence[Claim], known: Claims) -> dict[Path, Claim]:
    """For each sweep that these claims read, a claim whose own it is.

    Raises:
        ConfigError: it is no claim's.
    """
    owners = _found_owners(claims, known)
    for folder in (folder for claim in claims for folder in claim.folders):
        if folder not in owners:
            raise ConfigError(f"{folder.name}: must be the sweep of a claim, and no claim has it")
    return owners


def _found_owners(claims: Sequence[Claim], known: Claims) -> dict[Path, Claim]:
    """The same of those that are a claim's."""
    folders = {folder for claim in claims for folder in claim.folders}
    own = {claim.own: claim for claim in claims}
    owners = _owners(known) | own if folders - own.keys() else own
    return {folder: owners[folder] for folder in folders if folder in owners}


@functools.cache
def _owners(known: Claims) -> dict[Path, Claim]:
    """Of each sweep of a claim that there is, one whose own it is."""
    return {claim.own: claim for claim in (known.read(name) for name in known.names())}


def run(claims: list[Claim], known: Claims, launching: list[str], seeds: range | None = None) -> None:
    """Trains what is missing: the sweeps of these claims, each once, those of others that they read too.

    Where seeds choose, all of a sweep is run with them, and then, for each claim, the groups that it is about at the
    values that they have chosen, with the seeds that judge it.

    Args:
        launching: overrides of the launcher, which say how the runs are launched and not which.
        seeds: in place of those of the sweeps.
    """
    owners = _owners_of(claims, known)
    for folder in dict.fromkeys(folder for claim in claims for folder in claim.folders):
        owner = owners[folder]
        launch(owner, known, [*owner.overrides, *([] if owner.tuned_by else _seeds(seeds)), *launching])
    for claim in claims:
        if not claim.tuned_by:
            continue
        judging = seeds or range(claim.first_seed, claim.first_seed + claim.looks[0])
        for folder, several in chosen_overrides(claim).items():
            for chosen in together(several):
                launch(owners[folder], known, [*chosen, *_seeds(judging), *launching])


def _seeds(seeds: range | None) -> list[str]:
    return [f"seed=range({seeds.start},{seeds.stop})"] if seeds else []


def launch(claim: Claim, known: Claims, overrides: list[str]) -> None:
    """Runs a sweep of a claim, side by side if its overrides do not say how."""
    place = ["--config-dir", str(known.own)] if known.own else []
    how = [] if LAUNCHER in map(key_of, overrides) else [f"{LAUNCHER}=parallel"]
    words = [*place, "-m", f"experiment=claims/{claim.name}", *overrides, *how]
    print(as_called("lrdecay train"), shlex.join(words), flush=True)
    program = ["-m", "lrdecay", "train"] if by_command() else [str(known.conf.parent / "train.py")]
    sweep = subprocess.Popen([sys.executable, *program, *words])
    # Whoever stops this stops the sweep, and it ends when that has saved what it was at. A terminal tells both of
    # Ctrl-C, all others only this one.
    handlers = {signal.SIGTERM: lambda *_: sweep.terminate(), signal.SIGINT: lambda *_: None}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    status = sweep.wait()
    for number, handler in before.items():
        signal.signal(number, handler)
    if status in INTERRUPTED:
        sys.exit(status if status > 0 else 128 - status)
    if status:  # a run that failed or diverged is part of the evidence, and counted as such
        print(f"warning: not every run of claims/{claim.name} completed", file=sys.stderr)


def chosen_overrides(claim: Claim) -> dict[Path, list[list[str]]]:
    """For each sweep of a claim, the overrides of the groups that are to be judged, but for their seed."""
    records, _ = load_records(claim.folders)
    runs = [g.runs[0] for g in to_run(claim, records)]
    return {
        folder: [
            [word for word in run.plan.overrides if key_of(word) not in ("seed", "experiment")]
            for run in runs
            if run.directory.parent.resolve() == folder.resolve()
        ]
        for folder in claim.folders
    }


def together(several: Sequence[Sequence[str]]) -> list[list[str]]:
    """The same combinations of overrides as sweeps, fewer: those that differ in the value of one key become one.

    >>> together([["schedule=step", "optimizer.lr=0.1"], ["schedule=cosine", "optimizer.lr=0.1"]])
    [['schedule=step,cosine', 'optimizer.lr=0.1']]
    """
    sweeps = [list(words) for words in several]
    for one, other in itertools.combinations(sweeps, 2):
        differ = [place for place, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs]
        if len(one) != len(other) or len(differ) != 1:
            continue
        (place,) = differ
        if key_of(one[place]) == key_of(other[place]):
            merged = [*one[:place], f"{one[place]},{other[place].partition('=')[2]}", *one[place + 1 :]]
            return together([merged if words is one else words for words in sweeps if words is not other])
    return sweeps


def show(verdict: Verdict) -> None:
    holds = f": {mixed(verdict)}" if verdict.word == "mixed" else ""
    print(f"\n{verdict.claim.says} ({verdict.claim.source})\n  {verdict.word.upper()}{holds}")
    for finding in verdict.findings:
        print(f"  {sentence(finding)}")
    for line in [*verdict.notes, cost(verdict)]:
        print(f"  {line}")


def write(verdicts: list[Verdict], fresh: list[Verdict], output: Path, command: str) -> None:
    """Writes the findings; draws what is fresh, and of the others what is not there."""
    folder = output.parent / "images" / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    figures = {}
    for verdict in verdicts:
        name = verdict.claim.identity
        file = folder / f"{name.replace('/', '-')}.png"
        if verdict in fresh or not file.exists():
            write_atomically(file, gains_figure(verdict.findings, f"{verdict.claim.says} {verdict.word.capitalize()}"))
        figures[name] = file.relative_to(output.parent).as_posix()
    if len(problems(matrix := cells(verdicts))) > 1:
        write_atomically(folder / "matrix.png", matrix_figure(matrix))
        figures[MATRIX] = (folder / "matrix.png").relative_to(output.parent).as_posix()
    write_verdicts(verdicts, output.with_suffix(".yaml"))
    write_atomically(output, markdown(verdicts, command, figures).encode())
    print(f"\n{relative(output)}")
