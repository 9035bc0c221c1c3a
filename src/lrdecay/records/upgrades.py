"""Records of earlier schemas, brought to the present one as they are read."""

from collections.abc import Callable
from typing import Any


def upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a record, step by step to the present schema; unchanged where there is no step."""
    while isinstance(values.get("config"), dict) and (step := STEPS.get(_schema(values))):
        values = step(values)
    return values


def _schema(values: dict[str, Any]) -> int | None:
    schema = values.get("schema")
    return schema if isinstance(schema, int) else None


def _from_1(values: dict[str, Any]) -> dict[str, Any]:
    """Schema 1 had only the mean of the seconds, and left the process alone."""
    mean, epochs = values.pop("seconds_per_epoch", None), values.get("epochs")
    values["config"]["process"] = {"tune": False, "threads": None}
    seconds = [mean] * len(epochs) if mean is not None and isinstance(epochs, list) else []
    return values | {"schema": 2, "epoch_seconds": seconds, "process": []}


def _from_2(values: dict[str, Any]) -> dict[str, Any]:
    """Schema 2 did not know its code, could not resume, and stopped at a divergence."""
    config = values["config"] | {"on_divergence": "stop", "resume": None, "resume_mode": None}
    for name, key, value in (("data", "shift", 0), ("model", "dropout", 0.0)):
        node = config.get(name)
        if isinstance(node, dict) and str(node.get("_target_")).startswith("lrdecay."):
            config[name] = node | {key: value}
    unknown: dict[str, Any] = {"command": [], "commit": None, "dirty": None, "code": None, "composed": {}}
    unknown |= {"resumed": [], "divergence": None}
    return values | {"schema": 3, "config": config, "seconds": values.get("seconds") or 0.0} | unknown


def _from_3(values: dict[str, Any]) -> dict[str, Any]:
    """Schema 3 took the plan for what happened: where a completed run really ended is known from its last epoch."""
    rows, total, ended_by = values.get("epochs"), values.get("total_steps"), None
    last = rows[-1].get("step") if isinstance(rows, list) and rows and isinstance(rows[-1], dict) else None
    steps = last + 1 if isinstance(last, int) else None
    if values.get("status") == "completed" and isinstance(total, int) and steps is not None and steps < total:
        ended_by = _reason(values["config"])
    return values | {"schema": 4, "steps": steps, "ended_by": ended_by}


def _from_4(values: dict[str, Any]) -> dict[str, Any]:
    """Schema 4 measured no step: no duration could be a time."""
    return values | {"schema": 5, "seconds_per_step": None}


def _reason(config: dict[str, Any]) -> str:
    callbacks, trainer = config.get("callbacks"), config.get("trainer")
    if isinstance(trainer, dict) and trainer.get("max_time"):
        return "time limit"
    if isinstance(callbacks, dict) and any("EarlyStopping" in str(node) for node in callbacks.values()):
        return "early stopping"
    return "not recorded why"


STEPS: dict[int | None, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4}
