"""The runs of a workspace as they really are: what they wrote, whether anyone still works on them, and what SLURM says of their jobs."""

from __future__ import annotations

import fcntl
import json
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from core.errors import UsageError, VortexError
from pipelines.runs.events import Journal, TrainEvent
from pipelines.runs.folder import LOCK, PLAN, run_folder, runs_folder
from pipelines.runs.slurm import stamps
from pipelines.runs.slurm.job import read_record
from pipelines.runs.slurm.queue import JobState, job_states
from pipelines.runs.slurm.script import FOLDER as JOB_FOLDER
from pipelines.runs.state import EVENTS, RunState, Status
from pipelines.workspace import Workspace

Condition = Literal[
    "planned", "waiting", "starting", "training", "stopped", "truncated", "failed", "finished", "cancelled", "dead", "unreadable"
]
ACTIVE: Final = ("waiting", "starting", "training")
"""States of a run that will go on without anyone doing anything."""
ENDED: Final = ("finished", "truncated", "failed")
QUEUED: Final = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")
RUNNING: Final = ("RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")
SILENCE: Final = 1800.0
"""Seconds without a written word after which a run on another machine, that SLURM knows nothing of, is taken to be dead."""
VANISHED: Final = "VANISHED"
"""Our word for a job that SLURM remembers no more."""
POLL_SECONDS: Final = 0.5
STATE_SECONDS: Final = 5.0
"""How often a follower looks at a run's files, and how often it asks whether the run is still alive (which may ask SLURM)."""


@dataclass(frozen=True)
class Run:
    """A run. `epoch` of `epochs` are those of its present stage; `age` is in seconds since it was planned; `best_rmse` in metres.

    `slurm` is SLURM's word for its job, `reason` why that waits where it is not merely its turn.
    """

    run: str
    recipe: str
    state: Condition
    stage: str
    stages: int
    epoch: int
    epochs: int
    best_rmse: float | None
    version: str | None
    job: str | None
    slurm: str | None
    reason: str
    partition: str | None
    age: float


def runs(ws: Workspace) -> list[Run]:
    """Every run of the workspace, newest first."""
    folders = [plan.parent for plan in runs_folder(ws).glob(f"*/{PLAN}")]
    states = _ask_slurm(folders)
    return sorted((_run(folder, states) for folder in folders), key=lambda run: run.age)


def find(ws: Workspace, name: str) -> Run:
    """One run. Raises VortexError naming those there are."""
    folder = run_folder(ws, name)
    return _run(folder, _ask_slurm([folder]))


def require_idle(ws: Workspace, name: str) -> Run:
    """The run, on which nobody works. Raises UsageError saying who does, also for one whose job is in the queue."""
    require_untrained(ws, name)
    run = find(ws, name)
    if run.state in ACTIVE:
        raise UsageError(f"{name} is {run.state} already{f' as job {run.job}' if run.job else ''}", f"vortex logs {name} -f")
    return run


def require_untrained(ws: Workspace, name: str) -> None:
    """Raise UsageError when a process trains the run at this moment."""
    folder = run_folder(ws, name)
    if _is_locked(folder / LOCK):
        try:
            state = RunState.read(folder)
            who = f" (pid {state.pid} on {state.host})" if state.host else ""
        except VortexError:
            who = ""
        raise UsageError(f"{name} is training already{who}", f"vortex logs {name} -f")


def require_unqueued(ws: Workspace, name: str, job: str | None) -> None:
    """Raise UsageError when a process trains the run, or a job other than `job` waits to: it would find the run taken, and end."""
    require_untrained(ws, name)
    run = find(ws, name)
    if run.job not in (None, job) and run.slurm in QUEUED:
        raise UsageError(f"{name} is {run.state} already as job {run.job}", f"wait for it, or take it back: scancel {run.job}")


@dataclass(frozen=True)
class LogLine:
    """A line of a run's log: an event of the training, or a line that its job printed. `at` is in seconds since 1970."""

    source: Literal["event", "stdout", "stderr"]
    at: float
    event: TrainEvent | None = None
    text: str = ""


def log(ws: Workspace, name: str, *, follow: bool = False) -> Iterator[LogLine]:
    """What a run has said so far; with `follow`, also what it says until it ends. Reading disturbs nothing."""
    run, reader = find(ws, name), _Reader(run_folder(ws, name))
    refreshed = time.monotonic()
    yield from reader.read()
    while follow and (run.state in ACTIVE or run.slurm in RUNNING):  # an error is printed after the state says so
        time.sleep(POLL_SECONDS)
        if time.monotonic() - refreshed > STATE_SECONDS:
            run, refreshed = find(ws, name), time.monotonic()
        yield from reader.read()


class _Reader:
    """New events and new whole lines of a run's folder, each once."""

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder / EVENTS)
        self._prints = folder / JOB_FOLDER
        self._offsets: dict[Path, int] = {}

    def read(self) -> Iterator[LogLine]:
        lines = [LogLine("event", event.at, event) for event in self._journal.read()]
        for path in sorted(self._prints.glob("*_log.*"), key=lambda path: (path.stat().st_mtime, path.name)):
            lines += self._printed(path)
        yield from sorted(lines, key=lambda line: line.at)

    def _printed(self, path: Path) -> list[LogLine]:
        """What a job has printed. A line without a time came before the next one that has one, and the last before the file changed."""
        at, printed = path.stat().st_mtime, []
        for line in reversed(list(self._lines(path))):
            stamp, text = stamps.read(line)
            at = at if stamp is None else stamp
            printed.append(LogLine("stderr" if path.suffix == ".err" else "stdout", at, text=text))
        return printed[::-1]

    def _lines(self, path: Path) -> Iterator[str]:
        with open(path, "rb") as stream:
            stream.seek(self._offsets.get(path, 0))
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._offsets[path] = self._offsets.get(path, 0) + len(line)
                yield line.decode(errors="replace").rstrip()


def condition_of(status: Status, job: str | None, *, newer: bool, locked: bool, silent: bool) -> Condition:
    """A run's condition, from what it last wrote, SLURM's word for its job (None: no job, or no answer), and whether a process holds its lock.

    `newer` is whether the job was submitted after that was written; `silent` whether nobody else can be working on it: this machine was
    the last that did, or nothing was written for long.
    """
    if locked:
        return "training"
    if status in ENDED and not (newer and job in (*QUEUED, *RUNNING)):
        return status
    if job in QUEUED:
        return "waiting"
    if job in RUNNING:
        return "training" if status == "training" else "starting"
    if job is not None and job.startswith("CANCELLED"):
        return "cancelled"
    if status == "stopped":
        return "stopped"
    if status == "planned" and job is None:
        return "planned"
    return "dead" if job is not None or silent else "training"


def _ask_slurm(folders: Iterable[Path]) -> dict[str, JobState] | None:
    """What SLURM says of the runs' jobs; None where it cannot be asked."""
    jobs = []
    for folder in folders:
        with suppress(VortexError):
            jobs += [job.job_id] if (job := read_record(folder)) else []
    return job_states(jobs)


def _run(folder: Path, states: Mapping[str, JobState] | None) -> Run:
    plan, state = _json(folder / PLAN), RunState(folder)
    job, slurm = None, None
    condition: Condition = "unreadable"
    first = (plan.get("stages") or [{}])[0].get("stage", {})
    with suppress(VortexError):  # a listing shows the other runs all the same
        job = read_record(folder)
        slurm = None if job is None or states is None else states.get(job.job_id, JobState(VANISHED))
        state = RunState.read(folder)
        newer = job is not None and job.submitted > state.updated
        condition = condition_of(
            state.status, slurm.word if slurm else None, newer=newer, locked=_is_locked(folder / LOCK), silent=_silent(state)
        )
    return Run(
        run=folder.name,
        recipe=str(plan.get("recipe", {}).get("name", "")),
        state=condition,
        stage=state.stage or str(first.get("name", "")),
        stages=len(plan.get("stages") or [{}]),
        epoch=state.epoch,
        epochs=state.epochs or int(first.get("epochs", 0)),
        best_rmse=_best(folder) if state.best is None else state.best,
        version=state.version,
        job=job.job_id if job else None,
        slurm=slurm.word if slurm else None,
        reason=slurm.reason if slurm else "",
        partition=job.partition if job else None,
        age=max(0.0, time.time() - (folder / PLAN).stat().st_mtime),
    )


def _is_locked(lock: Path) -> bool:
    """Whether a process holds the run's lock. The kernel lets go of it when that process ends, however it ends."""
    try:
        with open(lock, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it was never taken, or this file system has no locks
        return False
    return False


def _silent(state: RunState) -> bool:
    return state.host in ("", socket.gethostname()) or time.time() - state.updated > SILENCE


def _best(folder: Path) -> float | None:
    """The best validation RMSE of the newest stage that has one."""
    for path in sorted(folder.glob("*/latest/progress.json"), reverse=True):
        best = _json(path).get("best")
        if isinstance(best, float | int):
            return float(best)
    return None


def _json(path: Path) -> dict[str, Any]:
    """A file's object; an empty one where it is damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
