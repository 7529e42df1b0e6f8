"""What git says of a workspace's repository, and that a git which refuses is never taken for one that has nothing to say."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines import git
from pipelines.data import version_names
from pipelines.data.repository import repository
from pipelines.doctor import doctor
from pipelines.hub.open import commit
from pipelines.init import init
from pipelines.workspace import Workspace

DUBIOUS = "GIT_TEST_ASSUME_DIFFERENT_OWNER"


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{name}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{name}_EMAIL", "ada@example.org")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))


def run(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *words], check=True, capture_output=True, text=True).stdout.strip()


def committed(folder: Path) -> str:
    run(folder, "init", "-q")
    run(folder, "add", "-A")
    run(folder, "commit", "-qm", "all", "--allow-empty")
    return run(folder, "rev-parse", "HEAD")


def test_outside_git_and_before_the_first_commit_there_is_none_and_no_problem(workspace: Workspace) -> None:
    assert git.head(workspace.root) == git.Head(None)
    run(workspace.root, "init", "-q")
    assert git.head(workspace.root) == git.Head(None)


def test_a_commit_and_whether_tracked_files_differ_from_it(workspace: Workspace) -> None:
    name = committed(workspace.root)
    assert git.head(workspace.root) == git.Head(name)
    with open(workspace.root / "vortex.toml", "a") as stream:
        stream.write("# changed\n")
    assert git.head(workspace.root) == git.Head(f"{name}-dirty")


def test_a_repository_of_another_owner_is_a_problem_with_its_remedy(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    committed(workspace.root)
    monkeypatch.setenv(DUBIOUS, "1")
    head = git.head(workspace.root)
    assert head.commit is None and "dubious ownership" in head.problem
    assert head.remedy == f"git config --global --add safe.directory {workspace.root}"
    with caplog.at_level(logging.WARNING):
        assert commit(workspace) is None
    assert "dubious ownership" in caplog.text and "commit unknown" in caplog.text
    finding = next(finding for finding in doctor(workspace.root) if finding.name == "commit")
    assert finding.state == "missing" and "dubious ownership" in finding.found and "safe.directory" in finding.remedy
    with repository(workspace) as repo, pytest.raises(VortexError, match=r"'HEAD' may be a commit, but git refuses: .*dubious"):
        version_names.resolve(workspace, repo, "HEAD")


def test_a_status_that_fails_is_not_clean(workspace: Workspace) -> None:
    name = committed(workspace.root)
    (workspace.root / ".git" / "index").write_bytes(b"not an index")
    head = git.head(workspace.root)
    assert head.commit == f"{name}-unchecked" and "index file" in head.problem


def test_a_git_that_is_absent_or_silent_is_said(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert git.head(workspace.root).problem == ""
    name = committed(workspace.root)
    monkeypatch.setattr(git, "SECONDS", 0.5)
    (tmp_path / "bin").mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "bin"))
        assert git.head(workspace.root) == git.Head(None, "git is not installed, or not on the PATH", "install git")
    slow = tmp_path / "bin" / "git"
    slow.write_text(f'#!/bin/sh\ncase "$*" in *status*) exec sleep 9;; esac\nexec "{_which()}" "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    head = git.head(workspace.root)
    assert head.commit == f"{name}-unchecked" and "did not answer within 0.5 s" in head.problem


def _which() -> str:
    import shutil

    return str(shutil.which("git"))


def test_a_git_dir_of_another_repository_is_not_followed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    committed(other)
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git.head(workspace.root) == git.Head(None)
    with monkeypatch.context() as patch:
        patch.delenv("GIT_DIR")
        name = committed(workspace.root)
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert git.head(workspace.root) == git.Head(name)


def test_a_repository_that_lies_apart_is_followed_where_its_work_tree_is_the_workspace(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "apart.git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(workspace.root))
    run(workspace.root, "init", "-q")
    run(workspace.root, "add", "vortex.toml")
    run(workspace.root, "commit", "-qm", "apart")
    assert git.head(workspace.root) == git.Head(run(workspace.root, "rev-parse", "HEAD"))


def test_init_in_a_repository_that_git_refuses_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "place").mkdir()
    run(tmp_path / "place", "init", "-q")
    monkeypatch.setenv(DUBIOUS, "1")
    with caplog.at_level(logging.WARNING):
        init(tmp_path / "place")
    assert "dubious ownership" in caplog.text and "without it" in caplog.text
    assert "no_scm = True" in (tmp_path / "place" / ".dvc" / "config").read_text()
