from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from vortex_jetson.perception.costmap import FREE, INSCRIBED, OBSTACLE, UNKNOWN, Area, Costmap, Mount, Pose, Robot
from vortex_jetson.perception.fusion import fuse

from tests.unit.jetson.scenes import CAMERA, CLASSES, Box, look

MOUNT = Mount(height_m=0.4, pitch=0.15)
CELL = 0.05
AREA = Area(x=-1.0, y=-3.0, rows=120, columns=140, cell_m=CELL)
INFLATION = {"wall": 0.3, "glass": 0.6, "person": 0.8, "furniture": 0.35}
BOX = Box((2.0, -0.5, 0.0), (2.5, 0.5, 1.0), "furniture")
PANE = Box((3.0, -2.0, 0.0), (3.02, 2.0, 1.2), "glass")
WALL = Box((5.0, -3.0, 0.0), (5.2, 3.0, 2.4), "wall")


ROBOT = Robot(radius_m=0.2)
POINT = Robot(radius_m=0.0)


def costmap(inflation: dict[str, float] | None = None, robot: Robot = ROBOT, mount: Mount = MOUNT) -> Costmap:
    return Costmap(CAMERA, mount, AREA, CLASSES, INFLATION if inflation is None else inflation, robot)


def cells(x: float, y: float) -> tuple[int, int]:
    """Row and column of a place in metres."""
    return math.floor((y - AREA.y) / CELL), math.floor((x - AREA.x) / CELL)


def centres() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[rows, columns]: x and y of the cells' centres."""
    return np.meshgrid(AREA.x + CELL * (np.arange(AREA.columns) + 0.5), AREA.y + CELL * (np.arange(AREA.rows) + 0.5))


@pytest.mark.parametrize("pose", [Pose(), Pose(0.4, -0.3, 0.2)])
def test_an_obstacle_is_where_it_stands_within_a_cell(pose: Pose) -> None:
    grid = costmap({}, POINT)
    grid.update(*look([BOX], MOUNT, yaw=pose.yaw, x=pose.x, y=pose.y), pose)
    rows, columns = np.nonzero(grid.costs() == OBSTACLE)
    x, y = AREA.x + CELL * (columns + 0.5), AREA.y + CELL * (rows + 0.5)
    beside = np.hypot(np.maximum(np.maximum(2.0 - x, x - 2.5), 0), np.maximum(np.maximum(-0.5 - y, y - 0.5), 0))
    assert beside.max() <= CELL
    face = np.arange(-0.5 + CELL, 0.5 - CELL, CELL)
    for place in face:  # and nothing of its face is missing
        row, column = cells(2.0, place)
        assert (grid.costs()[row, column - 1 : column + 2] == OBSTACLE).any()


def test_all_floor_that_is_seen_before_a_wall_is_free_and_nothing_else_is() -> None:
    grid = costmap({}, POINT)
    depth, classes = look([WALL], MOUNT)
    grid.update(depth, classes)
    free = grid.costs() == FREE
    x, y = centres()
    bearing = np.abs(np.arctan2(y, x))
    edge = math.atan2(160 / CAMERA.fx, math.cos(MOUNT.pitch))
    lowest_ray = MOUNT.height_m / math.tan(MOUNT.pitch + math.atan(120 / CAMERA.fy))
    inner = (x > lowest_ray + 0.1) & (x < 5.0 - 2 * CELL) & (bearing < 0.9 * edge) & (np.abs(y) < 2.9)
    assert inner.sum() > 2000 and free[inner].all()
    assert not free[(x > 5.0) | (x < 0) | (bearing > 1.1 * edge)].any()


def test_nothing_is_free_behind_glass_though_tof_sees_through_it_or_not_at_all() -> None:
    behind_pane, classes = look([PANE, WALL], MOUNT)
    through, _ = look([WALL], MOUNT)
    pane = classes == CLASSES.index("glass")
    for tof_on_glass in (np.zeros_like(through), through):
        tof = np.where(pane, tof_on_glass, behind_pane).astype(np.float32)
        confidence = np.where(tof > 0, np.float32(1), np.float32(0))
        fused = fuse(behind_pane / np.float32(1.2), tof, confidence)  # a student that sees the pane, and everything too near
        grid = costmap()
        grid.update(fused.depth, classes)
        costs = grid.costs()
        x, y = centres()
        shadow = (x > 3.0 + CELL) & (np.abs(y) < 1.9 * x / 3.0)
        assert not (costs[shadow] == FREE).any()
        assert (costs[np.abs(y) < 1.0] == FREE).sum() > 500  # before the pane it is
        if tof_on_glass.max() == 0:
            row, column = cells(3.0, 0.0)
            assert costs[row, column - 1 : column + 2].max() == OBSTACLE


def test_glass_never_clears_and_opaque_classes_do() -> None:
    row, column = cells(2.0, 0.0)
    for name, remains in (("glass", True), ("wall", False), ("other", False)):
        grid = costmap({}, POINT)
        grid.update(*look([BOX], MOUNT))
        assert (grid.costs()[row, column - 1 : column + 2] == OBSTACLE).any()
        depth, classes = look([Box((4.0, -3, 0), (4.1, 3, 2.4), name)], MOUNT)
        floor = classes == CLASSES.index("floor")
        grid.update(np.where(floor, 0, depth).astype(np.float32), classes)  # the floor before it is not measured
        assert bool((grid.costs()[row, column - 1 : column + 2] == OBSTACLE).any()) is remains


def test_glass_at_an_unknown_distance_frees_nothing_in_its_direction() -> None:
    depth, classes = look([PANE, WALL], MOUNT)
    depth[classes == CLASSES.index("glass")] = 0
    grid = costmap()
    grid.update(depth, classes)
    assert not (grid.costs()[:, cells(0.5, 0)[1] :] == FREE)[cells(0, -0.1)[0] : cells(0, 0.1)[0]].any()


def test_floor_frees_what_a_person_left() -> None:
    person = Box((2.0, -0.2, 0.0), (2.2, 0.2, 1.7), "person")
    grid = costmap()
    grid.update(*look([person, WALL], MOUNT))
    row, column = cells(2.02, 0.0)
    assert grid.costs()[row, column] >= INSCRIBED
    grid.update(*look([WALL], MOUNT))
    assert grid.costs()[row, column] == FREE


@pytest.mark.parametrize("name", ["wall", "glass", "person", "furniture", "other"])
def test_inflation_by_class_is_exact_to_a_cell(name: str) -> None:
    grid = costmap()
    pole = Box((2.51, 0.01, 0.0), (2.54, 0.04, 1.0), name)  # inside of one cell
    grid.update(*look([pole], MOUNT))
    costs = grid.costs()
    assert (costs == OBSTACLE).sum() == 1
    (row,), (column,) = np.nonzero(costs == OBSTACLE)
    x, y = centres()
    distance = np.hypot(x - x[row, column], y - y[row, column])
    radius = max(INFLATION.get(name, 0.0), ROBOT.radius_m)
    raised = (costs > FREE) & (costs < UNKNOWN)
    np.testing.assert_array_equal(raised, distance <= radius + 1e-6)
    np.testing.assert_array_equal(costs == INSCRIBED, (distance > 0) & (distance <= ROBOT.radius_m + 1e-6))
    order = np.argsort(distance[raised], kind="stable")
    assert (np.diff(costs[raised][order].astype(int))[np.diff(distance[raised][order]) > 1e-9] <= 0).all()  # it falls with the distance


def test_a_ceiling_is_no_obstacle_and_a_floor_in_the_air_is_no_floor() -> None:
    beam = Box((2.0, -1.0, 1.6), (2.2, 1.0, 1.8), "other")
    mount = Mount(0.4, -0.3)
    grid = costmap(mount=mount)
    depth, classes = look([beam], mount)
    assert (classes == CLASSES.index("other")).sum() > 1000
    grid.update(depth, classes)
    assert not (grid.costs() == OBSTACLE).any()
    depth, classes = look([WALL], MOUNT)
    grid = costmap()
    grid.update(depth, np.zeros_like(classes))  # a network that calls everything floor
    x, _ = centres()
    assert (grid.costs()[x > 5.0] == UNKNOWN).all()


def test_frames_of_another_size_and_classes_without_glass_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"depth is \(48, 64\), classes \(48, 64\), the camera's picture \(240, 320\)"):
        costmap().update(np.ones((48, 64), np.float32), np.zeros((48, 64), np.uint8))
    with pytest.raises(ValueError, match="classes floor, wall lack glass"):
        Costmap(CAMERA, MOUNT, AREA, ("floor", "wall"), {})
