"""DVC's own library, quiet and offline: its repository object, with one clear error when DVC says no."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import VortexError
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from dvc.repo import Repo

_SETTINGS: Final = {"cache": {"type": "reflink,copy"}, "core": {"analytics": False, "autostage": False, "check_update": False}}
"""What Vortex sets against the user's own configuration (of the workspace, the account and the machine): links into DVC's cache would make
frames that nothing may read, for they lead out of the dataset; and what git's index holds is the user's to say."""
_LOGGERS: Final = ("dvc", "dvc_data", "dvc_objects", "asyncssh")


@contextmanager
def repository(ws: Workspace) -> Iterator[Repo]:
    """DVC's repository object, silent (no bars, no log lines, no analytics), its errors turned into VortexError."""
    os.environ["DVC_NO_ANALYTICS"] = "1"
    # Imported first: importing DVC sets its own loggers up.
    from dvc.config import ConfigError
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.lock import LockError
    from dvc.repo import Repo as DvcRepo
    from dvc.ui import ui

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels, spoke = [logger.level for logger in loggers], not ui.error_console.quiet
    # DVC draws a bar unless its logger is above ERROR, and spinners whatever the logger says.
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    ui.error_console.quiet = True
    try:
        repo = DvcRepo(str(ws.root), config=_SETTINGS)
        try:
            yield repo
        finally:
            repo.close()
    except NotDvcRepoError as error:
        raise VortexError(
            f"{ws.root}: has no .dvc folder, so data/ cannot be versioned", f"complete it with: vortex init {ws.root}"
        ) from error
    except LockError as error:
        raise VortexError(
            f"{ws.root / '.dvc'}: another DVC process holds its lock; nothing was changed",
            "wait for it to finish, and run the command again",
        ) from error
    except ConfigError as error:
        raise unreadable_settings(ws, error) from error
    except DvcException as error:
        raise VortexError(
            f"DVC cannot version {ws.data}: {reason(error)}", "look at `dvc status` and `dvc doctor` in the workspace"
        ) from error
    finally:
        ui.error_console.quiet = not spoke
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def unreadable_settings(ws: Workspace, error: Exception) -> VortexError:
    """The error for settings that DVC cannot read: of its four files, the one that is at fault."""
    from dvc.config import Config, ConfigError

    own = ws.root / ".dvc" / "config"
    files = [Path(str(Config.get_dir(level)), "config") for level in ("system", "global")] + [own, own.with_name("config.local")]
    for path in files:
        try:
            Config.validate(Config.load_file(str(path)))
        except FileNotFoundError:
            continue
        except (ConfigError, OSError) as fault:
            hint = "mend the file, or restore it with: git checkout .dvc/config" if path == own else "mend the file, or move it away"
            return VortexError(f"{path}: DVC cannot read its settings: {reason(fault)}", hint)
    return VortexError(f"{own}: DVC cannot read its settings: {reason(error)}", "look at `dvc config --list --show-origin`")


def reason(error: BaseException) -> str:
    """The innermost cause in one line: DVC's own message is often only 'failed to add'."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no space left on the disk"
    return " ".join(str(error).split()) or type(error).__name__
