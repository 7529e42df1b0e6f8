"""What two versions say of the same frames, counted: how often they agree, how far apart they are nearby, and whether they see the same glass."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple

import numpy as np

from vortex_jetson.errors import RobotError
from vortex_jetson.perception.perception import UNTAUGHT, Seen

NEAR_M: Final = 1.5
"""Up to where depth keeps a robot safe."""
MEASURED: Final = 128
"""From this confidence on a pixel is the ToF camera's, and both versions say the same of it."""
MOST_LATENCIES: Final = 10_000


class Counts(NamedTuple):
    """Pixels of frames, by what was found of them; depth is compared where both versions guessed one."""

    pixels: int = 0
    close: int = 0
    """Of `pixels`, within 10 % of the depth of the version at work."""
    near: int = 0
    """Of `pixels`, up to 1.5 m away."""
    near_difference: float = 0.0
    """Metres, summed over `near`."""
    classes: int = 0
    """With a class by both."""
    alike: int = 0
    """Of `classes`."""
    glass_both: int = 0
    glass_any: int = 0

    def plus(self, other: Counts) -> Counts:
        """Of the frames of both."""
        return Counts(
            self.pixels + other.pixels,
            self.close + other.close,
            self.near + other.near,
            self.near_difference + other.near_difference,
            self.classes + other.classes,
            self.alike + other.alike,
            self.glass_both + other.glass_both,
            self.glass_any + other.glass_any,
        )


def compare(live: Seen, candidate: Seen, glass: int | None) -> Counts:
    """One frame as two versions of one size see it; `glass` is that class's place, None where there is none."""
    guessed = (live.confidence < MEASURED) & (live.depth > 0) & (candidate.depth > 0)
    ours, theirs = live.depth[guessed], candidate.depth[guessed]
    difference = np.abs(theirs - ours)
    near = ours <= NEAR_M
    both = (live.classes != UNTAUGHT) & (candidate.classes != UNTAUGHT)
    live_glass, candidate_glass = (seen.classes == (UNTAUGHT if glass is None else glass) for seen in (live, candidate))
    return Counts(
        ours.size,
        int((difference <= 0.1 * ours).sum()),
        int(near.sum()),
        float(difference[near].sum(dtype=np.float64)),
        int(both.sum()),
        int((both & (live.classes == candidate.classes)).sum()),
        0 if glass is None else int((live_glass & candidate_glass).sum()),
        0 if glass is None else int((live_glass | candidate_glass).sum()),
    )


@dataclass
class Comparison:
    """Frames that two versions saw, from `started` to `ended`, and those that were skipped for want of time."""

    candidate: str
    beside: str
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    ended: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    frames: int = 0
    skipped: int = 0
    counts: Counts = field(default_factory=Counts)
    seconds: list[float] = field(default_factory=list)
    """That the candidate took for each frame; the newest ten thousand."""
    failure: str | None = None
    """Why the candidate saw no more frames: its process died, or hung."""

    def add(self, counts: Counts, seconds: float) -> None:
        """One more frame was compared."""
        self.frames += 1
        self.counts = self.counts.plus(counts)
        self.seconds.append(seconds)
        del self.seconds[:-MOST_LATENCIES]
        self.ended = datetime.now(timezone.utc)

    def words(self) -> str:
        """What was compared, in a line."""
        failure = f"; it ended: {self.failure}" if self.failure else ""
        return f"{self.candidate} in the shadow of {self.beside}: {self.frames} frames compared, {self.skipped} skipped{failure}"

    def report(self, *, device: str, checkpoint_sha256: str, export_sha256: str, made_by: str, source: str) -> dict[str, Any]:
        """The evidence, as the workspace reads it (`kind` shadow). Raises RobotError where no pixel was compared."""
        counts = self.counts
        if not counts.pixels:
            skipped = f", {self.skipped} were skipped for want of time" if self.skipped else ""
            raise RobotError(
                f"{self.candidate} was compared with {self.beside} on {self.frames} frames without a guessed pixel{skipped}",
                "let it run longer, or the camera slower",
            )
        milliseconds = sorted(1000 * seconds for seconds in self.seconds)
        return {
            "format": 1,
            "kind": "shadow",
            "checkpoint_sha256": checkpoint_sha256,
            "export_sha256": export_sha256,
            "made_at": _spelled(datetime.now(timezone.utc)),
            "made_by": made_by,
            "remarks": f"frames of {source}" + (f"; it ended: {self.failure}" if self.failure else ""),
            "device": device,
            "beside": self.beside,
            "started_at": _spelled(self.started),
            "ended_at": _spelled(self.ended),
            "frames": self.frames,
            "dropped_frames": self.skipped,
            "crashes": int(self.failure is not None),
            "depth_within_10_percent": counts.close / counts.pixels,
            "same_class": counts.alike / counts.classes if counts.classes else None,
            "near_difference_m": counts.near_difference / counts.near if counts.near else None,
            "glass_iou": counts.glass_both / counts.glass_any if counts.glass_any else None,
            "latency_ms": {"p50": statistics.median(milliseconds), "p99": float(np.quantile(milliseconds, 0.99))},
        }


def _spelled(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds").replace("+00:00", "Z")
