"""Files that are whole or absent: atomic writes, staged directories, locks, and paths that stay inside a root."""

from __future__ import annotations

import codecs
import errno
import fcntl
import glob
import hashlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Final

from core.errors import VortexError

NEARLY_FULL: Final = 1 << 20
"""Free bytes below which a write that failed without a reason is taken to have failed for want of space."""

LARGEST_TEXT: Final = 64 << 20
"""Bytes of a text that a person wrote; the frame list of a day's stream has five million."""
SPECIAL: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}

_HERE, _EXCHANGE = -100, 2
"""AT_FDCWD and RENAME_EXCHANGE of Linux's renameat2."""
_CACHE: Final = "/files/md5/"
"""In the path of every file that DVC's cache holds."""


def flush(path: Path) -> None:
    """Force a file's bytes, or a folder's entries after a rename in it, to the disk, so that they survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(root: Path) -> None:
    """Force every file below `root`, then its folder, to the disk. Eight threads let the file system batch its commits."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        for folder, _, names in os.walk(root):
            list(pool.map(flush, [Path(folder, name) for name in names]))
            flush(Path(folder))


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    Raises VortexError when the disk is full or the folder cannot be written; the previous file is then intact.
    """
    data = content.encode() if isinstance(content, str) else content
    with staged_file(path) as staging, open(staging, "wb") as stream:
        stream.write(data)


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield the name of a file beside `path`, to be written; on a clean exit it is flushed and replaces `path`, otherwise it is removed.

    A file that is replaced keeps its permissions, whatever the writer's umask: who shares it can go on to read and write it.
    What a killed process left there is taken up by the next one that writes `path`.
    """
    if not path.name:
        raise VortexError(f"{path}: is a folder, allowed: the name of a file in it", "give the file a name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _staging(path) as staging:
            try:
                yield staging
                _keep_mode(path, staging)
                flush(staging)
                os.replace(staging, path)
            except BaseException:
                # A clean-up that fails too must not hide why the writing did.
                with suppress(OSError):
                    staging.unlink()
                raise
        flush(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _keep_mode(path: Path, staging: Path) -> None:
    with suppress(OSError):  # there is nothing to replace, or a file system that has no permissions
        before = os.lstat(path)
        if stat.S_ISREG(before.st_mode) and before.st_mode & stat.S_IWUSR:  # one that nobody may write is replaced by one like any new
            os.chmod(staging, stat.S_IMODE(before.st_mode))


@contextmanager
def _staging(path: Path) -> Iterator[Path]:
    """A file beside `path` that is this writer's alone: always of the same name, or of another while somebody else writes to that."""
    usual = path.with_name(f".{path.name}.00000000.staging")
    descriptor = _take(usual)
    if descriptor is None:
        yield path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.staging")
        return
    try:
        yield usual
    finally:
        os.close(descriptor)


def _take(staging: Path) -> int | None:
    """A lock on a file, which is made or emptied; None where another writer has it, or the file system knows no locks."""
    try:
        descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            with suppress(OSError):
                staging.unlink()  # no locks here, so nobody ever writes to it
        return None
    with suppress(OSError):
        # Whoever had it may just have made it the file that it was written for.
        if os.path.samestat(os.fstat(descriptor), os.stat(staging)):
            os.ftruncate(descriptor, 0)
            return descriptor
    os.close(descriptor)
    return None


@contextmanager
def staged_directory(final: Path) -> Iterator[Path]:
    """Yield an empty staging folder beside `final`; on a clean exit it becomes `final`, otherwise it is removed.

    Raises VortexError when `final` already exists or the disk is full.
    """
    if final.exists():
        raise VortexError(f"{final} already exists", "choose another name, or remove it first")
    staging = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.staging")
    try:
        staging.mkdir(parents=True)
        yield staging
        # Files first, folder entries after: the rename must never become durable before what it names.
        flush_tree(staging)
        os.rename(staging, final)
        flush(final.parent)
    except OSError as error:
        raise _cannot_write(final, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def swapped_directory(final: Path) -> Iterator[Path]:
    """Yield an empty staging folder beside `final`; on a clean exit the two change places in one step, and the old one is removed.

    So a reader and a kill find the old folder whole, or the new one. Where the file system cannot exchange folders it takes two steps, and
    a kill between them is put right by the next call. One process at a time: the caller holds a lock, and what killed ones left is removed.
    Raises VortexError when the disk is full or the folder cannot be written; the old one is then intact.
    """
    old = final.with_name(f".{final.name}.replaced")
    _settle(final, old)
    for leftover in final.parent.glob(f".{glob.escape(final.name)}.*.staging"):
        shutil.rmtree(leftover, ignore_errors=True)
    staging = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.staging")
    try:
        staging.mkdir(parents=True)
        yield staging
        flush_tree(staging)
        if not final.exists():
            os.rename(staging, final)
        elif not exchange(staging, final):
            os.rename(final, old)
            os.rename(staging, final)
        flush(final.parent)
    except OSError as error:
        raise _cannot_write(final, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _settle(final, old)


def _settle(final: Path, old: Path) -> None:
    """Of a folder and the one that it was to replace, the new one stays, or the old one where the new one never came."""
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        os.rename(old, final)


def exchange(a: Path, b: Path) -> bool:
    """Let two folders change places in one step (Linux, renameat2); False where the system or the file system cannot."""
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(_HERE, os.fsencode(a.absolute()), _HERE, os.fsencode(b.absolute()), _EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(code, os.strerror(code), str(b))


def disk_full(error: OSError, where: Path) -> bool:
    """Whether `error` says that the disk under `where` is full. numpy's short writes carry no error number, so the disk is asked."""
    if error.errno is not None:
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    existing = next(folder for folder in (where, *where.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(existing).free < NEARLY_FULL


def _cannot_write(path: Path, error: OSError) -> VortexError:
    if disk_full(error, path):
        return VortexError(f"{path}: no space left on the disk; nothing was written", "free some space and run the command again")
    return VortexError(f"{path}: cannot be written ({error.strerror or error})", "check the folder's permissions and the disk")


@contextmanager
def locked(path: Path, timeout: float = 60.0) -> Iterator[None]:
    """Hold an exclusive lock file between processes. Raises VortexError when another process keeps it past `timeout` seconds."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=timeout)
    try:
        lock.acquire()
    except Timeout as error:
        raise VortexError(
            f"{path}: another vortex process has held this lock for {timeout:.0f} s",
            "wait for it to finish, or end it, and run the command again",
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def locked_now(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock file between processes, unless another one holds it: whether it is held. It ends with the process."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def open_regular(path: Path) -> BufferedReader:
    """Open a plain file to read its bytes.

    Raises OSError, and for a named pipe, a device, a socket or a folder too: a pipe would be waited for, and some devices never end.
    """
    _refuse_special(os.stat(path), path)
    # What lies there may be another thing by now.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _refuse_special(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_regular(path: Path) -> None:
    """Raise OSError where something lies at `path` that is no plain file, which a library would open and wait for; nothing may lie there."""
    with suppress(FileNotFoundError):
        _refuse_special(os.stat(path), path)


def _refuse_special(state: os.stat_result, path: Path) -> None:
    kind = SPECIAL.get(stat.S_IFMT(state.st_mode))
    if kind:
        raise OSError(errno.EINVAL, f"{kind} is not a file", str(path))


def read_regular(path: Path, largest: int) -> bytes:
    """The bytes of a plain file that has at most `largest`. Raises OSError, for a larger one and what is no plain file too."""
    with open_regular(path) as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"has more than {largest:,} bytes", str(path))
    return content


def read_text_of_user(path: Path) -> str:
    """The text of a file that a person may have written, with whatever editor: its lines end in a line feed, and it has no byte order mark.

    It is UTF-8, or UTF-16 where a byte order mark says so. Raises OSError and UnicodeDecodeError: the caller knows what the file is.
    """
    content = read_regular(path, LARGEST_TEXT)
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if wide else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def inside(root: Path, relative: str) -> Path:
    """Resolve a POSIX path below `root`.

    Raises VortexError for an absolute path, a path with `..`, or a link that leads out of `root`.
    """
    pure = PurePosixPath(relative)
    if not relative or pure.is_absolute() or ".." in pure.parts or "\\" in relative or "\0" in relative:
        raise VortexError(f"path {relative!r} leaves the dataset", "use a path relative to the dataset's folder, without '..'")
    path = root / relative
    try:
        resolved = path.resolve()
    except (OSError, RuntimeError) as error:  # Python 3.11 and 3.12 raise RuntimeError for links that lead in a circle
        raise VortexError(f"path {relative!r} in {root} leads nowhere ({error})", "put the file itself there instead of a link") from error
    if not resolved.is_relative_to(root.resolve()):
        if _CACHE in resolved.as_posix():
            raise VortexError(
                f"path {relative!r} in {root} is a link into DVC's cache",
                "put the files themselves there with: dvc unprotect data; `dvc config cache.type copy` keeps DVC from making links",
            )
        raise VortexError(f"path {relative!r} leads out of {root} through a link", "put the file itself inside the dataset's folder")
    return path


def is_uri(place: str) -> bool:
    """Whether a place is in a store, as `s3://…` or `mlflow-artifacts:/…`, and no path. One letter before the colon is a drive."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", place) is not None


def state_of(status: os.stat_result) -> tuple[int, int, int]:
    """Size, time of change and time of the system's own (ctime), in bytes and ns: while all three stay, a file has the bytes it had.

    `cp -p`, `rsync -t` and `tar` set the second as they like, and files of fixed size share the first; the third only
    who sets the machine's clock.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
