"""A pack is what the dataset is, whole or absent; what is wrong with one is found and named."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from core.errors import UsageError, VortexError
from pipelines.data.datasets import DataRef, resolve
from pipelines.pack.decoding import decode_frame
from pipelines.pack.filling import Filler
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.layout import FORMAT, INDEX, PackError, check_size, is_folder_of, is_staging_of
from pipelines.pack.preparing import pack, packs_folder, prepare
from pipelines.pack.reading import Pack, Selection
from pipelines.workspace import Workspace
from pipelines.workspace import load as load_workspace
from tests.unit.pipelines.training_set import SIZE, fill, publish
from validation.manifest import load_manifest, write_manifest
from validation.rows import Frame

ROOT = Path(__file__).parents[4]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_manifest(tmp_path / "set" / "manifest.jsonl", fill(tmp_path / "set", teacher="a-teacher"))
    return tmp_path / "set"


@pytest.fixture
def ref(workspace: Workspace, folder: Path) -> DataRef:
    return again(workspace, folder)


def again(ws: Workspace, folder: Path) -> DataRef:
    return resolve(ws, name_or_manifest=str(folder / "manifest.jsonl"))


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def left_in(packs: Path) -> list[str]:
    return sorted(path.name for path in packs.iterdir() if not path.name.endswith(".lock")) if packs.exists() else []


class NoAugmentation:
    changes = False

    def into(self, *_: object) -> None:
        raise AssertionError("nothing is to be augmented")


def flip(path: Path, at: int) -> None:
    with open(path, "r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)[0]
        stream.seek(at)
        stream.write(bytes([byte ^ 0x10]))


def test_a_pack_holds_every_frame_once_and_no_room_for_what_a_frame_lacks(workspace: Workspace, ref: DataRef) -> None:
    heard: list[tuple[int, int]] = []
    made = pack(workspace, ref, SIZE, workers=2, progress=lambda *at: heard.append(at))
    frames = load_manifest(ref.manifest)
    assert (len(made), made.size, heard[-1]) == (13, SIZE, (13, 13))
    assert {role: entry.rows for role, entry in made.index.arrays.items()} == {
        "rgb": 13, "reference": 13, "teacher_depth": 13, "segmentation": 7,
    }  # fmt: skip
    assert made.index.splits == {"train": 8, "gap": 1, "val": 4} and made.index.digest == ref.digest
    assert list(made.ids()) == [frame.id for frame in frames] and made.id(12) == frames[12].id
    assert made.tables["segmentation"].tolist() == [number // 2 if number % 2 == 0 else -1 for number in range(13)]
    for number, frame in enumerate(frames):
        stored, decoded = made.stored(number), decode_frame(ref.root, frame, SIZE)
        assert stored.keys() == decoded.keys()
        assert all(np.array_equal(stored[role], decoded[role]) for role in decoded)
    assert made.select("val").tolist() == [9, 10, 11, 12] and made.select("train", 3).tolist() == [0, 2, 5]
    made.verify()
    parsed = (made.path / INDEX).read_text()
    assert not any(frame.id in parsed for frame in frames)


def test_the_bytes_do_not_depend_on_the_workers(tmp_path: Path, ref: DataRef) -> None:
    one, three = (content(prepare(tmp_path / f"packs{workers}", ref, SIZE, workers=workers).pack.path) for workers in (1, 3))
    assert one == three


def test_relative_teachers_tof_and_far_depth_are_stored_as_documented(workspace: Workspace, folder: Path) -> None:
    rows = load_manifest(folder / "manifest.jsonl")
    np.save(folder / "relative.npy", np.array([[0.013, 1999.0], [np.nan, -1.0]], np.float32).repeat(24, 0).repeat(32, 1))
    np.save(folder / "tof.npy", np.array([[65.5, 65.6], [np.inf, 1.2345]], np.float32).repeat(24, 0).repeat(32, 1))
    rows[0] = dataclasses.replace(
        rows[0], teacher_depth="relative.npy", teacher_unit="relative", tof="tof.npy", tof_unit="m", tof_confidence=None
    )
    write_manifest(folder / "manifest.jsonl", rows)
    ref = again(workspace, folder)
    made = pack(workspace, ref, SIZE)
    assert made.arrays["teacher_relative"].shape == (1, *SIZE) and made.tables["teacher_depth"][0] == -1
    first = load_arrays(packs_folder(workspace), ref, rows[:1], SIZE)[0]
    corners = {name: first[name][[0, 0, -1, -1], [0, -1, 0, -1]] for name in ("teacher_depth", "tof_depth", "tof_confidence")}
    assert corners["teacher_depth"] == pytest.approx([0.013, 1999.0, 0, 0], rel=5e-4)
    assert corners["tof_depth"] == pytest.approx([65.5, 0, 0, 1.234], abs=1e-3)
    assert corners["tof_confidence"].tolist() == [1, 0, 0, 1]


def test_a_pack_is_used_again_until_the_dataset_changes_and_then_replaced(workspace: Workspace, folder: Path, ref: DataRef) -> None:
    packs = packs_folder(workspace)
    first, second = prepare(packs, ref, SIZE), prepare(packs, ref, SIZE)
    assert first.built and not second.built and "packed in" in first.summary and "already" in second.summary
    small = prepare(packs, ref, (32, 48)).pack.path
    other = shutil.copytree(folder, folder.parent / "elsewhere" / "set")
    write_manifest(other / "manifest.jsonl", load_manifest(folder / "manifest.jsonl")[1:])
    kept = prepare(packs, again(workspace, other), SIZE).pack.path
    assert first.pack.path.exists() and small.exists()
    flip(folder / "rgb" / "003.png", 40)  # its file is another one, though it decodes no more
    with pytest.raises(VortexError, match="rooms-003"):
        prepare(packs, again(workspace, folder), SIZE)
    assert first.pack.path.exists() and small.exists(), "the old one goes only when the new one is there"
    shutil.copy(folder / "rgb" / "004.png", folder / "rgb" / "003.png")
    third = prepare(packs, again(workspace, folder), SIZE)
    assert third.built and set(third.replaced) == {first.pack.path.name, small.name}
    assert left_in(packs) == sorted([third.pack.path.name, kept.name])
    # Who still had the old one open reads on.
    assert first.pack.stored(0)["rgb"].shape == (*SIZE, 3)


def test_a_reference_to_what_the_dataset_no_longer_is_packs_nothing(workspace: Workspace, folder: Path, ref: DataRef) -> None:
    (folder / "rgb" / "003.png").unlink()
    with pytest.raises(VortexError, match=r"no longer what it was.*rgb/003\.png is missing"):
        pack(workspace, ref, SIZE)
    assert left_in(packs_folder(workspace)) == []
    with pytest.raises(VortexError, match=r"003\.png: .*'rooms-003' is missing"):
        pack(workspace, again(workspace, folder), SIZE)
    assert left_in(packs_folder(workspace)) == []


def test_a_cut_array_is_noticed_on_opening_and_made_again(workspace: Workspace, ref: DataRef) -> None:
    made = pack(workspace, ref, SIZE)
    whole = content(made.path)
    os.truncate(made.path / "reference.u16", 100)
    with pytest.raises(PackError, match=r"reference\.u16: has 100 bytes, wanted are"):
        Pack.open(made.path)
    assert prepare(packs_folder(workspace), ref, SIZE).built
    assert content(made.path) == whole
    (made.path / "segmentation.rows").unlink()
    with pytest.raises(PackError, match=r"segmentation\.rows: is missing"):
        Pack.open(made.path)


@pytest.mark.parametrize(
    ("name", "at", "said"),
    [
        ("rgb.u8", 2 * SIZE[0] * SIZE[1] * 3 + 17, r"rgb\.u8: 1 of 13 rows are damaged, the first that of frame 'rooms-002'"),
        ("segmentation.u8", 5, r"segmentation\.u8: 1 of 7 rows are damaged, the first that of frame 'rooms-000'"),
        ("reference.crc32", 4, r"reference\.crc32: its SHA-256"),
        ("ids.utf8", 4, r"ids\.utf8: its SHA-256"),
    ],
)
def test_a_flipped_bit_is_found_and_named(workspace: Workspace, ref: DataRef, name: str, at: int, said: str) -> None:
    made = pack(workspace, ref, SIZE)
    flip(made.path / name, at)
    with pytest.raises(PackError, match=r"its SHA-256|rows are damaged") as caught:
        Pack.open(made.path).verify()
    assert any(re.search(said, line) for line in (caught.value.message, *caught.value.details))


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ('{"format": 2}', f"has the pack format 2, this vortex reads {FORMAT}"),
        ("[]", "has the pack format None"),
        ("{", "cannot be read"),
        (json.dumps({"format": FORMAT}), "is not the index of a pack"),
    ],
)
def test_a_pack_of_another_format_is_refused_and_made_again(workspace: Workspace, ref: DataRef, index: str, said: str) -> None:
    made = pack(workspace, ref, SIZE)
    (made.path / INDEX).write_text(index)
    with pytest.raises(PackError, match=said):
        Pack.open(made.path)
    assert prepare(packs_folder(workspace), ref, SIZE).built


def test_an_index_that_promises_too_much_is_refused(workspace: Workspace, ref: DataRef) -> None:
    made = pack(workspace, ref, SIZE)
    raw = json.loads((made.path / INDEX).read_text())
    raw["size"] = [SIZE[0] * 2, SIZE[1]]
    (made.path / INDEX).write_text(json.dumps(raw))
    with pytest.raises(PackError, match="says of 'rgb' what cannot be"):
        Pack.open(made.path)


def test_a_pack_that_was_written_to_is_checked_and_made_again_when_damaged(workspace: Workspace, ref: DataRef) -> None:
    made = pack(workspace, ref, SIZE)
    whole = content(made.path)
    for name, at in (("rgb.u8", 17), ("ids.utf8", 4), ("splits.u8", 0)):
        os.utime(made.path / INDEX, ns=(0, (made.path / name).stat().st_mtime_ns - 1))
        flip(made.path / name, at)
        assert prepare(packs_folder(workspace), ref, SIZE).built
        assert content(made.path) == whole
    os.utime(made.path / INDEX, ns=(0, 0))
    assert Pack.open(made.path).touched and not prepare(packs_folder(workspace), ref, SIZE).built  # copied, and whole
    assert not Pack.open(made.path).touched


def test_a_truth_that_was_changed_with_its_time_kept_is_not_believed(workspace: Workspace, ref: DataRef) -> None:
    made = pack(workspace, ref, SIZE)
    name = made.index.arrays["reference"].file
    before = (made.path / name).stat()
    halved = np.fromfile(made.path / name, "<u2") // 2
    halved.tofile(made.path / name)
    os.utime(made.path / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    prepared = prepare(packs_folder(workspace), ref, SIZE)
    assert not prepared.built and not prepared.pack.touched
    frame = int(np.flatnonzero(prepared.pack.tables["reference"] != -1)[0])
    with pytest.raises(PackError, match=rf"{name}: 1 of \d+ rows are damaged, the first that of frame '{made.id(frame)}'"):
        prepared.pack.stored(frame)
    filler = Filler([Selection(prepared.pack, np.array([frame], np.int32))], lambda: NoAugmentation(), 0)
    arrays = {role: np.empty(*each) for role, each in filler.shapes(1).items()}
    with pytest.raises(PackError, match="rows are damaged"):
        filler.fill(arrays, np.array([0]), [0], 0)
    with pytest.raises(PackError, match="rows are damaged"):
        prepared.pack.verify()


def test_a_checksum_that_was_changed_too_is_not_believed(workspace: Workspace, ref: DataRef) -> None:
    made = pack(workspace, ref, SIZE)
    path = made.path / "reference.crc32"
    before = path.stat()
    flip(path, 0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(PackError, match=r"reference\.crc32: its SHA-256 is not that of the index"):
        Pack.open(made.path)
    assert prepare(packs_folder(workspace), ref, SIZE).built


def test_an_index_that_says_another_size_or_content_is_made_again(workspace: Workspace, ref: DataRef) -> None:
    made = pack(workspace, ref, SIZE)
    right = (made.path / INDEX).read_text()
    for key, value in (("size", SIZE[::-1]), ("digest", "0" * 64)):
        (made.path / INDEX).write_text(json.dumps({**json.loads(right), key: value}))
        assert prepare(packs_folder(workspace), ref, SIZE).built
        assert (made.path / INDEX).read_text() == right


@pytest.mark.parametrize("size", [(0, 320), (240, 0), (-1, 5), (240, 100_000), (16, 16)])
def test_sizes_out_of_range_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="from 32 to 4096"):
        check_size(size)


def test_a_set_that_cannot_fit_on_the_disk_is_refused_before_anything_is_written(workspace: Workspace, tmp_path: Path) -> None:
    frames = fill(tmp_path / "set", train=1, val=0)[:1]
    count = shutil.disk_usage(tmp_path).free // (4096 * 4096 * 6) + 2
    if count > 60_000:
        pytest.skip(f"the disk is so large that a manifest of {count} rows would be needed to fill it")
    write_manifest(tmp_path / "set" / "manifest.jsonl", (dataclasses.replace(frames[0], id=f"f{number}") for number in range(count)))
    with pytest.raises(VortexError, match=r"takes [\d.,]+ MB packed, the disk of .* has"):
        pack(workspace, again(workspace, tmp_path / "set"), (4096, 4096))
    assert left_in(packs_folder(workspace)) == []


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, ref: DataRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real small disk, where this process may mount one; what the disk said it has free is taken to be out of date."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "none", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("this process may not mount a small disk")
    try:
        monkeypatch.setattr("pipelines.pack.preparing.shutil.disk_usage", lambda path: shutil._ntuple_diskusage(2**40, 0, 2**40))
        with pytest.raises(VortexError, match="no space left on the disk; nothing was written"):
            prepare(disk / "packs", ref, SIZE)
        monkeypatch.undo()
        assert left_in(disk / "packs") == []
        with pytest.raises(VortexError, match=r"takes 0\.6 MB packed, the disk of .* has 0\.\d MB free"):
            prepare(disk / "packs", ref, SIZE)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(VortexError, match=r"packed frames cannot be written there \(Read-only file system\)"):
            prepare(disk / "packs", ref, SIZE)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_build_folder_that_is_none_is_said_in_a_line(tmp_path: Path, ref: DataRef) -> None:
    (tmp_path / "packs").write_text("")
    with pytest.raises(VortexError, match="packed frames cannot be written there") as caught:
        prepare(tmp_path / "packs", ref, SIZE)
    assert "`build`" in caught.value.hint


def _prepare(packs: Path, ref: DataRef, built: object) -> None:
    built.put(prepare(packs, ref, SIZE).built)  # type: ignore[attr-defined]


def test_packers_at_the_same_time_build_it_once(tmp_path: Path, ref: DataRef) -> None:
    context = multiprocessing.get_context("fork")
    built = context.Queue()
    packers = [context.Process(target=_prepare, args=(tmp_path / "packs", ref, built)) for _ in range(3)]
    for packer in packers:
        packer.start()
    found = sorted(built.get(timeout=60) for _ in packers)
    for packer in packers:
        packer.join()
    assert found == [False, False, True]
    assert len(left_in(tmp_path / "packs")) == 1


def test_what_a_killed_packer_left_is_swept(tmp_path: Path, workspace: Workspace, ref: DataRef) -> None:
    packs = tmp_path / "packs"
    code = f"""
import time
from pathlib import Path
from pipelines import workspace
from pipelines.data.datasets import resolve
from pipelines.pack.preparing import prepare
def stall(done, total):
    print(done, flush=True)
    time.sleep(60)
ref = resolve(workspace.load(Path({str(workspace.root)!r})), name_or_manifest={str(ref.manifest)!r})
prepare(Path({str(packs)!r}), ref, {SIZE!r}, progress=stall)
"""
    packer = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert packer.stdout and packer.stdout.readline()
    packer.send_signal(signal.SIGKILL)
    packer.wait()
    packer.stdout.close()
    assert len(left_in(packs)) == 1 and is_staging_of(ref.name, left_in(packs)[0])
    made = prepare(packs, ref, SIZE)
    assert made.built and left_in(packs) == [made.pack.path.name]


def test_a_name_that_begins_like_another_is_another() -> None:
    key = "0123456789ab"
    assert is_folder_of("rooms", f"rooms-240x320-{key}") and is_staging_of("rooms", f".rooms-240x320-{key}.01234567.staging")
    for other in ("rooms-2", "room", "rooms-240x320"):
        assert not is_folder_of(other, f"rooms-240x320-{key}") and not is_staging_of(other, f".rooms-240x320-{key}.01234567.staging")


def test_a_stop_leaves_nothing(tmp_path: Path, ref: DataRef) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "packs", ref, SIZE, progress=stop)
    assert left_in(tmp_path / "packs") == []


def test_frames_of_another_manifest_are_refused(workspace: Workspace, ref: DataRef) -> None:
    frames = load_manifest(ref.manifest)
    stranger: Frame = dataclasses.replace(frames[0], id="stranger")
    with pytest.raises(PackError, match="has no frame 'stranger'"):
        load_arrays(packs_folder(workspace), ref, [frames[1], stranger], SIZE)
    backwards = load_arrays(packs_folder(workspace), ref, frames[::-1], SIZE)
    forwards = load_arrays(packs_folder(workspace), ref, frames, SIZE)
    assert all(np.array_equal(a["rgb"], b["rgb"]) for a, b in zip(backwards, list(forwards)[::-1], strict=True))


def test_opening_does_not_wait_for_the_frames(tmp_path: Path) -> None:
    """Thirty thousand frames open in milliseconds, and their index is as small as ever."""
    from tests.unit.pipelines.sparse_pack import sparse_pack

    made = sparse_pack(tmp_path / "pack", 30_000, (32, 32))
    times = []
    for _ in range(3):
        started = time.process_time()
        Pack.open(made.path)
        times.append(time.process_time() - started)
    assert min(times) < 0.05 and (made.path / INDEX).stat().st_size < 4000
    assert made.find(["frame-0029999", "frame-0000001"]).tolist() == [29_999, 1]


def test_the_command_packs_says_so_and_checks(workspace: Workspace) -> None:
    from typer.testing import CliRunner

    from vortex_cli.app import app

    publish(workspace, "small")
    call = ["pack", "small", "--size", "64x96", "--workspace", str(workspace.root), "--json"]
    first, second = (json.loads(CliRunner().invoke(app, [*call, *more]).stdout) for more in ([], ["--verify"]))
    assert (first["built"], second["built"], second["verified"]) == (True, False, True)
    assert first["frames"] == 13 and first["path"] == second["path"]
    flip(Path(first["path"]) / "rgb.u8", 9)
    os.utime(Path(first["path"]) / "rgb.u8", (0, 0))  # a bad disk leaves no trace; what was written to is packed again
    result = CliRunner().invoke(app, [*call, "--verify"])
    assert isinstance(result.exception, PackError) and "rgb.u8" in result.exception.message
    assert load_workspace(workspace.root)
