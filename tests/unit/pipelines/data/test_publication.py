"""Where a dataset waits before it is moved into data/, the note that lets a killed move be undone, and the cache of digests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import VortexError
from core.files import sha256_file
from pipelines.data import datasets, digests, publication
from pipelines.data.pointer import data_hash
from pipelines.data.versioning import unversioned_changes, version
from pipelines.workspace import Workspace
from validation.manifest import write_manifest
from validation.rows import Frame


@pytest.mark.parametrize(
    "note",
    [
        "garbage",
        "[]",
        '{"name": "../../x", "pointer": null}',
        '{"name": "one", "pointer": 5}',
        '{"name": "one", "pointer": null, "old": "../one"}',
    ],
)
def test_a_damaged_journal_is_named_and_moves_nothing(workspace: Workspace, note: str) -> None:
    frame = workspace.data / "one" / "frame.png"
    frame.parent.mkdir()
    frame.write_bytes(b"kept")
    workspace.build.mkdir(exist_ok=True)
    (workspace.build / "data-publish.json").write_text(note)
    with pytest.raises(VortexError, match=r"data-publish\.json: is not the note"):
        datasets.listing(workspace)
    assert frame.read_bytes() == b"kept"


def test_data_that_dvc_cannot_version_is_refused_before_the_work(workspace: Workspace, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    workspace.data.rename(elsewhere)
    workspace.data.symlink_to(elsewhere)
    with pytest.raises(VortexError, match="is a link or lies outside"):
        publication.refuse_existing(workspace, "one")
    assert not list(elsewhere.iterdir())


def test_other_bytes_of_the_same_size_and_time_are_other_data(workspace: Workspace) -> None:
    first(workspace)
    picture = workspace.data / "one" / "rgb" / "1.png"
    before, kept = datasets.resolve(workspace, name_or_manifest="one").digest, picture.stat()
    assert unversioned_changes(workspace) is False
    picture.write_bytes(picture.read_bytes()[::-1])
    os.utime(picture, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # as `cp -p`, `rsync -t` and `tar` do
    assert picture.stat().st_size == kept.st_size
    assert datasets.resolve(workspace, name_or_manifest="one").digest != before
    assert unversioned_changes(workspace) is True, "DVC sees it too"


def test_a_mount_is_staged_on_itself_and_left_out_of_the_version(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = version(workspace)
    devices = {workspace.data: 2}
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result((*found[:2], devices.get(path, 1), *found[3:10]))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", stat)
        staging = publication.staging_folder(workspace, "one")
    assert staging.is_relative_to(workspace.data)
    staging.mkdir(parents=True)
    (staging / "frame.png").write_bytes(b"unfinished")
    assert version(workspace) == plain


def test_a_digest_survives_a_cache_that_is_a_folder_and_names_no_file_can_have(workspace: Workspace, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("{}\n")
    (tmp_path / "rgb.png").write_bytes(b"1")
    (tmp_path / "digests.sqlite").mkdir()
    whole = digests.dataset_digest(manifest, tmp_path, ["rgb.png"], tmp_path / "digests.sqlite")
    assert whole != digests.dataset_digest(manifest, tmp_path, ["rgb.png", "x" * 300], tmp_path / "digests.sqlite")


def test_paths_that_are_no_text_are_digested(workspace: Workspace, tmp_path: Path) -> None:
    folder = Path(os.fsdecode(bytes(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "rgb.png").write_bytes(b"1")
    (folder / "manifest.jsonl").write_text("{}\n")
    found = [digests.dataset_digest(folder / "manifest.jsonl", folder, ["rgb.png"], tmp_path / "digests.sqlite") for _ in range(2)]
    assert found[0] == found[1]


def content(workspace: Workspace, *, pointer: bool = True) -> dict[str, bytes]:
    places = [*workspace.data.rglob("*"), *([workspace.root / "data.dvc"] if pointer else [])]
    return {path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in places if path.is_file()}


def row(mask: str | None) -> Frame:
    labels = {"segmentation": mask, "supervision": "partial"} if mask else {}
    return Frame(id="f", domain="rooms", split="train", sequence="s", camera="c", rgb="rgb/1.png", **labels)  # type: ignore[arg-type]


def first(workspace: Workspace) -> None:
    """A dataset with an old mask, a file that no row names, and a link."""
    with datasets.new_dataset(workspace, "one", datasets.DatasetCard(name="one", domain="rooms", kind="room", format="test")) as staging:
        for name in ("rgb/1.png", "old/1.png", "README"):
            (staging / name).parent.mkdir(exist_ok=True)
            (staging / name).write_bytes(name.encode())
        (staging / "same").symlink_to("rgb")
        write_manifest(staging / "manifest.jsonl", [row("old/1.png")])


def staged(workspace: Workspace) -> Path:
    """The next state: another mask in place of the old one."""
    staging = publication.staging_folder(workspace, "one")
    (staging / "new").mkdir(parents=True)
    (staging / "new" / "1.png").write_bytes(b"new/1.png")
    (staging / "dataset.json").write_text((workspace.data / "one" / "dataset.json").read_text())
    write_manifest(staging / "manifest.jsonl", [row("new/1.png")])
    return staging


def test_a_revision_replaces_what_rows_name_and_keeps_the_rest(workspace: Workspace) -> None:
    first(workspace)
    root = workspace.data / "one"
    before = data_hash(workspace)
    staging = staged(workspace)
    publication.revise(workspace, "one", staging, base=sha256_file(root / "manifest.jsonl"))
    assert {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()} == {
        "rgb/1.png", "new/1.png", "README", "manifest.jsonl", "dataset.json"
    }  # fmt: skip
    assert (root / "same").is_symlink()
    assert before != data_hash(workspace) and unversioned_changes(workspace) is False
    assert not list((workspace.build / "staging").iterdir()) and not (workspace.build / "data-publish.json").exists()


def test_a_revision_of_something_else_is_refused(workspace: Workspace) -> None:
    first(workspace)
    before = content(workspace)
    with pytest.raises(VortexError, match="was changed or removed by another command"):
        publication.revise(workspace, "one", staged(workspace), base="0" * 64)
    staging = staged(workspace)
    with pytest.raises(VortexError, match="was changed or removed by another command"):
        publication.revise(workspace, "two", staging)
    assert content(workspace) == before


def test_a_revision_that_dvc_refuses_is_undone(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first(workspace)
    before = content(workspace)

    def refuse(_: Workspace) -> str:
        raise VortexError("no")

    with monkeypatch.context() as patched:
        patched.setattr(publication, "add", refuse)
        with pytest.raises(VortexError, match="no"):
            publication.revise(workspace, "one", staged(workspace))
    assert content(workspace) == before and not (workspace.build / "data-publish.json").exists()
    publication.revise(workspace, "one", staged(workspace))


_REVISED = """
import os, signal, sys
from pathlib import Path
from pipelines.data import publication
from pipelines.workspace import load
from tests.unit.pipelines.data.test_publication import staged

ws, place = load(Path(sys.argv[1])), sys.argv[2]
staging = staged(ws)
renames = 0

def hook(event, args):
    global renames
    if event == "os.kill":
        return
    renames += event == "os.rename" and any(str(path).endswith("data/one") for path in args[:2])
    if (
        place == "between the renames" and renames == 2
        or place == "in data.dvc" and event == "open" and str(args[0]).endswith("data.dvc") and "w" in str(args[1])
        or place == "when the old one goes" and event == "shutil.rmtree" and str(args[0]).endswith(".replaced")
    ):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
publication.revise(ws, "one", staging)
"""


@pytest.mark.parametrize("place", ["between the renames", "in data.dvc", "when the old one goes"])
def test_a_killed_revision_leaves_the_old_or_the_new(workspace: Workspace, place: str) -> None:
    first(workspace)
    old = content(workspace)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    root = Path(__file__).parents[4]
    process = subprocess.run([sys.executable, "-c", _REVISED, str(workspace.root), place], env=environment, cwd=root, check=False)
    assert process.returncode == -signal.SIGKILL
    assert [dataset.name for dataset in datasets.listing(workspace)] == ["one"]
    assert (content(workspace) == old) is (place != "when the old one goes")
    assert ("data/one/new/1.png" in content(workspace)) is (place == "when the old one goes")
    # Sweeping what dead processes staged never touches an old state that a journal still names.
    publication.revise(workspace, "one", staged(workspace))
    assert "data/one/new/1.png" in content(workspace) and not list((workspace.build / "staging").iterdir())


def test_the_old_state_outlives_a_sweep(workspace: Workspace) -> None:
    """Between a kill and the undoing, another command may begin a dataset of its own."""
    first(workspace)
    old = content(workspace)
    kept = workspace.build / "staging" / "one.01234567.replaced"
    kept.parent.mkdir(exist_ok=True)
    (workspace.data / "one").rename(kept)
    note = {"name": "one", "pointer": (workspace.root / "data.dvc").read_text(), "old": kept.name}
    (workspace.build / "data-publish.json").write_text(json.dumps(note))
    publication.staging_folder(workspace, "two")
    assert kept.is_dir()
    publication.settle(workspace)
    assert content(workspace) == old and not kept.exists()
