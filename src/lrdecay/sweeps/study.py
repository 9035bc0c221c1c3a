"""Optuna's study of a search: its trials, told as the runs of each end, and what it shows in the end."""

import contextlib
import itertools
import logging
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrdecay.config.overrides import key_of
from lrdecay.errors import ConfigError
from lrdecay.metrics import Metrics
from lrdecay.records.record import Record
from lrdecay.records.studies import JOURNAL, quiet, storage_of
from lrdecay.reports.search import enough_to_weigh
from lrdecay.sweeps.space import Space

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "random", "grid", "cmaes", "gp", "nsga")


def open_study(
    folder: Path, storage: str | None, objectives: Sequence[str], metrics: Metrics, **kept: Any
) -> "optuna.Study":
    """The study of a sweep's folder, or a new one.

    Args:
        folder: of the sweep; the study has its name.
        storage: URL of a database, or ``None``.
        objectives: names.
        metrics: what runs measure.
        kept: what must be the same at each launch.

    Raises:
        ConfigError: Optuna is not installed, the storage cannot be used, or the study there is another.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ConfigError('hydra/sweeper=optuna: needs Optuna: pip install -e ".[optuna]"') from error
    optuna.logging.set_verbosity(logging.ERROR)
    with _one_line(f"hydra.sweeper.storage={storage or folder / JOURNAL}"), quiet():
        study = optuna.create_study(
            storage=storage_of(folder, storage),
            study_name=folder.name,
            directions=["minimize" if _lower(name, metrics) else "maximize" for name in objectives],
            load_if_exists=True,
        )
    for key, value in {"objective": list(objectives), **kept}.items():
        before = study.user_attrs.get(key, value)
        if before != value:
            raise ConfigError(f"name={folder.name}: the search there has {_differing(before, value)}; use another name")
        study.set_user_attr(key, value)
    return study


def _differing(before: Any, now: Any) -> str:
    """What is there that is not wanted now, and the other way round."""
    there, wanted = ([*map(str, side)] if isinstance(side, list) else [str(side)] for side in (before, now))
    lost = " ".join(word for word in there if word not in wanted)
    new = " ".join(word for word in wanted if word not in there)
    return f"{lost or 'nothing'} where this one has {new or 'nothing'}"


def make_sampler(name: str, seed: int) -> "optuna.samplers.BaseSampler":
    """One of `SAMPLERS`; a grid is not sampled, but enqueued.

    Raises:
        ConfigError: what it needs is not installed.
    """
    import optuna

    samplers = optuna.samplers
    makers: dict[str, Any] = {
        "tpe": samplers.TPESampler, "random": samplers.RandomSampler, "grid": samplers.RandomSampler,
        "cmaes": samplers.CmaEsSampler, "gp": samplers.GPSampler, "nsga": samplers.NSGAIISampler,
    }  # fmt: skip
    with _one_line(f"hydra.sweeper.sampler={name}"), quiet():
        made: optuna.samplers.BaseSampler = makers[name](seed=seed)
        return made


def enqueue_grid(study: "optuna.Study", space: Space, has: Callable[[Sequence[str], str], bool]) -> int:
    """Enqueues what is missing of all combinations of the values, and counts all.

    Raises:
        ConfigError: a key has no list of values.
    """
    import optuna

    if endless := [one.given for one in space.dimensions if not one.choices]:
        raise ConfigError(f"{endless[0]}: must list its values, as in key=a,b,c, with hydra.sweeper.sampler=grid")
    keys = [one.key for one in space.dimensions]
    several: dict[tuple[str, ...], dict[str, str]] = {}
    for values in itertools.product(*(one.choices for one in space.dimensions)):
        whole = dict(zip(keys, values, strict=True))
        chosen = tuple(space.suggest(optuna.trial.FixedTrial(whole), has))
        given = {key_of(word) for word in chosen[len(space.fixed) :]}
        several.setdefault(chosen, {key: value for key, value in whole.items() if key in given})
    for params in several.values():
        study.enqueue_trial(params, skip_if_exists=True)
    return len(several)


def begun(study: "optuna.Study") -> int:
    """How many trials have begun."""
    import optuna

    return sum(trial.state != optuna.trial.TrialState.WAITING for trial in study.get_trials(deepcopy=False))


def interrupted(study: "optuna.Study") -> "list[optuna.trial.FixedTrial]":
    """The trials that were running when the search was stopped, with the values that they have."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    return [optuna.trial.FixedTrial(trial.params, trial.number) for trial in running]


def enqueue_failed(study: "optuna.Study") -> int:
    """Enqueues the values of trials that failed in earlier launches, and counts the trials that were so replaced.

    Of several objectives a trial that diverged has failed too, and would again.
    """
    import optuna

    trials = study.get_trials(deepcopy=False)
    again = {trial.user_attrs["again"] for trial in trials if "again" in trial.user_attrs}
    if len(study.directions) == 1:
        for trial in trials:
            if trial.state == optuna.trial.TrialState.FAIL and trial.params and trial.number not in again:
                study.enqueue_trial(trial.params, user_attrs={"again": trial.number})
                again.add(trial.number)
    return len(again)


def best_of_each(study: "optuna.Study", key: str) -> "list[optuna.trial.FixedTrial]":
    """The best trial with each of the values of a key, in the order of their first trials."""
    import optuna

    better = min if study.direction == optuna.study.StudyDirection.MINIMIZE else max
    trials = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    several: dict[Any, list[Any]] = {}
    for trial in trials:
        if key in trial.params:
            several.setdefault(trial.params[key], []).append(trial)
    best = [better(group, key=lambda trial: trial.value) for group in several.values()]
    return [optuna.trial.FixedTrial(trial.params, trial.number) for trial in best]


def tell(study: "optuna.Study", trial: int, records: Sequence[Record], objectives: Sequence[str]) -> None:
    """What a trial came to: its objectives; where a run diverged, that it is worse than all that did not.

    Args:
        study: of the search.
        trial: its number.
        records: of its runs; none where one of them left no record.
        objectives: names.
    """
    import optuna

    values = values_of(records, objectives) if records else None
    if values is not None:
        study.tell(trial, values)
        return
    bad = any(record.outcome.status in ("diverged", "pruned") for record in records)
    # Samplers take a pruned trial for a bad one, and leave a failed one out; of several objectives none can be pruned.
    worst = bad and len(objectives) == 1
    study.tell(trial, state=optuna.trial.TrialState.PRUNED if worst else optuna.trial.TrialState.FAIL)


def told(study: "optuna.Study", objectives: Sequence[str], metrics: Metrics) -> list[str]:
    """What the search has found, in lines."""
    import optuna

    states = [trial.state for trial in study.trials if trial.state != optuna.trial.TrialState.WAITING]
    complete = states.count(optuna.trial.TrialState.COMPLETE)
    pruned = states.count(optuna.trial.TrialState.PRUNED)
    lines = [f"{complete} of {len(states)} trials gave {' and '.join(objectives)}"]
    if pruned:
        lines[0] += f", {pruned} were pruned or diverged"
    for trial in study.best_trials if complete else []:
        named = zip(objectives, trial.values, strict=True)
        values = ", ".join(f"{name} {_text(name, value, metrics)}" for name, value in named)
        chosen = " ".join(f"{key}={_brief(value)}" for key, value in trial.params.items())
        lines.append(f"best: trial {trial.number}: {values} with {chosen}")
    if len(objectives) == 1 and enough_to_weigh(study):
        with quiet():
            shares = optuna.importance.get_param_importances(study)
        lines.append("importance: " + ", ".join(f"{key} {share:.0%}" for key, share in shares.items()))
    return lines


def _brief(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _text(name: str, value: float, metrics: Metrics) -> str:
    return f"{value:.1f}" if name == "seconds" else metrics[name].text(value)


def values_of(records: Sequence[Record], objectives: Sequence[str]) -> list[float] | None:
    """The objectives of a trial, means over its runs; ``None`` if a run has none, as where it diverged."""
    found = [[_value(record, name) for record in records] for name in objectives]
    if not all(math.isfinite(value) for values in found for value in values):
        return None
    return [statistics.fmean(values) for values in found]


def _value(record: Record, name: str) -> float:
    if record.outcome.status != "completed":
        return math.nan
    value = record.progress.seconds if name == "seconds" else record.outcome.final.get(name)
    return math.nan if value is None else float(value)


def _lower(name: str, metrics: Metrics) -> bool:
    return name == "seconds" or metrics[name].better == "lower"


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    try:
        yield
    except ConfigError:
        raise
    except Exception as error:  # of any of the libraries that a storage or a sampler may use
        raise ConfigError(f"{what}: cannot be used: {' '.join(str(error).split())}") from error
