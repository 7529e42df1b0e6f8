"""Where a dataset waits before it is moved into data/, the note that lets a killed move be undone, and the cache of digests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines.data import datasets, digests, publishing
from pipelines.workspace import Workspace


@pytest.mark.parametrize("note", ["garbage", "[]", '{"name": "../../x", "pointer": null}', '{"name": "one", "pointer": 5}'])
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
        publishing.refuse_existing(workspace, "one")
    assert not list(elsewhere.iterdir())


def test_a_mount_is_staged_on_itself_and_left_out_of_the_version(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = datasets.version(workspace)
    devices = {workspace.data: 2}
    real = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        found = real(path, **options)
        return os.stat_result((*found[:2], devices.get(path, 1), *found[3:10]))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", stat)
        staging = publishing.staging_folder(workspace, "one")
    assert staging.is_relative_to(workspace.data)
    staging.mkdir(parents=True)
    (staging / "frame.png").write_bytes(b"unfinished")
    assert datasets.version(workspace) == plain


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
