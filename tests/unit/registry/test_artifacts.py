"""Artifacts are found below the artifact root that they were stored under, wherever that is now, and whichever is set today."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import VortexError
from registry import artifacts
from registry.records import NewVersion, Version
from registry.versions import Hub

New = Callable[..., NewVersion]


def opened(folder: Path, root: Path | None = None) -> Hub:
    return Hub.open(f"sqlite:///{folder / 'mlflow.db'}", root or folder / "artifacts", f"sqlite:///{folder / 'ledger.db'}")


def register(hub: Hub, make_new: New, text: str, place: Path) -> Version:
    run_id = hub.store.start_run(text)
    file = place / "student.safetensors"
    file.write_bytes(text.encode())
    return hub.register(make_new(run_id, run=text, checkpoint=hub.store.log_artifact(run_id, file, "checkpoint")), actor="Ada")


def content(hub: Hub, version: Version) -> bytes:
    return hub.artifacts.path(version.checkpoint).read_bytes()


@pytest.fixture
def folder(migrated: Path, tmp_path: Path) -> Path:
    (tmp_path / "place?of #1 50%").mkdir()
    shutil.copyfile(migrated, tmp_path / "place?of #1 50%" / "mlflow.db")
    return tmp_path / "place?of #1 50%"


def test_what_was_stored_below_an_earlier_root_stays_usable_and_new_runs_go_below_the_new_one(
    folder: Path, tmp_path: Path, make_new: New
) -> None:
    old = register(opened(folder), make_new, "old", tmp_path)
    disk = tmp_path / "larger disk"
    new = register(opened(folder, disk), make_new, "new", tmp_path)
    hub = opened(folder, disk)
    assert (content(hub, old), content(hub, new)) == (b"old", b"new")
    assert (disk / new.checkpoint.uri).is_file() and (folder / "artifacts" / old.checkpoint.uri).is_file()
    assert hub.artifacts.earlier_root(old.checkpoint.uri) == folder / "artifacts"
    again = opened(folder, tmp_path / "a third")
    assert (content(again, old), content(again, new)) == (b"old", b"new")
    back = opened(folder)
    assert (content(back, old), content(back, new)) == (b"old", b"new")


def test_files_that_were_moved_to_the_new_root_are_what_mlflow_then_names(folder: Path, tmp_path: Path, make_new: New) -> None:
    old = register(opened(folder), make_new, "old", tmp_path)
    disk = tmp_path / "disk"
    assert content(opened(folder, disk), old) == b"old"
    os.rename(folder / "artifacts", disk)
    hub = opened(folder, disk)
    assert content(hub, old) == b"old"
    run = old.checkpoint.uri.partition("/")[0]
    assert artifacts.local(hub.store.location(run)) == disk / run / "artifacts"


def test_a_copy_of_a_repository_uses_its_own_artifacts(folder: Path, tmp_path: Path, make_new: New) -> None:
    old = register(opened(folder), make_new, "old", tmp_path)
    copy = shutil.copytree(folder, tmp_path / "copy")
    hub = opened(copy)
    run = old.checkpoint.uri.partition("/")[0]
    assert artifacts.local(hub.store.location(run)) == copy / "artifacts" / run / "artifacts"
    assert hub.artifacts.path(old.checkpoint) == copy / "artifacts" / old.checkpoint.uri


def test_one_that_is_nowhere_is_named_with_every_place_that_was_looked_at(folder: Path, tmp_path: Path, make_new: New) -> None:
    hub = opened(folder)
    old, kept = register(hub, make_new, "old", tmp_path), register(hub, make_new, "kept", tmp_path)
    os.remove(folder / "artifacts" / old.checkpoint.uri)
    disk = tmp_path / "disk"
    with pytest.raises(VortexError, match="the artifact is gone") as caught:
        opened(folder, disk).artifacts.path(old.checkpoint)
    assert str(disk) in caught.value.message and str(folder / "artifacts") in caught.value.message
    assert content(opened(folder, disk), kept) == b"kept"


def test_a_folder_s_artifacts_are_found_while_new_ones_go_to_an_object_store(folder: Path, tmp_path: Path, make_new: New) -> None:
    old = register(opened(folder), make_new, "old", tmp_path)
    hub = Hub.open(opened(folder).tracking_uri, "s3://robots/vortex", opened(folder).ledger.url)
    assert content(hub, old) == b"old"


def test_a_place_that_mlflow_was_told_by_somebody_else_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "student.safetensors").write_bytes(b"")
    assert artifacts.earlier("run/artifacts/student.safetensors", (tmp_path / "secret").as_uri()) is None
    (tmp_path / "run" / "artifacts").mkdir(parents=True)
    (tmp_path / "run" / "artifacts" / "student.safetensors").symlink_to(tmp_path / "secret" / "student.safetensors")
    assert artifacts.earlier("run/artifacts/student.safetensors", (tmp_path / "run" / "artifacts").as_uri()) is None
    assert artifacts.earlier("run/artifacts/../../secret/student.safetensors", (tmp_path / "run" / "artifacts").as_uri()) is None
