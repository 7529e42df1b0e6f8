"""A version of `data/` holds every file of its datasets, whatever a `.dvcignore` or DVC's own settings say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines.data import datasets, versioning
from pipelines.data.checkout import checkout
from pipelines.data.pointer import data_hash
from pipelines.data.remote import pull, push
from pipelines.doctor import doctor
from pipelines.workspace import Workspace
from tests.unit.pipelines import tiny_sets
from tests.unit.pipelines.tiny_sets import row

DVC = Path(sys.executable).with_name("dvc")


def ignore(ws: Workspace, *patterns: str) -> None:
    with open(ws.root / ".dvcignore", "a") as stream:
        stream.writelines(f"{pattern}\n" for pattern in patterns)


def state(ws: Workspace) -> tuple[dict[str, bytes], bytes]:
    return tiny_sets.contents(ws.data), (ws.root / "data.dvc").read_bytes()


@pytest.mark.parametrize("pattern", ["*.png", "depth/", "/data/rooms/depth", "**/depth/**", "b.*", "manifest.jsonl", "*.json*", "data/*"])
def test_a_pattern_that_matches_a_dataset_s_file_refuses_it_by_name_and_nothing_is_added(workspace: Workspace, pattern: str) -> None:
    before = state(workspace)
    ignore(workspace, pattern)
    line = len((workspace.root / ".dvcignore").read_text().splitlines())
    with pytest.raises(VortexError, match=r"DVC would leave .* out of every version") as caught:
        tiny_sets.publish(workspace, "rooms", {"a": row("a"), "b": row("b", "val")})
    assert f".dvcignore:{line}:{pattern}" in caught.value.message and "rooms/" in caught.value.message
    assert state(workspace) == before
    ignore(workspace, "!/data/**")  # what the hint says
    tiny_sets.publish(workspace, "rooms", {"a": row("a"), "b": row("b", "val")})
    whole = tiny_sets.contents(workspace.data)
    push(workspace)
    shutil.rmtree(workspace.data)
    shutil.rmtree(workspace.root / ".dvc" / "cache")
    pull(workspace)
    assert tiny_sets.contents(workspace.data) == whole and len(whole) == 6


def test_a_pattern_for_what_editors_and_file_browsers_leave_changes_nothing(workspace: Workspace) -> None:
    ignore(workspace, ".DS_Store", "*~")
    tiny_sets.publish(workspace, "rooms", {"a": row("a")})
    (workspace.data / "rooms" / ".DS_Store").write_bytes(b"folder")
    (workspace.data / "rooms" / "notes~").write_bytes(b"folder")
    assert versioning.unversioned_changes(workspace) is False
    tiny_sets.publish(workspace, "hall", {"a": row("a")})
    assert push(workspace).datasets == {"hall": 4, "rooms": 4}


def test_a_version_that_was_made_before_the_pattern_stays_whole(workspace: Workspace) -> None:
    tiny_sets.publish(workspace, "rooms", {"a": row("a"), "b": row("b", "val")})
    first, whole = data_hash(workspace), tiny_sets.contents(workspace.data)
    tiny_sets.publish(workspace, "hall", {"a": row("a")})
    ignore(workspace, "depth/")
    assert versioning.unversioned_changes(workspace) is False
    assert push(workspace).files == 10
    assert first is not None and checkout(workspace, first).removed == 4
    assert tiny_sets.contents(workspace.data) == whole
    shutil.rmtree(workspace.data)
    assert pull(workspace).written == 6 and tiny_sets.contents(workspace.data) == whole


def test_a_version_that_dvc_made_by_hand_without_the_files_is_neither_pushed_nor_called_clean(workspace: Workspace) -> None:
    tiny_sets.publish(workspace, "rooms", {"a": row("a"), "b": row("b", "val")})
    whole = tiny_sets.contents(workspace.data)
    ignore(workspace, "depth/")
    subprocess.run([DVC, "add", "data"], cwd=workspace.root, check=True, capture_output=True)
    assert versioning.unversioned_changes(workspace) is True
    refused = r"would leave 2 files of datasets .* the first: rooms/depth/a\.png \(\.dvcignore:\d+:depth/\)"
    with pytest.raises(VortexError, match=refused):
        push(workspace)
    with pytest.raises(VortexError, match=refused):
        checkout(workspace, str(data_hash(workspace)))
    assert tiny_sets.contents(workspace.data) == whole
    said = next(finding for finding in doctor(workspace.root) if finding.name == "data")
    assert said.state == "missing" and "rooms/depth/a.png" in said.found and "!/data/**" in said.remedy


def test_links_to_folders_and_folders_of_another_dvc_are_refused_by_name(workspace: Workspace) -> None:
    tiny_sets.publish(workspace, "rooms", {"a": row("a")})
    os.rename(workspace.data / "rooms" / "depth", workspace.root / "elsewhere")
    (workspace.data / "rooms" / "depth").symlink_to(workspace.root / "elsewhere")
    with pytest.raises(VortexError, match=r"rooms/depth/a\.png \(rooms/depth is a link to a folder\)"):
        versioning.version(workspace)
    (workspace.data / "rooms" / "depth").unlink()
    os.rename(workspace.root / "elsewhere", workspace.data / "rooms" / "depth")
    (workspace.data / "rooms" / ".dvc").mkdir()
    with pytest.raises(VortexError, match=r"in sub_repo:rooms"):
        versioning.version(workspace)
    (workspace.data / "rooms" / ".dvc").rmdir()
    (workspace.data / "rooms" / ".dvcignore").write_text("depth/\n")
    with pytest.raises(VortexError, match=r"data/rooms/\.dvcignore: lies in data/"):
        checkout(workspace, str(data_hash(workspace)))
    with pytest.raises(VortexError, match=r"data/rooms/\.dvcignore:1:depth/"):
        versioning.version(workspace)


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "reflink", "hardlink,symlink"])
@pytest.mark.parametrize("level", ["repo", "local", "global", "system"])
def test_cache_types_of_the_user_make_no_links_of_frames(
    workspace: Workspace, kind: str, level: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    places = {
        "repo": ".dvc/config",
        "local": ".dvc/config.local",
        "global": tmp_path / "global/config",
        "system": tmp_path / "system/config",
    }
    path = workspace.root / places[level]
    path.parent.mkdir(exist_ok=True)
    with open(path, "a") as stream:
        stream.write(f"[cache]\n    type = {kind}\n")
    tiny_sets.publish(workspace, "rooms", {"a": row("a"), "b": row("b", "val")})
    files = [path for path in workspace.data.rglob("*") if not path.is_dir()]
    assert len(files) == 6 and not any(path.is_symlink() or path.stat().st_nlink > 1 for path in files)
    assert datasets.resolve(workspace, name_or_manifest="rooms").digest


def test_frames_that_dvc_itself_turned_into_links_are_named_with_the_command_that_mends_them(workspace: Workspace) -> None:
    tiny_sets.publish(workspace, "rooms", {"a": row("a")})
    digest = datasets.resolve(workspace, name_or_manifest="rooms").digest
    subprocess.run([DVC, "config", "cache.type", "symlink"], cwd=workspace.root, check=True)
    subprocess.run([DVC, "checkout", "--relink", "data.dvc"], cwd=workspace.root, check=True, capture_output=True)
    assert (workspace.data / "rooms" / "rgb" / "a.png").is_symlink()
    with pytest.raises(VortexError, match="is a link into DVC's cache") as caught:
        datasets.resolve(workspace, name_or_manifest="rooms")
    assert "dvc unprotect data" in caught.value.hint
    subprocess.run([DVC, "unprotect", "data"], cwd=workspace.root, check=True, capture_output=True)
    assert datasets.resolve(workspace, name_or_manifest="rooms").digest == digest


def test_a_cache_that_lies_elsewhere_is_used_and_git_s_index_is_left_alone(workspace: Workspace, tmp_path: Path) -> None:
    for words in (["init", "-q"], ["add", "data.dvc"]):
        subprocess.run(["git", *words], cwd=workspace.root, check=True)
    config = (workspace.root / ".dvc" / "config").read_text().replace("autostage = False", "autostage = True")
    (workspace.root / ".dvc" / "config").write_text(f"{config}[cache]\n    dir = {tmp_path / 'big disk'}\n")
    tiny_sets.publish(workspace, "rooms", {"a": row("a")})
    staged = subprocess.run(["git", "diff", "--name-only"], cwd=workspace.root, check=True, capture_output=True, text=True).stdout
    assert staged.splitlines() == ["data.dvc"]  # changed, and not staged
    hash_ = str(data_hash(workspace))
    assert (tmp_path / "big disk" / "files" / "md5" / hash_[:2] / hash_[2:]).is_file()
    whole = tiny_sets.contents(workspace.data)
    shutil.rmtree(workspace.data)
    pull(workspace)
    assert tiny_sets.contents(workspace.data) == whole


def test_the_file_of_settings_that_dvc_cannot_read_is_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path))
    (tmp_path / "config").write_text("[core]\n    colour = blue\n")
    with pytest.raises(VortexError) as caught:
        tiny_sets.publish(workspace, "rooms", {"a": row("a")})
    assert caught.value.message.startswith(f"{tmp_path / 'config'}: DVC cannot read its settings") and "move it away" in caught.value.hint
