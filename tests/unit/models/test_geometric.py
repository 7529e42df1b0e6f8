"""The geometric teacher on analytic scenes: what it labels, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from core.classes import CLASSES, IGNORE
from core.pinhole import Pinhole
from models.teachers.contract import StructureTeacher, TeacherError, View
from models.teachers.geometric import Geometric, GeometricSettings
from tests.unit.models.analytic_scenes import AHEAD, CAMERA, FLOOR, RIGHT, cast, rotation

FLOOR_ID, WALL_ID, GLASS_ID = (CLASSES.index(name) for name in ("floor", "wall", "glass"))
DOWN = np.array([0.0, 1.0, 0.0])


def view(depth: np.ndarray, camera: Pinhole = CAMERA, **more: object) -> View:
    rgb = np.full((*depth.shape, 3), 128, np.uint8)
    return View("frame-1", rgb, camera, depth.astype(np.float32), **more)  # type: ignore[arg-type]


def truth(planes: list[tuple[tuple[float, float, float], float]], pose: np.ndarray) -> np.ndarray:
    alone = [np.where((depth := cast([plane], pose)) > 0, depth, np.inf) for plane in planes]
    return np.where(np.argmin(alone, 0) == 0, FLOOR_ID, WALL_ID)


def iou(labels: np.ndarray, true: np.ndarray, number: int) -> float:
    return float(((labels == number) & (true == number)).sum() / ((labels == number) | (true == number)).sum())


def test_is_a_structure_teacher_that_says_what_decides_its_labels() -> None:
    teacher = Geometric(GeometricSettings(tilt=25.0))
    assert isinstance(teacher, StructureTeacher)
    described = teacher.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["parameters"] == {"window": 11, "tilt": 25.0, "floor": [0.08, 3.0], "framed_panes": True}
    teacher.close()


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (25, 6), (-3, -5)])
@pytest.mark.parametrize("noise", [0.0, 0.003])
@pytest.mark.parametrize("known", [False, True])
def test_floor_and_corner(pitch: float, roll: float, noise: float, known: bool) -> None:
    pose = rotation(pitch, roll)
    depth, rng = cast([FLOOR, AHEAD, RIGHT], pose), np.random.default_rng(3)
    depth = depth + np.where(depth > 0, rng.normal(0, 1, depth.shape) * noise * depth**2, 0)
    labels = Geometric().structure(view(depth, down=tuple(pose.T @ DOWN) if known else None))
    true = truth([FLOOR, AHEAD, RIGHT], pose)
    assert labels.dtype == np.uint8 and labels.shape == depth.shape
    assert iou(labels, true, FLOOR_ID) > 0.85
    assert iou(labels, true, WALL_ID) > 0.9


def test_looking_at_the_wall_alone_there_is_no_floor() -> None:
    labels = Geometric().structure(view(cast([AHEAD], rotation(-5, 0))))
    assert (labels == WALL_ID).mean() > 0.95 and not (labels == FLOOR_ID).any()


def test_floor_is_not_the_lower_half_of_the_picture() -> None:
    pose = rotation(40, 0)
    labels = Geometric().structure(view(cast([FLOOR], pose)))
    assert (labels == FLOOR_ID).mean() > 0.97


def test_lost_floor_is_filled_up_to_the_wall() -> None:
    pose, rng = rotation(15, 0), np.random.default_rng(1)
    true, depth = truth([FLOOR, AHEAD], pose), cast([FLOOR, AHEAD], pose)
    depth[(true == FLOOR_ID) & (rng.random(depth.shape) < 0.8)] = 0
    labels = Geometric().structure(view(depth))
    assert iou(labels, true, FLOOR_ID) > 0.93


def test_floor_that_was_wholly_lost_begins_where_walls_end() -> None:
    pose = rotation(15, 0)
    true, depth = truth([FLOOR, AHEAD], pose), cast([FLOOR, AHEAD], pose)
    depth[true == FLOOR_ID] = 0
    assert iou(Geometric().structure(view(depth)), true, FLOOR_ID) > 0.85


def test_the_front_of_a_cupboard_stays_undecided() -> None:
    pose = rotation(5, 0)
    depth, front = cast([FLOOR, AHEAD], pose), cast([((0.0, 0.0, 1.0), 2.4)], pose)
    box = np.zeros(depth.shape, bool)
    box[40:100, 60:110] = True
    depth[box] = np.minimum(depth, front)[box]
    labels = Geometric().structure(view(depth))
    inside = labels[45:80, 65:105]
    assert (inside == IGNORE).mean() > 0.95
    assert (labels[:35] == WALL_ID).mean() > 0.95


def lost_window(colour: int) -> np.ndarray:
    depth = cast([FLOOR, AHEAD], rotation(0, 0))
    depth[20:50, 50:100] = 0
    seen = view(depth)
    rgb = seen.rgb.copy()
    rgb[20:50, 50:100] = colour
    return Geometric().structure(replace(seen, rgb=rgb))[22:48, 52:98]


def test_a_block_of_wall_without_returns_is_glass_if_it_looks_different() -> None:
    assert (lost_window(230) == GLASS_ID).mean() > 0.95


def test_a_black_block_stays_undecided_and_one_like_the_wall_is_wall() -> None:
    assert (lost_window(3) == IGNORE).mean() > 0.95
    assert (lost_window(128) == WALL_ID).mean() > 0.5 and not (lost_window(128) == GLASS_ID).any()


def framed_panel(sill: bool) -> tuple[np.ndarray, np.ndarray]:
    depth = cast([FLOOR, AHEAD], rotation(0, 0))
    bottom = 80 if sill else 112
    panel = np.zeros(depth.shape, bool)
    panel[30:bottom, 60:100] = True
    panel &= depth >= 3.0 - 1e-4
    depth[panel] = 3.07
    return depth, panel


def test_exact_depth_tells_a_framed_panel_from_a_door() -> None:
    depth, panel = framed_panel(sill=True)
    assert (Geometric().structure(view(depth))[panel] == GLASS_ID).mean() > 0.9
    assert (Geometric(GeometricSettings(framed_panes=False)).structure(view(depth))[panel] == WALL_ID).mean() > 0.9
    depth, panel = framed_panel(sill=False)
    assert (Geometric().structure(view(depth))[panel] == WALL_ID).mean() > 0.9


def test_the_same_frame_has_the_same_labels() -> None:
    depth = cast([FLOOR, AHEAD, RIGHT], rotation(12, 3))
    depth = depth + np.random.default_rng(0).normal(0, 0.02, depth.shape)
    assert (Geometric().structure(view(depth)) == Geometric().structure(view(depth))).all()


@pytest.mark.parametrize("fill", [0.0, np.nan, np.inf, -3.0, 1e9])
def test_without_any_valid_depth_nothing_is_decided(fill: float) -> None:
    assert (Geometric().structure(view(np.full(CAMERA.size, fill))) == IGNORE).all()


def test_nan_pixels_count_as_lost() -> None:
    pose = rotation(15, 0)
    depth = cast([FLOOR, AHEAD], pose)
    lost = np.random.default_rng(2).random(depth.shape) < 0.3
    zeros, nans = np.where(lost, 0, depth), np.where(lost, np.nan, depth)
    assert (Geometric().structure(view(zeros)) == Geometric().structure(view(nans))).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 3), (7, 5), (30, 40), (481, 33)])
def test_any_size(size: tuple[int, int]) -> None:
    depth = np.random.default_rng(0).uniform(0.5, 4, size)
    labels = Geometric().structure(view(depth, Pinhole(20, 20, size[1] / 2, size[0] / 2, size)))
    assert labels.shape == size and set(np.unique(labels)) <= {*range(len(CLASSES)), IGNORE}


def test_the_camera_is_scaled_to_the_picture() -> None:
    pose = rotation(20, 0)
    small = cast([FLOOR, AHEAD], pose)
    big = Pinhole(220.0, 224.0, 2 * (CAMERA.cx + 0.5) - 0.5, 2 * (CAMERA.cy + 0.5) - 0.5, (240, 320))
    assert (Geometric().structure(view(small, big)) == Geometric().structure(view(small))).mean() > 0.999


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"camera": None}, "no camera"),
        ({"depth": None}, "no metric depth"),
        ({"depth": np.ones((5, 5), np.float32)}, "depth is (5, 5)"),
        ({"camera": Pinhole(0, 1, 0, 0, CAMERA.size)}, "no camera"),
        ({"camera": Pinhole(float("nan"), 1, 0, 0, CAMERA.size)}, "no camera"),
        ({"down": (0.0, 0.0, 0.0)}, "no unit vector"),
        ({"down": (0.0, float("nan"), 0.0)}, "no unit vector"),
    ],
)
def test_what_it_cannot_use_it_refuses_by_name(change: dict[str, object], words: str) -> None:
    with pytest.raises(TeacherError) as error:
        Geometric().structure(replace(view(cast([FLOOR], rotation(20, 0))), **change))  # type: ignore[arg-type]
    assert "frame-1" in str(error.value) and words in str(error.value) and error.value.hint


@pytest.mark.parametrize("settings", [{"window": 4}, {"window": 101}, {"tilt": 0.0}, {"tilt": 90.0}, {"floor": (2.0, 1.0)}])
def test_settings_out_of_range(settings: dict[str, object]) -> None:
    with pytest.raises(TeacherError, match=next(iter(settings))):
        GeometricSettings(**settings)  # type: ignore[arg-type]
