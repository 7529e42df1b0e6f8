"""`data.dvc`: what it records, and that a folder without frames needs neither cache nor remote."""

from __future__ import annotations

import pytest

from core.errors import VortexError
from pipelines.data.pointer import EMPTY_DIR, data_hash, unfetched
from pipelines.data.repository import repository
from pipelines.data.versioning import unversioned_changes
from pipelines.init import init
from pipelines.workspace import Workspace
from tests.unit.pipelines import tiny_sets
from tests.unit.pipelines.tiny_sets import row


def test_a_new_workspace_records_nothing_and_has_a_remote_beside_it(workspace: Workspace) -> None:
    assert (workspace.root / "data.dvc").read_text() == "outs: []\n"
    assert data_hash(workspace) == EMPTY_DIR
    assert not unfetched(workspace) and unversioned_changes(workspace) is False
    config = (workspace.root / ".dvc" / "config").read_text()
    assert "remote = local" in config and "url = ../remote" in config
    for ignore in (".gitignore", ".dvcignore"):
        assert "/remote/" in (workspace.root / ignore).read_text().splitlines()


def test_completing_a_workspace_changes_nothing_that_is_there(workspace: Workspace) -> None:
    config = workspace.root / ".dvc" / "config"
    config.write_text("[core]\n    no_scm = True\n")
    before = {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()}
    init(workspace.root)
    assert {path: path.read_bytes() for path in workspace.root.rglob("*") if path.is_file()} == before


def test_the_pointer_that_older_workspaces_have_stands_for_the_same(workspace: Workspace) -> None:
    old = "outs:\n- md5: d751713988987e9331980363e24189ce.dir\n  size: 0\n  nfiles: 0\n  hash: md5\n  path: data\n"
    (workspace.root / "data.dvc").write_text(old)
    assert data_hash(workspace) == EMPTY_DIR
    tiny_sets.publish(workspace, "rooms", {"a": row("a")})
    assert data_hash(workspace) not in (None, EMPTY_DIR)
    assert unversioned_changes(workspace) is False


@pytest.mark.parametrize(
    "text", ["", "outs: 5\n", "outs: [1]\n", "outs:\n- path: data\n", "outs:\n- md5: x.dir\n", ": [", "outs:\n- {}\n- {}\n"]
)
def test_a_pointer_that_is_none_is_named(workspace: Workspace, text: str) -> None:
    (workspace.root / "data.dvc").write_text(text)
    with pytest.raises(VortexError, match=r"data\.dvc: found no `outs` entry"):
        data_hash(workspace)


def test_dvc_s_own_lock_is_named_and_its_loggers_are_left_as_they_were(workspace: Workspace) -> None:
    import logging

    logger = logging.getLogger("dvc")
    before = logger.level
    with repository(workspace) as repo, repo.lock, pytest.raises(VortexError, match="another DVC process holds its lock"):
        tiny_sets.publish(workspace, "rooms", {"a": row("a")})
    assert logger.level == before and data_hash(workspace) == EMPTY_DIR
