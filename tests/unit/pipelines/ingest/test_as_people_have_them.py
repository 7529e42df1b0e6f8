"""Folders as people have them: masks of other names, suffixes in capitals, units of their own, official lists, every fourth frame."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import UsageError, VortexError
from pipelines.ingest.add import add_dataset, parse_unit
from pipelines.workspace import Workspace
from tests.unit.pipelines.ingest.test_ingest import plain
from validation.decode import read_depth
from validation.manifest import load_manifest
from validation.rows import metres_of


def seven_scenes(folder: Path, sequences: dict[str, int]) -> Path:
    for name, count in sequences.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            cv2.imwrite(str(folder / name / f"frame-{index:06d}.color.png"), np.full((48, 64, 3), index, np.uint8))
            cv2.imwrite(str(folder / name / f"frame-{index:06d}.depth.png"), np.full((48, 64), 1000 + index, np.uint16))
    return folder


def masks(folder: Path, names: list[str], of: str = ".png") -> None:
    (folder / "segmentation").mkdir()
    for name in names:
        data = cv2.imencode(of, np.zeros((8, 12), np.uint8))[1].tobytes()
        (folder / "segmentation" / name).write_bytes(data)


@pytest.mark.parametrize("names", [[f"{index}_mask.png" for index in range(5)], [f"{index}.pgm" for index in range(5)]])
def test_masks_that_all_fit_nothing_are_refused(workspace: Workspace, tmp_path: Path, names: list[str]) -> None:
    masks(plain(tmp_path / "s"), names, names[0][-4:])
    with pytest.raises(VortexError, match=rf"segmentation/: none of its 5 files \({names[0]}\) is the mask of a picture \(0\)"):
        add_dataset(workspace, "s", tmp_path / "s", domain="rooms", unit="mm")
    assert not any(workspace.data.iterdir())


def test_a_folder_of_other_files_is_one_fault(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s", 20)
    for path in (source / "depth").iterdir():
        path.rename(path.with_suffix(".pgm"))
    with pytest.raises(VortexError, match=r"depth/: holds 20 files \(0\.pgm\), none of them is a \.png or \.npy; nothing was added"):
        add_dataset(workspace, "s", source, domain="rooms", unit="mm", pairs_only=True)


def test_what_belongs_to_no_frame_is_counted_and_named(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s")
    masks(source, ["0.png", "1_mask.png", "2_mask.png", "3.PNG"])
    (source / "depth" / "0.pgm").write_bytes(b"P5 1 1 255 0")
    (source / "masks").mkdir()
    (source / "masks" / ".hidden.png").write_bytes(b"")
    for name in ("a.tif", "b.tif", "c.tif", "d.TIF", "notes.txt"):
        (source / "masks" / name).write_bytes(b"")
    (source / "preview.jpg").write_bytes(b"")
    added = add_dataset(workspace, "s", source, domain="rooms", unit="mm")
    assert [frame.supervision for frame in load_manifest(added.dataset.manifest)] == ["partial", "none", "none", "partial", "none"]
    remarks = [note for note in added.notes if "belong to no frame" in note]
    assert remarks == [
        "1 of 1 pictures or maps belong to no frame: left out (preview.jpg)",
        "depth/: 1 of 6 pictures or maps belong to no frame: left out (0.pgm)",
        "masks/: 4 of 4 pictures or maps belong to no frame: left out (a.tif, b.tif, c.tif, …)",
        "segmentation/: 2 of 4 pictures or maps belong to no frame: left out (1_mask.png, 2_mask.png)",
    ]
    assert [note for note in added.dataset.card.settings["notes"] if "belong to no frame" in note] == remarks


def test_a_whole_set_leaves_nothing_over(workspace: Workspace, tmp_path: Path) -> None:
    source = seven_scenes(tmp_path / "chess", {"seq-01": 5})
    for path in (source / "seq-01").glob("*.color.png"):
        path.rename(path.with_suffix(".PNG"))
    added = add_dataset(workspace, "s", source, domain="rooms")
    assert sum(added.dataset.card.frames.values()) == 5 and not any("belong to no frame" in note for note in added.notes)


def test_a_set_that_is_named_by_a_link_leaves_nothing_over(workspace: Workspace, tmp_path: Path) -> None:
    source = tmp_path / "desk"
    (source / "rgb").mkdir(parents=True)
    (source / "depth").mkdir()
    stamps = ["-0.5", "0.05", "0.1", "2.0e-01", "1.31e+09"]
    for stamp in stamps:
        cv2.imwrite(str(source / "rgb" / f"{stamp}.png"), np.zeros((8, 12, 3), np.uint8))
        cv2.imwrite(str(source / "depth" / f"{stamp}.png"), np.full((8, 12), 5000, np.uint16))
    for part in ("rgb", "depth"):
        (source / f"{part}.txt").write_text("".join(f"{stamp} {part}/{stamp}.png\n" for stamp in reversed(stamps)))
    (tmp_path / "link").symlink_to(source)
    (source / "K.txt").write_text("10 0 6 0 10 4 0 0 1")
    added = add_dataset(workspace, "s", tmp_path / "link", domain="rooms", format="tum")
    assert [frame.id.removeprefix("_") for frame in load_manifest(added.dataset.manifest)] == stamps
    assert not any("belong to no frame" in note for note in added.notes)


@pytest.mark.parametrize(("unit", "metres"), [("mm", 0.001), ("m/1000", 0.001), ("m/5000", 0.0002), ("m/256", 1 / 256), ("m", 1.0)])
def test_units_are_what_they_say(workspace: Workspace, tmp_path: Path, unit: str, metres: float) -> None:
    assert parse_unit(unit) == unit and metres_of(unit) == pytest.approx(metres, rel=1e-12)
    if unit == "m":
        return
    dataset = add_dataset(workspace, "s", plain(tmp_path / "s"), domain="rooms", unit=unit).dataset
    frame = load_manifest(dataset.manifest)[4]
    assert frame.depth and frame.depth_unit == unit
    np.testing.assert_allclose(read_depth(dataset.root / frame.depth, frame.depth_unit), 1004 * metres, rtol=1e-6)


@pytest.mark.parametrize("text", ["cm", "m/0", "m/-5", "m/1.5", "5000", "m/1000000", "relative", "m/٥", "m\n"])
def test_units_without_metres_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="allowed: m, mm, or m/N"):
        parse_unit(text)


def test_every_fourth_frame_by_time(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s", 40)
    for part in ("rgb", "depth"):
        for index in range(40):
            (source / part / f"{index}.png").rename(source / part / f"{round(7 + index * 0.05, 4)}.png")
    added = add_dataset(workspace, "s", source, domain="rooms", unit="mm", every=4)
    frames = load_manifest(added.dataset.manifest)
    assert [frame.id for frame in frames] == [str(round(7 + index * 0.05, 4)) for index in range(0, 40, 4)]
    assert [frame.split for frame in frames] == ["train"] * 7 + ["gap"] + ["val"] * 2
    assert added.dataset.card.settings["every"] == 4 and "--every 4: 10 of 40 frames" in added.notes
    assert not any("belong to no frame" in note for note in added.notes), "what was not asked for is not left over"
    with pytest.raises(UsageError, match="--every 0 is not allowed"):
        add_dataset(workspace, "t", source, domain="rooms", unit="mm", every=0)


def test_a_camera_is_never_called_after_the_set(workspace: Workspace, tmp_path: Path) -> None:
    added = add_dataset(workspace, "s", plain(tmp_path / "s"), domain="rooms", unit="mm")
    assert added.dataset.card.cameras == ["unnamed"] and any("'unnamed': name it with --camera" in note for note in added.notes)
    named = add_dataset(workspace, "t", plain(tmp_path / "s"), domain="rooms", unit="mm", camera="d435")
    assert named.dataset.card.cameras == ["d435"] and not any("unnamed" in note for note in named.notes)


def splits_of(workspace: Workspace, name: str) -> dict[str, list[str]]:
    frames = load_manifest(workspace.data / name / "manifest.jsonl")
    return {
        sequence: [frame.split for frame in frames if frame.sequence == sequence]
        for sequence in dict.fromkeys(frame.sequence for frame in frames)
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_lists_of_seven_scenes_hold(workspace: Workspace, tmp_path: Path, encoding: str, end: str) -> None:
    source = seven_scenes(tmp_path / "chess", {"seq-01": 5, "seq-02": 5, "seq-10": 5, "seq-11": 2})
    (source / "TrainSplit.txt").write_bytes(f"sequence1{end}sequence10{end}".encode(encoding))
    (source / "TestSplit.txt").write_bytes(f"{end}sequence2{end}sequence7".encode(encoding))
    notes = add_dataset(workspace, "s", source, domain="rooms").notes
    own = ["train", "train", "train", "train", "val"]
    assert splits_of(workspace, "s") == {"seq-01": own, "seq-02": ["test"] * 5, "seq-10": own, "seq-11": ["gap"] * 2}
    assert "sequences of TrainSplit.txt and TestSplit.txt that are not here: 7" in notes
    assert "sequences in no official list, and so of split gap: seq-11" in notes
    assert "the set's official splits hold; --split replaces them" in notes


def test_one_sequence_keeps_the_split_of_its_scene(workspace: Workspace, tmp_path: Path) -> None:
    source = seven_scenes(tmp_path / "chess", {"seq-03": 5, "recorded": 5})
    (source / "TestSplit.txt").write_text("sequence3\n")
    add_dataset(workspace, "s", source / "seq-03", domain="rooms")
    add_dataset(workspace, "t", source / "recorded", domain="rooms")
    assert splits_of(workspace, "s") == {"s": ["test"] * 5} and splits_of(workspace, "t")["t"][0] == "train"


def test_broken_lists_are_explained(workspace: Workspace, tmp_path: Path) -> None:
    source = seven_scenes(tmp_path / "chess", {"seq-01": 2, "seq-02": 2})
    (source / "TrainSplit.txt").write_text("sequence1\nsequence2\n")
    (source / "TestSplit.txt").write_text("# official\nsequence2\nthe third\n")
    with pytest.raises(VortexError, match="2 faults") as caught:
        add_dataset(workspace, "s", source, domain="rooms")
    assert caught.value.details[0].startswith("TestSplit.txt line 2: sequence2 is in the other list too")
    assert caught.value.details[1].startswith("TestSplit.txt line 3: found 'the third', allowed: a sequence")


@pytest.mark.parametrize(
    ("folders", "train"),
    [(("train", "test"), ["train", "train", "train", "train", "val"]), (("Training", "validation", "Testing"), ["train"] * 5)],
)
def test_folders_that_are_called_after_splits_hold(
    workspace: Workspace, tmp_path: Path, folders: tuple[str, ...], train: list[str]
) -> None:
    for folder in folders:
        plain(tmp_path / "s" / folder)
    add_dataset(workspace, "s", tmp_path / "s", domain="rooms", unit="mm")
    splits = splits_of(workspace, "s")
    assert splits[folders[0]] == train and splits[folders[-1]] == ["test"] * 5
    assert splits.get("validation", ["val"] * 5) == ["val"] * 5
