"""What a run leaves on disk about itself: ``record.json``, plain values, written whole or not at all.

In memory a record has three parts, in the order in which they become known: the plan (everything that is certain
before the first step), the progress, and the outcome. In the file their fields stand side by side in one object.
"""

import hashlib
import json
import math
import os
import platform
import re
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import msgspec

from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.metrics import METRICS, Metrics, metrics_of
from lrdecay.records.identity import result_hash
from lrdecay.records.provenance import provenance
from lrdecay.records.upgrades import upgraded
from lrdecay.records.validation import mismatch

SCHEMA = 5
DIGESTED_SINCE = 3
FILE = "record.json"
MOST_BYTES = 2**28
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
ESCAPED = re.compile(r"\\([rbf]|u00[0189]|u[dD][89a-fA-F])")
PACKAGES = (
    "lrdecay", "torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "numpy", "schedulefree",
    "scikit-learn",
)  # fmt: skip
STATUSES = ("running", "completed", "failed", "diverged", "interrupted", "pruned")
Status = Literal["running", "completed", "failed", "diverged", "interrupted", "pruned"]
Number = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]
"""JSON knows no bounds; these leave room to compute with a number."""
Row = dict[str, Number | None]


class RecordError(ValueError):
    """A file is not a record; the message is one line that names it."""


class Plan(msgspec.Struct, kw_only=True):
    """What a run is: all that is known before its first step.

    Attributes:
        config: what was used; ``composed`` is the same before its interpolations were resolved.
        choices: what each configuration group was built from.
        command: the words that started it.
        commit: see `provenance`, as for ``dirty`` and ``code``.
        started: seconds since 1970.
        data: name of the data set; ``sizes`` are the items in each split.
        process: what was done to the process to make it faster.
        total_steps: optimizer steps, the schedule's T.
        seconds_per_step: as measured before the first one, where a duration is a time.
    """

    config: dict[str, Any]
    composed: dict[str, Any] = {}
    choices: dict[str, str] = {}
    overrides: list[str] = []
    command: list[str] = []
    commit: str | None = None
    dirty: bool | None = None
    code: str | None = None
    versions: dict[str, str] = {}
    started: Number = 0.0
    data: str | None = None
    sizes: dict[str, int] = {}
    parameters: int | None = None
    device: str | None = None
    threads: int | None = None
    process: list[str] = []
    total_steps: int | None = None
    steps_per_epoch: int | None = None
    seconds_per_step: Number | None = None

    @property
    def dense(self) -> str:
        """What computed dense layers, which decides the last digits: ``torch`` in runs that are older than the key."""
        process = self.config.get("process")
        return str(process.get("dense") or "torch") if isinstance(process, dict) else "torch"


class Progress(msgspec.Struct, kw_only=True):
    """How far a run has come.

    Attributes:
        steps: optimizer steps that were done.
        epochs: a row for each finished epoch: epoch, step, lr, train/…, val/…; see `lrdecay.training.journal`.
        epoch_seconds: how long each epoch took, validation and checkpoints included.
        rates: (step, lr) pairs as far as it came, of some two hundred steps spread over the whole run.
        seconds: those spent on it, without what was lost and done again.
        resumed: a row for each time it was resumed: the step, and the mode where that changed what is trained.
        divergence: the first loss that was not finite: step, lr, and the last finite one with its step.
    """

    steps: int | None = None
    epochs: list[Row] = []
    epoch_seconds: list[Number] = []
    rates: list[tuple[int, Number]] = []
    seconds: Number = 0.0
    resumed: list[dict[str, Any]] = []
    divergence: dict[str, Any] | None = None


class Outcome(msgspec.Struct, kw_only=True):
    """How a run ended.

    Attributes:
        ended_by: what ended a completed run at another step than planned; ``None`` where nothing did.
        final: the metrics of the final weights, test among them.
        best: the measurement with the best value of the monitored metric: the row of its epoch, or, of one within an
            epoch, its own epoch, step, lr and val/…; ``best.ckpt`` has the weights that it was made with.
    """

    status: Status = "running"
    error: str | None = None
    traceback: str | None = None
    ended_by: str | None = None
    final: Row = {}
    best: Row = {}


PARTS = {"plan": Plan, "progress": Progress, "outcome": Outcome}
DERIVED = {"schema", "result_hash"}
"""Fields of the file that follow from the others."""


class Record(msgspec.Struct):
    """A run: its folder, and what is known of it."""

    directory: Path
    plan: Plan
    progress: Progress = msgspec.field(default_factory=Progress)
    outcome: Outcome = msgspec.field(default_factory=Outcome)

    @property
    def whole(self) -> bool:
        """Whether the run reached the end that was planned."""
        return self.outcome.status == "completed" and self.outcome.ended_by is None

    @property
    def cut_short(self) -> str:
        """``ended at step 61 of 360 (time limit)``, where the run ended elsewhere than planned; else nothing."""
        if self.outcome.ended_by is None:
            return ""
        counts = (self.progress.steps, self.plan.total_steps)
        steps, total = (f"{count:,}" if count is not None else "?" for count in counts)
        return f"ended at step {steps} of {total} ({self.outcome.ended_by})"

    @property
    def settled(self) -> bool:
        """Whether the run would end the same way again."""
        status = self.outcome.status
        return status == "completed" or (status == "diverged" and self.plan.code == provenance()["code"])

    @property
    def metrics(self) -> Metrics:
        """What it measures, as its configuration says; a run that was refused for that has measured nothing."""
        try:
            return metrics_of(self.plan.config)
        except ConfigError:
            return METRICS

    def redeclare(self, metrics: Any) -> None:
        """Writes down other words on its metrics than it began with, which change nothing in it.

        Args:
            metrics: as in a configuration.
        """
        if self.plan.config.get("metrics") != metrics:
            self.plan.config["metrics"] = self.plan.composed["metrics"] = metrics
            write(self)

    @property
    def result_hash(self) -> str:
        """Equal for runs that repeat each other."""
        return result_hash(self.plan.config, self.plan.data, self.progress.resumed)

    @property
    def file(self) -> Path:
        """Where it is written."""
        return self.directory / FILE


def plan(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    overrides: Iterable[str],
    command: Iterable[str],
    started: float,
) -> Plan:
    """The plan of a run that begins now, with the versions of everything that it depends on."""
    return Plan(
        config=dict(config),
        composed=dict(config),
        choices=dict(choices),
        overrides=list(overrides),
        command=list(command),
        started=started,
        versions={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        **provenance(),
    )


def write(record: Record) -> None:
    """Writes ``record.json`` into the run's folder, atomically."""
    values = {
        key: getattr(getattr(record, part), key) for part, kind in PARTS.items() for key in kind.__struct_fields__
    }
    values |= {"result_hash": record.result_hash, "schema": SCHEMA}
    values = json.loads(json.dumps(_finite(values), allow_nan=False))  # with the keys that will be read
    text = json.dumps(values | {"digest": digest(values)}, indent=1, allow_nan=False)
    write_atomically(record.file, text.encode())


def read(path: Path) -> Record:
    """Reads a ``record.json``, of this version or an earlier one.

    Raises:
        RecordError: it cannot be read, is incomplete, or is not a record.
    """
    values = _json(path)
    if isinstance(values, dict):
        values = upgraded(values)
    if not isinstance(values, dict) or values.get("schema") != SCHEMA:
        raise RecordError(f"{path}: not a record of schema {SCHEMA}")
    fields = {key for kind in PARTS.values() for key in kind.__struct_fields__}
    if others := sorted(values.keys() ^ (fields | DERIVED)):
        raise RecordError(f"{path}: not a record of schema {SCHEMA}: missing or unexpected field {others[0]}")
    try:
        parts = {
            name: msgspec.convert({key: values[key] for key in kind.__struct_fields__}, kind)
            for name, kind in PARTS.items()
        }
    except msgspec.ValidationError as error:
        raise RecordError(f"{path}: not a complete record: {mismatch(error)[1:]}") from error
    return Record(path.parent, **parts)


def find(paths: Iterable[Path]) -> list[Path]:
    """Every ``record.json`` in the folders given and below, sorted, each once."""
    found = {os.path.realpath(file): file for path in paths for file in path.rglob(FILE)}
    return sorted(found.values())


def digest(values: Mapping[str, Any]) -> str:
    """Checksum of a record's values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _json(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MOST_BYTES:
            raise RecordError(f"{path}: not a complete record (not a file, or one of {size:,} bytes)")
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, parse_constant=_refuse_constant)
        digested = isinstance(values, dict) and values.get("schema") in range(DIGESTED_SINCE, SCHEMA + 1)
        if digested and values.pop("digest", None) != digest(values):
            raise RecordError(f"{path}: not a complete record: checksum mismatch")
        return _printable(values) if CONTROL.search(text) or ESCAPED.search(text) else values
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, RecordError):
            raise
        raise RecordError(f"{path}: not a complete record ({error})") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _printable(value: Any) -> Any:
    """The same without control characters: a stranger's strings are shown on terminals, which would obey them."""
    if isinstance(value, str):
        return CONTROL.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _finite(value: Any) -> Any:
    """The value with NaN and infinities as None, which JSON can hold."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
