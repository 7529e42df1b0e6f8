"""Frames in native formats: pairing, intrinsics, units, splits, and what happens when the disk is full."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import UsageError, VortexError
from pipelines.ingest.add import add_dataset, parse_split
from pipelines.ingest.cameras import StatedCamera, find_camera
from pipelines.ingest.tum import associate
from pipelines.workspace import Workspace, load
from validation.manifest import load_manifest


def plain(folder: Path, count: int = 5, depth: str = "png") -> Path:
    for part in ("rgb", "depth"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(folder / "rgb" / f"{index}.png"), np.full((8, 12, 3), index, np.uint8))
        if depth == "png":
            cv2.imwrite(str(folder / "depth" / f"{index}.png"), np.full((8, 12), 1000 + index, np.uint16))
        else:
            np.save(folder / "depth" / f"{index}.npy", np.full((8, 12), 1.0, np.float32))
    return folder


@pytest.mark.frames
def test_kitchen(real_frames: Path, workspace: Workspace) -> None:
    added = add_dataset(workspace, "kitchen", real_frames / "kitchen_kinect", domain="kitchen", kind="room")
    frames = load_manifest(added.dataset.manifest)
    numbers = {split: [int(frame.id[6:]) for frame in frames if frame.split == split] for split in ("train", "val")}
    assert numbers["train"] == list(range(0, 717, 4)) and numbers["val"] == list(range(800, 997, 4))
    camera = frames[0].intrinsics
    assert camera and (camera.fx, camera.cx, camera.size) == (585.0, 320.0, (480, 640))
    assert frames[0].depth_unit == "mm" and frames[0].camera == "kinect"
    assert any("'kitchen'" in note and "new" in note for note in added.notes)
    assert load(workspace.root).domain("kitchen").kind == "room"


@pytest.mark.frames
def test_office_and_home(real_frames: Path, workspace: Workspace) -> None:
    office = add_dataset(workspace, "office", real_frames / "office_hololens", domain="rooms", unit="mm", camera="hololens").dataset
    assert office.card.frames == {"train": 90, "gap": 10, "val": 25} and office.card.cameras == ["hololens"]
    home = add_dataset(workspace, "home", real_frames / "home_realsense", domain="rooms", unit="mm").dataset
    camera = load_manifest(home.manifest)[0].intrinsics
    assert camera and camera.cx == pytest.approx(317.392) and camera.cy == pytest.approx(245.980), "Open3D writes columns first"


def test_plain_asks_for_the_unit(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s")
    with pytest.raises(VortexError, match="unit of their depth") as caught:
        add_dataset(workspace, "s", source, domain="rooms")
    assert "--unit mm" in caught.value.hint
    with pytest.raises(VortexError, match="cannot be metres"):
        add_dataset(workspace, "s", source, domain="rooms", unit="m")
    metres = add_dataset(workspace, "m", plain(tmp_path / "m", depth="npy"), domain="rooms", unit="m").dataset
    assert load_manifest(metres.manifest)[0].depth == "depth/0.npy"


def test_class_masks_are_taken_where_they_are(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s")
    (source / "segmentation").mkdir()
    cv2.imwrite(str(source / "segmentation" / "1.png"), np.zeros((8, 12), np.uint8))
    dataset = add_dataset(workspace, "s", source, domain="rooms", unit="mm").dataset
    assert [frame.supervision for frame in load_manifest(dataset.manifest)][:3] == ["none", "partial", "none"]
    assert dataset.card.segmentation == "partial"
    cv2.imwrite(str(source / "segmentation" / "2.png"), np.zeros((4, 6), np.uint8))
    (source / "segmentation" / "3.png").write_bytes(b"")
    with pytest.raises(VortexError, match="2 faults"):
        add_dataset(workspace, "t", source, domain="rooms", unit="mm")


def test_lone_frames_are_faults_unless_left_out(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s", 10)
    (source / "depth" / "3.png").unlink()
    (source / "rgb" / "7.png").unlink()
    with pytest.raises(VortexError, match="2 faults") as caught:
        add_dataset(workspace, "s", source, domain="rooms", unit="mm")
    assert "3: has a colour picture but no depth" in caught.value.details[0]
    assert "7: has depth but no colour picture" in caught.value.details[1]
    added = add_dataset(workspace, "s", source, domain="rooms", unit="mm", pairs_only=True)
    assert sum(added.dataset.card.frames.values()) == 8 and any("2 of 10 frames" in note for note in added.notes)


def test_domains_and_kinds(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s")
    with pytest.raises(VortexError, match=r"which domain are these frames of.*corridor, rooms"):
        add_dataset(workspace, "s", source, unit="mm")
    with pytest.raises(VortexError, match="unknown kind"):
        add_dataset(workspace, "s", source, unit="mm", domain="attic", kind="attic")
    with pytest.raises(VortexError, match="domain name 'The Attic'"):
        add_dataset(workspace, "s", source, unit="mm", domain="The Attic")
    assert "attic" not in load(workspace.root).config.domains and not list(workspace.data.iterdir())
    assert add_dataset(workspace, "corridor", source, unit="mm").dataset.card.kind == "corridor"
    assert add_dataset(workspace, "s", source, unit="mm", domain="attic").dataset.card.kind == "indoor"
    assert load(workspace.root).config.domains["attic"].kind == "indoor"


def test_a_full_disk_leaves_nothing(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, pointer = plain(tmp_path / "s"), (workspace.root / "data.dvc").read_bytes()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "copy_file_range", full)
    with pytest.raises(VortexError, match="no space left on the disk") as caught:
        add_dataset(workspace, "s", source, domain="attic", unit="mm")
    assert "\n" not in caught.value.message and "attic" not in load(workspace.root).config.domains
    assert not list(workspace.data.iterdir()) and (workspace.root / "data.dvc").read_bytes() == pointer


def test_a_file_system_without_range_copies(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "copy_file_range", unsupported)
    source = plain(tmp_path / "s")
    dataset = add_dataset(workspace, "s", source, domain="rooms", unit="mm").dataset
    assert (dataset.root / "rgb" / "4.png").read_bytes() == (source / "rgb" / "4.png").read_bytes()


def test_frames_of_two_sizes_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s")
    cv2.imwrite(str(source / "rgb" / "4.png"), np.zeros((4, 6, 3), np.uint8))
    cv2.imwrite(str(source / "depth" / "4.png"), np.zeros((4, 6), np.uint16))
    with pytest.raises(VortexError, match=r"rgb/4\.png: is 4×6, the frames before it are 8×12"):
        add_dataset(workspace, "s", source, domain="rooms", unit="mm")


def test_time_stamps_without_trailing_zeros_are_split_by_time(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s", 40)
    for part in ("rgb", "depth"):
        for index in range(40):
            (source / part / f"{index}.png").rename(source / part / f"{round(1551915398 + index * 0.05, 4)}.png")
    frames = load_manifest(add_dataset(workspace, "s", source, domain="rooms", unit="mm").dataset.manifest)
    times = [float(frame.id) for frame in frames]
    assert times == sorted(times) and [frame.split for frame in frames] == ["train"] * 29 + ["gap"] * 3 + ["val"] * 8


def test_split_texts() -> None:
    assert parse_split("72,8,20") == (72, 8, 20) and parse_split("0, 0, 100") == (0, 0, 100)
    for text in ("", "80,20", "72,8,21", "-1,1,100", "a,b,c", "72.0,8,20"):
        with pytest.raises(UsageError, match="allowed: three percentages"):
            parse_split(text)


def test_an_empty_sequence_is_said_and_a_set_of_them_refused(workspace: Workspace, tmp_path: Path) -> None:
    plain(tmp_path / "s" / "full")
    plain(tmp_path / "s" / "empty", 0)
    added = add_dataset(workspace, "s", tmp_path / "s", domain="rooms", unit="mm")
    assert any("sequence 'empty' has no frames" in note for note in added.notes) and added.dataset.card.settings["sequences"] == 1
    assert {frame.sequence for frame in load_manifest(added.dataset.manifest)} == {"full"}
    plain(tmp_path / "t", 0)
    with pytest.raises(VortexError, match="no stem has both"):
        add_dataset(workspace, "t", tmp_path / "t", domain="rooms", unit="mm")


OPENCV = """%YAML 1.2
---
calibration_time: "Sat 28 Nov 2026 12:00:00 PM UTC"
image_width: 640
image_height: 480
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 5.0000000000000000e+02, 0., 320., 0., 501., 240., 0., 0.,
       1. ]
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ -2.6637260909660682e-01, -3.8588898922304653e-02,
       1.7831947042852964e-03, -2.8122100441115472e-04, 0. ]
avg_reprojection_error: 3.6e-01
"""
"""What cv::FileStorage writes at the end of a calibration."""
ROS = """image_width: 640
image_height: 480
camera_name: head_camera
camera_matrix:
  rows: 3
  cols: 3
  data: [500.000000, 0.000000, 320.000000, 0.000000, 501.000000, 240.000000, 0.000000, 0.000000, 1.000000]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [0.1, -0.2, 0.0, 0.0, 0.000000]
projection_matrix:
  rows: 3
  cols: 4
  data: [498.0, 0.0, 321.0, 0.0, 0.0, 499.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
"""
"""What camera_calibration and camera_info_manager write."""
ROS_MESSAGE = """height: 480
width: 640
distortion_model: "plumb_bob"
D: [0.1, -0.2, 0.0, 0.0, 0.0]
K: [500.0, 0.0, 320.0, 0.0, 501.0, 240.0, 0.0, 0.0, 1.0]
R: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
P: [498.0, 0.0, 321.0, 0.0, 0.0, 499.0, 241.0, 0.0, 0.0, 0.0, 1.0, 0.0]
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("K.txt", "500 0 320\n0 501 240\n0 0 1\n"),
        ("camera-intrinsics.txt", "500,0,320,0,501,240,0,0,1"),
        ("open3d.json", json.dumps({"width": 640, "height": 480, "intrinsic_matrix": [500, 0, 0, 0, 501, 0, 320, 240, 1]})),
        ("rows.json", json.dumps({"intrinsic_matrix": [500, 0, 320, 0, 501, 240, 0, 0, 1]})),
        ("nested.json", json.dumps({"camera": {"fx": 500, "fy": 501, "cx": 320, "cy": 240}})),
        ("ros.yaml", "K: [500, 0, 320, 0, 501, 240, 0, 0, 1]\nD: [0, 0]\n"),
        ("opencv.yml", "camera_matrix:\n  rows: 3\n  cols: 3\n  data: [500, 0, 320, 0, 501, 240, 0, 0, 1]\n"),
        ("lists.yaml", "camera_matrix: [[500, 0, 320], [0, 501, 240], [0, 0, 1]]\n"),
        ("opencv2.yml", OPENCV.replace("%YAML 1.2", "%YAML:1.0")),
        ("opencv4.yaml", OPENCV),
        ("windows.yml", "\ufeff" + OPENCV.replace("\n", "\r\n")),
        ("sample.yml", OPENCV.replace("camera_matrix", "Camera_Matrix")),
        ("calibrated.yaml", ROS),
        ("echo.yaml", 'header: \n  seq: 12\n  frame_id: "camera"\n' + ROS_MESSAGE + "---\n"),
    ],
)
def test_intrinsics_in_every_spelling(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    faults: list[str] = []
    camera = find_camera(tmp_path, faults)
    assert not faults and camera and (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 501, 320, 240)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("K.txt", "500 0 320"),
        ("K.txt", "five hundred"),
        ("K.txt", "500 0 320 0 nan 240 0 0 1"),
        ("K.txt", "-500 0 320 0 500 240 0 0 1"),
        ("a.json", "{"),
        ("a.json", '{"K": "text"}'),
        ("a.json", '{"fx": true, "fy": 1, "cx": 1, "cy": 1}'),
        ("a.json", '{"K": ["a", 0, 1, 0, 1, 1, 0, 0, 1]}'),
        ("a.yaml", "%YAML:1.0\n---\nK: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ 500., 0., 320. ]\n"),
        ("a.yaml", "%YAML:1.0\n---\nK: !!python/object/apply:os.getcwd []\n"),
        ("a.yaml", "%YAML:1.0\n---\nK: !!opencv-matrix"),
    ],
)
def test_broken_intrinsics_are_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    faults: list[str] = []
    assert find_camera(tmp_path, faults) is None
    assert len(faults) == 1 and faults[0].startswith(f"{name}: ")


@pytest.mark.parametrize("text", [OPENCV, ROS, ROS_MESSAGE])
def test_the_size_comes_with_the_camera(tmp_path: Path, text: str) -> None:
    (tmp_path / "camera.yaml").write_text(text)
    camera = find_camera(tmp_path, [])
    assert camera and camera.size == (480, 640) and camera.on((240, 320)).fx == 250 and camera.distorted


def test_two_cameras_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "K.txt").write_text("500 0 320 0 501 240 0 0 1")
    (tmp_path / "other.json").write_text('{"fx": 400, "fy": 400, "cx": 320, "cy": 240}')
    (tmp_path / "unrelated.json").write_text('{"frames": [1, 2]}')
    faults: list[str] = []
    find_camera(tmp_path, faults)
    assert faults == ["K.txt and other.json: describe different cameras, allowed: one a folder"]


def test_intrinsics_must_fit_the_pictures() -> None:
    stated = StatedCamera(500, 500, 320, 240, (480, 640), "K.json")
    assert stated.on((240, 320)).fx == 250
    with pytest.raises(ValueError, match="480×640"):
        stated.on((300, 320))
    with pytest.raises(ValueError, match="outside the frames"):
        StatedCamera(500, 500, 320, 240, None, "K.txt").on((240, 320))


def test_stamps_are_matched_once_and_by_nearness() -> None:
    assert associate([0.0, 0.1, 0.2], [0.019, 0.0999, 0.25]) == [(0, 0), (1, 1)]
    assert associate([0.0, 0.01], [0.008]) == [(1, 0)]
    assert associate([1305031102.175304], [1305031102.195304]) == [(0, 0)]
    assert associate([0.0], [0.0211]) == [] == associate([], [])


def test_tum_lists_are_read_strictly(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "t"
    (source / "rgb").mkdir(parents=True)
    cv2.imwrite(str(source / "rgb" / "1.png"), np.zeros((8, 12, 3), np.uint8))
    (source / "rgb.txt").write_text("1.0 rgb/1.png\nyesterday rgb/1.png\n2.0\n3.0 ../../etc/passwd\n4.0 rgb/4.png\n")
    with pytest.raises(VortexError, match="5 faults") as caught:
        add_dataset(workspace, "t", source, format="tum", domain="rooms")
    text = "\n".join(caught.value.details)
    for part in (
        "line 2: found 'yesterday",
        "line 3: found '2.0'",
        "line 4: path",
        "line 5: rgb/4.png does not exist",
        "depth.txt: is missing",
    ):
        assert part in text


def test_names_that_cannot_become_ids_are_said_before_anything_is_copied(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s")
    for part in ("rgb", "depth"):
        (source / part / "0.png").rename(source / part / f"{'a' * 240}.png")
        (source / part / "1.png").rename(source / part / "b 1.png")
        (source / part / "2.png").rename(source / part / "B_1.png")
    with pytest.raises(VortexError) as caught:
        add_dataset(workspace, "s", source, domain="rooms", unit="mm")
    long, twice = caught.value.details
    assert "240 characters long, allowed: 200" in long
    assert "rgb/B_1.png" in twice and "rgb/b 1.png" in twice
    assert not any(workspace.data.iterdir())


def test_broken_cameras_are_explained(tmp_path: Path) -> None:
    (tmp_path / "K.json").write_text('{"a":' * 100_000)
    (tmp_path / "L.json").write_text("[[1")
    faults: list[str] = []
    assert find_camera(tmp_path, faults) is None
    assert "nested too deeply" in faults[0] and "not readable as JSON" in faults[1]
