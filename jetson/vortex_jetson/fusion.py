"""The one fusion of the ToF camera's depth with the student's: what the robot runs, and what evaluation on a desk must reproduce."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENT: Final = 0.5
TOF_NEAREST_M: Final = 0.05
TOF_FARTHEST_M: Final = 10.0


class Fused(NamedTuple):
    """Fused depth and how it came about."""

    depth: NDArray[np.float32]
    """[H,W] in metres, 0 where neither source has a usable value."""
    scale: float
    """What the student's depth was multiplied by."""
    scale_pixels: int
    """How many pixels the scale is the median of; 0 says that no pixel was confident and the scale of 1 is an assumption."""


def fuse(student_depth: NDArray[np.floating], tof_depth: NDArray[np.floating], tof_confidence: NDArray[np.floating]) -> Fused:
    """Fill the ToF camera's holes with the student's depth, all [H,W], depth in metres, confidence in [0,1].

    The student is scaled by s = median(ToF / student) over pixels with confidence ≥ 0.5, so that the two agree where both see. A pixel
    is the ToF's where its confidence is ≥ 0.5 and 0.05 m < ToF < 10 m, else s · student: a hard switch, since a blend of a measured and
    a guessed depth is a surface that does not exist. Pairs without a positive finite ratio say nothing about the scale and are left out.

    Raises ValueError when the shapes differ.
    """
    student, tof = np.asarray(student_depth, np.float32), np.asarray(tof_depth, np.float32)
    confidence = np.asarray(tof_confidence, np.float32)
    if not student.shape == tof.shape == confidence.shape:
        raise ValueError(f"shapes differ: student {student.shape}, ToF {tof.shape}, confidence {confidence.shape}")
    confident = confidence >= CONFIDENT  # False where the confidence is NaN
    with np.errstate(all="ignore"):
        ratio = tof[confident].astype(np.float64) / student[confident].astype(np.float64)
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        scale = float(np.median(ratio)) if ratio.size else 1.0
        measured = confident & (tof > TOF_NEAREST_M) & (tof < TOF_FARTHEST_M)
        fused = np.where(measured, tof, np.float32(scale) * student)
    usable = np.isfinite(fused) & (fused > 0)
    return Fused(np.where(usable, fused, np.float32(0)).astype(np.float32, copy=False), scale, int(ratio.size))
