"""A first look at a new dataset: depth and brightness at full resolution on a stated subsample, so that a wrong unit shows at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.depth import INVALID_STEP, MILLIMETRES
from pipelines.ingest.adapter import printable
from pipelines.ingest.manifest_rows import Row
from pipelines.ingest.role_checks import METRIC
from validation.decode import read_depth, read_rgb
from validation.headers import FrameFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBSAMPLE: Final = 32
"""Frames looked at, spread evenly over the set."""
PLAUSIBLE: Final = (0.2, 20.0)
"""Metres between which the median depth of an indoor set lies."""
_BINS: Final = INVALID_STEP + 1
"""Of 1 mm each; the last holds all that is farther."""


def survey(rows: Sequence[Row], staging: Path, workers: int) -> dict[str, Any]:
    """Statistics of the written files of `SUBSAMPLE` frames, every pixel of them: for the card's settings.

    `frames` of `of` were read; brightness is the mean in [0, 1]; a depth's `valid` is a share of the pixels, its quantiles are metres
    to a millimetre. Relative depth has none. Raises FrameFileError, naming the frame, for a picture that cannot be decoded.
    """
    import numpy as np

    subsample = [rows[index] for index in sorted({round(step) for step in np.linspace(0, len(rows) - 1, min(SUBSAMPLE, len(rows)))})]
    brightness: list[float] = []
    depths: dict[str, tuple[int, NDArray[np.int64]]] = {}
    with ThreadPoolExecutor(workers) as pool:
        for mean, counts in pool.map(lambda row: _look(row, staging), subsample):
            brightness.append(mean)
            for role, (pixels, histogram) in counts.items():
                before = depths.get(role)
                depths[role] = (pixels, histogram) if before is None else (before[0] + pixels, before[1] + histogram)
    return {
        "frames": len(subsample),
        "of": len(rows),
        "brightness": round(float(np.mean(brightness)), 4),
        **{role: _summary(pixels, histogram) for role, (pixels, histogram) in depths.items()},
    }


def doubts(statistics: dict[str, Any]) -> list[str]:
    """Notes on medians that no room has: the unit is most likely not what was stated."""
    notes = []
    for role in METRIC:
        summary = statistics.get(role)
        if not summary:
            continue
        median = summary["median"]
        if median is None:
            notes.append(f"{role} has no valid pixel in the {_frames(statistics['frames'])} that were looked at")
        elif not PLAUSIBLE[0] <= median <= PLAUSIBLE[1]:
            text = "65.5 m or more" if median >= (_BINS - 1) / MILLIMETRES else f"{median:g} m"
            notes.append(
                f"the median {role} of {_frames(statistics['frames'])} is {text}, "
                f"usual are {PLAUSIBLE[0]:g} to {PLAUSIBLE[1]:g} m: is its unit what was stated?"
            )
    return notes


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"


def _look(row: Row, staging: Path) -> tuple[float, dict[str, tuple[int, NDArray[Any]]]]:
    import cv2
    import numpy as np

    frame, roles = row.frame, row.frame.files()
    try:
        mean = float(np.mean(cv2.mean(read_rgb(staging / frame.rgb))[:3])) / 255
        counts: dict[str, tuple[int, NDArray[Any]]] = {}
        for role, unit in (("depth", frame.depth_unit), ("tof", frame.tof_unit), ("teacher_depth", frame.teacher_unit)):
            if role not in roles or unit is None or unit == "relative":
                continue
            depth = read_depth(staging / roles[role], unit)
            good = depth[np.isfinite(depth) & (depth > 0)]
            steps = (np.minimum(good, np.float32(_BINS / MILLIMETRES)) * np.float32(MILLIMETRES) + np.float32(0.5)).astype(np.int32)
            counts[role] = (depth.size, np.bincount(np.minimum(steps, _BINS - 1), minlength=_BINS))
    except FrameFileError as error:
        message = printable(error.message).replace(f"{staging}/", "")
        raise FrameFileError(f"frame {frame.id}: {message}; nothing was added", error.hint) from error
    return mean, counts


def _summary(pixels: int, histogram: NDArray[Any]) -> dict[str, float | None]:
    total = int(histogram.sum())
    reached = histogram.cumsum()

    def quantile(share: float) -> float | None:
        return int(reached.searchsorted(max(1, share * total))) / MILLIMETRES if total else None

    return {"valid": round(total / max(pixels, 1), 4), "p5": quantile(0.05), "median": quantile(0.5), "p95": quantile(0.95)}
