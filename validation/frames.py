"""One row of statistics a frame: everything the data gate asks about pixels, in one pass over the files.

A file that cannot be read is a reason in the row, never an exception: the gate reports every bad frame, not the first.
Counts (valid, not finite, labels) are exact. Percentiles, ratios and ranks come from a grid of at most 120×160 pixels of each
map, so that decoding is three quarters of the cost; a median moved by at most 0.01 m (kitchen) and 0.15 m (hallway, full of holes).
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from core.errors import VortexError
from validation.manifest import Frame, file
from validation.splits import Placed, copies, interleaved, leaks

if TYPE_CHECKING:
    import pandas as pd

Progress: TypeAlias = Callable[[int], None]
"""Called with the number of frames done so far."""
Map: TypeAlias = NDArray[np.float32]

GRID = (120, 160)
RANKED = 4096
SHARED = 64
"""Pixels two maps must share before their ratio or rank says anything."""
CONFIDENT = 0.5
"""Confidence from which a ToF pixel counts, as in training and in the robot's fusion: below it a sensor may say anything."""
FLAT = 1.15
"""p95/p5 of a sensor below which a frame is one flat surface: its ranks are noise, and so is their correlation."""

MAPS = ("depth", "tof", "teacher")
_ROLE = {"depth": "depth", "tof": "tof", "teacher": "teacher_depth"}


@dataclass(slots=True)
class Row:
    """Statistics of one frame. NaN and None mean "does not apply", or "could not be read", which another column then says."""

    id: str
    split: str
    sequence: str
    supervision: str
    missing: str | None = None
    unreadable: str | None = None
    sizes: str | None = None
    aspect: str | None = None
    relative: str | None = None
    depth_bad: float = math.nan
    depth_valid: float = math.nan
    depth_median: float = math.nan
    depth_p95: float = math.nan
    tof_bad: float = math.nan
    tof_valid: float = math.nan
    tof_median: float = math.nan
    tof_p95: float = math.nan
    teacher_bad: float = math.nan
    teacher_valid: float = math.nan
    teacher_median: float = math.nan
    teacher_p95: float = math.nan
    teacher_to_sensor: float = math.nan
    teacher_rank: float = math.nan
    tof_to_depth: float = math.nan
    labels: str | None = None
    labelled: float = math.nan
    content: str | None = None


def frame_statistics(
    root: Path, frames: Iterable[Frame], progress: Progress | None = None, *, workers: int = 1, gap_steps: int = 5
) -> pd.DataFrame:
    """Read every file of every frame below `root` and return one row a frame, in order.

    Beside the columns of `Row` there are `copy_of`, `leaks_from`, `beside` (see `validation.splits`) and `unlabelled`: the reason
    why a frame's labels fall short of its declared supervision. `workers` threads decode; OpenCV releases the interpreter's lock.
    """
    import pandas as pd

    rows: list[Row] = []
    for row in _mapped(lambda frame: measure(root, frame), frames, workers):
        rows.append(row)
        if progress:
            progress(len(rows))
    table = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(Row)])
    placed = [Placed(row.id, row.split, row.sequence, row.content) for row in rows]
    for column, values in (
        ("copy_of", copies(placed)),
        ("leaks_from", leaks(placed)),
        ("beside", interleaved(placed, gap_steps)),
        ("unlabelled", _unlabelled(rows)),
    ):
        table[column] = pd.Series(values, dtype=object)
    return table


def measure(root: Path, frame: Frame) -> Row:
    """Statistics of one frame; whatever is wrong with its files is in the row."""
    from validation.decode import read_confidence, read_depth, read_rgb, read_segmentation

    row = Row(frame.id, frame.split, frame.sequence, frame.supervision)
    reader = _Reader(root, frame, row)
    rgb: NDArray[np.uint8] | None = reader.read("rgb", read_rgb)
    if rgb is not None:
        row.content = f"{rgb.shape[0]}x{rgb.shape[1]}:{hashlib.blake2b(np.ascontiguousarray(rgb).data, digest_size=16).hexdigest()}"
    confidence: Map | None = reader.read("tof_confidence", read_confidence)
    maps: dict[str, Map] = {}
    for name in MAPS:
        unit = getattr(frame, f"{name}_unit")
        if unit is not None:
            depth = reader.read(_ROLE[name], partial(read_depth, unit=unit))
            trusted = confidence >= CONFIDENT if name == "tof" and confidence is not None else None
            sample = None if depth is None else _depth(row, name, depth, trusted, metric=unit != "relative")
            if sample is not None:
                maps[name] = sample
    if frame.teacher_unit == "relative":
        row.relative = f"teacher {frame.teacher} is declared relative"
    _agreement(row, maps)
    labels: NDArray[np.uint8] | None = reader.read("segmentation", read_segmentation)
    if labels is not None:
        _labels(row, labels)
    reader.close()
    return row


class _Reader:
    """Reads a frame's files, and collects what is missing, unreadable or of another size than the picture."""

    def __init__(self, root: Path, frame: Frame, row: Row) -> None:
        self.root, self.files, self.row = root, frame.files(), row
        self.shapes: dict[str, tuple[int, int]] = {}
        self.missing: list[str] = []
        self.unreadable: list[str] = []

    def read(self, role: str, reader: Callable[[Path], Any]) -> Any:
        relative = self.files.get(role)
        if relative is None:
            return None
        try:
            path = file(self.root, relative)
            if not path.is_file():
                self.missing.append(f"{role} {relative}")
                return None
            array = reader(path)
        except VortexError as error:
            self.unreadable.append(f"{role}: {error.message}")
            return None
        except (OSError, ValueError, MemoryError) as error:
            self.unreadable.append(f"{role}: {relative} ({type(error).__name__}: {error})")
            return None
        self.shapes[role] = array.shape[:2]
        return array

    def close(self) -> None:
        self.row.missing = "; ".join(self.missing) or None
        self.row.unreadable = "; ".join(self.unreadable) or None
        wanted = self.shapes.get("rgb") or next(iter(self.shapes.values()), None)
        unequal = {role: shape for role, shape in self.shapes.items() if shape != wanted}
        if wanted is None or not unequal:
            return
        against = "rgb" if "rgb" in self.shapes else next(iter(self.shapes))
        self.row.sizes = _sizes(against, wanted, unequal)
        bent = {role: shape for role, shape in unequal.items() if not _same_aspect(shape, wanted)}
        self.row.aspect = _sizes(against, wanted, bent) if bent else None


def _sizes(role: str, wanted: tuple[int, int], others: dict[str, tuple[int, int]]) -> str:
    return f"{role} is {wanted[0]}x{wanted[1]}, " + ", ".join(f"{name} is {shape[0]}x{shape[1]}" for name, shape in others.items())


def _same_aspect(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """1 %: what rounding to whole pixels does to a resized picture."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) <= 0.01


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
    sample = _grid(good)
    values = sample[sample > 0]
    if values.size:
        middle, far = np.percentile(values, (50, 95))
        setattr(row, f"{name}_median", float(middle))
        setattr(row, f"{name}_p95", float(far))
    return sample


def _grid(array: Map) -> Map:
    """A sample of at most `GRID` pixels, spread evenly; maps of different resolution are sampled at the same places."""
    rows = ((np.arange(GRID[0]) + 0.5) * array.shape[0] / GRID[0]).astype(np.intp)
    columns = ((np.arange(GRID[1]) + 0.5) * array.shape[1] / GRID[1]).astype(np.intp)
    return array[np.ix_(rows, columns)]


def _agreement(row: Row, maps: dict[str, Map]) -> None:
    """Teacher against the sensor (the ToF camera, else the reference), and the ToF camera against the reference."""
    teacher, tof, reference = maps.get("teacher"), maps.get("tof"), maps.get("depth")
    sensor = tof if tof is not None else reference
    if teacher is not None and sensor is not None:
        row.teacher_to_sensor, row.teacher_rank = _compare(teacher, sensor)
    if tof is not None and reference is not None:
        row.tof_to_depth, _ = _compare(tof, reference)


def _compare(one: Map, sensor: Map) -> tuple[float, float]:
    """Ratio of the medians, and Spearman's rank correlation, over the pixels that both have; NaN where they say nothing."""
    shared = (one > 0) & (sensor > 0)
    ours, theirs = one[shared], sensor[shared]
    if ours.size < SHARED:
        return math.nan, math.nan
    ratio = float(np.median(ours) / np.median(theirs))
    near, far = np.percentile(theirs, (5, 95))
    if far < FLAT * near:
        return ratio, math.nan
    stride = -(-ours.size // RANKED)
    ours, theirs = _ranks(ours[::stride]), _ranks(theirs[::stride])
    spread = ours.std() * theirs.std()
    # A constant prediction has no order at all: that is no positive correlation. Rounding may carry a perfect one beyond 1.
    rank = float(((ours - ours.mean()) * (theirs - theirs.mean())).mean() / spread) if spread > 0 else 0.0
    return ratio, min(1.0, max(-1.0, rank))


def _ranks(values: NDArray[Any]) -> NDArray[Any]:
    """Ranks, ties sharing their mean: depth in millimetres has many."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: NDArray[Any] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return shared


def _labels(row: Row, labels: NDArray[np.uint8]) -> None:
    counts = np.bincount(labels.ravel(), minlength=256)
    strange = [int(label) for label in np.flatnonzero(counts) if label >= len(CLASSES) and label != IGNORE]
    if strange:
        shown = ", ".join(map(str, strange[:8])) + (", …" if len(strange) > 8 else "")
        row.labels = f"ids {shown} on {int(counts[strange].sum())} pixels"
    row.labelled = float(counts[: len(CLASSES)].sum() / max(labels.size, 1))


def _unlabelled(rows: list[Row]) -> list[str | None]:
    """`full` refuses every all-ignore frame; a `partial` set may have them, but not only them; `none` is never asked."""
    partial_labels = any(row.labelled > 0 for row in rows if row.supervision == "partial")
    reasons: list[str | None] = []
    for row in rows:
        reason = None
        if row.labelled == 0 and row.labels is None:
            if row.supervision == "full":
                reason = "declared full, no labelled pixel"
            elif row.supervision == "partial" and not partial_labels:
                reason = "declared partial, no labelled pixel in any frame"
        reasons.append(reason)
    return reasons


def _mapped(work: Callable[[Frame], Row], frames: Iterable[Frame], workers: int) -> Iterator[Row]:
    """`map` in order over threads, with a bounded number in flight so that an interrupt ends soon."""
    if workers <= 1:
        yield from map(work, frames)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="frames") as pool:
        waiting: deque[Future[Row]] = deque()
        for frame in frames:
            waiting.append(pool.submit(work, frame))
            if len(waiting) >= 4 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
