"""Processes as a test or a benchmark sees them from outside: who descends from whom, who trains, who is still there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pipelines.runs.events import Journal, TrainEvent

STARTING_S = 300.0
"""Seconds that anything may take to start on a busy machine."""


def descendants(pid: int) -> list[int]:
    """The processes below one, from /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(entry.parent.name)] = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended meanwhile
            continue
    below, newest = [], [pid]
    while newest:
        newest = [child for child, parent in parents.items() if parent in newest]
        below += newest
    return below


def workers(pid: int) -> list[int]:
    """Those of them that train."""
    return [child for child in descendants(pid) if b"RayTrainWorker" in command_of(child)]


def command_of(pid: int) -> bytes:
    """Its command line, as /proc has it; empty when it ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def end(pid: int) -> None:
    """Kill it, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def until(true: Callable[[], object], seconds: float = STARTING_S) -> bool:
    """Wait for something to become true; whether it has."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def alive(pid: int) -> bool:
    """Whether it runs. A process that has ended and waits for its parent to ask does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def events(folder: Path) -> list[TrainEvent]:
    """What the workers of the one run in a workspace have said so far."""
    return [event for path in folder.glob("build/runs/*/1-train/events-*.jsonl") for event in Journal(path).read()]


def epochs(folder: Path) -> list[int]:
    """The epochs that they have finished, in order."""
    return [event.epoch for event in events(folder) if event.kind == "epoch"]
