"""Local plane fits, gravity, floors and walls on analytic scenes."""

from __future__ import annotations

import numpy as np
import pytest

from core.pinhole import Pinhole
from models.teachers.planes import find_down, level_plane, observe, points
from models.teachers.walls import upright_planes
from tests.unit.models.analytic_scenes import AHEAD, CAMERA, FLOOR, RIGHT, cast, rotation


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


def test_normals_of_a_wall_are_exact_whatever_the_principal_point() -> None:
    cloud = observe(points(cast([AHEAD], np.eye(3)), CAMERA), 9, 1)
    assert cloud.planar[10:-10, 10:-10].all()
    assert np.abs(cloud.normal[2, 10:-10, 10:-10] - 1).max() < 1e-5


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (20, 5), (35, -10), (-15, 8)])
def test_gravity_of_a_tilted_camera(pitch: float, roll: float) -> None:
    pose = rotation(pitch, roll)
    cloud = observe(points(cast([FLOOR, AHEAD, RIGHT], pose), CAMERA), 7, 1)
    down, trust = find_down(cloud, np.array([0.0, 1.0, 0.0]), np.radians(42))
    assert angle(down, pose.T @ [0, 1, 0]) < 0.3
    assert trust > 0.9


def test_gravity_is_never_farther_from_the_prior_than_allowed() -> None:
    pose = rotation(35, 0)
    cloud = observe(points(cast([FLOOR, AHEAD], pose), CAMERA), 7, 1)
    down, _ = find_down(cloud, np.array([0.0, 1.0, 0.0]), np.radians(10))
    assert angle(down, np.array([0.0, 1.0, 0.0])) < 13.5


def test_gravity_without_any_surface_is_the_prior() -> None:
    prior = np.array([0.0, 0.8, 0.6])
    down, trust = find_down(observe(points(np.zeros(CAMERA.size), CAMERA), 7, 1), prior, np.radians(40))
    assert trust == 0 and (down == prior).all()


def test_floor_height_under_noise_that_grows_with_the_square_of_distance() -> None:
    pose, rng = rotation(20, 3), np.random.default_rng(5)
    depth = cast([FLOOR, AHEAD], pose)
    depth = depth + np.where(depth > 0, rng.normal(0, 0.004, depth.shape) * depth**2, 0)
    cloud = observe(points(depth, CAMERA), 9, 1)
    assert 0.002 < cloud.noise < 0.006
    found = level_plane(cloud, pose.T @ [0, 1, 0], (0.2, 3.0), 0.003)
    assert found is not None
    assert abs(found[1] - 1.3) < 0.02 and angle(found[0], pose.T @ [0, 1, 0]) < 1.0


def test_a_table_is_no_floor_while_anything_is_seen_below_it() -> None:
    pose = rotation(30, 0)
    depth, table = cast([FLOOR], pose), cast([((0.0, 1.0, 0.0), 0.6)], pose)
    depth[:, :120] = table[:, :120]
    found = level_plane(observe(points(depth, CAMERA), 7, 1), pose.T @ [0, 1, 0], (0.2, 3.0), 0.003)
    assert found is not None and abs(found[1] - 1.3) < 0.02


def test_walls_of_a_corner() -> None:
    pose = rotation(10, -4)
    cloud = observe(points(cast([FLOOR, AHEAD, RIGHT], pose), CAMERA), 7, 1)
    walls = upright_planes(cloud, pose.T @ [0, 1, 0], 0.004)
    for normal, distance in (AHEAD, RIGHT):
        near = [found for found in walls if angle(found[0], pose.T @ np.array(normal)) < 0.5]
        assert any(abs(found[1] - distance) < 0.01 for found in near)
    assert len(walls) == 2


def test_depths_that_are_no_depths_are_left_out() -> None:
    depth = np.array([[np.nan, np.inf, -1.0, 0.0, 0.01, 2.0, 500.0]], np.float32)
    seen = points(depth, Pinhole(5, 5, 3, 0, (1, 7)))
    assert seen.valid.tolist() == [[False] * 5 + [True, False]]
    assert np.isfinite(seen.depth).all() and seen.inverse[0, 5] == pytest.approx(0.5)
