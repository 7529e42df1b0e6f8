"""Depth registered to colour: scenes whose answer is known by hand, and OpenCV's projection as the second opinion."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipelines.ingest.register import Lens, Rig, _rays, register

LENS = Lens(100.0, 100.0, 31.5, 23.5, (48, 64))
STRAIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
BENT = (-0.055, 0.066, 0.0006, -0.0005, -0.021)


def plane_and_occluder() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """A wall at 2 m, and before it a board at 1 m in columns 30 to 39."""
    depth = np.full((48, 64), 2.0, np.float32)
    depth[:, 30:40] = 1.0
    return depth


def test_a_plane_and_an_occluder_land_where_geometry_says() -> None:
    # 10 cm to the right of the depth camera: the wall moves 5 pixels to the left, the board 10.
    seen = register(plane_and_occluder(), Rig(LENS, LENS, STRAIGHT, (-0.1, 0.0, 0.0)))
    expected = np.full((48, 64), 2.0, np.float32)
    expected[:, 20:30] = 1.0  # the board covers the wall that the depth camera saw in columns 25 to 29
    expected[:, 30:35] = 0.0  # and the colour camera looks behind it, where nobody measured
    expected[:, 59:] = 0.0  # beyond the depth camera's view
    np.testing.assert_array_equal(seen, expected)


def test_the_wrong_direction_shows() -> None:
    rig = Rig(LENS, LENS, STRAIGHT, (-0.1, 0.0, 0.0))
    right, wrong = register(plane_and_occluder(), rig), register(plane_and_occluder(), rig.inverse())
    assert (right == 1.0).any(axis=0).nonzero()[0].tolist() == list(range(20, 30))
    assert (wrong == 1.0).any(axis=0).nonzero()[0].tolist() == list(range(40, 50))
    assert rig.inverse().inverse() == rig


@pytest.mark.parametrize(("step", "near", "far"), [(-0.1, 30, 25), (0.1, 10, 15)])
def test_the_nearest_wins_whatever_comes_first(step: float, near: int, far: int) -> None:
    depth = np.zeros((48, 64), np.float32)
    depth[20, near], depth[20, far] = 1.0, 2.0  # both fall on column 20 of the colour picture
    seen = register(depth, Rig(LENS, LENS, STRAIGHT, (step, 0.0, 0.0)))
    assert seen[20, 20] == 1.0 and (seen > 0).sum() == 1


def test_equal_cameras_change_nothing() -> None:
    depth = np.random.default_rng(0).uniform(0.3, 9.0, (48, 64)).astype(np.float32)
    depth[depth < 1] = 0
    np.testing.assert_array_equal(register(depth, Rig(LENS, LENS, STRAIGHT, (0.0, 0.0, 0.0))), depth)
    bent = Lens(100.0, 100.0, 31.5, 23.5, (48, 64), BENT)
    np.testing.assert_array_equal(register(depth, Rig(bent, bent, STRAIGHT, (0.0, 0.0, 0.0))), depth)


def test_half_a_turn_and_a_step_back() -> None:
    depth = np.random.default_rng(1).uniform(1.0, 2.0, (48, 64)).astype(np.float32)
    turned = register(depth, Rig.from_quaternion(LENS, LENS, (0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0)))
    np.testing.assert_array_equal(turned, depth[::-1, ::-1])
    back = register(np.full((48, 64), 2.0, np.float32), Rig(LENS, LENS, STRAIGHT, (0.0, 0.0, 0.5)))
    assert set(np.unique(back)) == {0.0, 2.5} and (back[6:42, 7:57] == 2.5).all() and (back[:, :5] == 0).all()


@pytest.mark.parametrize("factor", [0.5, 1.5, 2.0, 3.0])
def test_a_colour_picture_of_another_resolution_has_no_holes(factor: float) -> None:
    size = (int(48 * factor), int(64 * factor))
    fine = Lens(100.0 * factor, 100.0 * factor, 32 * factor - 0.5, 24 * factor - 0.5, size)
    seen = register(np.full((48, 64), 2.0, np.float32), Rig(LENS, fine, STRAIGHT, (0.0, 0.0, 0.0)))
    assert seen.shape == size and (seen == 2.0).all()
    # A surface that leans away is stretched between its samples; a crack would show the wall behind it.
    leaning = np.tile(np.linspace(1.0, 1.6, 64, dtype=np.float32), (48, 1))
    shifted = register(leaning, Rig(LENS, fine, STRAIGHT, (0.06, 0.0, 0.0)))
    first = int(10 * factor)
    assert (shifted[:, first : size[1] - 1] > 0).all()


def test_points_land_where_opencv_projects_them() -> None:
    color = Lens(96.0, 95.0, 33.0, 22.0, (50, 70), BENT)
    rig = Rig.from_quaternion(LENS, color, (-0.02, 0.004, 0.01), (0.01, -0.02, 0.015, 0.9996))
    depth = np.zeros((48, 64), np.float32)
    depth[4:44:8, 4:60:8] = np.random.default_rng(2).uniform(1.5, 4.0, (5, 7)).astype(np.float32)
    rows, columns = depth.nonzero()
    z = depth[rows, columns].astype(np.float64)
    points = np.stack([(columns - LENS.cx) / LENS.fx * z, (rows - LENS.cy) / LENS.fy * z, z], 1)
    turn, _ = cv2.Rodrigues(np.array(rig.rotation).reshape(3, 3))
    matrix = np.array([[color.fx, 0, color.cx], [0, color.fy, color.cy], [0, 0, 1]])
    pixels, _ = cv2.projectPoints(points, turn, np.array(rig.translation), matrix, np.array(BENT))
    distances = (points @ np.array(rig.rotation).reshape(3, 3).T + rig.translation)[:, 2]
    seen = register(depth, rig)
    for (u, v), distance in zip(pixels[:, 0], distances, strict=True):
        if 0 <= round(u) < 70 and 0 <= round(v) < 50:
            assert seen[round(v), round(u)] == pytest.approx(distance, abs=1e-5)
    assert 30 <= (seen > 0).sum() <= 80


def test_points_that_the_lens_would_fold_back_are_left_out() -> None:
    barrel = Lens(40.0, 40.0, 31.5, 23.5, (48, 64), (-0.5, 0.0, 0.0, 0.0, 0.0))
    wide = Lens(20.0, 20.0, 31.5, 23.5, (48, 64))
    assert barrel.reach == pytest.approx(2 / 3) and barrel.displacement() > 10
    rig = Rig(wide, barrel, STRAIGHT, (0.0, 0.0, 0.0))
    outside = np.zeros((48, 64), np.float32)
    outside[6, 8] = 1.0
    x, y = barrel.bend(np.array([(8 - 31.5) / 20]), np.array([(6 - 23.5) / 20]))
    assert 0 < x[0] * 40 + 31.5 < 63 and 0 < y[0] * 40 + 23.5 < 47, "the model itself puts it into the picture, on the other side"
    assert not register(outside, rig).any()
    assert register(np.full((48, 64), 3.0, np.float32), rig)[23, 31] == 3.0


def test_a_distorted_depth_camera_is_straightened() -> None:
    bent = Lens(100.0, 100.0, 31.5, 23.5, (48, 64), BENT)
    x, y = bent.bend(*_rays(bent))
    columns, rows = np.meshgrid(np.arange(64), np.arange(48))
    np.testing.assert_allclose(x * 100 + 31.5, columns.ravel(), atol=1e-6)
    np.testing.assert_allclose(y * 100 + 23.5, rows.ravel(), atol=1e-6)


def test_what_is_not_depth_is_not_projected() -> None:
    depth = np.array([[0.0, np.nan], [np.inf, -1.0]], np.float32)
    lens = Lens(2.0, 2.0, 0.5, 0.5, (2, 2))
    assert not register(depth, Rig(lens, lens, STRAIGHT, (0.0, 0.0, 0.0))).any()
    # Behind the colour camera, and touching its glass.
    for z in (-2.0, -0.9):
        assert not register(np.ones((2, 2), np.float32), Rig(lens, lens, STRAIGHT, (0.0, 0.0, z))).any()
    with pytest.raises(ValueError, match=r"depth is 3×2, its intrinsics are for 2×2"):
        register(np.ones((3, 2), np.float32), Rig(lens, lens, STRAIGHT, (0.0, 0.0, 0.0)))
