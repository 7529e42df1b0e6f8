"""Statistics that are kept: a set that did not change is not read again, and of one that did only the frames that are new."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import VortexError
from core.files import require_regular
from core.progress import Progress
from pipelines.data.digests import CACHE, digest_of
from validation.frames import VERSION
from validation.manifest import count_rows, read_manifest
from validation.rows import Frame
from validation.statistics import Statistics, gather, load, save, stored_digest

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from pipelines.workspace import Workspace


def statistics_path(ws: Workspace, ref: DataRef) -> Path:
    """The table of this manifest; it is replaced when the set changes, and found again in a workspace that was moved or copied."""
    manifest, root = ref.manifest.resolve(), ws.root.resolve()
    place = manifest.relative_to(root) if manifest.is_relative_to(root) else manifest
    key = hashlib.sha256(str(place).encode(errors="surrogateescape")).hexdigest()[:16]
    return ws.build / "validation" / "statistics" / f"{key}.parquet"


def statistics_of(
    ws: Workspace, ref: DataRef, *, progress: Progress | None = None, workers: int = 1
) -> tuple[Statistics, int, Path | None]:
    """The statistics of a set, how many frames had to be read for them, and where they are kept (None where nothing can be written).

    A table with the set's own digest is taken as it is: the digest covers the manifest and the bytes of every file. Otherwise rows
    are taken over frame by frame, where the digests of a frame's files and its units are those that the row was measured from.
    """
    path = statistics_path(ws, ref)
    if stored_digest(path) == ref.digest and (statistics := load(path)) is not None:
        if progress:
            progress(len(statistics), len(statistics))
        return statistics, 0, path
    total = count_rows(ref.manifest) if progress else 0
    with closing(_Digests(ref.root, ws.build / CACHE)) as digests:
        statistics, read = gather(
            ref.root,
            read_manifest(ref.manifest),
            earlier=load(path, keys=True),
            key=digests.key,
            progress=progress and (lambda done: progress(done, total)),
            workers=workers,
        )
    try:
        save(path, statistics, ref.digest)
    except VortexError:  # a read-only workspace, a full disk: the next run reads the frames again
        return statistics, read, None
    return statistics, read, path


class _Digests:
    """What a frame's statistics depend on, from the digests that naming the dataset has just brought up to date."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.base = str(root.resolve())
        self.store: sqlite3.Connection | None = None
        try:
            require_regular(cache)
            self.store = sqlite3.connect(f"{cache.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        except (sqlite3.Error, OSError):
            self.store = None  # without digests every frame is read: that costs time and nothing else

    def close(self) -> None:
        if self.store:
            self.store.close()

    def key(self, frame: Frame) -> str:
        """SHA-256 of roles, paths, file digests and units; "" when a file's digest is not known, so that it is read."""
        parts = [str(VERSION), str(frame.depth_unit), str(frame.tof_unit), str(frame.teacher_unit), str(frame.teacher)]
        for role, relative in frame.files().items():
            digest = digest_of(self.store, os.path.join(self.base, relative)) if self.store else None
            if digest is None:
                return ""
            parts += [role, relative, digest]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()
