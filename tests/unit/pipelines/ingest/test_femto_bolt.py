"""Femto Bolt corridor set: the intersection of colour and reference, in three roles, for measuring only."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from core.errors import VortexError
from pipelines.ingest.adapter import Options
from pipelines.ingest.add import add_dataset
from pipelines.ingest.femto_bolt import FemtoBolt
from pipelines.workspace import Workspace
from tests.unit.pipelines.native_sets import SIZE, colour, write, write_femto
from validation.decode import read_confidence, read_depth
from validation.manifest import load_manifest


def text_of(caught: pytest.ExceptionInfo[VortexError]) -> str:
    return "\n".join((caught.value.message, *caught.value.details))


def test_the_set_is_the_intersection(workspace: Workspace, tmp_path: Path) -> None:
    write_femto(tmp_path / "corridor_eval", 8, 6)
    added = add_dataset(workspace, "eval", tmp_path / "corridor_eval", domain="corridor")
    frames = load_manifest(added.dataset.manifest)
    assert [frame.id for frame in frames] == [f"{index:05d}" for index in range(6)]
    frame = frames[2]
    assert frame.depth is None and frame.depth_unit is None and frame.supervision == "none" and frame.camera == "femto-bolt"
    assert frame.tof and frame.tof_unit == "m" and frame.tof_confidence and frame.teacher_depth
    assert (frame.teacher, frame.teacher_unit) == ("da3-metric-large", "m")
    tof = read_depth(added.dataset.root / frame.tof, "m")
    assert (tof[::2] == 0).all() and tof[1::2].max() == pytest.approx(1.2)
    assert read_confidence(added.dataset.root / frame.tof_confidence)[0, 0] == pytest.approx(0.9)
    np.testing.assert_allclose(read_depth(added.dataset.root / frame.teacher_depth, "m"), 1.22)
    notes = "\n".join(added.notes)
    assert "8 colour pictures, 6 with a reference depth are there: the set is the 6 that have both" in notes
    assert {frame.split for frame in frames} == {"test"} and "--split test" in notes and "the camera stays unknown" in notes


def test_it_is_measured_on_as_test(workspace: Workspace, tmp_path: Path) -> None:
    from pipelines.evaluate.student import truth_source
    from pipelines.evaluate.version import data_to_measure

    write_femto(tmp_path / "s", 5, 5)
    add_dataset(workspace, "eval", tmp_path / "s", domain="corridor")
    sets = data_to_measure(workspace, data="eval", domain=None, own=None, split="test")
    assert len(sets) == 1 and len(sets[0][1]) == 5 and truth_source(*sets[0]) == "tof_depth"
    with pytest.raises(VortexError, match="eval has 5 test"):
        data_to_measure(workspace, data="eval", domain=None, own=None, split="val")


def test_intrinsics_are_taken_where_they_are(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_femto(tmp_path / "s" / name, 3, 3)
    (tmp_path / "s" / "a" / "K.txt").write_text("58 0 32 0 58 24 0 0 1")
    found = FemtoBolt().read(tmp_path / "s", Options())
    assert found.recordings[0].camera and found.recordings[0].camera.fx == 58 and found.recordings[1].camera is None


def test_everything_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    write_femto(tmp_path / "s" / "a", 5, 4)
    (tmp_path / "s" / "a" / "depth" / "00001.npy").unlink()
    (tmp_path / "s" / "a" / "depth" / "00004.npy").unlink()  # no reference either: nobody misses it
    (tmp_path / "s" / "b" / "rgb").mkdir(parents=True)
    with pytest.raises(VortexError) as caught:
        FemtoBolt().read(tmp_path / "s", Options(unit="mm"))
    text = text_of(caught)
    for part in (
        "a/depth/00001.npy: is missing",
        "b/rgb/ holds no NNNNN.png",
        "b/da3_depth/ is missing",
        "b/depth/ is missing",
        "--unit mm does not go with this format",
    ):
        assert part in text, text
    assert "00004" not in text
    found = FemtoBolt().read(tmp_path / "s" / "a", Options(pairs_only=True))
    assert [pair.tof is None for pair in found.recordings[0].pairs] == [False, True, False, False]
    assert found.recordings[0].pairs[1].tof_confidence is None and "1 frames have no ToF depth" in "\n".join(found.notes)


def test_no_number_has_both(tmp_path: Path) -> None:
    write_femto(tmp_path / "s", 2, 2)
    for path in (tmp_path / "s" / "da3_depth").iterdir():
        path.rename(path.with_name(f"9{path.name}"))
    with pytest.raises(VortexError, match="no number has both a colour picture and a reference depth"):
        FemtoBolt().read(tmp_path / "s", Options())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            '{"stem": "00000", "rgb": "rgb/00000.png"}\n{"stem": "77777", "rgb": "rgb/77777.png"}\n',
            "lists 1 frames that have no colour picture",
        ),
        ('{"stem": "00000"', "manifest.jsonl cannot be read and was left aside (line 1"),
    ],
)
def test_the_list_decides_nothing(tmp_path: Path, text: str, found: str) -> None:
    write_femto(tmp_path / "s", 3, 3)
    (tmp_path / "s" / "manifest.jsonl").write_text(text)
    read = FemtoBolt().read(tmp_path / "s", Options())
    assert len(read.recordings[0].pairs) == 3 and found in "\n".join(read.notes)


def test_broken_files_are_named(workspace: Workspace, tmp_path: Path) -> None:
    write_femto(tmp_path / "s", 4, 4)
    write(tmp_path / "s" / "depth" / "00000.npy", np.ones(SIZE[::-1], np.float32))
    write(tmp_path / "s" / "da3_depth" / "00001.npy", np.ones((*SIZE, 2), np.float32))
    write(tmp_path / "s" / "confidence" / "00002.npy", np.ones((24, 32), np.float32))
    write(tmp_path / "s" / "rgb" / "00003.png", colour(0)[..., 0])
    with pytest.raises(VortexError, match=r"[4-9] faults") as caught:
        add_dataset(workspace, "s", tmp_path / "s", domain="corridor")
    text = text_of(caught)
    assert all(part in text for part in ("axes look swapped", "2 channels", "24×32", "allowed: an 8-bit colour PNG")), text


def test_names_that_are_no_text(workspace: Workspace, tmp_path: Path) -> None:
    for name in (b"a", b"\xff"):
        write_femto(tmp_path / "s" / os.fsdecode(name), 3, 3)
    (tmp_path / "s" / "a" / "rgb" / os.fsdecode(b"\xe9.png")).touch()  # no number: not one of the set's
    frames = load_manifest(add_dataset(workspace, "s", tmp_path / "s", domain="corridor").dataset.manifest)
    assert {frame.sequence for frame in frames} == {"a", "\\xff"} and len(frames) == 6
