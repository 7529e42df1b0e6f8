"""A DVC remote, reached without ever asking a question: what it holds, and one object to it or from it, whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import VortexError
from core.files import staged_file
from core.secret import SecretUrl
from pipelines.data.repository import reason

if TYPE_CHECKING:
    from dvc.repo import Repo

PATIENCE: Final = 10
"""Seconds to wait for a server's first answer, where the remote's own `timeout` says nothing. DVC waits half an hour."""
ALIVE: Final = 15
"""Seconds of silence after which an SSH server is asked whether it still lives; three without an answer end the connection."""
_ATOMIC: Final = ("local", "ssh")
"""Protocols that have folders and a rename. An object store shows an object when it is complete, and needs neither."""
ADD: Final = "add one with: dvc remote add --default NAME PLACE, where PLACE is a folder, ssh://USER@HOST/FOLDER or s3://BUCKET/FOLDER"


@dataclass(frozen=True)
class Remote:
    """A place for copies that answered: `root` is the folder of its objects there, `url` what to show (no password in it)."""

    name: str
    url: str
    fs: Any
    root: str

    def sizes(self) -> dict[str, int]:
        """Bytes of each object it holds, by name: one listing, not one question an object."""
        if self.fs.protocol == "local":
            paths = {os.path.join(folder, name): None for folder, _, names in os.walk(self.root) for name in names}
            return {_oid(path): os.stat(path).st_size for path in paths}
        try:
            listed = self.fs.fs.find(self.root, detail=True)
        except FileNotFoundError:
            return {}
        return {_oid(path): int(info["size"] or 0) for path, info in listed.items()}

    def upload(self, source: Path, oid: str) -> None:
        """Copy a file there under the name `oid`; it has that name when it is complete."""
        from dvc_objects.fs.utils import as_atomic

        target = self.path(oid)
        if self.fs.protocol == "local":
            import shutil

            with staged_file(Path(target)) as staging:
                shutil.copyfile(source, staging)
        elif self.fs.protocol in _ATOMIC:
            with as_atomic(self.fs, target, create_parents=True) as staging:
                self.fs.put_file(str(source), staging)
        else:
            self.fs.put_file(str(source), target)

    def download(self, oid: str, target: Path, check: Callable[[Path, str], None]) -> None:
        """Copy the object `oid` to `target`, once `check` did not raise for it."""
        source = self.path(oid)
        if not self.fs.isfile(source):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)
        with staged_file(target) as staging:
            self.fs.get_file(source, str(staging))
            check(staging, oid)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what a server or a disk says in the middle of the work into one line. What was carried until then stays."""
        try:
            yield
        except VortexError:
            raise
        except Exception as error:  # asyncssh, botocore and aiohttp each raise a family of their own
            raise VortexError(
                f"remote {self.name!r} ({self.url}): {reason(error)}; data/ is as it was",
                "run the command again: it goes on where it ended",
            ) from error

    def path(self, oid: str) -> str:
        """Where it keeps an object."""
        return str(self.fs.join(self.root, oid[:2], oid[2:]))


def connect(repo: Repo, name: str | None) -> Remote:
    """The remote `name`, default: the one that DVC's configuration calls the default. It answers, or this raises VortexError.

    Nothing is ever asked on the terminal: a password is configured, or a key or an agent opens the door.
    """
    from dvc.config import RemoteNotFoundError
    from dvc.fs import get_cloud_fs

    names = sorted(repo.config["remote"])
    name = name or repo.config["core"].get("remote")
    if not name:
        raise VortexError("DVC's configuration names no default remote" + (f", it has: {', '.join(names)}" if names else ""), ADD)
    try:
        cls, config, path = get_cloud_fs(repo.config, name=name)
    except RemoteNotFoundError as error:
        raise VortexError(f"unknown remote {name[:80]!r}; DVC's configuration has: {', '.join(names) or 'none yet'}", ADD) from error
    except ImportError as error:  # DVC knows the protocol, and its package is an extra
        raise VortexError(
            f"remote {name!r} cannot be used: {reason(error)}", "install that package beside vortex, or name another remote"
        ) from error
    url = shown(str(repo.config["remote"][name.lower()].get("url", path)))
    if cls.protocol == "local" and Path(path).is_relative_to(repo.dvc_dir):  # what an empty `url =` means to DVC
        raise VortexError(f"remote {name!r} is DVC's own folder {path}, allowed: a folder elsewhere", _remedy("local", name))
    if config.get("worktree") or config.get("version_aware"):
        raise VortexError(f"remote {name!r} ({url}) is versioned by its cloud, allowed: a plain one", f"use `dvc push --remote {name}`")
    config |= {"ask_password": False, "ask_passphrase": False}
    if cls.protocol == "ssh":
        config |= {"client_factory": _silent(), "timeout": config.get("timeout") or PATIENCE}
    try:
        fs = cls(**config)
        if cls.protocol == "ssh":
            fs.fs_args |= {"keepalive_interval": ALIVE, "keepalive_count_max": 3}
        root = fs.join(path, "files", "md5")
        fs.isdir(root)
    except Exception as error:  # asyncssh, botocore and aiohttp each raise a family of their own; none of it is the user's fault
        raise VortexError(f"remote {name!r} ({url}) cannot be reached: {_why(error)}", _remedy(cls.protocol, name)) from error
    return Remote(name, url, fs, root)


def shown(url: str) -> str:
    """A remote's URL, or the folder that it is, as it may be printed."""
    return str(SecretUrl(url)) if "://" in url else url


def is_missing(error: OSError) -> bool:
    """Whether an error says that an object is not there."""
    return isinstance(error, FileNotFoundError) or error.errno == errno.ENOENT


def _silent() -> type:
    """An SSH client that has no answer to any question. DVC's own asks on the terminal, and waits."""
    from asyncssh import SSHClient

    return SSHClient


def _why(error: BaseException) -> str:
    kind = type(error).__name__
    if isinstance(error, TimeoutError) or "Timeout" in kind:
        return "no answer in time"
    if kind == "PermissionDenied":
        return "the server refused the key or password"
    return reason(error)


def _remedy(protocol: str, name: str) -> str:
    if protocol == "ssh":
        return (
            f"log in with `ssh` once; `dvc remote modify --local {name} keyfile FILE` (or user, port, password, timeout) says how; "
            "Vortex never asks for a password"
        )
    return f"look at `dvc remote list`; `dvc remote modify {name} url PLACE` names another place"


def _oid(path: str) -> str:
    return "".join(path.rsplit("/", 2)[-2:])
