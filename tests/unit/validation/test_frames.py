"""Statistics of frames: exact where they say so, an independent implementation agrees, and no file can stop them."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from tests.unit.validation.frame_sets import SIZE, FrameSet, scene
from validation.frames import measure
from validation.splits import copies, interleaved, leaks
from validation.statistics import gather


@pytest.fixture
def honest(tmp_path: Path) -> FrameSet:
    return FrameSet(tmp_path).build()


def test_statistics_agree_with_plain_numpy(honest: FrameSet) -> None:
    row = measure(honest.root, honest.frames[3])
    depth = (scene(3) * 1000).astype(np.uint16) / 1000
    teacher = np.load(honest.root / str(honest.frames[3].teacher_depth))
    assert row.depth_valid == 1.0
    assert row.depth_bad == 0
    assert row.depth_median == pytest.approx(np.median(depth), abs=0.03)
    assert row.depth_p95 == pytest.approx(np.percentile(depth, 95), abs=0.03)
    assert row.tof_valid == pytest.approx(0.6, abs=0.05)
    assert row.teacher_to_sensor == pytest.approx(1.05, abs=0.02)
    assert row.teacher_rank == pytest.approx(spearmanr(teacher.ravel(), depth.ravel()).statistic, abs=0.02)
    assert row.labelled == 1.0
    assert row.labels is None


def test_rank_correlation_shares_ties_as_scipy_does(honest: FrameSet) -> None:
    honest.change(0, tof=None, tof_unit=None, tof_confidence=None)
    generator = np.random.default_rng(0)
    sensor = generator.integers(1, 9, (120, 160)).astype(np.float32)
    teacher = sensor + generator.integers(0, 5, sensor.shape).astype(np.float32)
    honest.write("depth/ties.npy", sensor)
    honest.write("teacher/ties.npy", teacher)
    honest.change(0, depth="depth/ties.npy", depth_unit="m", teacher_depth="teacher/ties.npy")
    taken = slice(None, None, -(-sensor.size // 4096))
    expected = spearmanr(teacher.ravel()[taken], sensor.ravel()[taken]).statistic
    assert measure(honest.root, honest.frames[0]).teacher_rank == pytest.approx(expected, abs=1e-9)


def test_bad_pixels_are_counted_exactly_and_leave_the_rest_alone(honest: FrameSet) -> None:
    depth = scene(0).astype(np.float32)
    depth[0, :4] = (np.nan, np.inf, -np.inf, -2)
    depth[1, :2] = 0
    honest.write("depth/odd.npy", depth)
    honest.change(0, depth="depth/odd.npy", depth_unit="m")
    row = measure(honest.root, honest.frames[0])
    assert row.depth_bad == 4
    assert row.depth_valid == pytest.approx(1 - 6 / depth.size)
    assert row.depth_median == pytest.approx(np.median(scene(0)), abs=0.03)


def test_a_flat_surface_has_no_rank_and_a_constant_teacher_has_no_order(honest: FrameSet) -> None:
    honest.change(0, tof=None, tof_unit=None, tof_confidence=None)
    honest.write(str(honest.frames[0].teacher_depth), np.full(SIZE, 2, np.float32))
    assert measure(honest.root, honest.frames[0]).teacher_rank == 0.0
    honest.write(str(honest.frames[0].depth), np.random.default_rng(0).integers(2000, 2020, SIZE).astype(np.uint16))
    row = measure(honest.root, honest.frames[0])
    assert math.isnan(row.teacher_rank)
    assert row.teacher_to_sensor == pytest.approx(1, abs=0.02)


def test_every_reason_is_in_the_row(honest: FrameSet) -> None:
    frame = honest.frames[0]
    (honest.root / frame.rgb).unlink()
    (honest.root / str(frame.depth)).write_bytes(b"not a picture")
    (honest.root / str(frame.tof)).unlink()
    (honest.root / str(frame.tof)).symlink_to("/etc/passwd")
    row = measure(honest.root, frame)
    assert row.missing == f"rgb {frame.rgb}"
    assert row.unreadable is not None
    assert "depth: " in row.unreadable
    assert "tof: " in row.unreadable
    assert "through a link" in row.unreadable
    assert row.content == 0
    assert math.isnan(row.depth_valid)


@pytest.mark.parametrize("role", ["rgb", "depth", "teacher_depth", "segmentation"])
def test_no_damage_to_a_file_stops_the_pass(honest: FrameSet, role: str) -> None:
    generator = np.random.default_rng(7)
    path = honest.root / str(getattr(honest.frames[0], role))
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        for place in generator.integers(0, len(content), 3):
            content[place] ^= int(generator.integers(1, 256))
        path.write_bytes(content[: generator.integers(0, len(content) + 1)] if generator.random() < 0.3 else content)
        assert measure(honest.root, honest.frames[0]).missing is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_forbidden_file_is_a_reason(honest: FrameSet) -> None:
    (honest.root / str(honest.frames[0].depth)).chmod(0)
    assert measure(honest.root, honest.frames[0]).unreadable


def test_threads_give_the_same_rows_in_the_same_order(honest: FrameSet) -> None:
    seen: list[int] = []
    alone, _ = gather(honest.root, honest.frames)
    together, read = gather(honest.root, honest.frames, progress=seen.append, workers=3)
    assert alone.table.equals(together.table) and read == 12
    assert all((alone.bins[name] == together.bins[name]).all() for name in alone.bins)
    assert list(together.table["id"]) == [frame.id for frame in honest.frames]
    assert seen == list(range(1, 13))


def test_a_tof_pixel_counts_from_confidence_one_half(honest: FrameSet) -> None:
    depth, sure = scene(0), np.random.default_rng(1).random(SIZE) < 0.3
    honest.write(str(honest.frames[0].tof), (np.where(sure, depth, 9.5) * 1000).astype(np.uint16))
    honest.write(str(honest.frames[0].tof_confidence), np.where(sure, 128, 127).astype(np.uint8))
    row = measure(honest.root, honest.frames[0])
    assert row.tof_valid == sure.mean()
    assert row.tof_to_depth == pytest.approx(1, abs=0.01)
    assert row.teacher_rank > 0.9


def test_relative_depth_has_no_metres(honest: FrameSet) -> None:
    honest.change(0, teacher_unit="relative")
    row = measure(honest.root, honest.frames[0])
    assert row.relative == "teacher made-up is declared relative"
    assert math.isnan(row.teacher_median)
    assert math.isnan(row.teacher_to_sensor)
    assert row.teacher_bad == 0


Stream = tuple[Any, Any]


def stream(splits: str, step: int = 1) -> Stream:
    """Ids and splits: `t`rain, `g`ap, `v`al, and a space for a frame that is not there."""
    names = {"t": "train", "g": "gap", "v": "val"}
    there = [(f"frame-{index * step}", names[split]) for index, split in enumerate(splits) if split in names]
    return np.array([name for name, _ in there], object), np.array([split for _, split in there], object)


def beside_of(frames: Stream, sequence: Any = None) -> int:
    ids, split = frames
    return int((interleaved(ids, split, np.zeros(len(ids), int) if sequence is None else sequence, gap_steps=5) >= 0).sum())


@pytest.mark.parametrize(
    ("splits", "beside"),
    [
        ("tttttttgvv", 0),
        ("ttttttttvv", 0),
        ("vvtttttttt", 0),
        ("tttvtttvtt", 2),
        ("tttgvvtttt", 2),
        ("tttgvvgttt", 0),
        ("ttt       vv       ttt", 0),
        ("ttt  vv  ttt", 2),
        ("tvtvtvtvtv", 4),
    ],
)
@pytest.mark.parametrize("step", [1, 4])
def test_interleaved_splits(splits: str, beside: int, step: int) -> None:
    assert beside_of(stream(splits, step)) == beside


def test_frames_are_ordered_by_number_and_apart_by_sequence() -> None:
    ids, split = stream("tttttttttgvv")
    order = [10, 0, 2, 11, 9, 1, 8, 3, 7, 4, 6, 5]
    assert beside_of((ids[order], split[order])) == 0
    ids, split = stream("tvtvtvtv")
    assert beside_of((ids, split)) == 3
    assert beside_of((ids, split), (split == "train").astype(int)) == 0


def test_frames_are_ordered_by_decimal_time() -> None:
    _, split = stream("t" * 29 + "ggg" + "v" * 8)
    stamps = np.array([f"{round(1551915398 + index * 0.05, 4)}" for index in range(40)], object)
    assert beside_of((stamps, split)) == 0
    assert beside_of((stamps, split[::-1].copy())) == 0 and beside_of((stamps, stream("tv" * 20)[1])) == 19


def test_copies_stay_within_a_split_and_leaks_cross_it() -> None:
    _, split = stream("tttgvv")
    content = np.array([5, 6, 5, 7, 5, 6], np.uint64)
    assert copies(split, content).tolist() == [-1, -1, 0, -1, -1, -1]
    assert leaks(split, content).tolist() == [-1, -1, -1, -1, 0, 1]
    assert leaks(stream("tgv")[1], np.array([5, 6, 6], np.uint64)).tolist() == [-1, -1, -1]
    assert copies(split, np.zeros(6, np.uint64)).tolist() == leaks(split, np.zeros(6, np.uint64)).tolist() == [-1] * 6
