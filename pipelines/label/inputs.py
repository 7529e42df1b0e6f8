"""What the teachers see of a frame: picture, camera, and its depth in metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from models.teachers.contract import View
from validation import decode
from validation.manifest import file
from validation.rows import Frame, Unit


def view(root: Path, frame: Frame) -> View:
    """The picture with its camera, scaled to the picture's size. Raises VortexError when the picture cannot be read."""
    rgb = decode.read_rgb(file(root, frame.rgb))
    seen = frame.intrinsics
    camera = None if seen is None else seen.scaled((rgb.shape[0], rgb.shape[1]))
    return View(frame.id, rgb, camera)


def stored_depth(root: Path, frame: Frame, source: str | None) -> NDArray[np.float32]:
    """The frame's depth in metres [H,W] at its own size, 0 where it is invalid. Raises VortexError when the file cannot be read.

    ToF comes whole, whatever its confidence: the geometric teacher weighs noise itself, and loses 0.08 of floor IoU without the less
    sure pixels (measured, benchmarks/geometric.py).
    """
    stored: dict[str | None, tuple[str | None, Unit | None]] = {
        "reference": (frame.depth, frame.depth_unit),
        "tof": (frame.tof, frame.tof_unit),
        "teacher": (frame.teacher_depth, frame.teacher_unit),
    }
    path, unit = stored.get(source, (None, None))
    if path is None or unit is None or unit == "relative":
        raise VortexError(f"frame {frame.id} has no depth in metres")
    depth = decode.read_depth(file(root, path), unit)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0)).astype(np.float32)


def fitted(values: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """A map at another size [H,W], by nearest neighbour: depth is never averaged over an edge."""
    if values.shape == size:
        return values
    import cv2

    return np.asarray(cv2.resize(values, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT))
