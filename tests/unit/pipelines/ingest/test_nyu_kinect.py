"""NYU Depth V2 as png pairs and as raw Kinect dumps: decoded to the bit, strictly; and real frames where they are present."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import VortexError
from pipelines.ingest.adapter import Options
from pipelines.ingest.add import add_dataset
from pipelines.ingest.nyu.netpbm import RawColour, RawDepth, metres
from pipelines.ingest.nyu.raw import NyuRaw
from pipelines.ingest.nyu.sync import NyuSync
from pipelines.workspace import Workspace
from tests.unit.pipelines.nyu_sets import (
    colour,
    disparity,
    write_raw,
    write_sync,
)
from validation.decode import read_depth, read_rgb
from validation.headers import FrameFileError
from validation.manifest import load_manifest


def test_sync_pairs_in_the_official_folders(workspace: Workspace, tmp_path: Path) -> None:
    for name, count in (("train/kitchen_0004", 10), ("train/office_0001b", 10), ("test/cafe_0001", 3)):
        write_sync(tmp_path / "s" / name, count)
    added = add_dataset(workspace, "s", tmp_path / "s", domain="rooms")
    assert added.dataset.card.format == "nyu-sync"
    assert added.dataset.card.frames == {"train": 14, "gap": 2, "val": 4, "test": 3}
    assert {frame.sequence for frame in load_manifest(added.dataset.manifest) if frame.split == "test"} == {"test/cafe_0001"}
    assert sum("intrinsics" in note for note in added.notes) == 1
    (tmp_path / "s" / "test" / "cafe_0001" / "sync_depth_00001.png").unlink()
    with pytest.raises(VortexError, match="test/cafe_0001/00001: has a colour picture but no depth"):
        NyuSync().read(tmp_path / "s", Options())


def test_raw_dumps_become_millimetres_in_two_processes_too(workspace: Workspace, tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", 20)
    datasets = [add_dataset(workspace, f"raw{workers}", tmp_path / "raw", domain="rooms", workers=workers) for workers in (1, 2)]
    assert any("not registered" in note for note in datasets[0].notes)
    one, two = (added.dataset for added in datasets)
    frames = load_manifest(one.manifest)
    assert len(frames) == 20 and frames[4].depth
    np.testing.assert_array_equal(read_rgb(one.root / frames[4].rgb), colour(4))
    steps = disparity(4).astype(np.float64)
    wanted = np.where(steps == 2047, 0, np.rint(351300 / (1092.5 - steps)))
    np.testing.assert_array_equal(
        cv2.imread(str(one.root / frames[4].depth), cv2.IMREAD_UNCHANGED), np.where((wanted > 10000) | (wanted < 0), 0, wanted)
    )
    for frame in frames:
        for place in frame.files().values():
            assert (one.root / place).read_bytes() == (two.root / place).read_bytes()


def test_disparities() -> None:
    depth = metres(np.array([0, 400, 1024, 1057, 1058, 1092, 1093, 2047]))
    np.testing.assert_allclose(depth[:4], [351.3 / 1092.5, 351.3 / 692.5, 351.3 / 68.5, 351.3 / 35.5], rtol=1e-6)
    assert (depth[4:] == 0).all(), "beyond 10 m, at infinity and without return there is no depth"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"P2 2 1 65535\n0 0", "begins with b'P2 2 1 6'"),
        (b"P5 2 1 255\n\0\0", "its maximum is 255, allowed: 65535"),
        (b"P5 2 1 65535\n\0\0\0", "is truncated"),
        (b"P5 2 1 65535\n\0\0\0\0\0", "is too long"),
        (b"P5 0 1 65535\n", "found 1×0 pixels"),
        (b"P5 99999 99999 65535\n\0\0\0\0", "found 99999×99999 pixels"),
        (b"P5 2 1\n", "begins with"),
    ],
)
def test_broken_pictures_are_refused_by_their_headers(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "d.pgm").write_bytes(content)
    with pytest.raises(FrameFileError) as caught:
        _ = RawDepth(tmp_path / "d.pgm").size
    assert said in caught.value.message


def test_the_other_byte_order_and_comments(tmp_path: Path) -> None:
    (tmp_path / "d.pgm").write_bytes(b"P5\n# made by hand\n2 1\n65535\n" + np.array([600, 2047], ">u2").tobytes())
    with pytest.raises(FrameFileError, match="bytes in the other order"):
        RawDepth(tmp_path / "d.pgm").read()
    (tmp_path / "d.pgm").write_bytes(b"P5\n# made by hand\n2 1\n65535\n" + np.array([600, 2047], "<u2").tobytes())
    np.testing.assert_allclose(RawDepth(tmp_path / "d.pgm").read(), [[351.3 / 492.5, 0]], rtol=1e-6)


def test_every_broken_raw_file_is_said_at_once(workspace: Workspace, tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", 6)
    for name in sorted(path for path in (tmp_path / "raw").glob("[rd]-*"))[:3]:
        name.write_bytes(name.read_bytes()[:-7])
    with pytest.raises(VortexError, match="3 faults"):
        add_dataset(workspace, "raw", tmp_path / "raw", domain="rooms")
    for name in (tmp_path / "raw").glob("r-*"):
        name.unlink()
    with pytest.raises(VortexError, match=r"has no colour r-\*\.ppm"):
        NyuRaw().read(tmp_path / "raw", Options())


@pytest.mark.frames
def test_a_real_kinect_dump(real_frames: Path, workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.mkdir()
    native = real_frames / "native_formats"
    shutil.copy(native / "NYU_color.ppm", source / "r-1316653580.471513-1.ppm")
    shutil.copy(native / "NYU_depth.pgm", source / "d-1316653580.478413-2.pgm")
    depth = RawDepth(source / "d-1316653580.478413-2.pgm").read()
    assert depth.shape == (480, 640) and 0.9 < (depth > 0).mean() < 0.95
    assert 3.2 < np.median(depth[depth > 0]) < 3.4 and depth.max() < 10
    swapped = cv2.imread(str(native / "NYU_depth.pgm"), cv2.IMREAD_UNCHANGED).byteswap().astype(np.float64)
    np.testing.assert_allclose(depth[depth > 0], (351.3 / (1092.5 - swapped))[depth > 0], rtol=1e-6)
    np.testing.assert_array_equal(
        RawColour(source / "r-1316653580.471513-1.ppm").read()[..., ::-1], cv2.imread(str(native / "NYU_color.ppm"))
    )
    added = add_dataset(workspace, "raw", source, domain="rooms", split=(0, 0, 100))
    said = added.dataset.card.settings["statistics"]
    assert said["frames"] == said["of"] == 1 and 3.2 < said["depth"]["median"] < 3.4


@pytest.mark.frames
def test_a_real_tum_frame(real_frames: Path, workspace: Workspace, tmp_path: Path) -> None:
    for name, part in (("rgb", "color"), ("depth", "depth")):
        (tmp_path / "tum" / name).mkdir(parents=True)
        shutil.copy(real_frames / "native_formats" / f"TUM_{part}.png", tmp_path / "tum" / name / "1.png")
        (tmp_path / "tum" / f"{name}.txt").write_text(f"1.0 {name}/1.png\n")
    added = add_dataset(workspace, "tum", tmp_path / "tum", domain="rooms", split=(0, 0, 100))
    frame = load_manifest(added.dataset.manifest)[0]
    assert frame.depth_unit == "m/5000" and frame.depth is not None
    depth = read_depth(added.dataset.root / frame.depth, "m/5000")
    raw = cv2.imread(str(real_frames / "native_formats" / "TUM_depth.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose(depth, raw / 5000, rtol=1e-6)
    assert 0.5 < np.median(depth[depth > 0]) < 5 and not any("unit what was stated" in note for note in added.notes)
