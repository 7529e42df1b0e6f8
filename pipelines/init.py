"""Make a workspace: `vortex.toml`, a DVC-tracked `data/`, and `mlruns/` for the embedded registry."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from core.errors import VortexError
from core.files import locked, read_text_of_user, write_atomic
from pipelines import git, workspace
from pipelines.workspace import FILE, Workspace

log = logging.getLogger("vortex.git")

CONFIG = """\
# A Vortex workspace. Paths are relative to this file; environment variables such as $SCRATCH are expanded.

# The registry. The default is embedded: nothing to start. A team shares one by naming its servers here instead, for example
#   tracking_uri = "http://mlflow.lab:5000"    artifact_root = "s3://robots/vortex"    ledger = "postgresql+psycopg://vortex@db.lab/vortex"
tracking_uri = "sqlite:///mlruns/mlflow.db"
artifact_root = "mlruns/artifacts"
ledger = "sqlite:///mlruns/ledger.db"

# What runs a student. `host` is this machine, through ONNX Runtime.
[devices.host]
runtime = "onnxruntime"

# Places. `kind` names the bounds in validation/policies.yaml that a domain's frames are judged by.
# `vortex data add|synth` adds a domain that is not here yet.
[domains.rooms]
kind = "room"

[domains.corridor]
kind = "corridor"
"""

MLRUNS_IGNORE = "# The embedded registry lives here; only this file belongs to git.\n*\n!.gitignore\n"
REMOTE, FOLDER = "local", "remote"
"""Name and folder of the DVC remote that a new workspace has: `pipelines.data.remote` says why it lies there."""
IGNORED = ("/build/", "/data/", f"/{FOLDER}/", "/publish/", "/keys/")
DVC_IGNORED = (f"/{FOLDER}/", "/publish/", "/keys/", "__pycache__/", "*.pyc")
"""Copies of frames, which DVC need not search for stages; and what running the code leaves beside it, which is no change of it."""
EMPTY_DATA = "outs: []\n"
"""A pointer that records nothing. What `dvc add` writes for an empty folder names a listing, and a clone without a cache fails on it."""


def init(folder: Path) -> Workspace:
    """Make `folder` a workspace, or complete one; what already exists is kept.

    Raises VortexError when `folder` is a file or cannot be written.
    """
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise VortexError(f"{folder} is a file, not a folder", "name a folder that is new or yours")
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".vortex.lock"):
        for name, content in ((FILE, CONFIG), ("mlruns/.gitignore", MLRUNS_IGNORE), ("data.dvc", EMPTY_DATA)):
            if not (folder / name).exists():
                write_atomic(folder / name, content)
        _ignore(folder / ".gitignore", IGNORED)
        _init_dvc(folder)
        _ignore(folder / ".dvcignore", DVC_IGNORED)
        (folder / "data").mkdir(exist_ok=True)
    (folder / ".vortex.lock").unlink(missing_ok=True)
    return workspace.load(folder)


def _ignore(path: Path, entries: tuple[str, ...]) -> None:
    lines = read_text_of_user(path).splitlines() if path.exists() else []
    # `/data` is how DVC itself writes the entry; both spellings ignore the folder.
    missing = [entry for entry in entries if entry not in lines and entry.rstrip("/") not in lines]
    if missing:
        write_atomic(path, "\n".join([*lines, *missing]) + "\n")


def _belongs_to_git(folder: Path) -> bool:
    """Whether git would keep files of `folder`: DVC refuses to work with git where git ignores the folder."""
    try:
        return git.in_repository(folder) and git.ask(folder, "check-ignore", "-q", "data.dvc") is None
    except git.GitRefused as refusal:
        log.warning(
            "%s; the workspace is made without it, as DVC's no_scm says in .dvc/config. To mend it: %s", refusal.message, refusal.hint
        )
        return False


def _init_dvc(folder: Path) -> None:
    if (folder / ".dvc").is_dir():
        return
    os.environ["DVC_NO_ANALYTICS"] = "1"
    from dvc.config_schema import RelPath
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # dvc sets INFO when it is imported

    in_git = _belongs_to_git(folder)
    repo = Repo.init(str(folder), no_scm=not in_git, subdir=in_git and not (folder / ".git").exists())
    with repo.config.edit("repo") as config:
        config["core"]["analytics"] = False
        config["core"]["autostage"] = False
        config["core"]["remote"] = REMOTE
        config["remote"][REMOTE] = {"url": RelPath(str(folder / FOLDER))}  # so that the folder may move
    repo.close()
