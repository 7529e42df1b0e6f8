"""Signals and the wall ask for a stop; the loop answers between two steps. A second Ctrl-C does not ask."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Literal

from core.errors import Interrupted

if TYPE_CHECKING:
    from pipelines.runs.wall import Wall

ASKING = (signal.SIGINT, signal.SIGTERM)
WARNING = (signal.SIGUSR1, signal.SIGUSR2)
"""What a scheduler sends before it takes the machine away. It may send them more than once."""
SIGNALS = (*ASKING, *WARNING)
REQUEUE = "VORTEX_REQUEUE"
"""Set to 1 in a job that its scheduler starts again: at the wall the run then waits for that, and registers nothing."""

Reason = Literal["asked", "wall"]


class Stopped(Exception):
    """A stop was asked for, and what runs has stopped; all that it had done is safe on disk."""


class Requeue(Interrupted):
    """The wall has come, and the job is to be started again: the exit code is sysexits' EX_TEMPFAIL."""

    exit_code = 75


class Stop:
    """Whether to stop, and why: somebody asked for it, or the wall is near."""

    def __init__(self, wall: Wall | None = None, on_asked: Callable[[], None] | None = None) -> None:
        self.wall = wall
        self._on_asked = on_asked
        self._reason: Reason | None = None
        self._signalled = False

    def reason(self) -> Reason | None:
        """Why to stop; None to go on. The first reason holds."""
        if self._reason is None and self.wall is not None and self.wall.near():
            self._reason = "wall"
        return self._reason

    def requested(self) -> bool:
        """Whether there is a reason to stop."""
        return self.reason() is not None

    def listen(self) -> None:
        """Take the signals. To be called again after a library took them (ray.init does). Only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number in WARNING:
            self._reason = self._reason or "wall"
            return
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        self._reason = self._reason or "asked"
        if self._on_asked:
            self._on_asked()


def requeued() -> bool:
    """Whether the scheduler starts this job again after the wall."""
    return os.environ.get(REQUEUE) == "1"


@contextmanager
def stop_on_signals(wall: Wall | None = None, on_asked: Callable[[], None] | None = None) -> Iterator[Stop]:
    """Turn signals, and a wall, into a request while the block runs; the handlers before it come back after it.

    `on_asked` is called from within the first signal's handler: the answer that somebody waits for.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    stop = Stop(wall, on_asked)
    stop.listen()
    try:
        yield stop
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)
