"""SUN RGB-D: bits rotated back, four sensors, classes and splits of the toolbox, and everything that can be missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from core.errors import VortexError
from pipelines.ingest.adapter import Options
from pipelines.ingest.add import add_dataset
from pipelines.ingest.sun_rgbd import RotatedDepth, SunRgbd
from pipelines.ingest.sun_toolbox import SunMask, frame_key
from pipelines.ingest.taxonomies import SUN37, six_of_nyu40
from pipelines.workspace import Workspace
from tests.unit.pipelines.native_sets import SIZE, K, colour, rotated, write, write_sun, write_sun_frame, write_toolbox
from validation.decode import read_depth, read_segmentation
from validation.headers import FrameFileError
from validation.manifest import load_manifest

STREAM = "kv2/align_kv2"


def text_of(caught: pytest.ExceptionInfo[VortexError]) -> str:
    return "\n".join((caught.value.message, *caught.value.details))


def test_every_value_is_rotated_back(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    depth = RotatedDepth(write(tmp_path / "d.png", rotated(values)))
    np.testing.assert_array_equal(depth.read(), np.minimum(values.astype(np.float32) * np.float32(0.001), 8))
    assert depth.size == (256, 256) and depth.read()[0, 0] == 0
    with pytest.raises(FrameFileError, match="allowed: a 16-bit grey PNG"):
        RotatedDepth(write(tmp_path / "e.png", values.astype(np.uint8))).read()


@pytest.mark.frames
def test_the_real_frame(real_frames: Path) -> None:
    path = real_frames / "native_formats" / "SUN_depth.png"
    depth, stored = RotatedDepth(path).read(), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    low = (stored & 7) > 0
    assert depth.shape == (480, 640) and low.mean() == pytest.approx(0.023, abs=0.001)
    # The low bits of the file are the high bits of the distance: those pixels lie beyond 8.191 m, where shifting alone says 0 to 8.
    assert (depth[low] == 8).all() and ((stored[low] >> 3) / 1000 < 8.192).all() and depth[~low].max() < 8.001
    assert 1 < np.median(depth[depth > 0]) < 6


def test_each_frame_has_its_own_camera(workspace: Workspace, tmp_path: Path) -> None:
    write_sun(tmp_path / "SUNRGBD", 5, (STREAM, "xtion/sun3ddata/brown/brown"))
    (tmp_path / "SUNRGBD" / STREAM / "000003" / "intrinsics.txt").write_text(K.replace("58.5", "60.25"))
    added = add_dataset(workspace, "sun", tmp_path / "SUNRGBD", domain="rooms")
    frames = {frame.id: frame for frame in load_manifest(added.dataset.manifest)}
    frame = frames["kv2_align_kv2-000003"]
    assert len(frames) == 10 and frame.sequence == STREAM and frame.intrinsics and frame.intrinsics.fx == 60.25
    other = frames["xtion_sun3ddata_brown_brown-000000"]
    assert (
        other.intrinsics
        and other.intrinsics.fx == 58.5
        and other.supervision == "none"
        and other.camera == "xtion"
        and frame.camera == "kinect-v2"
    )
    assert frame.depth and frame.depth_unit == "mm"
    depth = read_depth(added.dataset.root / frame.depth, "mm")
    assert (depth[:4, :4] == 0).all() and depth[10, 10] == pytest.approx(1.003)
    notes = "\n".join(added.notes)
    assert "depth is depth/ (what the sensor measured" in notes and "no classes (supervision none)" in notes and "no allsplit.mat" in notes
    assert (added.dataset.root / frame.rgb).read_bytes() == next(
        (tmp_path / "SUNRGBD" / STREAM / "000003" / "image").iterdir()
    ).read_bytes()


def test_the_painted_depth_is_taken_when_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    write_sun(tmp_path / "kv2", 5, ("align_kv2",))
    added = add_dataset(workspace, "sun", tmp_path / "kv2", domain="rooms", filled=True)
    frames = load_manifest(added.dataset.manifest)
    assert frames[0].camera == "kinect-v2" and frames[0].depth
    assert (read_depth(added.dataset.root / frames[0].depth, "mm") == 1).all() and "in-painted" in "\n".join(added.notes)
    shutil.rmtree(tmp_path / "kv2" / "align_kv2" / "000001" / "depth")
    measured = SunRgbd().read(tmp_path / "kv2", Options())
    assert "depth/ (what the sensor measured, holes and all) in 4 of 5 frames, depth_bfx/ in the others" in measured.notes[0]


def test_classes_and_official_splits(workspace: Workspace, tmp_path: Path) -> None:
    keys = write_sun(tmp_path / "SUNRGBD", 6)
    listed = keys[::-1]  # the toolbox has an order of its own
    masks = write_toolbox(tmp_path, listed[:5], {"train": keys[:3], "val": keys[3:4], "test": keys[4:5]})
    added = add_dataset(workspace, "sun", tmp_path, domain="rooms")
    frames = load_manifest(added.dataset.manifest)
    assert [frame.split for frame in frames] == ["train", "train", "train", "val", "test", "gap"]
    assert [frame.supervision for frame in frames] == ["none", *["partial"] * 5]
    table = np.array([six_of_nyu40(number) for number in range(len(SUN37))], np.uint8)
    for frame, key in zip(frames[1:], keys[1:], strict=True):
        assert frame.segmentation and frame.segmentation_teacher is None
        np.testing.assert_array_equal(read_segmentation(added.dataset.root / frame.segmentation), table[masks[listed.index(key)]])
    notes = "\n".join(added.notes)
    assert "5 of 6 frames have classes" in notes and "1 of 6 frames are in no list" in notes and "official splits hold" in notes
    beside = SunRgbd().read(tmp_path / "SUNRGBD", Options())
    assert beside.recordings[0].pairs[1].segmentation == SunMask(
        (tmp_path / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBD2Dseg.mat").resolve(), listed.index(keys[1])
    )


def test_masks_that_are_not_what_they_should_be(workspace: Workspace, tmp_path: Path) -> None:
    keys = write_sun(tmp_path / "SUNRGBD", 3)
    write_toolbox(tmp_path, keys)
    masks = tmp_path / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBD2Dseg.mat"
    with h5py.File(masks, "a") as file:
        del file["#refs#/1"]
        file["SUNRGBD2Dseg/seglabel"][1, 0] = file.create_dataset("#refs#/x", data=np.full(SIZE[::-1], 38, np.uint8)).ref
    assert SunMask(masks, 0).size == SIZE and SunMask(masks, 1).size == SIZE
    with pytest.raises(FrameFileError, match="found class ids from 38 to 38"):
        SunMask(masks, 1).read()
    with pytest.raises(FrameFileError, match="mask 7 cannot be read"):
        _ = SunMask(masks, 7).size
    with h5py.File(masks, "a") as file:
        file["SUNRGBD2Dseg/seglabel"][2, 0] = file.create_dataset("#refs#/y", data=np.zeros((8, 6), np.float64)).ref
    assert (SunMask(masks, 2).read() == 255).all() and SunMask(masks, 2).size == (6, 8)
    with pytest.raises(VortexError, match="segmentation is 6×8, its colour picture 48×64"):
        add_dataset(workspace, "sun", tmp_path, domain="rooms")
    masks.write_bytes(masks.read_bytes()[:1000])
    (tmp_path / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat").write_bytes(b"MATLAB 5.0")
    with pytest.raises(VortexError) as caught:
        SunRgbd().read(tmp_path, Options())
    assert "SUNRGBDMeta.mat: cannot be read as MATLAB 5" in text_of(caught) and "holds no SUNRGBD2Dseg/seglabel" in text_of(caught)


def test_masks_without_names_are_nobody_s(tmp_path: Path) -> None:
    write_toolbox(tmp_path, write_sun(tmp_path / "SUNRGBD", 2))
    (tmp_path / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat").unlink()
    found = SunRgbd().read(tmp_path, Options())
    assert "which says whose masks they are" in found.notes[0] and found.recordings[0].pairs[0].segmentation is None


def test_names_of_another_number_are_refused(tmp_path: Path) -> None:
    keys = write_sun(tmp_path / "SUNRGBD", 2)
    write_toolbox(tmp_path, keys, {"train": keys, "val": keys[:1], "test": []})
    names = tmp_path / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat"
    write_toolbox(tmp_path / "other", [*keys, "kv1/a/b"])
    shutil.copy(tmp_path / "other" / names.relative_to(tmp_path), names)
    with pytest.raises(VortexError, match="2 faults") as caught:
        SunRgbd().read(tmp_path, Options())
    assert "has 2 masks, SUNRGBDMeta.mat names 3 frames" in text_of(caught)
    assert f"lists {keys[0]} for train and for val" in text_of(caught)


def test_everything_that_is_missing_is_named_at_once(workspace: Workspace, tmp_path: Path) -> None:
    write_sun(tmp_path / "s", 6)
    frames = sorted((tmp_path / "s" / STREAM).iterdir())
    (frames[0] / "intrinsics.txt").unlink()
    shutil.rmtree(frames[1] / "image")
    shutil.rmtree(frames[2] / "depth")
    shutil.rmtree(frames[2] / "depth_bfx")
    write(frames[3] / "depth" / "second.png", rotated(np.full(SIZE, 1000)))
    (frames[4] / "intrinsics.txt").write_text("58.5 0 31.5")
    (tmp_path / "s" / "kv1" / "NYUdata").mkdir(parents=True)
    with pytest.raises(VortexError, match="5 faults") as caught:
        add_dataset(workspace, "s", tmp_path / "s", domain="rooms")
    text = text_of(caught)
    for part in (
        f"{STREAM}/000000: has no intrinsics.txt",
        f"{STREAM}/000001: has no image/",
        f"{STREAM}/000002: has no depth/ and no depth_bfx/",
        f"{STREAM}/000003/depth: holds 2 pictures",
        f"{STREAM}/000004/intrinsics.txt: found 3 numbers",
    ):
        assert part in text, text
    added = add_dataset(workspace, "s", tmp_path / "s", domain="rooms", pairs_only=True)
    assert sum(added.dataset.card.frames.values()) == 1 and any("5 of 6 frames are not whole" in note for note in added.notes)
    with pytest.raises(VortexError, match="--unit m does not go"):
        SunRgbd().read(tmp_path / "s" / "kv2", Options(unit="m", pairs_only=True))


def test_depth_without_rotation_bits_of_another_size(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_sun_frame(tmp_path / "s" / STREAM / "a")
    write(folder / "image" / "a.jpg", colour(0, (24, 32)))
    with pytest.raises(VortexError, match="depth is 48×64, its colour picture 24×32"):
        add_dataset(workspace, "s", tmp_path / "s", domain="rooms")


def test_folders_whose_names_are_no_text(workspace: Workspace, tmp_path: Path) -> None:
    for name in (b"ok", b"\xff\xfe"):
        folder = tmp_path / "s" / os.fsdecode(b"kv2/" + name)
        for number in range(3):
            write_sun_frame(folder / os.fsdecode(b"f\xe9%d" % number), number)
    frames = load_manifest(add_dataset(workspace, "s", tmp_path / "s", domain="rooms").dataset.manifest)
    assert len(frames) == 6 and {frame.sequence for frame in frames} == {"kv2/ok", "kv2/\\xff\\xfe"}
    (tmp_path / "s" / os.fsdecode(b"kv2/\xff\xfe/f\xe90") / "intrinsics.txt").unlink()
    with pytest.raises(VortexError, match=r"f\\xe90: has no intrinsics\.txt"):
        add_dataset(workspace, "t", tmp_path / "s", domain="rooms")


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001", "kv1/NYUdata/NYU0001"),
        ("//n/fs/sun3d/data/SUNRGBD/xtion/sun3ddata/a/a/0001", "xtion/sun3ddata/a/a/0001"),
        ("/home/kv1/SUNRGBD/realsense/lg/x", "realsense/lg/x"),
        ("set/frame", "set/frame"),
    ],
)
def test_keys_of_frames(path: str, key: str) -> None:
    assert frame_key(path) == key
