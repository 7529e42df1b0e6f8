"""A candidate beside the version at work: it sees the same frames in the time that is left, and what it says is only counted."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Final

import numpy as np

from vortex_jetson.errors import RobotError
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception.perception import UNTAUGHT, Perception, Seen

NEAR_M: Final = 1.5
"""Up to where depth keeps a robot safe."""
MEASURED: Final = 128
"""From this confidence on a pixel is the ToF camera's, and both versions say the same of it."""
_MARGIN: Final = 1.25
"""More than a slow run of late: a candidate that needs longer than it did is late for nobody but itself."""
_RUNS: Final = 50
_FORGETTING: Final = 0.98
_WARM_UP: Final = 3


class Shadow:
    """Compares a candidate with the version at work on frames that leave it the time, and skips the others."""

    def __init__(self, candidate: Perception, glass: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        """`glass` is that class's place, None where there is none. The candidate is warmed up here, before there are frames."""
        self._candidate, self._glass, self._clock = candidate, glass, clock
        self._seconds: deque[float] = deque(maxlen=_RUNS)
        self._latencies: list[float] = []
        nothing = np.zeros((*candidate.size, 3), np.uint8)
        for _ in range(_WARM_UP):
            started = clock()
            candidate.see(nothing)
            self._seconds.append(clock() - started)
        self._seconds = deque(list(self._seconds)[1:], maxlen=_RUNS)  # the first run loads what others find loaded
        self._need = max(self._seconds)
        self._started = self._ended = datetime.now(timezone.utc)
        self.frames = self.skipped = 0
        self._pixels = self._close = self._classes = self._alike = self._glass_both = self._glass_any = self._near = 0
        self._near_difference = 0.0

    def offer(self, frame: Frame, live: Seen, until: float) -> bool:
        """Compare on this frame, whose live answer is out, if that ends before `until` (of `time.monotonic`); whether it was."""
        started = self._clock()
        if started + _MARGIN * self._need > until:
            self.skipped += 1
            # One slow run must not end the shadow's work for good, and one that is always too slow must not be tried again and again.
            self._need = max(_FORGETTING * self._need, statistics.median(self._seconds))
            return False
        candidate = self._candidate.see(frame.rgb, frame.tof, frame.confidence)
        seconds = self._clock() - started
        self._seconds.append(seconds)
        self._need = max(_FORGETTING * self._need, seconds)
        self._latencies.append(seconds)
        del self._latencies[:-10_000]
        self._compare(live, candidate)
        self.frames += 1
        self._ended = datetime.now(timezone.utc)
        return True

    def _compare(self, live: Seen, candidate: Seen) -> None:
        if live.depth.shape != candidate.depth.shape:
            raise RobotError(
                f"{candidate.version} has the size {candidate.depth.shape}, {live.version} {live.depth.shape}",
                "a shadow is of the size of the version at work",
            )
        guessed = (live.confidence < MEASURED) & (live.depth > 0) & (candidate.depth > 0)
        ours, theirs = live.depth[guessed], candidate.depth[guessed]
        difference = np.abs(theirs - ours)
        near = ours <= NEAR_M
        self._pixels += ours.size
        self._close += int((difference <= 0.1 * ours).sum())
        self._near += int(near.sum())
        self._near_difference += float(difference[near].sum(dtype=np.float64))
        both = (live.classes != UNTAUGHT) & (candidate.classes != UNTAUGHT)
        self._classes += int(both.sum())
        self._alike += int((both & (live.classes == candidate.classes)).sum())
        if self._glass is not None:
            one, two = live.classes == self._glass, candidate.classes == self._glass
            self._glass_both += int((one & two).sum())
            self._glass_any += int((one | two).sum())

    def report(self, *, device: str, beside: str, checkpoint_sha256: str, export_sha256: str, made_by: str) -> dict[str, Any]:
        """The evidence, as the workspace reads it (`kind` shadow). Raises RobotError where no pixel was compared."""
        if not self._pixels:
            skipped = f", {self.skipped} were skipped for want of time" if self.skipped else ""
            raise RobotError(
                f"{self._candidate.version} was compared with {beside} on {self.frames} frames without a guessed pixel{skipped}",
                "let it run longer, or the camera slower",
            )
        milliseconds = 1000 * np.quantile(self._latencies, [0.5, 0.99])
        return {
            "format": 1,
            "kind": "shadow",
            "checkpoint_sha256": checkpoint_sha256,
            "export_sha256": export_sha256,
            "made_at": _spelled(datetime.now(timezone.utc)),
            "made_by": made_by,
            "device": device,
            "beside": beside,
            "started_at": _spelled(self._started),
            "ended_at": _spelled(self._ended),
            "frames": self.frames,
            "dropped_frames": self.skipped,
            "depth_within_10_percent": self._close / self._pixels,
            "same_class": self._alike / self._classes if self._classes else None,
            "near_difference_m": self._near_difference / self._near if self._near else None,
            "glass_iou": self._glass_both / self._glass_any if self._glass_any else None,
            "latency_ms": {"p50": float(milliseconds[0]), "p99": float(milliseconds[1])},
        }


def _spelled(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")
