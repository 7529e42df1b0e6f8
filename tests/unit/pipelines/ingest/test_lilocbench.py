"""LILocBench: stamps paired, depth registered, calibration read strictly."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from core.errors import VortexError
from pipelines.ingest.adapter import Options
from pipelines.ingest.add import add_dataset
from pipelines.ingest.lilocbench import LilocBench, RegisteredDepth
from pipelines.ingest.register import Rig
from pipelines.workspace import Workspace
from tests.unit.pipelines.native_sets import SIZE, lens_yaml, pose_yaml, write, write_lilocbench
from validation.decode import read_depth
from validation.headers import FrameFileError
from validation.manifest import load_manifest


def text_of(caught: pytest.ExceptionInfo[VortexError]) -> str:
    return "\n".join((caught.value.message, *caught.value.details))


def rig_of(folder: Path) -> Rig:
    depth = LilocBench().read(folder, Options()).recordings[0].pairs[0].depth
    assert isinstance(depth, RegisteredDepth)
    return depth.rig


def test_pairs_by_stamp_and_registers(workspace: Workspace, tmp_path: Path) -> None:
    camera = write_lilocbench(tmp_path / "static_0", 6)
    write(camera / "color" / "images" / "1690000009.000000000.png", np.zeros((*SIZE, 3), np.uint8))  # no depth near
    added = add_dataset(workspace, "liloc", tmp_path / "static_0", domain="corridor")
    frames = load_manifest(added.dataset.manifest)
    assert [frame.id for frame in frames][:2] == ["1690000000.000000000", "1690000000.066666603"]
    assert len(frames) == 6 and frames[0].camera == "realsense-d455" and frames[0].depth_unit == "mm" and frames[0].depth
    assert frames[0].intrinsics and frames[0].intrinsics.fx == pytest.approx(38.5) and frames[0].intrinsics.size == SIZE
    notes = "\n".join(added.notes)
    assert "1 of 7 colour pictures have no depth within 20 ms" in notes and "distorted pixels" in notes
    depth = read_depth(added.dataset.root / frames[0].depth, "mm")
    # 59 mm to the side at 1 m and f = 38.5: the last two columns are beyond the depth camera's view.
    assert (depth[:, 62:] == 0).all() and np.median(depth[5:40, 5:55]) == pytest.approx(1.0, abs=0.01)
    assert depth.max() < 1.1, "65535 is not a distance"


def test_nanoseconds_that_nobody_padded_are_read_as_such(tmp_path: Path) -> None:
    camera = write_lilocbench(tmp_path / "s", 30)
    for path in sorted(camera.glob("*/images/*.png")):
        whole, _, nanoseconds = path.stem.partition(".")
        path.rename(path.with_name(f"{whole}.{int(nanoseconds)}.png"))
    pairs = LilocBench().read(tmp_path / "s", Options()).recordings[0].pairs
    # 66666603 ns of .066666603 is read as .66666603 when it is taken for a decimal: it lies beside the tenth picture then.
    assert [pair.stem for pair in pairs][:3] == ["1690000000.0", "1690000000.66666603", "1690000000.133333445"] and len(pairs) == 30
    late = [
        int(pair.depth.origin.stem.partition(".")[2]) - int(pair.stem.partition(".")[2])
        for pair in pairs
        if isinstance(pair.depth, RegisteredDepth)
    ]
    assert all(abs(nanoseconds - 4_000_000) < 1000 for nanoseconds in late)


def test_sizes_of_depth_and_colour_may_differ(workspace: Workspace, tmp_path: Path) -> None:
    write_lilocbench(tmp_path / "s", 5, size=(24, 32))
    (tmp_path / "s" / "camera_front" / "depth" / "intrinsics.yaml").write_text(lens_yaml((24, 32), scale=0.05))
    dataset = add_dataset(workspace, "s", tmp_path / "s", domain="corridor").dataset
    frame = load_manifest(dataset.manifest)[0]
    assert frame.depth and read_depth(dataset.root / frame.depth, "mm").shape == SIZE


def test_intrinsics_of_another_resolution_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    camera = write_lilocbench(tmp_path / "s", 3)
    (camera / "depth" / "intrinsics.yaml").write_text(lens_yaml((24, 32), scale=0.05))
    with pytest.raises(VortexError, match="3 faults") as caught:
        add_dataset(workspace, "s", tmp_path / "s", domain="corridor")
    assert "found 48×64 pixels, its intrinsics.yaml is for 24×32" in text_of(caught)
    with pytest.raises(FrameFileError):
        _ = RegisteredDepth(camera / "depth" / "images" / "1690000000.004000000.png", rig_of(tmp_path / "s")).size


def test_the_pose_says_its_direction(tmp_path: Path) -> None:
    camera = write_lilocbench(tmp_path / "s")
    stated = rig_of(tmp_path / "s")
    assert stated.translation == pytest.approx((-0.059, 0.0002, 0.0003))
    (camera / "extrinsics_depth_to_color.yaml").write_text(
        pose_yaml(parent="camera_depth_optical_frame", child="camera_color_optical_frame")
    )
    other = rig_of(tmp_path / "s")
    assert other == stated.inverse() and other.translation[0] > 0.05
    (camera / "extrinsics_depth_to_color.yaml").write_text("translation: [-0.059, 0.0002, 0.0003]\nrotation: [0, 0, 0, 1]\n")
    plain = rig_of(tmp_path / "s")
    assert plain.translation == pytest.approx(stated.translation) and plain.rotation == (1, 0, 0, 0, 1, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("color/intrinsics.yaml", lens_yaml().replace("plumb_bob", "equidistant"), "equidistant"),
        ("color/intrinsics.yaml", lens_yaml().replace("height: 48", "height: 48.0"), "height and width"),
        ("color/intrinsics.yaml", lens_yaml() + "R: [0, -1, 0, 1, 0, 0, 0, 0, 1]\n", "R turns the picture"),
        ("color/intrinsics.yaml", lens_yaml() + "height: 480\n", "height appears twice"),
        ("depth/intrinsics.yaml", "K: [1, 2]\nheight: 48\nwidth: 64\n", "allowed: 9 finite numbers"),
        ("depth/intrinsics.yaml", "K: [.nan, 0, 1, 0, 1, 1, 0, 0, 1]\nheight: 48\nwidth: 64\n", "allowed: 9 finite numbers"),
        ("depth/intrinsics.yaml", "K: [1, 0, 1, 0, 1, 1, 0, 0, 2]\nheight: 48\nwidth: 64\n", "allowed: fx, 0, cx"),
        ("depth/intrinsics.yaml", "[" * 200, "depth/intrinsics.yaml"),
        ("depth/intrinsics.yaml", "- a list\n", "not a mapping"),
        ("extrinsics_depth_to_color.yaml", pose_yaml(xyzw=(0, 0, 0, 2)), "length 2"),
        ("extrinsics_depth_to_color.yaml", pose_yaml(parent="base_link"), "parent is 'base_link'"),
        ("extrinsics_depth_to_color.yaml", "rotation: [0, 0, 0, 1]\n", "translation is missing"),
    ],
)
def test_calibration_that_cannot_be_right(tmp_path: Path, file: str, text: str, found: str) -> None:
    camera = write_lilocbench(tmp_path / "s")
    (camera / file).write_text(text)
    with pytest.raises(VortexError) as caught:
        LilocBench().read(tmp_path / "s", Options())
    assert file in text_of(caught) and found in text_of(caught)


def test_every_missing_part_is_named_at_once(tmp_path: Path) -> None:
    camera = write_lilocbench(tmp_path / "sets" / "a")
    write_lilocbench(tmp_path / "sets" / "b")
    (camera / "extrinsics_depth_to_color.yaml").unlink()
    (camera / "depth" / "intrinsics.yaml").unlink()
    (camera / "color" / "images" / "first.png").touch()
    (tmp_path / "sets" / "c" / "camera_front").mkdir(parents=True)
    with pytest.raises(VortexError) as caught:
        LilocBench().read(tmp_path / "sets", Options(unit="m"))
    text = text_of(caught)
    for part in (
        "a/extrinsics_depth_to_color.yaml: is missing",
        "a/depth/intrinsics.yaml: is missing",
        "a/color/images/first.png: its name is not a stamp",
        "c/color/images/ is missing",
        "c/depth/images/ is missing",
        "--unit m does not go with this format",
    ):
        assert part in text, text
    assert LilocBench.layout in caught.value.hint


def test_a_frame_travels_to_another_process(tmp_path: Path) -> None:
    write_lilocbench(tmp_path / "s", 1)
    depth = LilocBench().read(tmp_path / "s", Options()).recordings[0].pairs[0].depth
    assert isinstance(depth, RegisteredDepth)
    values = depth.read()
    again = pickle.loads(pickle.dumps(depth))  # the rig has cached what it computed by now
    assert again == depth and (again.read() == values).all() and again.size == values.shape


def test_stamps_further_apart_than_20_ms(tmp_path: Path) -> None:
    write_lilocbench(tmp_path / "s", late=0.025)
    with pytest.raises(VortexError, match="no two stamps within 20 ms"):
        LilocBench().read(tmp_path / "s", Options())


def test_the_camera_folder_and_several_sequences_are_found(tmp_path: Path) -> None:
    camera = write_lilocbench(tmp_path / "sets" / "one")
    write_lilocbench(tmp_path / "sets" / os.fsdecode(b"tw\xff"), 3)
    assert [len(each.pairs) for each in LilocBench().read(camera, Options()).recordings] == [6]
    assert [len(each.pairs) for each in LilocBench().read(tmp_path / "sets", Options()).recordings] == [6, 3]


def test_names_that_are_no_text(workspace: Workspace, tmp_path: Path) -> None:
    write_lilocbench(tmp_path / "sets" / "one", 4)
    write_lilocbench(tmp_path / "sets" / os.fsdecode(b"tw\xff"), 4)
    frames = load_manifest(add_dataset(workspace, "s", tmp_path / "sets", domain="corridor").dataset.manifest)
    assert {frame.sequence for frame in frames} == {"one", "tw\\xff"}
    bad = tmp_path / "sets" / "one" / "camera_front" / "color" / "images" / os.fsdecode(b"\xff.png")
    bad.touch()
    with pytest.raises(VortexError) as caught:
        add_dataset(workspace, "t", tmp_path / "sets", domain="corridor")
    assert "\\xff.png: its name is not a stamp" in text_of(caught)
