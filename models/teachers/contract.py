"""What every teacher is given and what it gives back: plain numpy, so that a teacher may live in any process.

Sizes are (height, width), pictures are RGB, depth is metres with 0 = invalid, and camera axes are x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.pinhole import Pinhole

Role: TypeAlias = Literal["depth", "boxes", "masks", "structure"]
Unit: TypeAlias = Literal["m", "relative"]
Size: TypeAlias = tuple[int, int]


class TeacherError(VortexError):
    """A teacher that cannot be made (no weights, no package, a bad setting) or that failed on one frame."""


@dataclass(frozen=True)
class View:
    """One frame as a teacher sees it.

    `rgb` is uint8 [H,W,3]; `depth` float32 [H,W] in metres, 0 where there is none; `down` is the unit vector of gravity in camera
    coordinates. What is None is not known.
    """

    id: str
    rgb: NDArray[np.uint8]
    camera: Pinhole | None = None
    depth: NDArray[np.float32] | None = None
    down: tuple[float, float, float] | None = None

    @property
    def size(self) -> Size:
        """(height, width) of the picture."""
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclass(frozen=True)
class DepthMap:
    """Depth float32 [H,W] of a whole picture. "relative" is unbounded inverse depth of unknown scale and shift: never metres."""

    depth: NDArray[np.float32]
    unit: Unit


@dataclass(frozen=True)
class Boxes:
    """N boxes: `xyxy` float32 [N,4] in pixels, `classes` uint8 [N] of core.classes, `scores` float32 [N] in [0,1]."""

    xyxy: NDArray[np.float32]
    classes: NDArray[np.uint8]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Masks:
    """N masks: `masks` bool [N,H,W], `classes` uint8 [N] of core.classes, `scores` float32 [N] in [0,1]."""

    masks: NDArray[np.bool_]
    classes: NDArray[np.uint8]
    scores: NDArray[np.float32]


class Teacher(Protocol):
    """What all teachers share. A teacher is made cheaply and loads its weights on the first frame."""

    name: str

    def describe(self) -> dict[str, object]:
        """Everything that decides the output, as JSON: teacher, model, weights_sha256, library, parameters, and unit for depth."""
        ...

    def close(self) -> None:
        """Give back memory and processes. Closing twice is fine, and a closed teacher loads again when it is asked again."""
        ...


@runtime_checkable
class DepthTeacher(Teacher, Protocol):
    """Sees a picture, gives its depth."""

    def depth(self, view: View) -> DepthMap:
        """Depth of the whole picture, at its size. Raises TeacherError when the frame cannot be done."""
        ...


@runtime_checkable
class BoxTeacher(Teacher, Protocol):
    """Sees a picture, gives boxes round objects."""

    def boxes(self, view: View) -> Boxes:
        """Boxes of people and furniture. Raises TeacherError when the frame cannot be done."""
        ...


@runtime_checkable
class MaskTeacher(Teacher, Protocol):
    """Sees a picture and boxes, gives a mask a box."""

    def masks(self, view: View, boxes: Boxes) -> Masks:
        """One mask a box, in the boxes' order. Raises TeacherError when the frame cannot be done."""
        ...


@runtime_checkable
class StructureTeacher(Teacher, Protocol):
    """Sees a picture, its depth and its camera, gives floor, wall and glass."""

    def structure(self, view: View) -> NDArray[np.uint8]:
        """Class ids uint8 [H,W], 255 where unknown. Raises TeacherError when the frame cannot be done."""
        ...


AnyTeacher: TypeAlias = DepthTeacher | BoxTeacher | MaskTeacher | StructureTeacher
