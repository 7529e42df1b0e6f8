"""DIODE indoor: masked metres, splits by folder, and everything that can be missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from core.errors import VortexError
from pipelines.ingest.adapter import Options
from pipelines.ingest.add import add_dataset
from pipelines.ingest.diode import Diode, MaskedDepth
from pipelines.workspace import Workspace
from tests.unit.pipelines.native_sets import SIZE, write, write_diode, write_diode_frame
from validation.decode import read_depth
from validation.headers import FrameFileError
from validation.manifest import load_manifest


def text_of(caught: pytest.ExceptionInfo[VortexError]) -> str:
    return "\n".join((caught.value.message, *caught.value.details))


def test_official_splits_and_the_scaled_camera(workspace: Workspace, tmp_path: Path) -> None:
    write_diode(tmp_path / "diode", 4, 2)
    added = add_dataset(workspace, "diode", tmp_path / "diode", domain="rooms")
    frames = {frame.id: frame for frame in load_manifest(added.dataset.manifest)}
    assert sorted(frame.split for frame in frames.values()) == ["train"] * 4 + ["val"] * 2
    frame = frames["scene_00000-scan_00001-00000_00000_indoors_001_010"]
    assert frame.split == "train" and frame.sequence == "scene_00000-scan_00001" and frame.depth and frame.depth_unit == "mm"
    # The published camera is that of 768×1024, the pictures here have a sixteenth of it.
    assert frame.intrinsics and frame.intrinsics.fx == pytest.approx(886.81 / 16) and frame.intrinsics.size == SIZE
    depth = read_depth(added.dataset.root / frame.depth, "mm")
    assert (depth[0] == 0).all() and depth[1:].min() == depth.max() == pytest.approx(1.51)
    notes = "\n".join(added.notes)
    assert "published camera is assumed" in notes and "official splits hold" in notes


def test_one_split_alone_and_outdoor_scenes(tmp_path: Path) -> None:
    write_diode(tmp_path / "diode")
    (tmp_path / "diode" / "val" / "outdoor" / "scene_00022").mkdir(parents=True)
    found = Diode().read(tmp_path / "diode" / "val", Options())
    assert {pair.split for recording in found.recordings for pair in recording.pairs} == {"val"}
    assert any(note.startswith("outdoor/ is left out") for note in found.notes)
    assert Diode().recognises(tmp_path / "diode" / "val") and not Diode().recognises(tmp_path / "diode" / "val" / "indoors")


def test_only_what_the_scanner_measures_counts(tmp_path: Path) -> None:
    values = np.array([[0.5, 0.6, 350.0, 351.0], [np.nan, np.inf, -1.0, 2.0]], np.float32)
    mask = np.ones((2, 4))
    depth = MaskedDepth(write(tmp_path / "a_depth.npy", values[..., None]), write(tmp_path / "a_depth_mask.npy", mask))
    assert depth.size == (2, 4)
    np.testing.assert_array_equal(depth.read(), np.array([[0, 0.6, 350, 0], [0, 0, 0, 2]], np.float32))
    for kind in (np.uint8, np.bool_, np.float32, np.int64):
        mask = np.zeros((2, 4), kind)
        mask[0, 1] = 1
        write(tmp_path / "a_depth_mask.npy", mask)
        assert depth.read().nonzero() == ([0], [1])
    write(tmp_path / "a_depth_mask.npy", np.full((2, 4), 0.5))
    with pytest.raises(FrameFileError, match="values other than 0 and 1"):
        depth.read()
    write(tmp_path / "a_depth_mask.npy", np.full((2, 4), np.nan))
    with pytest.raises(FrameFileError, match="values other than 0 and 1"):
        depth.read()


def test_everything_that_is_missing_is_named_at_once(workspace: Workspace, tmp_path: Path) -> None:
    scan = tmp_path / "d" / "train" / "indoors" / "scene_00000" / "scan_00000"
    for number in range(4):
        write_diode_frame(scan, f"f_{number}", number)
    (scan / "f_0.png").unlink()
    (scan / "f_1_depth.npy").unlink()
    (scan / "f_2_depth_mask.npy").unlink()
    (scan.parent / "scan_00001").mkdir()
    (tmp_path / "d" / "val" / "indoors").mkdir(parents=True)
    with pytest.raises(VortexError, match="5 faults") as caught:
        add_dataset(workspace, "d", tmp_path / "d", domain="rooms")
    text = text_of(caught)
    for part in (
        "scan_00000/f_0: has no f_0.png",
        "scan_00000/f_1: has no f_1_depth.npy",
        "scan_00000/f_2: has no f_2_depth_mask.npy",
        "scan_00001: is empty",
        "val/indoors: holds no scene_*/scan_*/",
    ):
        assert part in text, text
    shutil.rmtree(tmp_path / "d" / "val")
    shutil.rmtree(scan.parent / "scan_00001")
    found = Diode().read(tmp_path / "d", Options(pairs_only=True))
    assert [pair.stem for pair in found.recordings[0].pairs] == ["f_3"] and "3 of 4 frames are not whole" in found.notes[0]
    with pytest.raises(VortexError, match="--unit mm does not go"):
        Diode().read(tmp_path / "d", Options(unit="mm", pairs_only=True))


def test_a_mask_or_depth_of_another_size(workspace: Workspace, tmp_path: Path) -> None:
    write_diode(tmp_path / "d", 2, 1)
    scan = tmp_path / "d" / "train" / "indoors" / "scene_00000"
    write(scan / "scan_00000" / "00000_00000_indoors_000_010_depth_mask.npy", np.ones((24, 32)))
    write(scan / "scan_00001" / "00000_00000_indoors_001_010_depth.npy", np.ones((64, 48, 1), np.float32))
    write(scan / "scan_00001" / "00000_00000_indoors_001_010_depth_mask.npy", np.ones((64, 48)))
    with pytest.raises(VortexError, match="2 faults") as caught:
        add_dataset(workspace, "d", tmp_path / "d", domain="rooms")
    assert "found a mask of 24×32, its depth is 48×64" in text_of(caught) and "axes look swapped" in text_of(caught)


def test_names_that_are_no_text(workspace: Workspace, tmp_path: Path) -> None:
    write_diode(tmp_path / "d", 2, 1)
    scan = tmp_path / "d" / "train" / "indoors" / "scene_00000" / os.fsdecode(b"scan_\xff")
    write_diode_frame(scan, os.fsdecode(b"n\xe9"), 9)
    frames = load_manifest(add_dataset(workspace, "d", tmp_path / "d", domain="rooms").dataset.manifest)
    assert "scene_00000-scan_\\xff" in {frame.sequence for frame in frames} and len(frames) == 4
    (scan / os.fsdecode(b"n\xe9.png")).unlink()
    with pytest.raises(VortexError, match=r"scan_\\xff/n\\xe9: has no n\\xe9\.png"):
        add_dataset(workspace, "e", tmp_path / "d", domain="rooms")
