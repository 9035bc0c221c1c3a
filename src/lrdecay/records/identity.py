"""Which runs repeat each other: what of a configuration determines a run's result."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lrdecay.data.catalogue import FITTED, is_own, model_sizes, resampled
from lrdecay.errors import BadValue
from lrdecay.records.renames import renamed
from lrdecay.schedules.durations import Duration

# Keys of the configuration that change where or how a run reports, not its result. Which data set was used is known
# from the run: data=auto may be either.
WITHOUT_EFFECT = (
    "name",
    "output_dir",
    "trust",
    "claim",
    "fixed_split",
    "logger",
    "metric",
    "metrics",
    "callbacks.checkpoints",
    "callbacks.gradient_norm",
    "callbacks.progress",
    "data._target_",
    "data.root",
    "data.download",
    "trainer.default_root_dir",
    "trainer.enable_autolog_hparams",
    "trainer.enable_checkpointing",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.limit_predict_batches",
    "trainer.log_every_n_steps",
    "trainer.model_registry",
    "trainer.profiler",
)

# A key of the trainer that is not there, or null, is Lightning's default, and these are Lightning's that are not null:
# runs of configurations with and without the key are one and the same.
LIGHTNING_DEFAULTS = {
    "trainer.accelerator": "auto",
    "trainer.strategy": "auto",
    "trainer.num_nodes": 1,
    "trainer.fast_dev_run": False,
    "trainer.max_steps": -1,
    "trainer.overfit_batches": 0.0,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.inference_mode": True,
    "trainer.use_distributed_sampler": True,
    "trainer.detect_anomaly": False,
    "trainer.barebones": False,
    "trainer.sync_batchnorm": False,
    "trainer.reload_dataloaders_every_n_epochs": 0,
}

ENDS = ("trainer.max_epochs", "trainer.max_steps")

# Keys that came later, with the values that mean what runs without the key did.
SINCE_ADDED = {
    "process.dense": "torch", "optimizer.groups": None, "schedule.beta": 0.5, "duration": None, "ssr": 1.0,
    "label_smoothing": 0.0, "module._target_": None,
}  # fmt: skip


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@functools.cache
def has_effect(key: str) -> bool:
    """Whether a key of the configuration can change a run's result."""
    return not any(key == name or key.startswith(name + ".") for name in WITHOUT_EFFECT)


def determining(config: Mapping[str, Any], used: str | None) -> dict[str, Any]:
    """The flat configuration without what has no effect on the result, or says no more than its absence would.

    Args:
        config: a run's.
        used: the data set that it used.
    """
    config = renamed(dict(config))  # a run of version 0.1 is the same run under the names of now
    data = config.get("data")
    target = data.get("_target_") if isinstance(data, Mapping) else None
    sizes = model_sizes(target)
    flat = flatten(config)
    own = flat.get("module._target_") is not None  # which has the model among its arguments, if it has one at all
    if flat.get("duration") is not None:  # in place of what the trainer says
        flat = {key: value for key, value in flat.items() if key not in ENDS}
        flat["duration"] = _written(flat["duration"])
    if is_own(target) and resampled(used, flat.pop("data.resample", False)):  # runs older than the key are not
        flat["data.resample"] = True
    return {
        key: value
        for key, value in flat.items()
        if has_effect(key)
        and not _is_of_points(key, flat)
        and not _is_default(key, value)
        and not _is_of_the_data(key, value, sizes)
        and not (own and key.startswith("model."))
    }


def _written(duration: Any) -> str:
    """A duration in one way of several: 20 and "20steps" are the same."""
    try:
        return str(Duration.parse(duration))
    except BadValue:
        return str(duration)  # of a run that was refused


def _is_of_points(key: str, flat: Mapping[str, Any]) -> bool:
    """Whether it is the file that a table's points were read from, which are there themselves."""
    of_a_table = key.startswith(("schedule.", "scheduled.")) and key.endswith(".csv")
    return of_a_table and flat.get(f"{key[:-4]}.points") is not None


def _is_default(key: str, value: Any) -> bool:
    if key in SINCE_ADDED:
        return bool(value == SINCE_ADDED[key])
    # check_val_every_n_epoch is the one whose null means something else.
    null = value is None and key != "trainer.check_val_every_n_epoch"
    return key.startswith("trainer.") and (null or value == LIGHTNING_DEFAULTS.get(key, ...))


def _is_of_the_data(key: str, value: Any, sizes: Mapping[str, Any]) -> bool:
    """Whether a model's size is what it takes from the data anyway."""
    group, _, name = key.partition(".")
    return group == "model" and name in FITTED and value in (None, sizes.get(name))


def comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the numbers of the optimizer in one way of two: a rate of 1.0 is one of 1.

    Elsewhere it may be another thing: to Lightning 1.0 is all batches and 1 a single one.
    """
    return {
        key: int(value) if key.startswith("optimizer.") and isinstance(value, float) and value.is_integer() else value
        for key, value in settings.items()
    }


def identity(settings: Mapping[str, Any]) -> str:
    """The same for settings that mean the same."""
    return json.dumps(comparable(settings), sort_keys=True, default=str)


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """``key=now, which was earlier`` for each key that differs between two flat configurations."""
    one, two = comparable(earlier), comparable(now)
    return [
        f"{key}={now.get(key)}, which was {earlier.get(key)}"
        for key in sorted(one.keys() | two.keys())
        if json.dumps(one.get(key), default=str) != json.dumps(two.get(key), default=str)
    ]


def result_hash(config: Mapping[str, Any], data: str | None, resumed: Sequence[Mapping[str, Any]] = ()) -> str:
    """Hash of what determines a run's result, the data set used among it: equal for runs that repeat each other.

    Args:
        config: the run's.
        data: the data set that was used.
        resumed: see `Record`; resuming exactly where a run stopped leaves its result as it is.
    """
    modes = [row for row in resumed if "mode" in row]
    text = json.dumps(determining(config, data) | {"data": data, "resumed": modes}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
