"""The digest of a dataset: SHA-256 over its manifest and the bytes of every file that it names, with a cache on disk."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from core.files import inside, require_regular, sha256_file, state_of
from core.machine import cores

CACHE: Final = "digests.sqlite"
"""Below `build/`: what the files of all datasets were in which state."""
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS states (path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, ctime_ns INTEGER, sha256 TEXT) WITHOUT ROWID"
)
_Entry = tuple[str, int, int, int, str]


def dataset_digest(manifest: Path, root: Path, files: Iterable[str], cache: Path, *, versioned: bool = False) -> str:
    """Hex SHA-256 of the manifest and of `files` (relative to `root`); a missing file counts as missing, for validation to report.

    A file is read again only when its state changed (`core.files.state_of`). Raises VortexError when a path leads out of `root`.
    Where DVC versions the files, one with other bytes under its old size and time gets a new time: DVC goes by these.
    """
    names = sorted(set(files))
    for folder in {os.path.dirname(name) for name in names}:
        if folder:
            inside(root, folder)
    base = str(root.resolve())
    entries = _read(cache, base)
    updates: list[_Entry] = []

    def entry(name: str) -> str:
        path = os.path.join(base, name)
        try:
            status = os.lstat(path)
            if os.path.islink(path):
                status = inside(root, name).stat()
            state, cached = state_of(status), entries.get(path)
            if cached and cached[1:4] == state:
                return cached[4]
            digest = sha256_file(Path(path))
            if versioned and cached and cached[1:3] == state[:2] and cached[4] != digest:
                with suppress(OSError):  # who may only read the data cannot version it either
                    os.utime(path)
                state = state_of(os.stat(path))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return "missing"
        except OSError:  # no permission, a bad disk, a name that is too long: validation names the frame
            return "unreadable"
        updates.append((path, *state, digest))
        return digest

    total = hashlib.sha256(f"manifest {sha256_file(manifest)}\n".encode())
    # Hashing and reading release the interpreter lock, so threads are enough.
    with ThreadPoolExecutor(min(8, cores())) as pool:
        for name, digest in zip(names, pool.map(entry, names, chunksize=64), strict=True):
            total.update(f"{digest} {name}\n".encode())
    if updates:
        _write(cache, updates)
    return total.hexdigest()


def digest_of(store: sqlite3.Connection, path: str) -> str | None:
    """The digest that a cache has of a file in the state that it is in; None where it has none or cannot be read."""
    try:
        row = store.execute("SELECT size, mtime_ns, ctime_ns, sha256 FROM states WHERE path = ?", (path,)).fetchone()
        return str(row[3]) if row and tuple(row[:3]) == state_of(os.stat(path)) else None
    except (OSError, sqlite3.Error, UnicodeEncodeError):
        return None


def _read(cache: Path, base: str) -> dict[str, _Entry]:
    if not cache.exists():
        return {}
    try:
        require_regular(cache)
        with closing(sqlite3.connect(f"{cache.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as store:
            rows = store.execute(
                "SELECT path, size, mtime_ns, ctime_ns, sha256 FROM states WHERE path >= ? AND path < ?", (f"{base}/", f"{base}0")
            )
            return {row[0]: row for row in rows}
    except (sqlite3.Error, OSError, UnicodeEncodeError):  # the last for a path that is no text
        # A cache that cannot be used costs time and nothing else.
        return {}


def _write(cache: Path, entries: list[_Entry]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        require_regular(cache)
        with closing(sqlite3.connect(cache, timeout=10)) as store, store:
            store.execute(_TABLE)
            store.executemany("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?)", entries)
    except UnicodeEncodeError:  # a path that is no text is hashed each time
        return
    except (sqlite3.Error, OSError):
        # The next run tries again with a fresh one; without permission to remove it there is none, and that costs time only.
        with suppress(OSError):
            cache.unlink()
