"""What a run leaves on disk about itself: ``record.json``, plain values, written whole or not at all."""

import dataclasses
import hashlib
import json
import math
import os
import platform
import re
import time
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from lrdecay.files import write_atomically
from lrdecay.identity import result_hash
from lrdecay.provenance import provenance
from lrdecay.upgrades import upgraded

SCHEMA = 4
DIGESTED_SINCE = 3
FILE = "record.json"
MOST_BYTES = 2**28
MOST = 1e300
"""Of a number, so that one can be reckoned with: JSON knows no bounds."""
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
ESCAPED = re.compile(r"\\([rbf]|u00[0189]|u[dD][89a-fA-F])")
PACKAGES = (
    "lrdecay", "torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "numpy", "schedulefree",
    "scikit-learn",
)  # fmt: skip
STATUSES = ("running", "completed", "failed", "diverged", "interrupted")
Status = Literal["running", "completed", "failed", "diverged", "interrupted"]


class RecordError(ValueError):
    """A file is not a record; the message is one line that names it."""


@dataclass
class Record:
    """A run, as one JSON object.

    Attributes:
        config: what was used; ``composed`` is the same before its interpolations were resolved.
        command: the words that started it.
        commit: see `provenance`, as for ``dirty`` and ``code``.
        process: what was done to the process to make it faster.
        epochs: a row for each finished epoch: epoch, step, lr, train/…, val/…; see `Classifier`.
        rates: some two hundred (step, lr) pairs over the whole run.
        final: the metrics of the final weights, test among them.
        best: the measurement with the best value of the monitored metric: the row of its epoch, or, of one within an
            epoch, its own epoch, step, lr and val/…; ``best.ckpt`` has the weights that it was made with.
        seconds: those spent on it, without what was lost and done again.
        epoch_seconds: how long each epoch took, validation and checkpoints included.
        total_steps: optimizer steps that were planned, the schedule's T.
        steps: optimizer steps that were done.
        ended_by: what ended a completed run at another step than planned; ``None`` where nothing did.
        resumed: a row for each time it went on: the step, and the mode where that changed what is trained.
        divergence: the first loss that was not finite: step, lr, and the last finite one with its step.
    """

    directory: Path
    config: dict[str, Any]
    choices: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)
    composed: dict[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=list)
    commit: str | None = None
    dirty: bool | None = None
    code: str | None = None
    status: Status = "running"
    error: str | None = None
    traceback: str | None = None
    data: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    parameters: int | None = None
    total_steps: int | None = None
    steps: int | None = None
    ended_by: str | None = None
    steps_per_epoch: int | None = None
    device: str | None = None
    threads: int | None = None
    process: list[str] = field(default_factory=list)
    epochs: list[dict[str, float | None]] = field(default_factory=list)
    rates: list[tuple[int, float]] = field(default_factory=list)
    final: dict[str, float | None] = field(default_factory=dict)
    best: dict[str, float | None] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    seconds: float = 0.0
    epoch_seconds: list[float] = field(default_factory=list)
    resumed: list[dict[str, Any]] = field(default_factory=list)
    divergence: dict[str, Any] | None = None
    result_hash: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        self.underway = True
        """Whether it stands for the run now, rather than for how that was before it goes on."""
        self.go_on(self.seconds)

    def go_on(self, seconds: float) -> None:
        """Counts `seconds` from now on, after so many of earlier."""
        self._began = time.monotonic() - seconds

    def elapsed(self) -> float:
        """Seconds spent on the run until now."""
        return time.monotonic() - self._began

    @classmethod
    def start(
        cls,
        directory: Path,
        config: Mapping[str, Any],
        choices: Mapping[str, str],
        overrides: Iterable[str],
        command: Iterable[str] = (),
    ) -> "Record":
        """The record of a run that begins now."""
        versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
        return cls(
            directory=directory,
            config=dict(config),
            composed=dict(config),
            choices=dict(choices),
            overrides=list(overrides),
            command=list(command),
            versions=versions,
            **provenance(),
        )

    @property
    def whole(self) -> bool:
        """Whether the run came to the end that was planned."""
        return self.status == "completed" and self.ended_by is None

    @property
    def cut_short(self) -> str:
        """``ended at step 61 of 360 (time limit)``, where another end than the planned one came; else nothing."""
        if self.ended_by is None:
            return ""
        steps, total = (f"{number:,}" if number is not None else "?" for number in (self.steps, self.total_steps))
        return f"ended at step {steps} of {total} ({self.ended_by})"

    @property
    def settled(self) -> bool:
        """Whether the run would come to the same again."""
        return self.status == "completed" or (self.status == "diverged" and self.code == provenance()["code"])

    @property
    def file(self) -> Path:
        """Where it is written."""
        return self.directory / FILE

    def write(self) -> None:
        """Writes ``record.json`` into the run's directory, atomically."""
        self.seconds = self.elapsed()
        self.result_hash = result_hash(self.config, self.data, self.resumed)
        values = dataclasses.asdict(self)
        del values["directory"]
        values = json.loads(json.dumps(_finite(values), allow_nan=False))  # with the keys that will be read
        text = json.dumps(values | {"digest": digest(values)}, indent=1, allow_nan=False)
        write_atomically(self.file, text.encode())


def read(path: Path) -> Record:
    """Reads a ``record.json``.

    Raises:
        RecordError: it cannot be read, is not whole, or is not a record of this version.
    """
    values = _json(path)
    if not isinstance(values, dict):
        raise RecordError(f"{path}: not a record of schema {SCHEMA}")
    values = upgraded(values)
    if values.get("schema") != SCHEMA:
        raise RecordError(f"{path}: not a record of schema {SCHEMA}")
    hints = typing.get_type_hints(Record)
    del hints["directory"]
    if others := sorted(set(values) ^ set(hints)):
        raise RecordError(f"{path}: not a record of schema {SCHEMA}: missing or unexpected field {others[0]}")
    for name, hint in hints.items():
        if not is_of(values[name], hint):
            raise RecordError(f"{path}: not a whole record: {name} is {str(values[name])[:80]!r}")
    return Record(directory=path.parent, **values)


def _json(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MOST_BYTES:
            raise RecordError(f"{path}: not a whole record (no file, or one of {size:,} bytes)")
        text = path.read_text(encoding="utf-8")
        values = json.loads(text)
        digested = isinstance(values, dict) and values.get("schema") in range(DIGESTED_SINCE, SCHEMA + 1)
        if digested and values.pop("digest", None) != digest(values):
            raise RecordError(f"{path}: not a whole record: checksum mismatch")
        return _printable(values) if CONTROL.search(text) or ESCAPED.search(text) else values
    except (OSError, ValueError, RecursionError, AttributeError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: not a whole record ({error})") from error


def _printable(value: Any) -> Any:
    """The same without control characters: a stranger's strings are shown on terminals, which would obey them."""
    if isinstance(value, str):
        return CONTROL.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def digest(values: Mapping[str, Any]) -> str:
    """What shows whether a record is as it was written."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def is_of(value: object, hint: Any) -> bool:
    """Whether a value from a file is of an annotated type, all the way down; a number is a finite one."""
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is Any:
        return True
    if origin is Literal:
        return value in arguments
    if origin in (types.UnionType, typing.Union):
        return any(is_of(value, one) for one in arguments)
    if origin is dict:
        of_key, of_value = arguments
        return isinstance(value, dict) and all(is_of(k, of_key) and is_of(v, of_value) for k, v in value.items())
    if origin is list:
        return isinstance(value, list) and all(is_of(item, arguments[0]) for item in value)
    if origin is tuple:  # a list of that length, in JSON
        return isinstance(value, list) and len(value) == len(arguments) and all(map(is_of, value, arguments))
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST
    return isinstance(value, origin) and (origin is bool or not isinstance(value, bool))


def find(paths: Iterable[Path]) -> list[Path]:
    """Every ``record.json`` in the folders given and below, sorted, each once."""
    found = {os.path.realpath(file): file for path in paths for file in path.rglob(FILE)}
    return sorted(found.values())


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as None, which JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
