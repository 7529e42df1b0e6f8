"""Frames as arrays of one size: decoded once and kept in memory, or decoded on demand where they would not fit."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.files import inside

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from validation.manifest import Frame

Arrays = dict[str, NDArray[Any]]
"""`rgb` uint8 [H,W,3]; what the frame has of `reference`, `tof_depth`, `teacher_depth` float32 [H,W] (metres, 0 invalid; a relative
teacher keeps its own unit), `tof_confidence` float32 [H,W] in [0,1], `segmentation` uint8 [H,W]."""
Progress = Callable[[int, int], None]

MILLIMETRES = 1000.0
_FARTHEST = 65.534
_MEMORY_SHARE = 0.25
_KEPT_SETS = 4


@dataclass(frozen=True)
class FrameArrays:
    """Frames of one set at one size (H, W). Index it for a frame's arrays; `resident` says whether they are kept in memory."""

    root: Path
    frames: tuple[Frame, ...]
    size: tuple[int, int]
    _kept: tuple[Arrays, ...] = field(default=(), repr=False)

    @property
    def resident(self) -> bool:
        """Whether the arrays are in memory."""
        return len(self._kept) == len(self.frames)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Arrays]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Arrays:
        kept = self._kept[index] if self.resident else _decode(self.root, self.size, self.frames[index])
        return {name: _unpack(name, array) for name, array in kept.items()}


def load_arrays(
    ref: DataRef, frames: Sequence[Frame], size: tuple[int, int], *, on_progress: Progress | None = None, budget_bytes: int | None = None
) -> FrameArrays:
    """Decode `frames` of `ref` and resize them to `size` (H, W): images by area, depth and labels by nearest neighbour.

    Metric depth is kept in whole millimetres (what the sensors and the files give), which halves the memory; beyond 65.5 m it is
    invalid. Sets larger than `budget_bytes` (default: a quarter of the free memory) are decoded on demand. The last few sets are
    remembered, so that validating after every epoch decodes once.
    Raises VortexError naming the file that is missing or broken.
    """
    key = (ref.root, ref.digest, size, hash(tuple(frame.id for frame in frames)))
    if key in _cache:
        _cache.move_to_end(key)
        return _cache[key]
    budget = _free_memory() * _MEMORY_SHARE if budget_bytes is None else budget_bytes
    if sum(_bytes(frame, size) for frame in frames) > budget:
        return FrameArrays(ref.root, tuple(frames), size)
    loaded = FrameArrays(ref.root, tuple(frames), size, tuple(_decode_all(ref.root, size, frames, on_progress)))
    _cache[key] = loaded
    while len(_cache) > _KEPT_SETS:
        _cache.popitem(last=False)
    return loaded


_cache: OrderedDict[tuple[Any, ...], FrameArrays] = OrderedDict()


def _decode_all(root: Path, size: tuple[int, int], frames: Sequence[Frame], on_progress: Progress | None) -> Iterator[Arrays]:
    """Decode on every core, in order, a bounded window ahead. OpenCV releases the interpreter lock while it decodes."""
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(frames)
        ahead = [pool.submit(_decode, root, size, frame) for frame in islice(waiting, 4 * workers)]
        try:
            for done in range(1, len(frames) + 1):
                yield ahead.pop(0).result()
                ahead.extend(pool.submit(_decode, root, size, frame) for frame in islice(waiting, 1))
                if on_progress:
                    on_progress(done, len(frames))
        finally:
            for future in ahead:
                future.cancel()


def _decode(root: Path, size: tuple[int, int], frame: Frame) -> Arrays:
    from validation import decode

    def file(relative: str) -> Path:
        path = inside(root, relative)
        if not path.is_file():
            raise VortexError(
                f"{path}: the file of frame {frame.id!r} is missing", "restore it (vortex data checkout), or validate the dataset"
            )
        return path

    nearest = partial(_nearest, size=size)
    arrays: Arrays = {"rgb": _shrink(decode.read_rgb(file(frame.rgb)), size)}
    for name, path, unit in (
        ("reference", frame.depth, frame.depth_unit),
        ("tof_depth", frame.tof, frame.tof_unit),
        ("teacher_depth", frame.teacher_depth, frame.teacher_unit),
    ):
        if path and unit:
            arrays[name] = _pack(nearest(decode.read_depth(file(path), unit)), relative=unit == "relative")
    if frame.tof and frame.tof_confidence:
        arrays["tof_confidence"] = np.rint(nearest(decode.read_confidence(file(frame.tof_confidence))) * 255).astype(np.uint8)
    elif "tof_depth" in arrays:
        # A sensor that reports no confidence is trusted where it reports depth.
        arrays["tof_confidence"] = ((arrays["tof_depth"] > 0) * np.uint8(255)).astype(np.uint8)
    if frame.segmentation:
        arrays["segmentation"] = nearest(decode.read_segmentation(file(frame.segmentation)))
    return arrays


def _pack(depth: NDArray[Any], *, relative: bool) -> NDArray[Any]:
    """Invalid and non-finite become 0; metres become whole millimetres."""
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, 0)
    if relative:
        return depth.astype(np.float32)
    return np.rint(np.where(depth <= _FARTHEST, depth, 0) * MILLIMETRES).astype(np.uint16)


def _unpack(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.uint16:
        return array.astype(np.float32) / np.float32(MILLIMETRES)
    if name == "tof_confidence":
        return array.astype(np.float32) / np.float32(255)
    return array


def _shrink(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    import cv2

    height, width = size
    smaller = image.shape[0] >= height and image.shape[1] >= width
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def _nearest(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    import cv2

    # The exact variant takes the pixel under the centre; plain INTER_NEAREST is off by half a pixel against the image.
    return np.asarray(cv2.resize(array, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT))


def _bytes(frame: Frame, size: tuple[int, int]) -> int:
    depths = 2 * sum(path is not None for path in (frame.depth, frame.tof, frame.teacher_depth)) + 2 * (frame.teacher_unit == "relative")
    return size[0] * size[1] * (3 + depths + (frame.tof is not None) + (frame.segmentation is not None))


def _free_memory() -> float:
    """Bytes that can be had without swapping, as Linux estimates them; 4 GiB where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 4.0 * 2**30
