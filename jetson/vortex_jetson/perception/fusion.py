"""The one fusion of the ToF camera's depth with the student's: what the robot runs, and what evaluation on a desk must reproduce."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

CONFIDENT: Final = 0.5
TOF_NEAREST_M: Final = 0.05
TOF_FARTHEST_M: Final = 10.0
STUDENT_CONFIDENCE: Final = 127 / 255
"""What a sure student is worth beside the ToF camera: as a byte 127, where the ToF's confident pixels begin at 128.

So one threshold on the confidence tells what was measured from what was guessed, however sure the network is.
"""
_SAMPLE: Final = 1024
_BRACKET: Final = (0.45, 0.55)


@dataclass(frozen=True)
class Thresholds:
    """Where the ToF camera is believed, and from which pixels the student's scale is. A bundle carries the first three."""

    confident: float = CONFIDENT
    nearest_m: float = TOF_NEAREST_M
    farthest_m: float = TOF_FARTHEST_M
    least_share: float = 0.005
    """Of the frame's pixels, how many must agree on a scale: 384 at 240×320. A median of fewer may be one reflection's."""
    stuck_pixels: int = 64
    """From so many confident pixels on, one and the same depth at all of them is a camera that hangs: a real one has noise."""
    scales: tuple[float, float] = (0.2, 5.0)
    """A median outside of these, as a multiple of the scale that is assumed without ToF, says that one of the two is broken."""


USUAL: Final = Thresholds()


class Fused(NamedTuple):
    """Fused depth and how it came about."""

    depth: NDArray[np.float32]
    """[H,W] in metres, 0 where neither source has a usable value."""
    scale: float
    """What the student's depth was multiplied by."""
    scale_pixels: int
    """How many pixels the scale is the median of; 0 says that the scale is an assumption, for `reason`."""
    reason: str
    """Why the ToF camera's pixels say nothing about the scale; empty where they do."""
    confidence: NDArray[np.float32] | None
    """[H,W] in [0,1]: the ToF's where the pixel is the ToF's, `STUDENT_CONFIDENCE` times the student's elsewhere, 0 where the depth is 0.
    None where the student's was not given."""


def fuse(
    student_depth: NDArray[np.floating],
    tof_depth: NDArray[np.floating],
    tof_confidence: NDArray[np.floating],
    student_confidence: NDArray[np.floating] | None = None,
    *,
    assumed_scale: float = 1.0,
    thresholds: Thresholds = USUAL,
) -> Fused:
    """Fill the ToF camera's holes with the student's depth, all [H,W], depth in metres, confidence in [0,1].

    The student is scaled by s = median(ToF / student) over pixels with confidence ≥ 0.5, so that the two agree where both see. A pixel
    is the ToF's where its confidence is ≥ 0.5 and 0.05 m < ToF < 10 m, else s · student: a hard switch, since a blend of a measured and
    a guessed depth is a surface that does not exist. Pairs without a positive finite ratio say nothing about the scale and are left out.

    Where too few pixels say anything, or say something implausible, s is `assumed_scale` (1, or what `calibrate` found), and `reason` tells
    it. A ToF camera that says one depth everywhere is not used at all.

    Raises ValueError when the shapes differ.
    """
    student, tof = np.asarray(student_depth, np.float32), np.asarray(tof_depth, np.float32)
    confidence = np.asarray(tof_confidence, np.float32)
    if not student.shape == tof.shape == confidence.shape:
        raise ValueError(f"shapes differ: student {student.shape}, ToF {tof.shape}, confidence {confidence.shape}")
    if student_confidence is not None and student_confidence.shape != student.shape:
        raise ValueError(f"shapes differ: student {student.shape}, its confidence {student_confidence.shape}")
    confident = confidence >= thresholds.confident  # False where the confidence is NaN
    with np.errstate(all="ignore"):
        measured = tof > thresholds.nearest_m
        measured &= tof < thresholds.farthest_m
        measured &= confident
        pixels = np.flatnonzero(confident)  # as in `_only`
        confident_tof = tof.ravel()[pixels]
        ratio = np.divide(confident_tof, student.ravel()[pixels], dtype=np.float64)
        ratio = _only(ratio, (ratio > 0) & (ratio < np.inf))
        scale, reason = _scale(ratio, confident_tof, student.size, assumed_scale, thresholds)
        if _is_stuck(confident_tof, thresholds):
            measured[...] = False
        depth = np.where(measured, tof, student * np.float32(scale))
        usable = depth > 0
        usable &= depth < np.inf
    if not usable.all():
        depth[~usable] = 0
    return Fused(depth, scale, 0 if reason else int(ratio.size), reason, _confidence(measured, usable, confidence, student_confidence))


def _scale(
    ratio: NDArray[np.float64], confident_tof: NDArray[np.float32], pixels: int, assumed: float, thresholds: Thresholds
) -> tuple[float, str]:
    """The student's scale; and why it is the assumed one, if it is."""
    usual = f"; the student's scale is assumed to be {assumed:.4g}"
    if not confident_tof.size:
        return assumed, f"no ToF pixel has confidence {thresholds.confident:g} or more" + usual
    if not ratio.size:
        return assumed, f"none of {confident_tof.size} confident ToF pixels has a depth beside one of the student" + usual
    if _is_stuck(confident_tof, thresholds):
        return assumed, f"all {confident_tof.size} confident ToF pixels say {confident_tof[0]:.3f} m, so the ToF camera is not used" + usual
    if ratio.size < (needed := math.ceil(thresholds.least_share * pixels)):
        return assumed, f"only {ratio.size} of {pixels} pixels have ToF depth beside the student's, {needed} are needed" + usual
    scale = median(ratio)
    low, high = (bound * assumed for bound in thresholds.scales)
    if not low <= scale <= high:
        return assumed, f"ToF says {scale:.4g} times the student's depth, {low:.3g} to {high:.3g} is plausible" + usual
    return scale, ""


def _is_stuck(confident_tof: NDArray[np.float32], thresholds: Thresholds) -> bool:
    """Whether many confident pixels say one positive depth. Told by the first few pixels of a camera that works."""
    if confident_tof.size < thresholds.stuck_pixels or not confident_tof[0] > 0:
        return False
    few = confident_tof[: thresholds.stuck_pixels]
    return bool((few == few[0]).all() and (confident_tof == few[0]).all())


def _confidence(
    measured: NDArray[np.bool_], usable: NDArray[np.bool_], tof: NDArray[np.float32], student: NDArray[np.floating] | None
) -> NDArray[np.float32] | None:
    if student is None:
        return None
    confidence: NDArray[np.float32] = np.multiply(student, np.float32(STUDENT_CONFIDENCE), dtype=np.float32)
    np.copyto(confidence, tof, where=measured)
    np.copyto(confidence, np.float32(0), where=~usable)
    np.clip(confidence, 0, 1, out=confidence)
    return confidence


def median(values: NDArray[np.float64]) -> float:
    """np.median of finite `values`, bit for bit, in a third of the time.

    A sample says between which two numbers the median should lie. How many values lie below the lower one is counted, so the ranks among
    those between are exact; where the median is not among them after all, np.median does the work.
    """
    if values.size < 4 * _SAMPLE:
        return float(np.median(values))
    sample = np.sort(values[:: values.size // _SAMPLE])
    low, high = (sample[int(share * sample.size)] for share in _BRACKET)
    between = _only(values, (values >= low) & (values <= high))
    below = int(np.count_nonzero(values < low))
    first, second = (values.size - 1) // 2 - below, values.size // 2 - below
    if first < 0 or second >= between.size:
        return float(np.median(values))
    between = np.partition(between, (first, second))
    return float((between[first] + between[second]) / 2)


def _only(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """`values[mask]`: all of them without a copy, else by indices, which are several times faster than a mask that changes often."""
    return values if mask.all() else values[np.flatnonzero(mask)]
