"""``scripts/claims.py`` as it is used: choosing, looking, going on, stopping; and what the documents say of it."""

import re
import signal
from pathlib import Path

import pytest
from support.programs import ROOT, run_apart, start

from lrdecay.cli.claims import together
from lrdecay.config.claims import Claims
from lrdecay.records.record import find, read

TINY = [
    "data=digits", "data.train_size=200", "data.val_size=100", "model=mlp", "trainer.max_epochs=1", "name=tiny",
    "hydra.launcher.processes=2",
]  # fmt: skip
LOOKS = ["claim.first_seed=1", "claim.looks=[5,10,20]"]
TUNED = ["mnist1d/warmup_helps", *TINY, *LOOKS, "claim.tuned_by=[101]", "hydra.sweeper.params.seed=101"]


def seeds_of(folder: Path) -> list[int]:
    return sorted(read(path).plan.config["seed"] for path in find([folder / "outputs/sweeps/tiny"]))


def test_seeds_choose_others_judge_and_more_can_follow(tmp_path):
    done = run_apart("scripts/claims.py", *TUNED, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    launches = [line for line in done.stdout.splitlines() if line.startswith("python train.py")]
    assert all("hydra.launcher.processes=2" in line for line in launches)
    assert all("range(1,6)" in line for line in launches[1:])
    assert "judged by seeds 1 to 5, of looks at 5, 10, 20; the next look is at 10" in done.stdout
    # Two groups at three rates chose; each was run with five seeds more, at its own rate alone.
    assert seeds_of(tmp_path) == sorted([*range(1, 6)] * 2 + [101] * 6)
    more = run_apart("scripts/claims.py", *TUNED, "--seeds", "1..10", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert "judged by seeds 1 to 10, of looks at 5, 10, 20; the next look is at 20" in more.stdout
    assert seeds_of(tmp_path) == sorted([*range(1, 11)] * 2 + [101] * 6)
    findings = (tmp_path / "outputs/claims/findings.md").read_text()
    assert findings.count("## Decay that starts with a warm-up") == 1
    assert "--seeds 1..10`" in findings


OF_ONE_SWEEP = """\
# @package _global_
defaults:
  - override /data: digits
  - override /model: mlp
data: {{train_size: 200, val_size: 100}}
trainer: {{max_epochs: 1}}
name: shared
hydra:
  sweeper:
    params:
      schedule: constant,cosine,linear
      optimizer.lr: 0.001,0.01
      seed: 101
claim:
  says: >
    {group} is better.
  source: a question
  tuned_over: optimizer.lr
  tuned_by: [101]
  first_seed: {first}
  looks: [2]
  baseline: constant
  parts:
    - {{groups: [{group}], measures: [test/acc], expect: better}}
  supported: it is higher
  refuted: it is lower
"""


def test_claims_of_one_sweep_run_their_own_groups_with_their_own_seeds(tmp_path):
    """And nothing between them, nor groups that no claim is about."""
    (tmp_path / "conf/experiment/claims").mkdir(parents=True)
    for name, group, first in (("one", "cosine", 1), ("two", "linear", 51)):
        text = OF_ONE_SWEEP.format(group=group, first=first)
        (tmp_path / f"conf/experiment/claims/{name}.yaml").write_text(text)
    done = run_apart("scripts/claims.py", "--config-dir", "conf", "one", "two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "judged by seeds 1 to 2" in done.stdout
    assert "judged by seeds 51 to 52" in done.stdout
    findings = (tmp_path / "outputs/claims/findings.md").read_text()
    assert "| cosine is better. | digits | a question |" in findings  # on one line, however the file has it
    runs = [read(path).plan for path in find([tmp_path / "outputs/sweeps/shared"])]
    expected = {"constant": {101, 1, 2, 51, 52}, "cosine": {101, 1, 2}, "linear": {101, 51, 52}}
    assert expected == {
        name: {run.config["seed"] for run in runs if run.choices["schedule"] == name} for name in expected
    }
    assert len(runs) == 6 + 8


def test_the_claim_of_the_tutorial(tmp_path):
    text = (ROOT / "docs/tutorials/claim.md").read_text()
    (tmp_path / "conf/experiment/claims").mkdir(parents=True)
    written = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[0]
    (tmp_path / "conf/experiment/claims/my_warmup.yaml").write_text(written)
    done = run_apart("scripts/claims.py", "--config-dir", "conf", "my_warmup", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "judged by seeds 1 to 10, of looks at 10, 20, 40; the next look is at 20" in done.stdout
    findings = (tmp_path / "outputs/claims/findings.md").read_text()
    assert "`python scripts/claims.py --config-dir conf my_warmup data=digits " in findings


def test_what_is_stopped_stops_its_sweep_and_goes_on(tmp_path):
    claim = ["mnist1d/decays_to_zero", *TINY, 'hydra.sweeper.params.seed="1,2,3,4,5,6,7,8,9,10"']
    program = start("scripts/claims.py", *claim, cwd=tmp_path, apart=True)
    sweep = tmp_path / "outputs/sweeps/tiny"
    program.until(lambda: list(sweep.glob("*/record.json")))
    program.signal(signal.SIGTERM)
    assert program.wait(60) == 128 + signal.SIGTERM
    again = run_apart("scripts/claims.py", *claim, cwd=tmp_path)  # which a sweep that still ran would refuse
    assert again.returncode == 0, again.stderr
    assert "20 runs of 10 seeds on digits" in again.stdout


def test_what_was_found_of_other_claims_is_kept(tmp_path):
    small = ["data=digits", "model=mlp", "trainer.max_epochs=1", "seed=1"]
    for name, *own in (
        ["mnist1d/decays_to_zero"],
        ["mnist1d/cooldown_length", "claim.first_seed=1", "claim.looks=[]"],
    ):
        launched = ["hydra/launcher=basic", f"name={name[8:]}"]  # with a launcher instead of the usual one
        done = run_apart("scripts/claims.py", name, *small, *own, *launched, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    findings = tmp_path / "outputs/claims/findings.md"
    sections = re.findall(r"^## (.*)$", findings.read_text(), re.MULTILINE)
    assert [section.partition(".")[0] for section in sections] == [
        "A longer cool-down is better, and 20% of the run is enough",
        "Linear decay to zero beats linear decay to a tenth",
    ]
    findings.with_suffix(".yaml").write_text("- 1\n")
    refused = run_apart("scripts/claims.py", "mnist1d/decays_to_zero", cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: outputs/claims/findings.yaml: not a valid file of verdicts")
    assert "python train.py" not in refused.stdout


@pytest.mark.parametrize(
    ("several", "fewer"),
    [
        ([["a=1", "b=1"], ["a=2", "b=1"], ["a=3", "b=2"]], [["a=3", "b=2"], ["a=1,2", "b=1"]]),
        ([["a=1", "b=1"], ["a=2", "b=2"]], [["a=1", "b=1"], ["a=2", "b=2"]]),
        ([["a=1", "b=1"], ["a=2", "b=1"], ["a=1", "b=2"], ["a=2", "b=2"]], [["a=1,2", "b=1,2"]]),
        ([["a=1"], ["a=1", "b=2"]], [["a=1"], ["a=1", "b=2"]]),
    ],
)
def test_what_was_chosen_is_run_in_as_few_sweeps_as_have_no_other_runs(several, fewer):
    assert sorted(together(several)) == sorted(fewer)


def test_every_claim_that_is_named_is_there():
    """In the documents, and in what the package says of itself."""
    documents = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "conf/experiment/claims").rglob("*.yaml")]
    documents += [*(ROOT / "src").rglob("*.py")]
    named = {
        (path.name, word)
        for path in documents
        for command in re.findall(r"scripts/claims\.py((?: [\w/]+(?![\w/.=]))+)", path.read_text())
        for word in command.split()
    }
    assert len(named) > 40
    known = {*Claims(ROOT / "conf").names(), "NAME", "my_warmup"}  # the last is written in the tutorial
    assert {(file, word) for file, word in named if word not in known} == set()
