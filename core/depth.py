"""Depth as every room means it: float32 metres with 0 = invalid in memory, 16-bit millimetres on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MILLIMETRES: Final = 1000.0
"""Steps of a metre on disk."""
INVALID_STEP: Final = 65535
"""What a 16-bit depth file may say beside 0 where it knows nothing."""
FARTHEST_MM: Final = INVALID_STEP - 1
FARTHEST_M: Final = FARTHEST_MM / MILLIMETRES
"""The farthest that 16-bit millimetres hold: 65.534 m."""
TOF_CONFIDENT: Final = 0.5
"""Confidence from which a ToF pixel counts, in training, validation and evaluation: below it a sensor may say anything.

The fusion on the robot (`vortex_jetson.perception.fusion`) draws the same line; it imports nothing of the workspace, so a test holds the two equal.
"""
RANGES_M: Final = {"near": (0.0, 1.5), "mid": (1.5, 3.0), "far": (3.0, 6.0)}
"""Strata of the reference depth, each (low, high] in metres. Near is what keeps a robot safe."""


def millimetres(metres: NDArray[Any]) -> NDArray[np.uint16]:
    """Metres as uint16 millimetres, rounded to the nearest; 0 where they are not finite, not above 0, or beyond 65.534."""
    import numpy as np

    steps = np.rint(metres.astype(np.float64) * MILLIMETRES)
    good = (steps > 0) & (steps <= FARTHEST_MM)  # both are false for NaN
    whole: NDArray[np.uint16] = np.where(good, steps, 0).astype(np.uint16)
    return whole
