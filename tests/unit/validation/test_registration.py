"""Depth on colour: what lies on it passes, what was moved or scaled by a known amount is measured as that, and the rest is not told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from validation.decode import read_depth, read_rgb
from validation.policies import load_policies
from validation.registration import Registration, check, depth_edges, measure, words

Frames = list[tuple[str, NDArray[np.uint8], NDArray[np.float32]]]
BOUNDS = load_policies().data.kind("indoor").registration


def scenes(count: int, size: tuple[int, int] = (240, 320), seed: int = 0) -> Frames:
    """Boxes of many colours before a wall with a pattern; a sensor sees nothing in a strip to the left of each box."""
    random = np.random.default_rng(seed)
    height, width = size
    frames: Frames = []
    for index in range(count):
        coarse = random.integers(90, 160, (height // 8, width // 8, 3), dtype=np.uint8)
        rgb = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        depth = np.full(size, 4.0, np.float32)
        for _ in range(7):
            tall, wide = (int(random.integers(side // 8, side // 3)) for side in size)
            top, left = int(random.integers(0, height - tall)), int(random.integers(0, width - wide))
            depth[top : top + tall, max(0, left - width // 80) : left] = 0
            depth[top : top + tall, left : left + wide] = random.uniform(1, 2.5)
            rgb[top : top + tall, left : left + wide] = random.integers(0, 255, 3)
        noisy = np.clip(rgb + random.normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)
        frames.append((f"f{index}", noisy, depth * random.normal(1, 0.003, size).astype(np.float32)))
    return frames


def moved(frames: Frames, right: float = 0, down: float = 0, larger: float = 1.0) -> Frames:
    """Depth as another camera has it: larger about the middle, and then moved, in pixels of a picture of 640 columns."""
    height, width = frames[0][2].shape
    share = width / 640
    matrix = np.array(
        [[larger, 0, (1 - larger) * (width - 1) / 2 + right * share], [0, larger, (1 - larger) * (height - 1) / 2 + down * share]]
    )
    return [(name, rgb, cv2.warpAffine(depth, matrix, (width, height), flags=cv2.INTER_NEAREST)) for name, rgb, depth in frames]


@pytest.fixture(scope="module")
def honest() -> Frames:
    return scenes(6)


def judged(registration: Registration, declared: bool = False) -> bool:
    return check({"camera": registration}, BOUNDS, declared=declared).passed


def test_what_lies_on_it_passes(honest: Frames) -> None:
    registration = measure(honest)
    assert registration.known and registration.offset < 0.5 and registration.larger == 1 and registration.frames == 6
    answer = check({"camera": registration}, BOUNDS, declared=False)
    assert answer.passed and answer.name == "depth-registered" and answer.frames == () and "6 of 6 frames" in answer.found


@pytest.mark.parametrize(("right", "down"), [(4, 0), (-4, 0), (0, 4), (0, -4), (4, 4), (-4, 4), (45, 0), (-60, 0), (0, 60), (30, -45)])
def test_planted_offsets_are_measured_and_refused(honest: Frames, right: int, down: int) -> None:
    registration = measure(moved(honest, right, down))
    assert registration.right == pytest.approx(right, abs=0.6) and registration.down == pytest.approx(down, abs=0.6)
    answer = check({"camera": registration}, BOUNDS, declared=False)
    assert not answer.passed and set(answer.frames) <= {f"f{index}" for index in range(6)} and len(answer.frames) == 5


@pytest.mark.parametrize(("larger", "right"), [(0.75, 0), (0.9, 10), (1.06, 0), (1.12, -20), (1.35, 0), (0.63, 50)])
def test_another_focal_length_is_measured_and_refused(honest: Frames, larger: float, right: int) -> None:
    registration = measure(moved(honest, right, larger=larger))
    assert (
        registration.known and registration.larger == pytest.approx(larger, rel=0.015) and registration.right == pytest.approx(right, abs=2)
    )
    assert not judged(registration)


def test_a_declared_format_may_be_off_but_not_by_anything(honest: Frames) -> None:
    kinect = measure(moved(honest, 9, 1, larger=1.1))
    answer = check({"camera": kinect}, BOUNDS, declared=True)
    assert answer.passed and not judged(kinect) and "does not register depth" in answer.asked
    assert answer.found.startswith("depth lies ") and "right of" in answer.found and "1.1" in answer.found
    assert not judged(measure(moved(honest, 45)), declared=True) and not judged(measure(moved(honest, larger=1.35)), declared=True)


@pytest.mark.parametrize("size", [(480, 640), (64, 96), (72, 96)])
def test_the_tolerance_is_what_the_picture_resolves(size: tuple[int, int]) -> None:
    frames = scenes(8, size, seed=1)
    assert judged(measure(frames)) and measure(frames).known
    own = 640 / size[1]  # one pixel of the picture
    assert judged(measure(moved(frames, 1.01 * own if size[1] < 200 else 1))), "a small picture cannot tell one of its own pixels"
    assert not judged(measure(moved(frames, max(4, 3.01 * own)))) and not judged(measure(moved(frames, 0, -48)))


def test_depth_of_another_resolution_is_judged_all_the_same(honest: Frames) -> None:
    coarse = [(name, rgb, np.ascontiguousarray(depth[1::2, 1::2])) for name, rgb, depth in honest]
    registration = measure(coarse)
    assert registration.known and registration.offset < 2.2 and not judged(measure(moved(coarse, 12)))


def test_where_nothing_can_be_told_the_gate_says_so_and_passes(honest: Frames) -> None:
    flat = [(name, rgb, np.full_like(depth, 2)) for name, rgb, depth in honest]
    answer = check({"camera": measure(flat)}, BOUNDS, declared=False)
    assert answer.passed and answer.found == "cannot be told: 0 of 6 frames show depth edges in a view of their own"
    one = check({"camera": measure(honest[:1])}, BOUNDS, declared=False)
    assert one.passed and one.found == "cannot be told: 1 of 1 frames show depth edges in a view of their own"
    still = [(name, honest[0][1], depth) for name, _, depth in honest]
    assert "1 of 6 frames" in check({"camera": measure(still)}, BOUNDS, declared=False).found, (
        "one picture again and again agrees with itself"
    )
    others = [(name, rgb, depth) for (name, rgb, _), (_, _, depth) in zip(honest, scenes(6, seed=9), strict=True)]
    unrelated = check({"camera": measure(others)}, BOUNDS, declared=False)
    assert unrelated.passed and unrelated.found == "cannot be told: depth edges of 6 frames fit nowhere clearly"
    nothing = [(name, rgb, np.zeros_like(depth)) for name, rgb, depth in honest]
    assert not measure(nothing).known and not measure([]).known and judged(measure([]))


def test_one_of_two_cameras_is_enough_to_refuse(honest: Frames) -> None:
    answer = check({"left": measure(honest), "right": measure(moved(honest, -12))}, BOUNDS, declared=False)
    assert not answer.passed and "left: depth lies" in answer.found and "right: depth lies 12." in answer.found
    assert all("12." in reason and "left of" in reason for reason in answer.reasons)


def test_it_is_said_in_words() -> None:
    registration = Registration(6, 6, 640, 45.04, -2.1, 1.12, 12.0)
    assert words(registration) == "depth lies 45.0 px right of and 2.1 px above colour, 1.12 times as large"
    assert words(replace(registration, right=-3.0, down=0.5, larger=1.0)) == "depth lies 3.0 px left of and 0.5 px below colour"


def test_edges_lie_round_what_is_nearer() -> None:
    depth = np.full((20, 80), 3, np.float32)
    depth[5:10, 20:30] = 1
    depth[5:10, 19] = 0
    rows, columns = depth_edges(depth)
    points = set(zip(rows.tolist(), columns.tolist(), strict=True))
    sides = {(row, column) for row in range(5, 10) for column in (19.5, 29.5)}
    assert points == sides | {(row, column) for row in (4.5, 9.5) for column in range(20, 30)}
    slanted = np.linspace(1, 1.1, 80, dtype=np.float32)[None].repeat(20, 0)
    assert not depth_edges(slanted)[0].size


def real(root: Path, colours: str, depth: str) -> Iterator[tuple[str, Any, Any]]:
    paths: Sequence[Path] = sorted(root.glob(colours))
    for path in paths[:: max(1, len(paths) // 12)]:
        stem = path.name.partition(".")[0]
        yield stem, read_rgb(path), read_depth(root / depth.format(stem), "mm")


@pytest.mark.frames
@pytest.mark.parametrize(
    ("folder", "colours", "depth"), [("office_hololens", "images/*.png", "depth/{}.png"), ("home_realsense", "color/*.png", "depth/{}.png")]
)
def test_real_frames_lie_on_it_and_four_pixels_are_seen(real_frames: Path, folder: str, colours: str, depth: str) -> None:
    frames = list(real(real_frames / folder, colours, depth))
    assert measure(frames).known and judged(measure(frames))
    for right, down in ((4, 0), (-4, 0), (0, 4), (0, -4), (45, 0), (0, -60)):
        registration = measure(moved(frames, right, down))
        assert registration.known and not judged(registration), (right, down)


@pytest.mark.frames
def test_seven_scenes_is_not_registered(real_frames: Path) -> None:
    frames = list(real(real_frames / "kitchen_kinect", "*.color.jpg", "{}.depth.png"))
    registration = measure(frames)
    assert registration.right == pytest.approx(9.6, abs=1.5) and registration.larger == pytest.approx(1.1, abs=0.02)
    assert not judged(registration) and judged(registration, declared=True) and not judged(measure(moved(frames, 45)), declared=True)
