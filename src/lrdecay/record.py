"""What a run leaves on disk about itself: ``record.json``, plain values, written whole or not at all."""

import dataclasses
import hashlib
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

SCHEMA = 2
FILE = "record.json"
PACKAGES = ("lrdecay", "torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "numpy")
STATUSES = ("running", "completed", "failed", "diverged", "interrupted")
Status = Literal["running", "completed", "failed", "diverged", "interrupted"]

# Keys of the configuration that change where or how a run reports, not its result. Which data set was used is known
# from the run: data=auto may be either.
WITHOUT_EFFECT = (
    "name",
    "output_dir",
    "logger",
    "metric",
    "callbacks.best",
    "callbacks.last",
    "callbacks.progress",
    "data._target_",
    "data.root",
    "data.download",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.profiler",
)


class RecordError(ValueError):
    """A file is not a record; the message is one line that names it."""


@dataclass
class Record:
    """A run, as one JSON object.

    ``epochs`` holds a row for each finished epoch (epoch, step, lr, train/…, val/…); ``rates`` some hundred (step, lr)
    pairs over the whole run; ``final`` the metrics of the final weights, test among them; ``best`` the row of the epoch
    with the best value of the monitored metric; ``epoch_seconds`` how long each epoch took, validation and checkpoints
    included; ``process`` what was done to the process to make it faster.
    """

    directory: Path
    config: dict[str, Any]
    choices: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    status: Status = "running"
    error: str | None = None
    traceback: str | None = None
    data: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    parameters: int | None = None
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    device: str | None = None
    threads: int | None = None
    process: list[str] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    rates: list[tuple[int, float]] = field(default_factory=list)
    final: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    seconds: float | None = None
    epoch_seconds: list[float] = field(default_factory=list)
    result_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @classmethod
    def start(
        cls,
        directory: Path,
        config: Mapping[str, Any],
        choices: Mapping[str, str],
        overrides: Iterable[str],
    ) -> "Record":
        """The record of a run that begins now."""
        versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
        return cls(
            directory=directory,
            config=dict(config),
            choices=dict(choices),
            overrides=list(overrides),
            versions=versions,
        )

    def write(self) -> None:
        """Writes ``record.json`` into the run's directory, atomically."""
        self.seconds = time.time() - self.started
        self.result_hash = result_hash(self.config, self.data)
        values = dataclasses.asdict(self)
        del values["directory"]
        text = json.dumps(_finite(values), indent=1, allow_nan=False)
        write_atomically(self.directory / FILE, text.encode())


def read(path: Path) -> Record:
    """Reads a ``record.json``.

    Raises:
        RecordError: it cannot be read, is not whole, or is not a record of this version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: not a whole record ({error})") from error
    if isinstance(values, dict) and values.get("schema") == 1:
        values = _upgraded(values)
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise RecordError(f"{path}: not a record of schema {SCHEMA}")
    names = {f.name for f in dataclasses.fields(Record)} - {"directory"}
    if set(values) != names or values["status"] not in STATUSES:
        raise RecordError(f"{path}: not a record of schema {SCHEMA}: other keys or status than it has")
    return Record(directory=path.parent, **values)


def _upgraded(values: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 1, which had only the mean of the seconds and left the process alone, as one of schema 2."""
    mean, epochs, config = values.pop("seconds_per_epoch", None), values.get("epochs"), values.get("config")
    if isinstance(config, dict):
        config["process"] = {"tune": False, "threads": None}
    seconds = [mean] * len(epochs) if mean is not None and isinstance(epochs, list) else []
    return values | {"schema": SCHEMA, "epoch_seconds": seconds, "process": []}


def find(paths: Iterable[Path]) -> list[Path]:
    """Every ``record.json`` in the folders given and below, sorted, each once."""
    found = {file.resolve(): file for path in paths for file in path.rglob(FILE)}
    return sorted(found.values())


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def determining(config: Mapping[str, Any]) -> dict[str, Any]:
    """The flat configuration without the keys that have no effect on the result."""
    return {
        key: value
        for key, value in flatten(config).items()
        if not any(key == name or key.startswith(name + ".") for name in WITHOUT_EFFECT)
    }


def result_hash(config: Mapping[str, Any], data: str | None) -> str:
    """Hash of what determines a run's result, the data set used among it: equal for runs that repeat each other."""
    text = json.dumps(determining(config) | {"data": data}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_atomically(path: Path, content: bytes) -> None:
    """Writes the file whole or not at all: a temporary file in the same folder, fsync, replace."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)  # as any other file here; temporary ones are private
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as None, which JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
