"""What a planner makes of fused depth and classes: a 2-D grid of costs by the rules that Nav2 is given.

It is no planner's map, but the check of what is published: marking and clearing by class on scenes whose answer is known exactly.
Costs are Nav2's: 0 free, 1 to 252 inflated, 253 within the robot's radius, 254 an obstacle, 255 unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.perception.pinhole import Pinhole

FREE: Final = 0
INSCRIBED: Final = 253
OBSTACLE: Final = 254
UNKNOWN: Final = 255
FLOOR: Final = "floor"
GLASS: Final = "glass"
_DECAY: Final = 3.0
"""Of the cost with each metre beyond the robot's radius, as Nav2's `cost_scaling_factor` has it by default."""
_PIXELS_A_BIN: Final = 1.5


@dataclass(frozen=True)
class Mount:
    """Where the camera sits on the robot: metres above the floor, and radians that it looks down."""

    height_m: float
    pitch: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Of the robot in the grid's frame: metres and radians, x forward and y left at yaw 0."""

    x: float = 0.0
    y: float = 0.0
    yaw: float = 0.0


@dataclass(frozen=True)
class Area:
    """The grid: its lower corner in metres, its cells (rows along y, columns along x), and the side of a cell in metres."""

    x: float
    y: float
    rows: int
    columns: int
    cell_m: float = 0.05


@dataclass(frozen=True)
class Robot:
    """What is an obstacle to this robot."""

    radius_m: float = 0.2
    clearance_m: float = 1.5
    """What hangs higher than this above the floor is passed under."""
    step_m: float = 0.1
    """A floor pixel that lies higher or lower than this is no floor: its depth or its class is wrong, and it clears nothing."""


class Costmap:
    """Marks and clears by frames; `costs()` is the grid that a planner would see.

    A pixel of any class but floor marks its cell. Pixels of floor and of every opaque class clear what lies between them and the camera, up
    to the first obstacle in that direction. Glass marks and never clears: a depth camera sees through it, so that nothing on a glass pixel's
    ray is free, nor anything behind glass in the same direction.
    """

    def __init__(
        self,
        camera: Pinhole,
        mount: Mount,
        area: Area,
        classes: Sequence[str],
        inflation: Mapping[str, float],
        robot: Robot = Robot(),
    ) -> None:
        """`classes` in the order of the pixels' numbers, `inflation` in metres by class: a class without one is inflated by the radius alone.

        Raises ValueError for classes without floor or glass.
        """
        if missing := {FLOOR, GLASS} - set(classes):
            raise ValueError(f"classes {', '.join(classes)} lack {' and '.join(sorted(missing))}")
        self._area, self._robot, self._mount = area, robot, mount
        rays = camera.rays()
        sine, cosine = math.sin(mount.pitch), math.cos(mount.pitch)
        # One metre of depth on each ray in the robot's axes: forward, left, up.
        self._forward = cosine - sine * rays[..., 1]
        self._left = -rays[..., 0]
        self._up = -sine - cosine * rays[..., 1]
        self._bearing = np.arctan2(self._left, self._forward)
        self._reach = np.hypot(self._forward, self._left)
        low, high = float(self._bearing.min()), float(self._bearing.max())
        # Wider than the widest step from pixel to pixel, so that no direction goes unseen between two columns.
        self._bins = max(1, int((high - low) * camera.fx / _PIXELS_A_BIN))
        self._first_bearing, self._bin_width = low, (high - low) / self._bins or 1.0
        self._bin = np.clip(((self._bearing - low) / self._bin_width).astype(np.int32), 0, self._bins - 1)
        self._floor, self._glass = classes.index(FLOOR), classes.index(GLASS)
        self._marked = np.zeros((len(classes), area.rows, area.columns), np.bool_)
        self._known = np.zeros((area.rows, area.columns), np.bool_)
        self._stamps = [_stamp(max(inflation.get(name, 0.0), robot.radius_m), robot.radius_m, area.cell_m) for name in classes]

    def update(self, depth: NDArray[np.float32], classes: NDArray[np.uint8], pose: Pose = Pose()) -> None:
        """Clear and then mark by one frame: depth [H,W] in metres with 0 for unknown, and the number of each pixel's class.

        Raises ValueError when their size is not the camera's.
        """
        if not depth.shape == classes.shape == self._forward.shape:
            raise ValueError(f"depth is {depth.shape}, classes {classes.shape}, the camera's picture {self._forward.shape}")
        height = self._mount.height_m + depth * self._up
        seen = (depth > 0) & (depth < np.inf) & (height < self._robot.clearance_m) & (classes < len(self._marked))
        floor = classes == self._floor
        seen &= ~floor | (np.abs(height) <= self._robot.step_m)
        places = np.flatnonzero(seen)
        number, bins = classes.ravel()[places], self._bin.ravel()[places]
        reach = depth.ravel()[places] * self._reach.ravel()[places]
        obstacle, glass = number != self._floor, number == self._glass

        nearest = np.full(self._bins, np.inf, np.float32)
        np.minimum.at(nearest, bins[obstacle], reach[obstacle])
        nearest[self._bin[(classes == self._glass) & ~(depth > 0)]] = 0  # glass at an unknown distance: nothing is free in its direction
        farthest = np.zeros(self._bins, np.float32)
        np.maximum.at(farthest, bins[~glass], reach[~glass])
        self._clear(np.minimum(nearest, farthest), pose)

        rows, columns, inside = self._cells(places[obstacle], depth, pose)
        self._marked[number[obstacle][inside], rows, columns] = True
        self._known[rows, columns] = True

    def _cells(
        self, places: NDArray[np.intp], depth: NDArray[np.float32], pose: Pose
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
        """Rows and columns of the pixels at `places` that lie in the area, and which of them do."""
        metres = depth.ravel()[places]
        forward, left = metres * self._forward.ravel()[places], metres * self._left.ravel()[places]
        sine, cosine = math.sin(pose.yaw), math.cos(pose.yaw)
        x = pose.x - self._area.x + cosine * forward - sine * left
        y = pose.y - self._area.y + sine * forward + cosine * left
        columns, rows = np.floor(x / self._area.cell_m).astype(np.intp), np.floor(y / self._area.cell_m).astype(np.intp)
        inside = (rows >= 0) & (rows < self._area.rows) & (columns >= 0) & (columns < self._area.columns)
        return rows[inside], columns[inside], inside

    def _clear(self, free: NDArray[np.float32], pose: Pose) -> None:
        """Free the cells that lie wholly within `free` metres in every direction that they are seen in; one value a bin of bearing."""
        cell = self._area.cell_m
        x = self._area.x + cell * (np.arange(self._area.columns) + 0.5) - pose.x
        y = self._area.y + cell * (np.arange(self._area.rows)[:, None] + 0.5) - pose.y
        sine, cosine = math.sin(pose.yaw), math.cos(pose.yaw)
        forward, left = cosine * x + sine * y, -sine * x + cosine * y
        radius = cell * math.sqrt(0.5)  # of the circle around a cell, so that all of it is seen to be free
        distance = np.hypot(forward, left)
        ahead = np.flatnonzero((forward > radius) & (distance + radius <= free.max(initial=0.0)))
        bearing, distance = np.arctan2(left.ravel()[ahead], forward.ravel()[ahead]), distance.ravel()[ahead]
        half = np.arcsin(radius / distance)
        first = np.floor((bearing - half - self._first_bearing) / self._bin_width).astype(np.intp)
        last = np.floor((bearing + half - self._first_bearing) / self._bin_width).astype(np.intp)
        seen = np.flatnonzero((first >= 0) & (last < self._bins) & (distance > radius))
        ahead, first, last, distance = ahead[seen], first[seen], last[seen], distance[seen]
        if not ahead.size:
            return
        free_cells = ahead[_least(free, first, last) >= distance + radius]
        self._known.ravel()[free_cells] = True
        self._marked.reshape(len(self._marked), -1)[:, free_cells] = False

    def costs(self) -> NDArray[np.uint8]:
        """[rows, columns] of the grid, obstacles inflated by their class."""
        costs = np.zeros(self._known.shape, np.uint8)
        for marked, stamp in zip(self._marked, self._stamps, strict=True):
            _inflate(costs, marked, stamp)
        np.putmask(costs, ~self._known & (costs == FREE), UNKNOWN)
        return costs


def _stamp(radius_m: float, robot_m: float, cell_m: float) -> list[tuple[int, int, int]]:
    """Rows, columns and cost around an obstacle's cell, of all cells whose centre is no farther than the radius."""
    reach = math.floor(radius_m / cell_m + 1e-9)
    offsets = []
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            metres = cell_m * math.hypot(row, column)
            if row == column == 0:
                offsets.append((row, column, OBSTACLE))
            elif metres <= radius_m + 1e-9:
                fading = (INSCRIBED - 1) * math.exp(-_DECAY * (metres - robot_m))
                offsets.append((row, column, INSCRIBED if metres <= robot_m + 1e-9 else max(1, int(fading))))
    return offsets


def _inflate(costs: NDArray[np.uint8], marked: NDArray[np.bool_], stamp: list[tuple[int, int, int]]) -> None:
    """Raise `costs` to the stamp's around every marked cell."""
    cells = np.argwhere(marked)
    if not cells.size:
        return
    # Only the rectangle that has marks is moved over the grid.
    (top, left), (bottom, right) = cells.min(axis=0), cells.max(axis=0) + 1
    ones = np.where(marked[top:bottom, left:right], np.uint8(255), np.uint8(0))
    for row, column, cost in stamp:
        upper, lower = max(0, top + row), min(costs.shape[0], bottom + row)
        first, last = max(0, left + column), min(costs.shape[1], right + column)
        if upper >= lower or first >= last:
            continue
        target = costs[upper:lower, first:last]
        np.maximum(
            target, ones[upper - top - row : lower - top - row, first - left - column : last - left - column] & np.uint8(cost), out=target
        )


def _least(values: NDArray[np.float32], first: NDArray[np.intp], last: NDArray[np.intp]) -> NDArray[np.float32]:
    """The least of `values[first..last]` of each pair, by minima over 1, 2, 4, … neighbours."""
    level = np.floor(np.log2(last - first + 1)).astype(np.intp)
    tables = [values]
    while len(tables) <= int(level.max()):
        step = 1 << (len(tables) - 1)
        previous = tables[-1]
        tables.append(np.minimum(previous, np.concatenate([previous[step:], np.full(step, np.inf, values.dtype)])))
    table = np.stack(tables)
    least: NDArray[np.float32] = np.minimum(table[level, first], table[level, last + 1 - (1 << level)])
    return least
