"""Files that survive a power cut whole: written beside, flushed, renamed. One process at a time: the caller holds the device's lock."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from vortex_jetson.errors import BadDocument, DiskFull, RobotError

STAGING: Final = ".staging"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say errors of writing `path` in words. Raises DiskFull and RobotError."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"{path}: no space is left on the disk; what runs was not touched", "free some space; it goes on from there"
            ) from error
        raise RobotError(f"{path}: cannot be written ({error.strerror or error})", "check the disk and the folder's owner") from error


@contextmanager
def reading(path: Path, hint: str) -> Iterator[None]:
    """Say errors of reading `path`, which this device wrote itself, in words; `hint` says how to go on where its content is damaged.

    Raises BadDocument and RobotError. FileNotFoundError passes: what was never written is no error.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RobotError(f"{path}: cannot be read ({error.strerror})", "check the disk and the folder's owner") from error
    except BadDocument as error:
        raise BadDocument(f"{path} is damaged: {error.message}", hint) from error


def flush(path: Path) -> None:
    """Force a file's bytes, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes, mode: int = 0o644, *, flushed: bool = True) -> None:
    """Write a file so that a reader finds the old one or the new one, on the disk, unless that is not waited for. Raises DiskFull and RobotError."""
    staging = path.with_name(f".{path.name}{STAGING}")
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            try:
                write_all(descriptor, content)
                if flushed:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(staging, path)
            if flushed:
                flush(path.parent)
        except BaseException:
            with suppress(OSError):
                staging.unlink()
            raise


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of `content`, however little the system takes at a time."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def read_plain(path: Path, largest: int) -> bytes:
    """The bytes of a plain file of at most `largest`. Raises OSError, for a link, a pipe and a device too, which could be read for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is no plain file", str(path))
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"has more than {largest:,} bytes", str(path))
    return content


def point(link: Path, target: str) -> None:
    """Let a symbolic link lead to `target`, in one step: whoever follows it finds the old place or the new one."""
    with suppress(OSError):
        if os.readlink(link) == target:
            return
    staging = link.with_name(f".{link.name}{STAGING}")
    with writing(link):
        with suppress(FileNotFoundError):
            staging.unlink()
        os.symlink(target, staging)
        os.replace(staging, link)
        flush(link.parent)


def remove_tree(folder: Path) -> None:
    """Remove a folder and all below it, where there is one."""
    with writing(folder), suppress(FileNotFoundError):
        shutil.rmtree(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process. Raises RobotError where another one holds it."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RobotError(f"{path.parent}: another vortex-jetson is at work there", "wait for it, and run the command again") from error
        yield
    finally:
        os.close(descriptor)
