"""What a world is made of: boxes, cylinders and capsules with surfaces, panes of glass, lights; and the frames they are placed in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES
from pipelines.synthetic.atlas import Atlas

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Colour = tuple[float, float, float]

BOX: Final = 0
CYLINDER: Final = 1
CAPSULE: Final = 2


@dataclass(frozen=True)
class Surface:
    """How a thing looks, to the eye and to a ToF sensor.

    `tint` is linear RGB and multiplies the texture. `tile` is metres per repeat of the texture; None fits it once to each face.
    `gloss` in [0, 1] is how much of a mirror it is. `infrared` multiplies what its colour lets expect of the returned ToF light.
    """

    texture: str = "plain"
    tint: Colour = (0.8, 0.8, 0.8)
    label: str = "other"
    tile: float | None = 2.0
    emission: float = 0.0
    gloss: float = 0.0
    infrared: float = 1.0


@dataclass
class Primitives:
    """P primitives as columns, so that a frame's pixels look their attributes up with one gather a column.

    `half` is a box's half size, a cylinder's (r, r, half height), a capsule's half axis; `turn` is cos and sin of the yaw.
    """

    kind: Ints
    centre: Floats
    half: Floats
    turn: Floats
    radius: Floats
    scale: Floats
    offset: Floats
    tint: Floats
    emission: Floats
    gloss: Floats
    infrared: Floats
    texture: Ints
    label: Ints

    def __len__(self) -> int:
        return len(self.kind)

    def joined(self, other: Primitives) -> Primitives:
        """These primitives followed by the others."""
        return Primitives(*(np.concatenate([mine, theirs]) for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))

    def subset(self, which: NDArray[np.bool_]) -> Primitives:
        """Some of these primitives."""
        return Primitives(*(column[which] for column in vars(self).values()))

    def corners(self) -> NDArray[np.float64]:
        """(P, 8, 3) corners of a box around each primitive, for finding the part of the picture that it can cover."""
        capsule = self.kind == CAPSULE
        half = np.where(capsule[:, None], np.abs(self.half) + self.radius[:, None], self.half).astype(np.float64)
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float64)
        local = half[:, None, :] * signs
        cosine, sine = (np.where(capsule, identity, self.turn[:, i])[:, None] for i, identity in enumerate((1.0, 0.0)))
        turned = np.stack([cosine * local[..., 0] - sine * local[..., 1], sine * local[..., 0] + cosine * local[..., 1], local[..., 2]], -1)
        return np.asarray(turned + self.centre[:, None, :])


@dataclass(frozen=True)
class Light:
    """A soft lamp at a point. `day` lights have the colour of the sky, the others that of the scene's lamps."""

    position: tuple[float, float, float]
    power: float
    softness: float = 0.3
    day: bool = False


@dataclass
class Parts:
    """A scene under construction: rows of primitives, and what has to be known about them together."""

    atlas: Atlas
    rng: np.random.Generator
    solid: list[tuple[object, ...]] = field(default_factory=list)
    glass: list[tuple[object, ...]] = field(default_factory=list)
    lights: list[Light] = field(default_factory=list)
    footprints: list[tuple[float, float, float, float, float]] = field(default_factory=list)

    def row(self, kind: int, centre: Colour, half: Colour, yaw: float, radius: float, surface: Surface) -> tuple[object, ...]:
        """One primitive as a tuple in the order of the columns of `Primitives`."""
        fitted = surface.tile is None
        scale = [0.5 / max(h, 1e-3) if fitted else 1.0 / (surface.tile or 1.0) for h in half]
        offset = [0.5] * 3 if fitted else list(self.rng.random(3))
        turn = (math.cos(yaw), math.sin(yaw))
        looks = (surface.tint, surface.emission, surface.gloss, surface.infrared)
        return (kind, centre, half, turn, radius, scale, offset, *looks, self.atlas.index(surface.texture), CLASSES.index(surface.label))


def columns(rows: list[tuple[object, ...]]) -> Primitives:
    """Turn rows into columns; no rows give columns of length 0."""
    shapes = {"centre": (3,), "half": (3,), "turn": (2,), "scale": (3,), "offset": (3,), "tint": (3,)}
    values = list(zip(*rows, strict=True)) if rows else [()] * len(Primitives.__dataclass_fields__)
    arrays = {}
    for name, column in zip(Primitives.__dataclass_fields__, values, strict=True):
        kind = np.int32 if name in ("kind", "texture", "label") else np.float32
        arrays[name] = np.asarray(column, kind).reshape(len(rows), *shapes.get(name, ()))
    return Primitives(**arrays)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Spot:
    """A place on the plan with a heading: what is built here is given in local metres, x along, y away, z up."""

    parts: Parts
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    yaw: float = 0.0

    def world(self, x: float, y: float, z: float = 0.0) -> tuple[float, float, float]:
        """World coordinates of a local point."""
        cosine, sine = math.cos(self.yaw), math.sin(self.yaw)
        return self.x + cosine * x - sine * y, self.y + sine * x + cosine * y, self.z + z

    def at(self, x: float, y: float, z: float = 0.0, yaw: float = 0.0) -> Spot:
        """A spot inside this one."""
        return Spot(self.parts, *self.world(x, y, z), self.yaw + yaw)

    def box(self, x: float, y: float, z: float, size: Colour, surface: Surface, yaw: float = 0.0) -> None:
        """A box of full `size`; (x, y) is its middle, `z` its underside."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self.parts.solid.append(self.parts.row(BOX, self.world(x, y, z + half[2]), half, _quarter(self.yaw + yaw), 0.0, surface))

    def pane(self, x: float, y: float, z: float, width: float, height: float, surface: Surface) -> None:
        """A pane of glass, 1 cm thick, across the local x axis; (x, y) is its middle, `z` its lower edge."""
        half = (width / 2, 0.005, height / 2)
        self.parts.glass.append(self.parts.row(BOX, self.world(x, y, z + half[2]), half, _quarter(self.yaw), 0.0, surface))

    def cylinder(self, x: float, y: float, z: float, radius: float, height: float, surface: Surface) -> None:
        """An upright cylinder; `z` is its underside."""
        half = (radius, radius, height / 2)
        self.parts.solid.append(self.parts.row(CYLINDER, self.world(x, y, z + half[2]), half, self.yaw, radius, surface))

    def capsule(self, start: Colour, end: Colour, radius: float, surface: Surface) -> None:
        """A rod with round ends between two points; a ball where they are the same."""
        a, b = np.array(self.world(*start)), np.array(self.world(*end))
        axis = (b - a) / 2
        if not np.any(np.abs(axis) > 1e-3):
            axis = np.array([0.0, 0.0, 1e-3])
        middle, half = (a + b) / 2, axis
        self.parts.solid.append(self.parts.row(CAPSULE, _triple(middle), _triple(half), 0.0, radius, surface))

    def light(self, x: float, y: float, z: float, power: float, softness: float = 0.3, day: bool = False) -> None:
        """A lamp."""
        self.parts.lights.append(Light(self.world(x, y, z), power, softness, day))

    def footprint(self, x: float, y: float, width: float, depth: float, weight: float = 1.0) -> None:
        """Say that something stands here: the floor around it gets darker."""
        cosine, sine = abs(math.cos(self.yaw)), abs(math.sin(self.yaw))
        middle = self.world(x, y)
        self.parts.footprints.append((middle[0], middle[1], cosine * width + sine * depth, sine * width + cosine * depth, weight))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _quarter(yaw: float) -> float:
    """Snap a yaw that is a right angle up to rounding, so that axis-aligned boxes take the short path of the renderer."""
    nearest = round(yaw / (math.pi / 2)) * (math.pi / 2)
    return nearest if abs(yaw - nearest) < 1e-6 else yaw
