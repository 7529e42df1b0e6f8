"""What git says of the repository that a workspace lies in. That git refuses is told apart from that there is nothing to say."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import VortexError

SECONDS: Final = 30
_OF_A_REPOSITORY: Final = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
)
"""Variables that lead git to one repository: set in hooks, and by whoever works on another repository than the workspace's."""


class GitRefused(VortexError):
    """Git could not say what it was asked, for a reason that somebody can mend."""


@dataclass(frozen=True)
class Head:
    """The commit that a folder stands at: `-dirty` when tracked files differ from it, `-unchecked` when git could not say whether.

    None outside git and before the first commit, and where git refuses: `problem` then says why.
    """

    commit: str | None
    problem: str = ""
    remedy: str = ""


def head(folder: Path) -> Head:
    """The commit of the repository that `folder` lies in."""
    name: str | None = None
    try:
        if not in_repository(folder):
            return Head(None)
        name = ask(folder, "rev-parse", "--verify", "--quiet", "HEAD")
        changed = ask(folder, "status", "--porcelain", "--untracked-files=no")
    except GitRefused as refusal:
        return Head(name and f"{name}-unchecked", refusal.message, refusal.hint)
    return Head(name and (f"{name}-dirty" if changed else name))


def in_repository(folder: Path) -> bool:
    """Whether `folder` lies in a git repository. Raises GitRefused when it does, and git does not want to know it."""
    if _top(folder) is None and not _led_here(folder):
        return False
    return ask(folder, "rev-parse", "--git-dir", silent_no=False) is not None


def ask(folder: Path, *words: str, silent_no: bool = True) -> str | None:
    """What git prints; None when it says no (exit 1), which it does for what does not exist.

    Raises GitRefused when it is not installed, does not answer, or fails, with its own reason.
    """
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    if not _led_here(folder):
        environment = {name: value for name, value in environment.items() if name not in _OF_A_REPOSITORY}
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words],
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise GitRefused("git is not installed, or not on the PATH", "install git") from error
    except subprocess.TimeoutExpired as error:
        raise GitRefused(f"git did not answer within {SECONDS} s in {folder}", f"look at `git -C {folder} status`") from error
    except (OSError, ValueError) as error:
        raise GitRefused(f"git cannot be run: {error}", "look at `git --version`") from error
    if answer.returncode == 0:
        return answer.stdout.strip()
    if answer.returncode == 1 and silent_no:
        return None
    lines = [line.removeprefix("fatal: ").removeprefix("error: ") for line in answer.stderr.splitlines() if line.strip()]
    reason = next((line for line in lines if "dubious ownership" in line), lines[-1] if lines else f"exit {answer.returncode}")
    hint = (
        f"git config --global --add safe.directory {_top(folder) or folder}" if "dubious ownership" in reason else f"git -C {folder} status"
    )
    raise GitRefused(f"git refuses: {reason}", hint)


def _led_here(folder: Path) -> bool:
    """Whether GIT_WORK_TREE is a folder above `folder`: then GIT_DIR is the repository of the workspace itself."""
    tree = os.environ.get("GIT_WORK_TREE")
    return bool(tree and os.environ.get("GIT_DIR")) and folder.resolve().is_relative_to(Path(str(tree)).resolve())


def _top(folder: Path) -> Path | None:
    """The nearest folder at or above `folder` that has a `.git`, below those that GIT_CEILING_DIRECTORIES names."""
    ceilings = os.environ.get("GIT_CEILING_DIRECTORIES", "").split(os.pathsep)
    for place in (folder.absolute(), *folder.absolute().parents):
        if place != folder.absolute() and str(place) in ceilings:
            return None
        if os.path.lexists(place / ".git"):
            return place
    return None
