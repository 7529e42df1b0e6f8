"""One fault in an honest set fails the check that is named for it, and only checks that have to do with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.unit.validation.frame_sets import SIZE, FrameSet, blank, data_judgement, scene
from validation.checks import Check
from validation.expectations import judge
from validation.policies import Bounds, Kind, load_policies
from validation.statistics import gather
from validation.table import suite_table

POLICIES = load_policies()


def failed(frames: FrameSet, kind: str = "room") -> dict[str, Check]:
    return {check.name: check for check in data_judgement(frames.root, frames.frames, kind).checks if not check.passed}


def judgement(frames: FrameSet, kind: Kind) -> tuple[Check, ...]:
    return judge(suite_table(gather(frames.root, frames.frames)[0], kind, POLICIES.data), kind, POLICIES.data)


@pytest.fixture
def honest(tmp_path: Path) -> FrameSet:
    return FrameSet(tmp_path).build()


@pytest.mark.parametrize(("kind", "labels"), [("room", "full"), ("indoor", "partial"), ("corridor", "none"), ("robot_home", "full")])
def test_honest_sets_pass(tmp_path: Path, kind: str, labels: str) -> None:
    frames = FrameSet(tmp_path, labels=labels).build()
    if labels == "none":
        frames.change_all(teacher_depth=None, teacher=None, teacher_unit=None)
    if labels == "partial":
        frames.change_all(depth=None, depth_unit=None)
    assert failed(frames, kind) == {}


def test_a_tof_camera_that_loses_most_pixels_passes_as_corridor(tmp_path: Path) -> None:
    frames = FrameSet(tmp_path, tof_share=0.22).build()
    frames.write(str(frames.frames[0].tof), np.zeros(SIZE, np.uint16))
    assert failed(frames, "corridor") == {}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def spoil_files(s: FrameSet) -> None:
    """Ten frames, each with one file that cannot be used."""
    (s.root / str(s.frames[0].depth)).unlink()
    (s.root / s.frames[1].rgb).unlink()
    s.change(2, segmentation="rgb")  # a folder
    truncate(s.root / s.frames[3].rgb)
    one_bit(s.root / s.frames[4].rgb)
    truncate(s.root / str(s.frames[5].depth))
    truncate(s.root / str(s.frames[6].teacher_depth))
    s.write(str(s.frames[7].depth), np.ones(SIZE, np.uint8))
    s.write(str(s.frames[9].teacher_depth), np.ones((*SIZE, 3), np.float32))
    s.write("confidence/x.npy", np.full(SIZE, 7, np.float32))
    s.change(10, tof_confidence="confidence/x.npy")


def spoil_pixels(s: FrameSet) -> None:
    """Nine frames, each with one fault in what its files say."""
    s.write(str(s.frames[0].depth), (scene(0)[::2, ::2] * 1000).astype(np.uint16))
    s.write(str(s.frames[1].segmentation), np.zeros(SIZE[::-1], np.uint8))
    s.write(str(s.frames[2].teacher_depth), np.where(np.eye(*SIZE) > 0, np.nan, scene(2)).astype(np.float32))
    s.write("depth/x.npy", np.where(np.eye(*SIZE) > 0, -1, scene(3)).astype(np.float32))
    s.change(3, depth="depth/x.npy", depth_unit="m")
    s.write(str(s.frames[4].depth), np.zeros(SIZE, np.uint16))
    s.write(str(s.frames[5].segmentation), np.full(SIZE, 17, np.uint8))
    s.write(str(s.frames[6].segmentation), blank())
    s.write(s.frames[7].rgb, np.zeros((*SIZE, 3), np.uint8))
    cv2.imwrite(str(s.root / "again.png"), cv2.imread(str(s.root / s.frames[2].rgb)), [cv2.IMWRITE_PNG_COMPRESSION, 0])
    s.change(5, rgb="again.png")
    s.change(10, rgb=s.frames[4].rgb)


PIXELS = {
    "sizes-agree", "teacher-finite", "depth-finite", "depth-valid", "label-ids", "labels-as-declared", "exposure", "sharpness",
    "no-copies", "no-leaks",
}  # fmt: skip
FAULTS: dict[str, tuple[Callable[[FrameSet], object], set[str]]] = {
    "files": (spoil_files, {"files-present", "files-readable"}),
    "pixels": (spoil_pixels, PIXELS),
    "millimetres read as metres": (lambda s: s.depth_as_floats(1000, "m"), {"depth-median", "depth-p95", "tof-to-depth"}),
    "metres read as millimetres": (lambda s: s.depth_as_floats(1, "mm"), {"depth-median", "depth-p95", "depth-near", "tof-to-depth"}),
    "millimetres without a sensor": (
        lambda s: (s.scale_teacher(1000), s.change_all(depth=None, depth_unit=None, tof=None, tof_unit=None, tof_confidence=None)),
        {"teacher-median", "teacher-p95"},
    ),
    "a teacher in millimetres": (lambda s: s.scale_teacher(1000), {"teacher-median", "teacher-p95", "teacher-to-sensor"}),
    "a teacher of half scale": (lambda s: s.scale_teacher(0.5), {"teacher-to-sensor"}),
    "half scale in one frame": (lambda s: s.scale_teacher(0.5, 3), {"teacher-to-sensor"}),
    "relative depth, declared": (lambda s: s.change_all(teacher_unit="relative"), {"units-metric"}),
    "a val frame among training frames": (lambda s: s.change(4, split="val"), {"splits-apart"}),
    "no val": (lambda s: s.frames.__delitem__(slice(8, None)), {"splits-present"}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_fails_its_own_check(honest: FrameSet, fault: str) -> None:
    spoil, expected = FAULTS[fault]
    spoil(honest)
    found = failed(honest)
    assert set(found) == expected
    if fault == "files":
        assert found["files-present"].found.startswith("3 of 12") and found["files-readable"].found.startswith("7 of 12")
    if fault == "pixels":
        assert found["sizes-agree"].found.startswith("2 of 12")


def test_relative_depth_that_is_not_declared_is_caught_by_ratio_and_rank(honest: FrameSet) -> None:
    for index, frame in enumerate(honest.frames):
        honest.write(str(frame.teacher_depth), (60 / scene(index)).astype(np.float32))
    found = failed(honest)
    assert {"teacher-to-sensor", "teacher-rank"} <= set(found) <= {"teacher-to-sensor", "teacher-rank", "teacher-median", "teacher-p95"}


def test_partial_sets_may_have_unlabelled_frames_but_not_only_those(tmp_path: Path) -> None:
    frames = FrameSet(tmp_path, labels="partial").build()
    assert failed(frames) == {}
    for frame in frames.frames:
        frames.write(str(frame.segmentation), blank())
    assert set(failed(frames)) == {"labels-as-declared", "labels-blank"}


def test_a_check_says_what_was_asked_found_and_where(honest: FrameSet) -> None:
    (honest.root / str(honest.frames[2].depth)).unlink()
    honest.scale_teacher(0.5, 3)
    found = failed(honest)
    assert found["files-present"].frames == ("kitchen-000002",)
    assert found["files-present"].found == "1 of 12 frames: depth depth/kitchen-000002.png"
    assert found["teacher-to-sensor"].frames == ("kitchen-000003",)
    assert found["files-present"].reasons == ("depth depth/kitchen-000002.png",)
    assert found["teacher-to-sensor"].reasons == ("0.526 ×",)
    assert "1 of 12 frames outside" in found["teacher-to-sensor"].found
    assert found["teacher-to-sensor"].asked == "each frame 0.2–5 ×, 98% of frames 0.65–1.5 ×, median 0.75–1.33 ×"


def test_sizes_say_which_map_disagrees(honest: FrameSet) -> None:
    honest.write(str(honest.frames[2].depth), (scene(2)[::2, ::2] * 1000).astype(np.uint16))
    assert failed(honest)["sizes-agree"].found == "1 of 12 frames: rgb is 48x64, depth is 24x32"


def test_a_kind_may_allow_maps_of_lower_resolution_but_not_of_another_shape(honest: FrameSet) -> None:
    kind = POLICIES.data.kind("room").model_copy(update={"sizes": "aspect"})
    honest.write(str(honest.frames[2].depth), (scene(2)[::2, ::2] * 1000).astype(np.uint16))
    assert all(check.passed for check in judgement(honest, kind))
    honest.write(str(honest.frames[2].depth), (scene(2)[:, ::2] * 1000).astype(np.uint16))
    checks = judgement(honest, kind)
    assert [check.name for check in checks if not check.passed] == ["sizes-agree"]


def test_a_median_over_the_set_names_the_farthest_frames(honest: FrameSet) -> None:
    kind = POLICIES.data.kind("room")
    strict = kind.model_copy(update={"depth": kind.depth.model_copy(update={"median": Bounds(median=(0.0, 0.5))})})
    found = {check.name: check for check in judgement(honest, strict)}
    assert not found["depth-median"].passed
    assert found["depth-median"].frames[0] == "kitchen-000011"


def test_most_lets_single_frames_of_a_large_set_off_and_every_does_not(honest: FrameSet) -> None:
    import pandas as pd

    kind = POLICIES.data.kind("room")
    table = suite_table(gather(honest.root, honest.frames)[0], kind, POLICIES.data)
    table = pd.concat([table.assign(id=table["id"] + f"-{copy}") for copy in range(10)], ignore_index=True)
    table.loc[0, "teacher_to_sensor"] = 0.5
    assert all(check.passed for check in judge(table, kind, POLICIES.data))
    table.loc[0, "teacher_to_sensor"] = 1000.0
    assert [check.name for check in judge(table, kind, POLICIES.data) if not check.passed] == ["teacher-to-sensor"]


def test_an_empty_set_is_refused(tmp_path: Path) -> None:
    assert "splits-present" in failed(FrameSet(tmp_path))
