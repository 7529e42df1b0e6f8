"""What is asked of a teacher's answer before it becomes a label, and how a failure is told from one that concerns every frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES
from core.errors import VortexError
from core.files import disk_full
from models.teachers.contract import Boxes, DepthMap

T = TypeVar("T")


class Failed(Exception):
    """An answer that cannot be used, or none at all. Its two arguments: whose it was, and why."""


def ask(name: str, folder: Path, question: Callable[[], T]) -> T:
    """A teacher's answer. Raises Failed for whatever goes wrong, but for a full disk, which fails every frame alike: VortexError."""
    try:
        return question()
    except OSError as error:
        if disk_full(error, folder):
            raise VortexError(f"teacher {name}: no space left on the disk", "free some space and run the command again") from error
        raise Failed(name, _words(error)) from error
    except Exception as error:  # foreign code: the frame is put aside with the reason, and the run goes on
        raise Failed(name, _words(error)) from error


def usable_depth(answer: DepthMap, unit: str | None, size: tuple[int, int]) -> NDArray[np.float32]:
    """Depth float32 [H,W] that is finite, nowhere negative and somewhere above 0. Raises ValueError that says what it is instead."""
    depth = answer.depth
    if answer.unit != unit:
        raise ValueError(f"its depth is in {answer.unit!r}, declared: {unit!r}")
    if not isinstance(depth, np.ndarray) or depth.shape != size or depth.dtype.kind != "f":
        raise ValueError(f"its depth is {_shape(depth)}, wanted: floats {size}")
    bad = depth.size - int(np.isfinite(depth).sum())
    if bad:
        raise ValueError(f"{bad} of {depth.size} pixels of its depth are not finite")
    negative = int((depth < 0).sum())
    if negative:
        raise ValueError(f"{negative} of {depth.size} pixels of its depth are negative")
    if not depth.any():
        raise ValueError("its depth is 0 everywhere")
    return depth.astype(np.float32)


def usable_boxes(boxes: Boxes) -> Boxes:
    """Boxes with a class and a finite score each. Raises ValueError that says what they are instead."""
    count = len(boxes.scores)
    if boxes.xyxy.shape != (count, 4) or boxes.classes.shape != (count,):
        raise ValueError(f"its boxes are {_shape(boxes.xyxy)} with {_shape(boxes.classes)} classes and {count} scores")
    if not (np.isfinite(boxes.xyxy).all() and np.isfinite(boxes.scores).all()):
        raise ValueError("a box or a score is not finite")
    if count and int(boxes.classes.max()) >= len(CLASSES):
        raise ValueError(f"class {int(boxes.classes.max())} of a box is unknown, wanted: 0 to {len(CLASSES) - 1}")
    return boxes


def usable_structure(structure: object) -> NDArray[np.uint8]:
    """An array; merging checks the rest. Raises ValueError for anything else."""
    if not isinstance(structure, np.ndarray):
        raise ValueError(f"its classes are {_shape(structure)}, wanted: an array")
    return structure


def _words(error: Exception) -> str:
    """Why, in one line that is the same whenever the same thing goes wrong."""
    message = error.message if isinstance(error, VortexError) else str(error)
    kind = "" if isinstance(error, VortexError | ValueError) and message else type(error).__name__
    return " ".join(f"{kind}: {message}".strip(": ").split())[:300]


def _shape(values: object) -> str:
    return f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
