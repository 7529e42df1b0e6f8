"""One row of statistics a frame: everything the data gate asks about pixels, in one pass over the files.

A file that cannot be read is a reason in the row, never an exception: the gate reports every bad frame, not the first.
Counts (valid, not finite, labels) are exact. Percentiles, ratios and ranks come from a grid of at most 120×160 pixels of each
map, so that decoding is three quarters of the cost; a median moved by at most 0.01 m (kitchen) and 0.15 m (hallway, full of holes).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from core.depth import TOF_CONFIDENT
from core.errors import VortexError
from validation.decode import read_confidence, read_depth, read_rgb, read_segmentation
from validation.manifest import file
from validation.pixels import depth_bins, look, roughness, sample
from validation.rows import Frame

Map: TypeAlias = NDArray[np.float32]
Counts: TypeAlias = NDArray[np.uint16]

VERSION: Final = 1
"""Raise when a statistic changes its meaning: rows that were kept under another number are measured again."""
RANKED = 4096
SHARED = 64
"""Pixels two maps must share before their ratio or rank says anything."""
NEAR: Final = np.float32(0.15)
"""Metres below which no sensor of a robot or a hand-held rig measures; overflowing and wrapped numbers end up there."""
FLAT = 1.15
"""p95/p5 of a sensor below which a frame is one flat surface: its ranks are noise, and so is their correlation."""

MAPS = ("depth", "tof", "teacher")
_ROLE = {"depth": "depth", "tof": "tof", "teacher": "teacher_depth"}


@dataclass(slots=True)
class Row:
    """Statistics of one frame. NaN and None mean "does not apply", or "could not be read", which another column then says.

    `content` is a hash of the pixels (0: not read), `across` and `down` the perceptual hash (see `validation.pixels.look`); `floor`
    … `other` are shares of the labelled pixels, `floor_row` the mean row of the floor, from 0 (top) to 1.
    """

    missing: str | None = None
    unreadable: str | None = None
    sizes: str | None = None
    aspect: str | None = None
    relative: str | None = None
    height: float = math.nan
    width: float = math.nan
    brightness: float = math.nan
    contrast: float = math.nan
    blur: float = math.nan
    content: int = 0
    across: int = 0
    down: int = 0
    depth_bad: float = math.nan
    depth_valid: float = math.nan
    depth_median: float = math.nan
    depth_p95: float = math.nan
    depth_near: float = math.nan
    depth_rough: float = math.nan
    tof_bad: float = math.nan
    tof_valid: float = math.nan
    tof_median: float = math.nan
    tof_p95: float = math.nan
    tof_near: float = math.nan
    tof_rough: float = math.nan
    teacher_bad: float = math.nan
    teacher_valid: float = math.nan
    teacher_median: float = math.nan
    teacher_p95: float = math.nan
    teacher_near: float = math.nan
    teacher_rough: float = math.nan
    teacher_to_sensor: float = math.nan
    teacher_rank: float = math.nan
    tof_to_depth: float = math.nan
    tof_rank: float = math.nan
    labels: str | None = None
    labelled: float = math.nan
    floor_row: float = math.nan
    floor: float = math.nan
    wall: float = math.nan
    glass: float = math.nan
    person: float = math.nan
    furniture: float = math.nan
    other: float = math.nan
    depth_bins: Counts | None = None
    tof_bins: Counts | None = None
    teacher_bins: Counts | None = None


def measure(root: Path, frame: Frame) -> Row:
    """Statistics of one frame; whatever is wrong with its files is in the row."""
    row = Row()
    reader = _Reader(root, frame, row)
    rgb: NDArray[np.uint8] | None = reader.read("rgb", read_rgb)
    if rgb is not None:
        _picture(row, rgb)
    confidence: Map | None = reader.read("tof_confidence", read_confidence)
    maps: dict[str, Map] = {}
    for name in MAPS:
        unit = getattr(frame, f"{name}_unit")
        if unit is not None:
            depth = reader.read(_ROLE[name], partial(read_depth, unit=unit))
            trusted = confidence >= TOF_CONFIDENT if name == "tof" and confidence is not None else None
            sampled = None if depth is None else _depth(row, name, depth, trusted, metric=unit != "relative")
            if sampled is not None:
                maps[name] = sampled
    if frame.teacher_unit == "relative":
        row.relative = f"teacher {frame.teacher} is declared relative"
    _agreement(row, maps)
    labels: NDArray[np.uint8] | None = reader.read("segmentation", read_segmentation)
    if labels is not None:
        _labels(row, labels)
    reader.read("segmentation_sources", read_segmentation)
    reader.find("provenance")
    reader.close()
    return row


def _picture(row: Row, rgb: NDArray[np.uint8]) -> None:
    row.height, row.width = float(rgb.shape[0]), float(rgb.shape[1])
    row.brightness, row.contrast, row.blur, row.across, row.down = look(rgb)
    digest = hashlib.blake2b(repr(rgb.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(rgb).data)
    row.content = int.from_bytes(digest.digest(), "big")


class _Reader:
    """Reads a frame's files, and collects what is missing, unreadable or of another size than the picture."""

    def __init__(self, root: Path, frame: Frame, row: Row) -> None:
        self.root, self.files, self.row = root, frame.files(), row
        self.shapes: dict[str, tuple[int, int]] = {}
        self.missing: list[str] = []
        self.unreadable: list[str] = []

    def find(self, role: str) -> Path | None:
        """The role's file, if the frame names one and it is there."""
        relative = self.files.get(role)
        if relative is None:
            return None
        try:
            path = file(self.root, relative)
            if path.is_file():
                return path
            self.missing.append(f"{role} {relative}")
        except VortexError as error:
            self.unreadable.append(f"{role}: {error.message}")
        except (OSError, ValueError) as error:
            self.unreadable.append(f"{role}: {relative} ({type(error).__name__}: {error})")
        return None

    def read(self, role: str, reader: Callable[[Path], Any]) -> Any:
        """The role's array, or None with the reason noted."""
        path = self.find(role)
        if path is None:
            return None
        try:
            array = reader(path)
        except VortexError as error:
            self.unreadable.append(f"{role}: {error.message}")
            return None
        except (OSError, ValueError, MemoryError) as error:
            self.unreadable.append(f"{role}: {self.files[role]} ({type(error).__name__}: {error})")
            return None
        self.shapes[role] = array.shape[:2]
        return array

    def close(self) -> None:
        self.row.missing = "; ".join(self.missing) or None
        self.row.unreadable = "; ".join(self.unreadable) or None
        size = self.shapes.get("rgb") or next(iter(self.shapes.values()), None)
        unequal = {role: shape for role, shape in self.shapes.items() if shape != size}
        if size is None or not unequal:
            return
        against = "rgb" if "rgb" in self.shapes else next(iter(self.shapes))
        self.row.sizes = _sizes(against, size, unequal)
        bent = {role: shape for role, shape in unequal.items() if not _same_aspect(shape, size)}
        self.row.aspect = _sizes(against, size, bent) if bent else None


def _sizes(role: str, size: tuple[int, int], others: dict[str, tuple[int, int]]) -> str:
    return f"{role} is {size[0]}x{size[1]}, " + ", ".join(f"{name} is {shape[0]}x{shape[1]}" for name, shape in others.items())


def _same_aspect(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """1 %: what rounding to whole pixels does to a resized picture."""
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) <= 0.01


def _depth(row: Row, name: str, depth: Map, trusted: NDArray[np.bool_] | None, *, metric: bool) -> Map | None:
    """Fill the columns of one depth map; returns its grid sample, invalid pixels 0, or None when it has no metres to compare.

    Pixels that are not `trusted` count as invalid; not finite or negative they may not be either.
    """
    low, high = float(depth.min()), float(depth.max())
    if low >= 0 and high < math.inf:  # false for NaN; spares the usual frame the masks
        bad, good = 0, depth
    else:
        finite = np.isfinite(depth)
        bad = depth.size - int(np.count_nonzero(finite & (depth >= 0)))
        good = np.where(finite & (depth > 0), depth, np.float32(0))
    if trusted is not None and trusted.shape == depth.shape:
        good = good * trusted
    setattr(row, f"{name}_bad", float(bad))
    setattr(row, f"{name}_valid", np.count_nonzero(good) / depth.size)
    if not metric:
        return None
    sampled = sample(good)
    values = sampled[sampled > 0]
    if values.size:
        middle, far = np.percentile(values, (50, 95))
        setattr(row, f"{name}_median", float(middle))
        setattr(row, f"{name}_p95", float(far))
        setattr(row, f"{name}_near", np.count_nonzero(values < NEAR) / values.size)
        setattr(row, f"{name}_rough", roughness(good, sampled))
        setattr(row, f"{name}_bins", depth_bins(values))
    return sampled


def _agreement(row: Row, maps: dict[str, Map]) -> None:
    """Teacher against the sensor (the ToF camera, else the reference), and the ToF camera against the reference."""
    teacher, tof, reference = maps.get("teacher"), maps.get("tof"), maps.get("depth")
    sensor = tof if tof is not None else reference
    if teacher is not None and sensor is not None:
        row.teacher_to_sensor, row.teacher_rank = _ratio_and_rank(teacher, sensor)
    if tof is not None and reference is not None:
        row.tof_to_depth, row.tof_rank = _ratio_and_rank(tof, reference)


def _ratio_and_rank(depth: Map, sensor: Map) -> tuple[float, float]:
    """Ratio of the medians, and Spearman's rank correlation, over the pixels that both have; NaN where they say nothing."""
    shared = (depth > 0) & (sensor > 0)
    ours, theirs = depth[shared], sensor[shared]
    if ours.size < SHARED:
        return math.nan, math.nan
    ratio = float(np.median(ours) / np.median(theirs))
    near, far = np.percentile(theirs, (5, 95))
    if far < FLAT * near:
        return ratio, math.nan
    from scipy.stats import rankdata  # a second of CPU, and most commands that need this module measure no frame

    stride = -(-ours.size // RANKED)
    # Ties share their mean rank: depth in millimetres has many.
    our_ranks, their_ranks = rankdata(ours[::stride]), rankdata(theirs[::stride])
    spread = our_ranks.std() * their_ranks.std()
    # A constant prediction has no order at all: that is no positive correlation. Rounding may carry a perfect one beyond 1.
    rank = float(((our_ranks - our_ranks.mean()) * (their_ranks - their_ranks.mean())).mean() / spread) if spread > 0 else 0.0
    return ratio, min(1.0, max(-1.0, rank))


def _labels(row: Row, labels: NDArray[np.uint8]) -> None:
    counts = np.bincount(labels.ravel(), minlength=256)
    strange = [int(label) for label in np.flatnonzero(counts) if label >= len(CLASSES) and label != IGNORE]
    if strange:
        ids = ", ".join(map(str, strange[:8])) + (", …" if len(strange) > 8 else "")
        row.labels = f"ids {ids} on {int(counts[strange].sum())} pixels"
    class_counts = counts[: len(CLASSES)]
    total = int(class_counts.sum())
    row.labelled = total / max(labels.size, 1)
    if total:
        for name, count in zip(CLASSES, class_counts, strict=True):
            setattr(row, name, float(count) / total)
    if class_counts[0]:
        rows = np.count_nonzero(labels == 0, axis=1)
        row.floor_row = float((rows * np.arange(0.5, len(rows))).sum() / (rows.sum() * len(rows)))
