"""From the planes of a room to classes of pixels: what lies on the planes, what the sensor lost of them, and what is a pane of glass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from models.teachers.planes import FARTHEST, Bools, Cloud, Doubles, Floats, Points
from models.teachers.walls import THICK, Wall, cross, slack

Labels = NDArray[np.uint8]

FLOOR: Final = CLASSES.index("floor")
WALL: Final = CLASSES.index("wall")
GLASS: Final = CLASSES.index("glass")
OTHER: Final = CLASSES.index("other")

LOWEST: Final = 0.2
"""Metres below the camera from which the end of walls is taken for their foot."""
LENIENT: Final = 12.0
"""Times as many undecided pixels as floor that still let a lost pixel be floor: chairs stand in front of most floors."""


@dataclass(frozen=True)
class Room:
    """The planes that were found: gravity, (normal, distance) of floor and ceiling or None, walls, and the sensor's noise (1/m)."""

    down: Doubles
    floor: tuple[Doubles, float] | None
    ceiling: tuple[Doubles, float] | None
    walls: list[Wall]
    noise: float


@dataclass(frozen=True)
class Seen:
    """Pixels on planes (H, W): `labels` (IGNORE elsewhere), metres by which wall pixels lie behind their plane (`offset`), the number of
    that `wall` (-1 none), and the `shell`: the depth at which each ray meets the nearest wall, seen or likely (inf where none), whatever
    stands before it; `solid` where that wall was seen in this column.
    """

    labels: Labels
    offset: Floats
    wall: NDArray[np.int8]
    shell: Floats
    solid: Bools


def enlarged(values: Bools, step: int, size: tuple[int, int]) -> Bools:
    """Repeat every pixel of a thinned picture `step` times each way, cut to `size`."""
    return values.repeat(step, 0).repeat(step, 1)[: size[0], : size[1]]


def on_planes(seen: Points, cloud: Cloud, step: int, room: Room) -> Seen:
    """Give the pixels that lie on a plane its class."""
    size = seen.valid.shape
    labels = np.full(size, IGNORE, np.uint8)
    offset = np.zeros(size, np.float32)
    which = np.full(size, -1, np.int8)
    shell = np.full(size, np.inf, np.float32)
    solid = np.zeros(size, bool)
    for number, wall in enumerate(room.walls):
        meet = cross(seen, wall.normal, wall.distance, wall.aside, room.down)
        off = seen.depth - meet.depth
        allowed = slack(room.noise, meet.depth, 0.05)
        column = wall.columns(meet.along)
        on = seen.valid & (off > -allowed) & (off < allowed + np.float32(THICK)) & wall.solid[column]
        on &= (labels == IGNORE) | (np.abs(off) < np.abs(offset))
        labels[on] = WALL
        offset[on] = off[on]
        which[on] = number
        nearer = wall.likely[column] & (meet.depth < shell)
        np.copyto(shell, meet.depth, where=nearer)
        np.copyto(solid, wall.solid[column], where=nearer)
    for plane, name in ((room.floor, FLOOR), (room.ceiling, OTHER)):
        if plane is None:
            continue
        normal, distance = plane
        off = seen.along(normal) * seen.depth - np.float32(distance)
        allowed = np.float32(0.03) + np.float32(3 * room.noise * distance) * seen.depth
        tilted = enlarged(cloud.planar & (cloud.facing(normal) < 0.6), step, size)
        # Where floor and wall meet, both are within reach: the nearer plane has the pixel.
        on = seen.valid & (np.abs(off) < allowed) & ~tilted & ((labels == IGNORE) | (np.abs(off) < np.abs(offset)))
        labels[on] = name
        offset[on] = off[on]
        which[on] = -1
    return Seen(labels, offset, which, shell, solid)


def foot(seen: Points, room: Room, surfaces: Seen) -> float | None:
    """How far below the camera the walls end, where they end above pixels that the sensor lost: the floor's height when it is not seen.

    None unless a third of the picture's columns that end on a wall agree.
    """
    height, width = surfaces.labels.shape
    last = height - 1 - seen.valid[::-1].argmax(0)
    columns = np.arange(width)
    ends = seen.valid[last, columns] & (surfaces.labels[last, columns] == WALL) & (last < height - 3)
    last, columns = last[ends], columns[ends]
    drop = seen.along(room.down)[last, columns] * seen.depth[last, columns]
    drop = drop[drop > LOWEST]
    if len(drop) < max(width // 20, 4):
        return None
    votes, edges = np.histogram(drop, np.arange(LOWEST, 3.1, 0.03))
    votes = np.convolve(votes, np.ones(3), "same")
    best = int(votes.argmax())
    return float(edges[best] + 0.03) if votes[best] > len(drop) / 3 else None


def first_met(seen: Points, room: Room, shell: Floats) -> Labels:
    """The class of the plane that every pixel's ray meets first in the empty room, IGNORE where it meets none."""
    nearest, first = shell.copy(), np.where(np.isfinite(shell), np.uint8(WALL), np.uint8(IGNORE))
    for plane, name in ((room.floor, FLOOR), (room.ceiling, OTHER)):
        if plane is None:
            continue
        toward = seen.along(plane[0])
        depth = np.divide(np.float32(plane[1]), toward, out=np.full_like(toward, np.inf), where=toward > plane[1] / FARTHEST)
        first[depth < nearest] = name
        np.minimum(nearest, depth, out=nearest)
    return first


def fill(seen: Points, labels: Labels, first: Labels) -> Labels:
    """Give pixels without depth the class of the plane that their ray meets first, where the pixels around them do not speak against it.

    Polished floors and grazing walls return little light. What is lost amid undecided pixels is rather a dark chair: it stays undecided.
    """
    import cv2

    reach = 2 * max(labels.shape[0] // 20, 1) + 1

    def around(where: Bools) -> Floats:
        blurred = cv2.boxFilter(where.astype(np.float32), -1, (reach, reach), borderType=cv2.BORDER_REPLICATE)
        return np.asarray(blurred).reshape(where.shape)

    undecided = around(seen.valid & (labels == IGNORE))
    filled = labels.copy()
    for name in (FLOOR, WALL, OTHER):
        here = ~seen.valid & (labels == IGNORE) & (first == name)
        if here.any():
            filled[here & (undecided <= (LENIENT if name == FLOOR else 1) * around(labels == name) + np.float32(0.05))] = name
    for name in (FLOOR, WALL):
        # Single pixels that the sensor's noise threw off their plane.
        most = cv2.boxFilter((filled == name).astype(np.float32), -1, (5, 5), borderType=cv2.BORDER_REPLICATE).reshape(filled.shape)
        filled[(filled == IGNORE) & (most > 0.55)] = name
    return filled
