"""A scene ready to be filmed: compiled primitives, light, the plan that darkens corners, and the walk of the camera and of people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipelines.synthetic.atlas import Atlas
from pipelines.synthetic.parts import Colour, Floats, Light, Parts, Primitives, Spot, columns
from pipelines.synthetic.textures import noise

CELL: Final = 0.05
"""Metres per cell of the plan."""
MARGIN: Final = 1.0


@dataclass(frozen=True)
class Pose:
    """Where the camera is and where it looks: yaw about z from +x, pitch up, roll clockwise, in radians."""

    position: tuple[float, float, float]
    yaw: float
    pitch: float = 0.0
    roll: float = 0.0

    def rotation(self) -> NDArray[np.float64]:
        """Columns right, down, forward, in the world."""
        cy, sy, cp, sp = np.cos(self.yaw), np.sin(self.yaw), np.cos(self.pitch), np.sin(self.pitch)
        forward = np.array([cy * cp, sy * cp, sp])
        right = np.array([sy, -cy, 0.0])
        down = np.cross(forward, right)
        cr, sr = np.cos(self.roll), np.sin(self.roll)
        return np.stack([cr * right + sr * down, cr * down - sr * right, forward], 1)


Walk = Callable[[float], Pose]
"""The camera's pose at a phase in [0, 1) of its sequence."""
People = Callable[[Parts, float], None]
"""Puts whoever is there at a phase in [0, 1) into the parts."""


@dataclass(frozen=True)
class Scene:
    """One layout of a world."""

    solid: Primitives
    glass: Primitives
    lights: tuple[Light, ...]
    texels: NDArray[np.uint32]
    blotches: Floats
    plan: Floats
    corner: tuple[float, float]
    height: float
    ambient: float
    lamp: Colour
    exposure: float
    walk: Walk
    parts: Parts
    people: People | None = None

    def populated(self, phase: float) -> Primitives:
        """The solid primitives at a moment of the sequence."""
        if self.people is None:
            return self.solid
        moment = Parts(self.parts.atlas, np.random.default_rng(0))
        self.people(moment, phase)
        return self.solid.joined(columns(moment.solid)) if moment.solid else self.solid


def compiled(
    parts: Parts, *, height: float, walls: list[tuple[float, float, float, float]], walk: Walk, people: People | None = None,
    ambient: float = 0.4, lamp: Colour = (1.0, 0.95, 0.86), exposure: float = 0.42,
) -> Scene:  # fmt: skip
    """Freeze parts into a scene. `walls` are plan rectangles (x0, y0, x1, y1) that keep light away from corners."""
    if people is not None:
        # Paint the textures of people now: the atlas is closed from here on.
        people(Parts(parts.atlas, np.random.default_rng(0)), 0.0)
    solid = columns(parts.solid)
    boxes = solid.corners()[..., :2]
    x0, y0 = boxes[..., 0].min() - MARGIN, boxes[..., 1].min() - MARGIN
    shape = (int((boxes[..., 1].max() + MARGIN - y0) / CELL) + 1, int((boxes[..., 0].max() + MARGIN - x0) / CELL) + 1)
    things = [(x - w / 2, y - d / 2, x + w / 2, y + d / 2, weight) for x, y, w, d, weight in parts.footprints]
    plan = np.stack([_plan(shape, (x0, y0), [(*wall, 1.0) for wall in walls], 0.28), _plan(shape, (x0, y0), things, 0.16)])
    blotches = 0.9 + 0.2 * noise(np.random.default_rng([parts.atlas.seed, 99]), 8, side=256)
    return Scene(
        solid, columns(parts.glass), tuple(parts.lights), parts.atlas.texels(), blotches.astype(np.float32), plan, (float(x0), float(y0)),
        height, ambient, lamp, exposure, walk, parts, people,
    )  # fmt: skip


def new_spot(seed: tuple[int, ...], rng: np.random.Generator) -> Spot:
    """An empty scene to build in; `seed` is the dataset's and the sequence's."""
    return Spot(Parts(Atlas(seed[0]), rng))


def _plan(shape: tuple[int, int], corner: tuple[float, float], rectangles: Sequence[tuple[float, ...]], blur: float) -> Floats:
    import cv2

    plan = np.zeros(shape, np.float32)
    for x0, y0, x1, y1, weight in rectangles:
        left, right = (round((x - corner[0]) / CELL) for x in (x0, x1))
        top, bottom = (round((y - corner[1]) / CELL) for y in (y0, y1))
        area = plan[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        np.maximum(area, weight, out=area)
    return np.asarray(cv2.GaussianBlur(plan, (0, 0), blur / CELL), np.float32)
