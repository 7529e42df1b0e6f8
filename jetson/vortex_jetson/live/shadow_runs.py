"""The shadows of a run, one after another: which candidate sees what the robot sees, beside which version, and a report of each."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Protocol

from vortex_jetson.errors import RobotError
from vortex_jetson.live.comparison import Comparison
from vortex_jetson.live.shadow import Candidate, Shadow
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception.perception import Seen

REPORT_EVERY_S: Final = 3600.0
FEWEST_FRAMES: Final = 100
"""A shorter rest of a run is not reported, where an earlier report of it was: the newest one counts."""
MOST_WAITING: Final = 10
"""Comparisons that wait to be reported, while the disk takes none."""
_LAST_TRIES: Final = 20
_LAST_TRY_S: Final = 0.1


class Surroundings(Protocol):
    """What a run knows of its device."""

    def key(self) -> str:
        """What runs and what lies beside it, cheaply: another key, another shadow."""

    def candidate(self) -> tuple[Candidate, str] | None:
        """The candidate, and the version at work that it is comparable with. Raises RobotError where it is not."""

    def deliver(self, candidate: Candidate, comparison: Comparison) -> None:
        """Keep a report. Raises RobotError where that has to wait."""

    def tell(self, words: str) -> None:
        """Note what happened."""


class ShadowRuns:
    """Called with each frame and its live answer, when that is out. A thread beside it starts and ends shadows, and reports."""

    def __init__(self, surroundings: Surroundings, patient: bool = False, every_s: float = 1.0) -> None:
        """`patient` as in `Shadow`. The device is looked at `every_s`."""
        self._around, self._patient, self._every_s = surroundings, patient, every_s
        self._key: str | None = None
        self._shadow: Shadow | None = None
        self._taken: list[tuple[Candidate, Comparison]] = []
        """What was compared, and is not reported yet."""
        self._reported = self._ended = False
        self._report_at = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="shadows")
        self.totals: dict[tuple[str, str], Comparison] = {}
        """By candidate and version at work, for whoever asks in the end: frames alone."""

    def __enter__(self) -> ShadowRuns:
        self._look_safely()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join()
        self._finish()
        for _ in range(_LAST_TRIES):  # a pull may be at work
            if not self._taken:
                return
            self._report()
            time.sleep(_LAST_TRY_S if self._taken else 0)
        self._around.tell("the last comparison of the shadow was not reported: a pull was at work")

    def __call__(self, frame: Frame, seen: Seen) -> None:
        """See `Shadow.offer`."""
        with self._lock:
            if self._shadow is not None:
                self._shadow.offer(frame, seen)

    def _follow(self) -> None:
        while not self._stopped.wait(self._every_s):
            self._look_safely()

    def _look_safely(self) -> None:
        # A disk that is full or damaged for a while is not to end the following for good.
        with suppress(RobotError, OSError):
            self._look()

    def _look(self) -> None:
        key = self._around.key()
        if key != self._key:
            self._finish()
            self._key = key
            self._start()
        elif self._shadow is not None and self._shadow.failure is not None and not self._ended:
            self._ended = True
            self._around.tell(f"{self._shadow.candidate.version} is no shadow any more: {self._shadow.failure}")
            self._take()
        elif self._shadow is not None and time.monotonic() >= self._report_at:
            self._take()
        self._report()

    def _start(self) -> None:
        try:
            pair = self._around.candidate()
            if pair is None:
                return
            shadow = Shadow(*pair, patient=self._patient)
        except (RobotError, OSError) as error:
            self._around.tell(f"no shadow: {error}")
            return
        self._reported = self._ended = False
        self._report_at = time.monotonic() + REPORT_EVERY_S
        with self._lock:
            self._shadow = shadow
        self._around.tell(f"{pair[0].version} is the shadow of {pair[1]}")

    def _finish(self) -> None:
        """End the shadow, and take what it compared."""
        with self._lock:
            shadow, self._shadow = self._shadow, None
        if shadow is not None:
            shadow.close()
            self._take_of(shadow)

    def _take(self) -> None:
        if self._shadow is not None:
            self._take_of(self._shadow)
            self._report_at = time.monotonic() + REPORT_EVERY_S

    def _take_of(self, shadow: Shadow) -> None:
        comparison = shadow.take()
        self._count(comparison)
        enough = comparison.frames >= FEWEST_FRAMES or comparison.failure is not None or not self._reported
        if comparison.counts.pixels and enough:
            self._taken = [*self._taken[1 - MOST_WAITING :], (shadow.candidate, comparison)]
            self._reported = True

    def _count(self, comparison: Comparison) -> None:
        """Add to the totals, without what a run of months would collect."""
        names = (comparison.candidate, comparison.beside)
        total = self.totals.setdefault(names, Comparison(*names))
        total.frames += comparison.frames
        total.skipped += comparison.skipped
        total.failure = comparison.failure or total.failure

    def _report(self) -> None:
        """Report what was taken, as far as that works now."""
        with suppress(RobotError):
            while self._taken:
                self._around.deliver(*self._taken[0])
                del self._taken[0]


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Under `--json`."""
    return {
        "version": comparison.candidate,
        "beside": comparison.beside,
        "frames": comparison.frames,
        "skipped": comparison.skipped,
        "failure": comparison.failure,
    }
