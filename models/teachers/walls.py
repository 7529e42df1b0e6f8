"""Upright planes in a depth picture, and which columns of them are walls and which the fronts of furniture.

A wall's plane is found by votes for (azimuth, distance) on the ground plan, as a Hough transform, then refined by least squares. A front is
told from a wall by what lies behind it: over the top of a cupboard the wall behind it is seen, over the top of a wall nothing is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.teachers.planes import SAMPLES, Bools, Cloud, Doubles, Floats, Points, horizontal_axes

TURN: Final = 4.0
"""Degrees per cell of the votes for azimuth."""
CELL: Final = 0.08
"""Metres per cell of the votes for distance."""
COLUMN: Final = 0.10
"""Metres of wall per column."""
REACH: Final = 12.0
"""Metres from the camera within which walls are looked for."""
THICK: Final = 0.12
"""Metres behind a wall's face that still belong to it: doors and window frames are set back in it."""
EXTENT: Final = 1.5
"""Metres by which a wall is thought to go on where the sensor saw nothing."""
SUPPORT: Final = 0.5
"""Of a front's pixels, as many must be seen of the wall behind it."""
NARROW: Final = 0.9
"""Metres that a wall must be seen to be wide: people and posts are narrower."""
MOST: Final = 14
"""Planes in one picture."""


@dataclass(frozen=True)
class Wall:
    """An upright plane: `normal` (unit, away from the camera), `distance`, `aside` (unit, along the wall), and its wall-like columns.

    Column i covers `start + i · COLUMN` metres along `aside`. In `solid` columns the plane was seen and is a wall; `likely` adds columns
    beside those in which nothing was seen at all, for the pixels that the sensor lost.
    """

    normal: Doubles
    distance: float
    aside: Doubles
    start: float
    solid: Bools
    likely: Bools
    weight: int

    @property
    def ends(self) -> tuple[float, float]:
        """Where the seen part of the wall begins and ends, in metres along it."""
        columns = np.flatnonzero(self.solid)
        return self.start + COLUMN * float(columns[0]), self.start + COLUMN * float(columns[-1] + 1)

    def columns(self, along: Floats) -> NDArray[np.int32]:
        """The number of the column of places (metres along the wall); the first and last column, which are empty, stand for beyond."""
        return np.asarray(np.clip((along - np.float32(self.start)) / np.float32(COLUMN), 0, len(self.solid) - 1), np.int32)


@dataclass(frozen=True)
class Crossing:
    """Where every pixel's ray meets a plane (H, W): `depth` (inf where it does not), place `along` the wall, and `drop` below the camera."""

    depth: Floats
    along: Floats
    drop: Floats


def cross(cloud: Points, normal: Doubles, distance: float, aside: Doubles, down: Doubles) -> Crossing:
    """Meet the plane normal·P = distance."""
    toward = cloud.along(normal)
    meets = toward > distance / REACH
    depth = np.divide(np.float32(distance), toward, out=np.full_like(toward, np.inf), where=meets)
    safe = np.where(meets, depth, 0).astype(np.float32)
    return Crossing(depth, safe * cloud.along(aside), safe * cloud.along(down))


def slack(noise: float, depth: Floats, least: float) -> Floats:
    """Metres by which a point at `depth` may miss its plane: `least` and three of the sensor's errors, z² wide in depth."""
    near = np.minimum(depth, np.float32(REACH))
    return np.asarray(np.float32(least) + np.float32(3 * noise) * near * near, np.float32)


def upright_planes(cloud: Cloud, down: Doubles, least: float) -> list[tuple[Doubles, float]]:
    """Unit normals (across `down`, away from the camera) and distances of upright planes that hold `least` of the picture, largest first."""
    leaning = np.abs(cloud.facing(down))
    index = np.flatnonzero(cloud.valid & cloud.planar & (leaning < np.sin(np.radians(15.0))))
    if len(index) < 20:
        return []
    step = max(len(index) // SAMPLES, 1)
    index = index[::step]
    ahead, aside = horizontal_axes(down)
    width = cloud.valid.shape[1]
    x, y, inverse = cloud.ray_x[0, index % width], cloud.ray_y[index // width, 0], cloud.inverse.reshape(-1)[index]
    basis = np.stack([ahead, aside], 1)
    plan = np.stack([x, y, np.ones_like(x)], 1).astype(np.float64) @ basis
    normal: Doubles = cloud.normal.reshape(3, -1)[:, index].T.astype(np.float64) @ basis
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
    distance = (plan * normal).sum(1) / inverse
    turns, cells = round(360 / TURN), int(REACH / CELL)
    turn = np.floor(np.degrees(np.arctan2(normal[:, 1], normal[:, 0])) / TURN).astype(np.int64) % turns
    cell = np.clip(distance / CELL, 0, cells - 1).astype(np.int64) + turn * cells
    remaining = np.flatnonzero((distance > 0) & (distance < REACH))
    planes: list[tuple[Doubles, float]] = []
    for _ in range(MOST):
        plan, normal, inverse, cell = plan[remaining], normal[remaining], inverse[remaining], cell[remaining]
        count = np.bincount(cell, minlength=turns * cells).reshape(turns, cells).astype(np.float32)
        votes = count + np.roll(count, 1, 0) + np.roll(count, -1, 0)
        votes[:, 1:-1] = votes[:, 1:-1] + np.float32(0.7) * (votes[:, :-2] + votes[:, 2:])
        best = int(votes.argmax())
        if votes.flat[best] * step < least * cloud.valid.size:
            break
        angle = np.radians((best // cells + 0.5) * TURN)
        plane = np.array([np.cos(angle), np.sin(angle)]) / ((best % cells + 0.5) * CELL)
        for spread in (0.2, 0.08, 0.04, 0.015):
            near = (_miss(plan, inverse, plane) < spread + 3 * cloud.noise / inverse) & _parallel(normal, plane, 20.0)
            gram = plan[near].T @ plan[near]
            if near.sum() < 12 or np.linalg.det(gram) < 1e-8 * np.trace(gram) ** 2:
                break
            plane = np.asarray(np.linalg.solve(gram, plan[near].T @ inverse[near]), np.float64)
        taken = (_miss(plan, inverse, plane) < THICK + 3 * cloud.noise / inverse) & _parallel(normal, plane, 35.0)
        taken |= cell == best
        size = float(np.linalg.norm(plane))
        if taken.sum() * step >= least * cloud.valid.size and 0.1 < 1 / size < REACH:
            planes.append((basis @ plane / size, 1 / size))
        remaining = np.flatnonzero(~taken)
    return planes


def _miss(plan: Doubles, inverse: Floats, plane: Doubles) -> Doubles:
    """Metres between points and a plane of the ground plan."""
    return np.asarray(np.abs(plan @ plane - inverse) / (np.linalg.norm(plane) * inverse))


def _parallel(normal: Doubles, plane: Doubles, degrees: float) -> Bools:
    return np.asarray(normal @ plane > np.cos(np.radians(degrees)) * np.linalg.norm(plane))


def judge(cloud: Cloud, down: Doubles, plane: tuple[Doubles, float], floor: float | None, ceiling: float | None) -> Wall | None:
    """Look along a plane column by column, and keep the columns that are wall; None where there are none.

    `floor` and `ceiling` are metres below and above the camera. A column counts when the plane is seen in it and, above the highest place
    where it is seen, little is seen behind it.
    """
    normal, distance = plane
    aside = np.cross(down, normal)
    meet = cross(cloud, normal, distance, aside, down)
    room = np.isfinite(meet.depth)
    if floor is not None:
        room &= meet.drop < floor - 0.03
    if ceiling is not None:
        room &= meet.drop > 0.06 - ceiling
    off = cloud.depth - np.where(room, meet.depth, 0)
    allowed = slack(cloud.noise, meet.depth, 0.05)
    on = room & cloud.valid & (off > -allowed) & (off < allowed + np.float32(THICK))
    beyond = room & cloud.valid & (off >= allowed + np.float32(THICK + 0.05))
    if not on.any():
        return None
    margin = EXTENT + COLUMN
    start = float(meet.along[on].min()) - margin
    count = int((float(meet.along[on].max()) + margin - start) / COLUMN) + 1
    column = np.floor((meet.along - np.float32(start)) / np.float32(COLUMN)).astype(np.int32)

    # Heights in cells of 10 cm above the lowest thing that the picture can show.
    low = float(floor) if floor is not None else float(meet.drop[on].max())
    level = np.clip((low - meet.drop) / np.float32(0.1), 0, 59).astype(np.int32)
    within = (column >= 0) & (column < count)

    def table(where: Bools) -> Doubles:
        return np.bincount(column[where] * 60 + level[where], minlength=count * 60).reshape(count, 60).astype(np.float64)

    here, there = table(on & within), table(beyond & within)
    total = here.sum(1)
    # The top is where the highest twentieth of the plane's pixels begins: single pixels at edges must not raise it.
    top = (here.cumsum(1) < 0.95 * total[:, None]).sum(1)
    above = np.where(np.arange(60)[None] > top[:, None], there, 0).sum(1)
    solid = (total >= 3) & (above < 0.12 * total + 2)
    if solid.sum() * COLUMN < NARROW:
        return None
    unseen = ~solid & (total < 3) & (there.sum(1) < 3)
    likely = solid.copy()
    for _ in range(round(EXTENT / COLUMN)):
        likely[1:-1] |= unseen[1:-1] & (likely[:-2] | likely[2:])
    return Wall(normal, distance, aside, start, solid, likely, int(total[solid].sum()))


def backed(wall: Wall, walls: list[Wall]) -> bool:
    """Whether another wall stands close behind this one, along it: then this one is a cupboard's front or a curtain.

    What is seen of the other must be SUPPORT of this one's pixels at least, lest a strip of a niche makes furniture of a wall.
    """
    left, right = wall.ends
    for other in walls:
        gap = other.distance - wall.distance * float(wall.normal @ other.normal)
        if other is wall or wall.normal @ other.normal < np.cos(np.radians(8.0)) or not 0.06 < gap < 0.8:
            continue
        first, last = other.ends
        if other.weight > SUPPORT * wall.weight and min(right, last) - max(left, first) > -0.5:
            return True
    return False
