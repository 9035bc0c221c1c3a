"""Jobs in Slurm's queue: submitted by submitit, watched by what ``squeue`` says, and what each does on its node."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle

from lrdecay.commands import as_called
from lrdecay.config.messages import one_line
from lrdecay.config.overrides import key_of
from lrdecay.errors import ConfigError
from lrdecay.files import write_atomically
from lrdecay.sweeps.launching import Job, draw
from lrdecay.sweeps.worker import packed, perform
from lrdecay.text import plural
from lrdecay.training.stopping import Interrupted

FOLDER = ".slurm"
"""Within a sweep's folder: scripts, logs, and what jobs returned."""
SUBMITTED = "submitted.json"
"""Within `FOLDER`: the id in Slurm of each run's job, by the name of its folder, and its overrides."""
KEPT = ("process.dense", "data.resample")
"""Keys that a sweep sets as in its earlier runs."""
OVER = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT",
}  # fmt: skip
"""States in which a job will not run any more."""
ASKS_EVERY = 3.0
"""Seconds between two questions to Slurm's controller."""
SUBMITS_AGAIN = 30.0
"""Seconds after which jobs that were refused are submitted again, where others run."""
ANSWERS = 20.0
"""Seconds that Slurm's commands have."""
ARRIVES = 30.0
"""Seconds that a result may take to be seen here, over a network's file system, after its job is over."""


@dataclass
class _Submitted:
    job: Job
    slurm: Any
    """submitit's."""
    over_since: float | None = None


class Queue:
    """Jobs in Slurm's queue; a `Pool`.

    Args:
        executor: submitit's, which submits jobs.
        folder: for scripts, logs and results.
        at_a_time: jobs at a time at most.
        requeues: how often a job may be requeued at its time limit.
        threads: CPU threads of each process.
        waits: whether to wait for the jobs.
        bars: where progress is drawn.
    """

    def __init__(
        self, executor: Any, folder: Path, at_a_time: int, requeues: int, threads: int, waits: bool, bars: Any
    ) -> None:
        self._executor, self._folder, self._at_a_time = executor, folder, at_a_time
        self._requeues, self._threads, self._waits, self._bars = requeues, threads, waits, bars
        self._new: list[Job] = []
        self._running: list[_Submitted] = []
        self._asked, self._submits_at = -ASKS_EVERY, 0.0

    def has_room(self) -> bool:
        return len(self._new) + len(self._running) < self._at_a_time

    def start(self, job: Job) -> None:
        self._new.append(job)  # to be submitted together, as one array

    def running(self) -> Sequence[Job]:
        return [*self._new, *(one.job for one in self._running)]

    def ended(self) -> Sequence[Job]:
        if self._new and time.monotonic() >= self._submits_at:
            self._submit()
        if not self._waits:
            self._running = []
            print("later, " + as_called("lrdecay compare") + " with the folder above shows what there is", flush=True)
            return []
        time.sleep(1.0)
        states = self._states()
        over = [one for one in self._running if self._is_over(one, states)]
        self._running = [one for one in self._running if one not in over]
        for one in over:
            self._take_in(one, states)
        if self._bars is not None:
            for one in over:
                self._bars.remove(one.job.number)
            draw(self._bars, [one.job for one in self._running])
        return [one.job for one in over]

    def _submit(self) -> None:
        """Submits the new jobs as one array, but for those that are in the queue since an earlier launch."""
        import submitit

        file = self._folder / SUBMITTED
        known = json.loads(file.read_text()) if file.is_file() else {}
        self._find_in_queue(known)
        if not self._new:
            return
        submit = partial(self._executor.submit, work, threads=self._threads, requeues=self._requeues)
        try:
            with contextlib.redirect_stderr(io.StringIO()), self._executor.batch():  # the error has what it says
                made = [submit(job.call) for job in self._new]
        except submitit.core.utils.FailedJobError as error:
            if not self._running:
                raise ConfigError(f"hydra/launcher=slurm: sbatch: {_reason(error)}") from error
            # Those that run are not to pay for one that comes too early for a limit of the cluster.
            print(f"warning: sbatch: {_reason(error)}; retrying", file=sys.stderr, flush=True)
            self._submits_at = time.monotonic() + SUBMITS_AGAIN
            return
        new, self._new = self._new, []
        self._running += [_Submitted(job, slurm) for job, slurm in zip(new, made, strict=True)]
        known |= {
            job.folder.name: {"id": slurm.job_id, "tasks": slurm.num_tasks, "overrides": _overrides(job)}
            for job, slurm in zip(new, made, strict=True)
        }
        write_atomically(file, json.dumps(known, indent=1).encode())
        kind = "array job" if len(made) > 1 else "job"
        print(f"submitted to Slurm as {kind} {made[0].job_id.partition('_')[0]}", flush=True)

    def _find_in_queue(self, known: Mapping[str, Any]) -> None:
        """Takes those of the new jobs that an earlier launch has submitted, and that Slurm has yet to end.

        Args:
            known: what was submitted, see `SUBMITTED`.

        Raises:
            ConfigError: one of these is in the folder of a job of another command, or Slurm does not answer.
        """
        import submitit

        mine = {job.folder.name: job for job in self._new}
        entries = {name: entry for name, entry in known.items() if name in mine}
        states = states_of([entry["id"] for entry in entries.values()]) if entries else {}
        found = {name: entry for name, entry in entries.items() if states[entry["id"]] not in OVER}
        for name, entry in found.items():
            if entry["overrides"] != _overrides(mine[name]):
                raise ConfigError(
                    f"{mine[name].folder}: Slurm job {entry['id']} belongs to another command, "
                    f"{' '.join(entry['overrides'])}: scancel it, or use another name="
                )
            tasks = list(range(entry["tasks"]))
            slurm: Any = submitit.SlurmJob(folder=self._folder, job_id=entry["id"], tasks=tasks)
            self._running.append(_Submitted(mine[name], slurm))
            self._new.remove(mine[name])
        if found:
            print(f"{plural(len(found), 'job')} in Slurm's queue since an earlier launch", flush=True)

    def _states(self) -> dict[str, str]:
        """The states of the jobs that have no result yet, from time to time; otherwise none."""
        if time.monotonic() < self._asked + ASKS_EVERY:
            return {}
        self._asked = time.monotonic()
        ids = [one.slurm.job_id for one in self._running if not _result(one).exists()]
        try:
            return states_of(ids) if ids else {}
        except ConfigError as error:  # a controller that is restarted, or too busy
            print(f"warning: {error}", file=sys.stderr)
            return {}

    def _is_over(self, one: _Submitted, states: Mapping[str, str]) -> bool:
        if _result(one).exists():
            return True
        if not states:
            return False
        state = states[one.slurm.job_id]
        if state not in OVER:
            one.over_since = None
            return False
        one.over_since = one.over_since or time.monotonic()
        return state != "COMPLETED" or time.monotonic() > one.over_since + ARRIVES

    def _take_in(self, one: _Submitted, states: Mapping[str, str]) -> None:
        if not _result(one).exists():
            one.job.fail(f"{states[one.slurm.job_id]}; see {one.slurm.paths.stderr}")
            return
        try:
            one.job.result = cloudpickle.loads(one.slurm.task(0).result())
        except Exception as error:  # submitit's, of whatever kind the job's was
            one.job.fail(f"{one_line(error)}; see {one.slurm.paths.stderr}")

    def interrupt(self, error: BaseException) -> None:
        self._new = []
        if isinstance(error, Interrupted) and error.status == 128 + signal.SIGHUP:
            self._running = []  # whoever closes a terminal does not mean the jobs
            return
        self._cancel()

    def kill(self) -> None:
        self._cancel("--signal=KILL", "--full")

    def _cancel(self, *options: str) -> None:
        if self._running:
            try:
                ask("scancel", *options, *(one.slurm.job_id for one in self._running))
            except ConfigError as error:
                print(f"warning: {error}", file=sys.stderr)


def _overrides(job: Job) -> list[str]:
    """What tells a job from others, without what a sweep adds by itself once it has records."""
    words = [str(word) for word in job.config.hydra.overrides.task]
    return [word for word in words if key_of(word) not in KEPT]


def _result(one: _Submitted) -> Path:
    return Path(one.slurm.task(0).paths.result_pickle)


def _reason(error: Exception) -> str:
    """What sbatch said, without what submitit adds."""
    lines = [line for line in str(error).splitlines() if line.startswith("sbatch: error:")]
    return "; ".join(line.removeprefix("sbatch: error:").strip() for line in lines) or one_line(error)


def ask(*command: str) -> str:
    """What one of Slurm's commands prints.

    Raises:
        ConfigError: it failed, or did not answer.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWERS)
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"hydra/launcher=slurm: {command[0]} gets no answer; is the controller up?") from error
    if done.returncode:
        raise ConfigError(f"hydra/launcher=slurm: {' '.join(done.stderr.split()) or f'{command[0]} failed'}")
    return done.stdout


def states_of(ids: Sequence[str]) -> dict[str, str]:
    """The state of each job by its id; Slurm forgets them minutes after their end, and they are said to be complete.

    Raises:
        ConfigError: Slurm does not answer.
    """
    listed = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", f"--jobs={','.join(ids)}"]
    try:
        lines = ask(*listed).splitlines()
    except ConfigError as error:
        if "Invalid job id" not in str(error):
            raise
        lines = []
    known = dict(line.strip().split("|", 1) for line in lines if "|" in line)
    return dict.fromkeys(ids, "COMPLETED") | known


def work(call: bytes, threads: int, requeues: int) -> bytes:
    """A job, in each of its processes, on a node.

    Args:
        call: for `perform`.
        threads: CPU threads of each process.
        requeues: how often the job may be requeued at its time limit.
    """
    time_is_up = False

    def stop(number: int, frame: Any) -> None:
        nonlocal time_is_up
        time_is_up = True
        signal.raise_signal(signal.SIGTERM)  # which ends the run at its next step, with a checkpoint

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)  # until the run listens

    # In the place of submitit's: they would requeue at once, without waiting for a step, and ignore SIGTERM.
    signal.signal(signal.SIGTERM, end)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, stop)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        result = perform(call, threads)
    except SystemExit:
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        if time_is_up and first and int(os.environ.get("SLURM_RESTART_COUNT", 0)) < requeues:
            import submitit

            submitit.JobEnvironment()._requeue(requeues)
            time.sleep(60)  # Slurm ends it
        raise
    return packed(result)
