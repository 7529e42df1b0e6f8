"""Datasets appear whole and versioned, or not at all; and they are known by their bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import Interrupted, VortexError
from pipelines.data import datasets
from pipelines.data.datasets import DatasetCard, new_dataset
from pipelines.data.pointer import EMPTY_DIR, data_hash, unfetched
from pipelines.data.versioning import unversioned_changes, version
from pipelines.workspace import Workspace
from validation.manifest import ManifestError, write_manifest
from validation.rows import Frame


def make(ws: Workspace, name: str, count: int = 5, domain: str = "rooms", trouble: Callable[[Path], None] | None = None) -> None:
    card = DatasetCard(name=name, domain=domain, kind="room", format="test", source="here")
    with new_dataset(ws, name, card) as staging:
        (staging / "rgb").mkdir()
        for index in range(count):
            (staging / "rgb" / f"{index}.png").write_bytes(f"{name} {index}".encode())
        splits = ["train"] * (count - 2) + ["gap", "val"]
        write_manifest(
            staging / "manifest.jsonl",
            (
                Frame(id=f"f{index}", domain=domain, split=split, sequence="s", camera="cam", rgb=f"rgb/{index}.png")  # type: ignore[arg-type]
                for index, split in enumerate(splits)
            ),
        )
        if trouble:
            trouble(staging)


def state(ws: Workspace) -> tuple[list[str], bytes]:
    """What an add that failed must leave as it was."""
    return sorted(str(path.relative_to(ws.data)) for path in ws.data.rglob("*")), (ws.root / "data.dvc").read_bytes()


def test_a_dataset_is_published_and_versioned(workspace: Workspace) -> None:
    empty = data_hash(workspace)
    assert empty == EMPTY_DIR and not unversioned_changes(workspace)
    make(workspace, "one")
    first = data_hash(workspace)
    make(workspace, "two", domain="corridor")
    second = data_hash(workspace)
    assert len({empty, first, second}) == 3 and second and second.endswith(".dir")
    listing = workspace.root / ".dvc" / "cache" / "files" / "md5" / second[:2] / second[2:]
    assert {"one/dataset.json", "two/rgb/0.png"} <= {entry["relpath"] for entry in json.loads(listing.read_text())}
    assert [dataset.name for dataset in datasets.listing(workspace)] == ["one", "two"]
    card = datasets.find(workspace, "one").card
    assert card.frames == {"train": 3, "gap": 1, "val": 1} and card.cameras == ["cam"] and card.segmentation == "none"
    assert [dataset.name for dataset in datasets.for_domain(workspace, "corridor")] == ["two"]
    assert not unversioned_changes(workspace)
    (workspace.data / "one" / "rgb" / "0.png").write_bytes(b"changed")
    assert unversioned_changes(workspace)
    assert version(workspace) not in (first, second) and not unversioned_changes(workspace)


def test_unknown_names_say_what_exists(workspace: Workspace) -> None:
    make(workspace, "one")
    with pytest.raises(VortexError, match="unknown dataset 'two'; this workspace has: one"):
        datasets.find(workspace, "two")
    with pytest.raises(VortexError, match=r"domain 'corridor' has no dataset; this workspace has: one \(rooms\)"):
        datasets.for_domain(workspace, "corridor")
    with pytest.raises(VortexError, match="unknown domain 'moon'"):
        datasets.for_domain(workspace, "moon")
    with pytest.raises(VortexError, match=r"unknown dataset '\.\./one'"):
        datasets.find(workspace, "../one")


def test_a_name_is_never_overwritten(workspace: Workspace) -> None:
    make(workspace, "one")
    before = state(workspace)
    with pytest.raises(VortexError, match="exists already") as caught:
        make(workspace, "one")
    assert "rm -r" in caught.value.hint and state(workspace) == before
    with pytest.raises(VortexError, match=r"name '\.\./x' is not allowed"):
        make(workspace, "../x")


def _full(staging: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(staging / "rgb" / "9.png"))


def _interrupted(staging: Path) -> None:
    raise KeyboardInterrupt


def _broken(staging: Path) -> None:
    (staging / "manifest.jsonl").write_text("{\n")


@pytest.mark.parametrize(("trouble", "error"), [(_full, VortexError), (_interrupted, Interrupted), (_broken, ManifestError)])
def test_a_failure_leaves_nothing(workspace: Workspace, trouble: Callable[[Path], None], error: type[BaseException]) -> None:
    make(workspace, "one")
    before = state(workspace)
    with pytest.raises(error) as caught:
        make(workspace, "two", trouble=trouble)
    if trouble is _full:
        assert "no space left on the disk" in str(caught.value)
    assert state(workspace) == before and not list((workspace.build / "staging").iterdir())


def test_a_held_dvc_lock_is_one_clear_error(workspace: Workspace) -> None:
    make(workspace, "one")
    before = state(workspace)
    holder = "import sys, zc.lockfile; lock = zc.lockfile.LockFile(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    lock = workspace.root / ".dvc" / "tmp" / "lock"
    with subprocess.Popen([sys.executable, "-c", holder, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        with pytest.raises(VortexError, match="another DVC process holds its lock"):
            make(workspace, "two")
        process.communicate("")
    assert state(workspace) == before
    make(workspace, "two")


def test_what_dvc_loses_without_a_word_is_noticed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.repo import Repo

    make(workspace, "one")
    before, whole = state(workspace), Repo.add
    cut: list[Path] = []

    def cut_short(repo: Repo, *args: object) -> object:
        """What a full disk does to DVC: objects of no bytes, and no error."""
        done = whole(repo, *args)
        md5 = hashlib.md5(b"two 3").hexdigest()
        cut.append(Path(repo.cache.local.oid_to_path(md5)))
        cut[0].chmod(0o644)
        cut[0].write_bytes(b"")
        return done

    with monkeypatch.context() as patch:
        patch.setattr(Repo, "add", cut_short)
        with pytest.raises(VortexError, match="1 files did not reach DVC's cache"):
            make(workspace, "two")
    assert state(workspace) == before and not cut[0].exists()
    make(workspace, "two")
    assert cut[0].read_bytes() == b"two 3"


_KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.workspace import load
from tests.unit.pipelines.data.test_datasets import make

place, root = sys.argv[1:]
renamed = False

def hook(event, args):
    global renamed
    renaming = str(args[1]) if event == "os.rename" else ""
    if event != "os.kill" and (
        place == "while staging" and renaming.endswith("manifest.jsonl")
        or place == "after the rename" and renamed
        or place == "in data.dvc" and event == "open" and str(args[0]).endswith("data.dvc") and "w" in str(args[1])
    ):
        os.kill(os.getpid(), signal.SIGKILL)
    renamed = renamed or renaming.endswith("data/two")

sys.addaudithook(hook)
make(load(Path(root)), "two")
"""


@pytest.mark.parametrize("place", ["while staging", "after the rename", "in data.dvc"])
def test_the_next_command_undoes_what_a_kill_left(workspace: Workspace, place: str) -> None:
    make(workspace, "one")
    before = state(workspace)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.run([sys.executable, "-c", _KILLED, place, str(workspace.root)], env=environment, cwd=Path(__file__).parents[4])
    assert process.returncode == -signal.SIGKILL
    assert [dataset.name for dataset in datasets.listing(workspace)] == ["one"]
    assert state(workspace) == before
    make(workspace, "two")
    assert [dataset.name for dataset in datasets.listing(workspace)] == ["one", "two"]
    assert not list((workspace.build / "staging").iterdir())


def test_a_clone_that_was_not_pulled_forgets_nothing(workspace: Workspace) -> None:
    path = workspace.root / "data.dvc"
    path.write_text(json.dumps({"outs": [{"md5": "0123456789abcdef0123456789abcdef.dir", "nfiles": 3, "path": "data"}]}))
    before = state(workspace)
    with pytest.raises(VortexError, match="records frames that are not here") as caught:
        make(workspace, "one")
    assert "vortex data pull" in caught.value.hint and state(workspace) == before


def test_broken_pointers_and_cards_are_named(workspace: Workspace) -> None:
    make(workspace, "one")
    (workspace.data / "one" / "dataset.json").write_text('{"name": "one", "colour": 1}')
    with pytest.raises(VortexError, match=r"dataset\.json") as caught:
        datasets.listing(workspace)
    assert any("colour" in detail for detail in caught.value.details)
    for text in ("", "outs: 5", "outs: [{path: data}]", "{", "\x00"):
        (workspace.root / "data.dvc").write_text(text)
        with pytest.raises(VortexError, match=r"data\.dvc"):
            data_hash(workspace)
    (workspace.root / "data.dvc").unlink()
    assert data_hash(workspace) is None


def test_a_digest_follows_the_bytes(workspace: Workspace) -> None:
    make(workspace, "one")
    ref = datasets.resolve(workspace, name_or_manifest="one")
    assert ref == datasets.resolve(workspace, name_or_manifest="one")
    assert (ref.domain, ref.kind, ref.dvc) == ("rooms", "room", data_hash(workspace))
    assert datasets.resolve(workspace, name_or_manifest=str(ref.manifest)) == ref
    (workspace.build / "digests.sqlite").write_bytes(b"not a database")
    assert datasets.resolve(workspace, name_or_manifest="one").digest == ref.digest
    (workspace.build / "digests.sqlite").unlink(missing_ok=True)
    os.mkfifo(workspace.build / "digests.sqlite")
    assert datasets.resolve(workspace, name_or_manifest="one").digest == ref.digest
    picture = ref.root / "rgb" / "1.png"
    picture.write_bytes(b"other bytes")
    changed = datasets.resolve(workspace, name_or_manifest="one").digest
    picture.unlink()
    assert len({ref.digest, changed, datasets.resolve(workspace, name_or_manifest="one").digest}) == 3


def test_a_manifest_outside_data(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    rows = [
        Frame(id=f"f{n}", domain=d, split="train", sequence="s", camera="c", rgb=f"{n}.png") for n, d in enumerate(("rooms", "corridor"))
    ]
    write_manifest(folder / "manifest.jsonl", rows[:1])
    ref = datasets.resolve(workspace, name_or_manifest=str(folder / "manifest.jsonl"))
    assert (ref.name, ref.domain, ref.kind, ref.dvc) == ("outside:elsewhere", "rooms", "room", None) and ref.outside
    assert datasets.resolve(workspace, name_or_manifest=str(folder)).digest == ref.digest
    write_manifest(folder / "manifest.jsonl", rows)
    with pytest.raises(VortexError, match=r"2 domains \(corridor, rooms\)"):
        datasets.resolve(workspace, name_or_manifest=str(folder / "manifest.jsonl"))
    (folder / "manifest.jsonl").write_text('{"stem": "1", "rgb": "1.png"}\n')
    assert datasets.resolve(workspace, name_or_manifest=str(folder)).kind == "indoor"
    with pytest.raises(VortexError, match="unknown domain 'moon'"):
        datasets.resolve(workspace, name_or_manifest=str(folder), domain="moon")
    (folder / "out").symlink_to("/etc")
    write_manifest(folder / "manifest.jsonl", [Frame(id="f", domain="rooms", split="train", sequence="s", camera="c", rgb="out/hostname")])
    with pytest.raises(VortexError, match="through a link"):
        datasets.resolve(workspace, name_or_manifest=str(folder))


@pytest.mark.parametrize("name", ["", ".", "..", "../mlruns", "x" * 200])
def test_what_is_no_name_is_an_unknown_dataset(workspace: Workspace, name: str) -> None:
    with pytest.raises(VortexError, match="unknown dataset"):
        datasets.find(workspace, name)


def test_a_clone_without_its_frames_says_how_to_get_them(workspace: Workspace) -> None:
    make(workspace, "one")
    assert not unfetched(workspace)
    shutil.rmtree(workspace.data)
    assert unfetched(workspace)
    with pytest.raises(VortexError) as caught:
        datasets.find(workspace, "one")
    assert "vortex data pull" in caught.value.hint


def test_a_manifest_is_absolute_once_it_is_resolved(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(workspace, "one")
    shutil.copytree(workspace.data / "one", tmp_path / "outside" / "set")
    (tmp_path / "outside" / "other.jsonl").symlink_to(tmp_path / "outside" / "set" / "manifest.jsonl")
    (tmp_path / "here" / "below").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "below")
    for words in ("../../outside/set/manifest.jsonl", "../../outside/set", str(tmp_path / "here" / ".." / "outside" / "set")):
        ref = datasets.resolve(workspace, name_or_manifest=words)
        assert ref.manifest == tmp_path / "outside" / "set" / "manifest.jsonl" and ref.root == ref.manifest.parent
    # A link to a manifest has its files beside itself.
    assert datasets.resolve(workspace, name_or_manifest="../../outside/other.jsonl").root == tmp_path / "outside"
    monkeypatch.chdir(workspace.root)
    assert datasets.resolve(workspace, name_or_manifest="data/one").dvc == data_hash(workspace)
