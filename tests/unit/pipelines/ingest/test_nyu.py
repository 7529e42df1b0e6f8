"""NYU Depth V2: its labelled file decoded to the bit, its classes, its splits, and files that are broken in every way."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from scipy.io import savemat

from core.classes import CLASSES
from core.errors import VortexError
from pipelines.ingest.adapter import Options
from pipelines.ingest.add import add_dataset
from pipelines.ingest.nyu.labelled import NyuLabelled
from pipelines.ingest.nyu.official import with_validation
from pipelines.workspace import Workspace
from tests.unit.pipelines.nyu_sets import (
    MAPPING,
    SIZE,
    colour,
    labels,
    ramp,
    write_labelled,
    write_splits,
)
from validation.decode import read_depth, read_rgb, read_segmentation
from validation.headers import FrameFileError
from validation.manifest import load_manifest

SCENES = [f"{room}_{number:04d}" for room in ("kitchen", "office") for number in (1, 2, 3) for _ in range(3)] + ["cafe_0001"] * 4


def text_of(caught: pytest.ExceptionInfo[VortexError]) -> str:
    return "\n".join((caught.value.message, *caught.value.details))


def test_the_labelled_file_is_decoded_to_the_bit(workspace: Workspace, tmp_path: Path) -> None:
    write_labelled(tmp_path / "nyu", 22, SCENES)
    dataset = add_dataset(workspace, "nyu", tmp_path / "nyu", domain="rooms").dataset
    frames = {frame.id: frame for frame in load_manifest(dataset.manifest)}
    assert list(frames)[:2] == ["kitchen_0001-0001", "kitchen_0001-0002"] and len(frames) == 22
    frame, index = frames["office_0001-0011"], 10
    assert frame.sequence == "office_0001" and frame.depth_unit == "mm" and frame.camera == "kinect"
    assert frame.intrinsics is not None and frame.segmentation is not None and frame.depth is not None
    assert frame.intrinsics.fx == pytest.approx(51.885790) and frame.intrinsics.size == SIZE
    np.testing.assert_array_equal(read_rgb(dataset.root / frame.rgb), colour(index))
    wanted = ramp(index).astype(float)
    wanted[3, 5] = 0
    np.testing.assert_array_equal(cv2.imread(str(dataset.root / frame.depth), cv2.IMREAD_UNCHANGED), wanted)
    classes = read_segmentation(dataset.root / frame.segmentation)
    numbers = labels(index)
    forty = MAPPING[np.maximum(numbers, 1) - 1]
    for name, member in (("floor", 2), ("wall", 8), ("glass", 9), ("person", 31), ("furniture", 39), ("other", 38)):
        chosen = (forty == member) & (numbers > 0) & (numbers != 412)
        assert chosen.any() and (classes[chosen] == CLASSES.index(name)).all(), name
    assert (classes[numbers == 0] == 255).all() and (classes[numbers == 412] == CLASSES.index("glass")).all()


def test_measured_depth_unless_the_in_painted_is_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    write_labelled(tmp_path / "nyu", 10)
    for name, filled, expected in (("raw", False, 0.0), ("filled", True, 9.0)):
        added = add_dataset(workspace, name, tmp_path / "nyu", domain="rooms", filled=filled)
        first = load_manifest(added.dataset.manifest)[0]
        assert first.depth and read_depth(added.dataset.root / first.depth, "mm")[3, 5] == expected
    assert any("in-painted" in note for note in added.notes)


def test_official_splits_and_whole_validation_scenes(workspace: Workspace, tmp_path: Path) -> None:
    write_labelled(tmp_path / "nyu", 22, SCENES)
    frames = load_manifest(add_dataset(workspace, "nyu", tmp_path / "nyu", domain="rooms").dataset.manifest)
    by_scene = {scene: {frame.split for frame in frames if frame.sequence == scene} for scene in set(SCENES)}
    assert by_scene["cafe_0001"] == {"test"} and by_scene["kitchen_0003"] == by_scene["office_0003"] == {"val"}
    assert all(by_scene[f"{room}_{number}"] == {"train"} for room in ("kitchen", "office") for number in ("0001", "0002"))
    forced = load_manifest(add_dataset(workspace, "own", tmp_path / "nyu", domain="rooms", split=(50, 0, 50)).dataset.manifest)
    assert "test" not in {frame.split for frame in forced}


def test_validation_without_scenes_is_the_end_of_the_training_frames() -> None:
    parts = with_validation({index: "train" if index < 100 else "test" for index in range(150)}, [""] * 150)
    order = [parts[index] for index in range(150)]
    assert order == ["train"] * 88 + ["gap"] * 2 + ["val"] * 10 + ["test"] * 50
    assert with_validation({0: "test"}, [""]) == {0: "test"}
    alone = with_validation(dict.fromkeys(range(20), "train"), [f"{room}_0001" for room in ("a", "b") for _ in range(10)])
    assert [alone[index] for index in (0, 17, 18, 19)] == ["train", "train", "val", "val"]


def test_frames_outside_the_splits_are_left_out_and_labels_may_be_absent(tmp_path: Path) -> None:
    path = write_labelled(tmp_path, 10)
    write_splits(tmp_path, [1, 2, 3, 4, 5], [7])
    with h5py.File(path, "r+") as store:
        del store["labels"]
    (tmp_path / "classMapping40.mat").unlink()
    found = NyuLabelled().read(tmp_path, Options())
    pairs = found.recordings[0].pairs
    assert [pair.stem for pair in pairs] == ["0001", "0002", "0003", "0004", "0005", "0007"]
    assert pairs[-1].split == "test" and pairs[0].segmentation is None
    assert any("4 of 10 frames are in no official split" in note for note in found.notes)


def test_another_name_is_read_when_it_is_the_only_one(tmp_path: Path) -> None:
    write_labelled(tmp_path, 5, name="mine.mat")
    assert not NyuLabelled().recognises(tmp_path) and len(NyuLabelled().read(tmp_path, Options()).recordings[0].pairs) == 5


def _break(path: Path, change: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "r+") as store:
        change(store)


def _replace(name: str, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Callable[[h5py.File], None]:
    def change(store: h5py.File) -> None:
        del store[name]
        store[name] = values

    return change


def _without(*names: str) -> Callable[[h5py.File], None]:
    def change(store: h5py.File) -> None:
        for name in names:
            del store[name]

    return change


def _external(store: h5py.File) -> None:
    del store["images"]
    store["images"] = h5py.ExternalLink("/etc/hostname", "/images")


def _bomb(store: h5py.File) -> None:
    del store["rawDepths"]
    store.create_dataset("rawDepths", (5, *SIZE[::-1]), np.float32, chunks=(1, 20_000, 20_000), maxshape=(None, None, None))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_bomb, "has chunks of 1600000000 bytes"),
        (_without("rawDepths", "depths"), "has no `rawDepths`"),
        (_without("rawDepths"), "--filled-depth takes `depths`"),
        (_without("images"), "has no `images`"),
        (_replace("images", np.zeros((5, *SIZE, 3), np.uint8)), "allowed: uint8 (N, 3, W, H)"),
        (_replace("images", np.zeros((5, 3, *SIZE), np.uint8)), "portrait: its axes look swapped"),
        (_replace("rawDepths", np.zeros((5, *SIZE), np.float32)), "its axes look swapped"),
        (_replace("rawDepths", np.zeros((4, *SIZE[::-1]), np.float32)), "as `images` is"),
        (_replace("rawDepths", np.zeros((5, *SIZE[::-1]), np.uint16)), "allowed: floats"),
        (_replace("labels", np.zeros((5, *SIZE[::-1]), np.float64)), "allowed: uint16"),
        (_replace("images", np.zeros((0, 3, 64, 48), np.uint8)), "(0, 3, 64, 48)"),
        (_external, "is a link or no dataset"),
        (lambda store: store.create_group("scenes"), "`scenes` is no list of 5 names"),
    ],
)
def test_what_is_wrong_inside_the_file_is_named(tmp_path: Path, change: Callable[[h5py.File], None], said: str) -> None:
    _break(write_labelled(tmp_path, 5), change)
    with pytest.raises(VortexError) as caught:
        NyuLabelled().read(tmp_path, Options())
    assert said in text_of(caught)


def test_what_is_missing_beside_the_file_is_named_at_once(tmp_path: Path) -> None:
    path = write_labelled(tmp_path, 5)
    (tmp_path / "splits.mat").unlink()
    (tmp_path / "classMapping40.mat").write_bytes(b"not a mat")
    with pytest.raises(VortexError) as caught:
        NyuLabelled().read(tmp_path, Options(unit="m"))
    for part in ("splits.mat is missing", "classMapping40.mat: cannot be read as a MATLAB file", "--unit m does not go"):
        assert part in text_of(caught)
    path.unlink()
    with pytest.raises(VortexError, match=r"3 faults|nyu_depth_v2_labeled.mat was not found|2 faults"):
        NyuLabelled().read(tmp_path, Options())


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ([0, 1, 2], [3, 4], "seems to count from 0"),
        ([1, 2, 3], [4, 6], "testNdxs runs from 4 to 6, allowed: 1 to 5"),
        ([1, 2, 3], [3, 4], "1 frames of testNdxs are in a split already"),
        ([1, 2, 2.5], [4], "trainNdxs holds no whole numbers"),
        ([], [4], "trainNdxs holds no whole numbers"),
    ],
)
def test_splits_out_of_range(tmp_path: Path, train: list[int], test: list[int], said: str) -> None:
    write_labelled(tmp_path, 5)
    write_splits(tmp_path, train, test)
    with pytest.raises(VortexError) as caught:
        NyuLabelled().read(tmp_path, Options())
    assert said in text_of(caught)


def test_a_thirteen_class_mapping_is_refused(tmp_path: Path) -> None:
    write_labelled(tmp_path, 5)
    savemat(tmp_path / "classMapping40.mat", {"mapClass": (MAPPING[None, :] % 13 + 1).astype(np.uint8)})
    with pytest.raises(VortexError, match="13-class map, which has no person"):
        NyuLabelled().read(tmp_path, Options())


def test_a_file_that_is_no_hdf5_or_half_written(workspace: Workspace, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "nyu", 10)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VortexError, match="damaged or cut short"):
        NyuLabelled().read(tmp_path / "nyu", Options())
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(4096))
    with pytest.raises(VortexError, match="is no HDF5 file"):
        add_dataset(workspace, "nyu", tmp_path / "nyu", domain="rooms")
    assert not any(workspace.data.iterdir())


def test_a_frame_that_breaks_while_writing_is_named_and_nothing_stays(workspace: Workspace, tmp_path: Path) -> None:
    path = write_labelled(tmp_path / "nyu", 10)
    with h5py.File(path, "r+") as store:
        del store["labels"]
        wrong = np.zeros((10, *SIZE[::-1]), np.uint16)
        wrong[6] = 895
        store["labels"] = wrong
    pointer = (workspace.root / "data.dvc").read_bytes()
    with pytest.raises(FrameFileError, match=r"frame 0007: .*found class ids from 895 to 895, allowed: 0 to 894"):
        add_dataset(workspace, "nyu", tmp_path / "nyu", domain="attic")
    assert not any(workspace.data.iterdir()) and (workspace.root / "data.dvc").read_bytes() == pointer
    assert not list((workspace.build / "staging").iterdir())


def test_a_read_only_mount_is_enough(workspace: Workspace, tmp_path: Path) -> None:
    """In a mount namespace of its own: root may write anywhere else, whatever the permissions say."""
    write_labelled(tmp_path / "nyu", 5)
    (tmp_path / "mounted").mkdir()
    mounted = shlex.quote(str(tmp_path / "mounted"))
    mount = f"mount --bind {shlex.quote(str(tmp_path / 'nyu'))} {mounted} && mount -o remount,bind,ro {mounted}"
    tried = subprocess.run(["unshare", "--map-root-user", "--mount", "sh", "-c", mount], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount can be made here: {tried.stderr.strip()}")
    script = (
        "import sys, errno; from pathlib import Path; from pipelines.workspace import load; from pipelines.ingest.add import add_dataset\n"
        "source = Path(sys.argv[2])\n"
        "try: (source / 'x').touch()\n"
        "except OSError as error: assert error.errno == errno.EROFS\n"
        "else: raise SystemExit('the mount is not read-only')\n"
        "print(sum(add_dataset(load(Path(sys.argv[1])), 's', source, domain='rooms').dataset.card.frames.values()))"
    )
    words = " ".join(map(shlex.quote, [sys.executable, "-c", script, str(workspace.root), str(tmp_path / "mounted")]))
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", f"{mount} && {words}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[4])
    assert result.returncode == 0 and result.stdout.split() == ["5"], result.stderr
