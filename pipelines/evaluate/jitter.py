"""Temporal jitter: how much a prediction's error changes from one frame of a stream to the next. The definition is ours.

    jitter = mean of |(p(t) − p(t−1)) − (d(t) − d(t−1))|, in metres, over the pixels whose truth d is valid in both frames

What moves in the scene moves in both differences and cancels; what flickers does so in the prediction alone. A constant error is no jitter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from models.metrics import CAP_M

if TYPE_CHECKING:
    from validation.rows import Frame

STEADY_M: Final = 0.25
"""Two frames of a sequence follow each other where the median pixel of their truth changes by no more than this; a photo album does not."""


class Jitter:
    """Accumulates frames in the order of their manifest; sums stand with the later frame of each pair."""

    def __init__(self) -> None:
        self._absolute: list[float] = []
        self._count: list[float] = []
        self._last: tuple[str, NDArray[Any], NDArray[np.bool_], NDArray[Any]] | None = None

    def update(self, frame: Frame, depth: NDArray[Any], truth: NDArray[Any]) -> None:
        """Add a frame with its prediction and truth [H,W] in metres."""
        valid = np.isfinite(truth) & (truth > 0) & (truth <= CAP_M)
        absolute = count = 0.0
        if self._last is not None and self._last[0] == frame.sequence:
            _, error, valid_before, truth_before = self._last
            both = valid & valid_before
            if both.any() and np.median(np.abs(truth[both] - truth_before[both])) <= STEADY_M:
                changes = np.abs((depth - truth)[both].astype(np.float64) - error[both])
                absolute, count = float(changes.sum()), float(changes.size)
        self._absolute.append(absolute)
        self._count.append(count)
        self._last = frame.sequence, depth - truth, valid, truth

    def frames(self) -> dict[str, NDArray[np.float64]]:
        """One row a frame: `jitter_absolute` and `jitter_count`; nothing where no two frames follow each other."""
        if not any(self._count):
            return {}
        return {"jitter_absolute": np.array(self._absolute), "jitter_count": np.array(self._count)}

    def compute(self) -> dict[str, float]:
        """`jitter` in metres, where two frames follow each other."""
        count = sum(self._count)
        return {"jitter": sum(self._absolute) / count} if count else {}
