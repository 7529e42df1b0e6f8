"""The registry of a workspace, and who is asking: the two things every recording command needs."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from pipelines.workspace import Workspace
from registry.versions import Hub


def hub(ws: Workspace) -> Hub:
    """The workspace's registry. Cheap: nothing is opened, created or imported before it is needed."""
    return Hub.open(ws.tracking_uri, ws.artifact_root, ws.ledger_url, ws.ledger_head)


def actor() -> str:
    """Who acts: `VORTEX_ACTOR` (for CI), else git's user name and address, else the login name."""
    if named := os.environ.get("VORTEX_ACTOR", "").strip():
        return named
    name, address = (_git(Path.cwd(), "config", "--get", key) for key in ("user.name", "user.email"))
    if name:
        return f"{name} <{address}>" if address else name
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a passwd entry
        return f"uid {os.getuid()}"


def commit(ws: Workspace) -> str | None:
    """The commit that the workspace stands at, with `-dirty` when tracked files differ from it; None outside git."""
    head = _git(ws.root, "rev-parse", "--verify", "HEAD")
    if not head:
        return None
    changed = _git(ws.root, "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if changed else head


def _git(folder: Path, *words: str) -> str:
    try:
        answer = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):  # no git here: the event then records no commit
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
