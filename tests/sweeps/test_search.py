"""``hydra/sweeper=optuna`` as it is used: real trials, told, stopped, continued."""

import json
import signal
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from support import programs

from lrdecay.config.overrides import key_of
from lrdecay.errors import ConfigError
from lrdecay.records.studies import make_pruner
from lrdecay.sweeps.space import read_space

SMALL = ["data=digits", "model=mlp", "model.hidden=[8]", "trainer.max_epochs=1"]
RATES = "optimizer.lr=tag(log,interval(1e-3,1e-1))"


def search(folder: Path, *arguments: str) -> programs.Program:
    words = ["-m", "hydra/sweeper=optuna", "name=it", *SMALL, *arguments]
    return programs.run("train.py", *words, cwd=folder)


def study_of(folder: Path) -> optuna.Study:
    journal = JournalStorage(JournalFileBackend(str(folder / "outputs/sweeps/it/study.journal")))
    return optuna.load_study(study_name="it", storage=journal)


def records(folder: Path) -> dict[int, dict]:
    """By the number of the job, from 0."""
    files = (folder / "outputs/sweeps/it").glob("*/record.json")
    return {int(file.parent.name.split("_")[0]) - 1: json.loads(file.read_text()) for file in files}


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("search")
    words = [RATES, "schedule=step,cosine", "schedule.gamma=interval(0.1,0.9)", "hydra.sweeper.n_trials=5"]
    done = search(folder, *words, "hydra/launcher=parallel", "hydra.sweeper.fresh_seeds=2")
    assert done.process.exitcode == 0, done.text
    assert "5 of 5 trials gave val/acc" in done.text
    return folder


def test_each_trial_is_a_run_and_its_value_that_of_the_validation(searched):
    trials, made = study_of(searched).trials, records(searched)
    assert [trial.number for trial in trials] == sorted(made) == list(range(5))
    for trial in trials:
        record = made[trial.number]
        assert trial.values == [record["final"]["val/acc"]]
        assert record["config"]["optimizer"]["lr"] == pytest.approx(trial.params["optimizer.lr"], rel=1e-5)
        assert record["choices"]["schedule"] == trial.params["schedule"]
        assert ("schedule.gamma" in trial.params) == (trial.params["schedule"] == "step")
        if "schedule.gamma" in trial.params:
            assert record["config"]["schedule"]["gamma"] == pytest.approx(trial.params["schedule.gamma"], rel=1e-5)


def test_the_best_of_each_schedule_is_compared_by_seeds_that_chose_nothing(searched):
    best = {}
    for trial in study_of(searched).trials:
        chosen = best.setdefault(trial.params["schedule"], trial)
        if trial.value > chosen.value:
            best[trial.params["schedule"]] = trial
    assert len(best) == 2
    made = [json.loads(file.read_text()) for file in (searched / "outputs/sweeps/it-best").glob("*/record.json")]
    assert sorted((one["choices"]["schedule"], one["config"]["seed"]) for one in made) == [
        ("cosine", 1001), ("cosine", 1002), ("step", 1001), ("step", 1002),
    ]  # fmt: skip
    for one in made:
        rate = best[one["choices"]["schedule"]].params["optimizer.lr"]
        assert one["config"]["optimizer"]["lr"] == pytest.approx(rate, rel=1e-5)
    assert (searched / "outputs/sweeps/it-best/report.html").is_file()


def test_poor_trials_are_stopped_early(tmp_path):
    words = ["optimizer.lr=0.01,0.02,0.005,0.003,0.03,1e-6,1e-7", "hydra.sweeper.sampler=grid", "trainer.max_epochs=4"]
    words += ["hydra.sweeper.pruner=median", "hydra.sweeper.prune_after=50"]
    done = search(tmp_path, *words)
    assert done.process.exitcode == 0, done.text
    assert "5 of 7 trials gave val/acc, 2 were pruned or diverged" in done.text
    assert "optimizer.lr=1e-06: pruned: at step 36 of 72" in done.text
    made = records(tmp_path)
    outcomes = {one["config"]["optimizer"]["lr"]: (one["status"], len(one["epochs"])) for one in made.values()}
    assert outcomes[0.01] == ("completed", 4)
    assert outcomes[1e-6] == outcomes[1e-7] == ("pruned", 2)
    states = {float(trial.params["optimizer.lr"]): trial.state for trial in study_of(tmp_path).trials}
    assert states[1e-6] == TrialState.PRUNED
    reported = study_of(tmp_path).trials[0].intermediate_values
    assert list(reported) == [25, 50, 75], "by the part of the run, so that long and short ones compare"
    assert "Intermediate Values Plot" in (tmp_path / "outputs/sweeps/it/search.html").read_text()
    again = search(tmp_path, *words)
    assert again.process.exitcode == 0, again.text
    assert records(tmp_path) == made


@pytest.mark.parametrize(("pruner", "stops"), [("median", range(11, 21)), ("percentile", range(16, 21))])
def test_what_a_pruner_stops(pruner, stops):
    study = optuna.create_study(pruner=make_pruner(pruner, after=25))
    for value in range(1, 21):
        trial = study.ask()
        trial.report(value, 50)
        study.tell(trial, value)
    for value in range(1, 21):
        trial = study.ask()
        trial.report(value, 20)
        assert not trial.should_prune(), "before it may"
        trial.report(value, 50)
        assert trial.should_prune() == (value in stops)


def test_runs_of_several_processes_are_not_pruned(tmp_path):
    done = search(tmp_path, RATES, "trainer=ddp_cpu", "hydra.sweeper.pruner=median", "hydra.sweeper.n_trials=1")
    assert done.process.exitcode == 1
    assert "hydra.sweeper.pruner: must be null for runs of several processes" in done.text


def test_there_is_a_page_with_the_figures(searched):
    page = (searched / "outputs/sweeps/it/search.html").read_text()
    for text in ("Search it", "best: trial", "Optimization History Plot", "Slice Plot", "Contour Plot"):
        assert text in page
    assert (searched / "outputs/sweeps/it/report.html").is_file()


def test_the_same_command_with_more_trials_goes_on(searched):
    before = records(searched)
    words = [RATES, "schedule=step,cosine", "schedule.gamma=interval(0.1,0.9)", "hydra.sweeper.n_trials=7"]
    done = search(searched, *words)
    assert done.process.exitcode == 0, done.text
    after = records(searched)
    assert sorted(after) == list(range(7))
    assert {number: after[number]["digest"] for number in before} == {n: one["digest"] for n, one in before.items()}
    assert len({trial.params["optimizer.lr"] for trial in study_of(searched).trials}) == 7
    wider = search(searched, *words, "optimizer.lr=interval(0.1,1)")
    assert wider.process.exitcode == 1
    assert f"the search there has {RATES} where this one has optimizer.lr=interval(0.1,1); use another" in wider.text
    other = search(searched, *words, "trainer.max_epochs=2")
    assert other.process.exitcode == 1
    assert "name=it: the search there has trainer.max_epochs=1 where this one has trainer.max_epochs=2" in other.text


@pytest.mark.parametrize("launcher", ["basic", "parallel"])
def test_what_was_interrupted_resumes(launcher, tmp_path):
    words = [
        "-m",
        "hydra/sweeper=optuna",
        "name=it",
        *SMALL,
        "trainer.max_epochs=60",
        RATES,
        "hydra.sweeper.n_trials=3",
    ]
    program = programs.start("train.py", *words, f"hydra/launcher={launcher}", cwd=tmp_path)
    program.until(lambda: list(tmp_path.glob("outputs/sweeps/it/*/checkpoints/last.ckpt")))
    program.signal(signal.SIGTERM)
    assert program.wait() == 128 + signal.SIGTERM
    begun = {trial.number: trial.params for trial in study_of(tmp_path).trials}
    assert TrialState.RUNNING in [trial.state for trial in study_of(tmp_path).trials]
    done = programs.run("train.py", *words, f"hydra/launcher={launcher}", cwd=tmp_path)
    assert done.process.exitcode == 0, done.text
    assert any(record["resumed"] for record in records(tmp_path).values())
    trials = study_of(tmp_path).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert {number: trials[number].params for number in begun} == begun
    assert sorted(records(tmp_path)) == [0, 1, 2]


def test_a_trial_that_was_stopped_before_it_had_its_values_is_given_up(tmp_path):
    words = [RATES, "schedule=cosine,linear"]
    assert search(tmp_path, *words, "hydra.sweeper.n_trials=1").process.exitcode == 0
    study_of(tmp_path).ask()
    done = search(tmp_path, *words, "hydra.sweeper.n_trials=3")
    assert done.process.exitcode == 0, done.text
    states = [trial.state for trial in study_of(tmp_path).trials]
    assert states == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]


def test_a_trial_that_failed_is_tried_again(tmp_path):
    (tmp_path / "trouble.py").write_text(
        "from pathlib import Path\nfrom lrdecay.training.models import MLP\n\ndef make(**sizes):\n"
        "    if not Path('mended').exists():\n        raise RuntimeError('broken')\n    return MLP(hidden=[4])\n"
    )
    words = [
        "-m",
        "hydra/sweeper=optuna",
        "name=it",
        "data=digits",
        "trainer.max_epochs=1",
        "model._target_=trouble.make",
    ]
    words += ["optimizer.lr=0.01,0.02", "hydra.sweeper.sampler=grid"]
    broken = programs.run("train.py", *words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert broken.process.exitcode == 1
    assert [trial.state for trial in study_of(tmp_path).trials] == [TrialState.FAIL] * 2
    (tmp_path / "mended").touch()
    done = programs.run("train.py", *words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.process.exitcode == 0, done.text
    trials = study_of(tmp_path).trials
    assert [trial.state for trial in trials] == [TrialState.FAIL] * 2 + [TrialState.COMPLETE] * 2
    assert [trial.params for trial in trials[:2]] == [trial.params for trial in trials[2:]]
    again = programs.run("train.py", *words, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert len(study_of(tmp_path).trials) == 4, again.text


def test_the_objective_is_a_mean_over_seeds(tmp_path):
    done = search(tmp_path, "schedule=cosine,linear", "hydra.sweeper.seeds=2", "hydra.sweeper.sampler=grid")
    assert done.process.exitcode == 0, done.text
    assert "2 trials of 2 runs" in done.text
    made = records(tmp_path)
    assert [made[number]["config"]["seed"] for number in range(4)] == [1, 2, 1, 2]
    for trial in study_of(tmp_path).trials:
        own = [made[2 * trial.number + i]["final"]["val/acc"] for i in (0, 1)]
        assert trial.value == pytest.approx(sum(own) / 2)


def test_a_grid_is_every_combination_once(tmp_path):
    words = ["schedule=step,cosine", "schedule.gamma=0.1,0.5", "optimizer.lr=0.01,0.001", "hydra.sweeper.sampler=grid"]
    done = search(tmp_path, *words, "hydra.sweeper.n_trials=4")
    assert done.process.exitcode == 0, done.text
    assert search(tmp_path, *words, "hydra.sweeper.n_trials=99").process.exitcode == 0
    found = {tuple(sorted(trial.params.items())) for trial in study_of(tmp_path).trials}
    assert len(study_of(tmp_path).trials) == len(found) == 6


def test_what_diverges_is_worse_than_all_others(tmp_path):
    words = ["optimizer=sgd", "optimizer.lr=0.1,1e30", "hydra.sweeper.sampler=grid", "hydra.sweeper.objective=val/loss"]
    done = search(tmp_path, *words)
    assert "1 of 2 trials gave val/loss" in done.text
    states = {trial.params["optimizer.lr"]: trial.state for trial in study_of(tmp_path).trials}
    assert states == {"0.1": TrialState.COMPLETE, "1e+30": TrialState.PRUNED}


@pytest.mark.parametrize("sampler", ["random", "cmaes", "gp", "nsga"])
def test_every_sampler_of_several_keys(sampler, tmp_path):
    done = search(
        tmp_path, RATES, "schedule.final=range(0,0.5,step=0.1)", "data.batch_size=int(interval(32,64))",
        f"hydra.sweeper.sampler={sampler}", "hydra.sweeper.n_trials=2", "schedule=cosine",
    )  # fmt: skip
    assert done.process.exitcode == 0, done.text
    for record in records(tmp_path).values():
        assert 32 <= record["config"]["data"]["batch_size"] <= 64
        assert record["config"]["schedule"]["final"] in (0, 0.1, 0.2, 0.3, 0.4)


def test_several_objectives_in_a_database(tmp_path):
    storage = f"sqlite:///{tmp_path}/study.db"
    words = [
        "hydra.sweeper.objective=[val/loss,seconds]",
        f"hydra.sweeper.storage='{storage}'",
        "hydra.sweeper.n_trials=2",
    ]
    done = search(tmp_path, RATES, *words)
    assert done.process.exitcode == 0, done.text
    (best, *_) = optuna.load_study(study_name="it", storage=storage).best_trials
    assert len(best.values) == 2
    assert "Pareto" in (tmp_path / "outputs/sweeps/it/search.html").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "error: hydra/sweeper=optuna: must have a key to search over"),
        (
            ["optimizer.lr=interval(0.1,0.1)"],
            "error: optimizer.lr=interval(0.1,0.1): must have a lower and a higher end",
        ),
        (["optimizer.lr=interval(0.1,0.01)"], "error: optimizer.lr=interval(0.1,0.01): must have a lower and a higher"),
        (["optimizer.lr=tag(log,interval(0,1))"], "error: optimizer.lr=tag(log,interval(0,1)): must begin above 0"),
        (
            [RATES, "hydra.sweeper.sampler=magic"],
            "error: hydra.sweeper.sampler=magic: must be one of tpe, random, grid",
        ),
        ([RATES, "hydra.sweeper.sampler=grid"], f"error: {RATES}: must list its values"),
        ([RATES, "hydra.sweeper.n_trials=0"], "error: hydra.sweeper.n_trials=0: must be an integer, at least 1"),
        ([RATES, "hydra.sweeper.objective=test/acc"], "error: hydra.sweeper.objective=test/acc: must be among val/acc"),
        ([RATES, "seed=1", "hydra.sweeper.seeds=2"], "error: seed: cannot be combined with hydra.sweeper.seeds"),
        (
            [RATES, "hydra.sweeper.pruner=axe"],
            "error: hydra.sweeper.pruner=axe: must be one of median, percentile, hyp",
        ),
        ([RATES, "hydra.sweeper.prune_after=0"], "error: hydra.sweeper.prune_after=0: must be a percentage of the run"),
        (
            [RATES, "hydra.sweeper.pruner=median", "hydra.sweeper.seeds=2"],
            "error: hydra.sweeper.pruner=median: needs hydra.sweeper.seeds=1",
        ),
        ([RATES, "hydra.sweeper.fresh_seeds=-1"], "error: hydra.sweeper.fresh_seeds=-1: must be an integer, at least"),
        (["seed=1,2"], "error: seed: cannot be searched over"),
        ([RATES, "resume=somewhere"], "error: resume: cannot be combined with -m"),
        ([RATES, "hydra.sweeper.storage=nonsense://x"], "error: hydra.sweeper.storage=nonsense://x: cannot be used"),
        ([RATES, "schedule=nonsense,cosine"], "error: schedule=nonsense: must be one of constant, cosine"),
        (["schedule.gamma=0.1,0.5", "schedule=linear,cosine"], "error: schedule.gamma=0.1,0.5: no such key"),
        ([RATES, "schedule=cosine", "optimizer.nonsense=1"], "error: optimizer.nonsense: no such key"),
    ],
    ids=range(19),
)
def test_bad_input_is_one_line(words, message, tmp_path):
    done = search(tmp_path, *words)
    assert done.process.exitcode == 1
    assert message in done.text
    assert done.text.count("\n") == 1
    assert not list(tmp_path.glob("outputs/sweeps/*/*/record.json"))


class TestSpace:
    def read(self, *words: str):
        return read_space(words, ["schedule"], None)

    def test_choices_of_groups_come_first(self):
        space = self.read("schedule.gamma=0.1,0.5", "seed=1", "schedule=step,cosine")
        assert [one.key for one in space.dimensions] == ["schedule", "schedule.gamma"]
        assert [key_of(word) for word in space.fixed] == ["seed"]

    def test_a_key_that_is_given_twice_counts_as_the_last(self):
        space = self.read("optimizer.lr=interval(1,2)", "optimizer.lr=interval(3,4)")
        assert [(one.low, one.high) for one in space.dimensions] == [(3, 4)]

    def test_whole_numbers(self):
        (dimension,) = self.read("a=int(interval(2,9))").dimensions
        drawn = {dimension.suggest(optuna.trial.FixedTrial({"a": value})) for value in (2, 9)}
        assert drawn == {"2", "9"}

    def test_values_are_as_hydra_reads_them(self):
        (dimension,) = self.read("a=[1,2],'x y',null,0.10").dimensions
        assert dimension.choices == ("[1,2]", "'x y'", "null", "0.1")

    def test_an_empty_space_is_refused(self):
        with pytest.raises(ConfigError, match="must have a key to search over"):
            self.read("a=1")
