"""A pack when it is needed: the one that is there, or a new one, built by one process while others wait."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import VortexError
from core.files import disk_full, staged_directory
from core.machine import cores
from core.progress import Progress
from pipelines.data.datasets import DataRef
from pipelines.data.digests import CACHE, dataset_digest
from pipelines.pack.layout import INDEX, PackError, check_size, folder_name, is_folder_of, is_staging_of, read_index
from pipelines.pack.reading import Pack
from pipelines.pack.writing import Plan, manifest_digest, write_pack
from pipelines.workspace import Workspace
from validation.manifest import read_manifest

_POLL_S: Final = 0.5
_BAR_S: Final = 0.1


@dataclass(frozen=True)
class Prepared:
    """A pack, whether it had to be built, in how many seconds, and the older packs of the dataset that it replaced."""

    pack: Pack
    built: bool
    seconds: float = 0.0
    replaced: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """What was done, in a line."""
        height, width = self.pack.size
        outcome = f"packed in {self.seconds:.1f} s" if self.built else "was packed already"
        gone = f", replacing {', '.join(self.replaced)}" if self.replaced else ""
        return f"{self.pack.index.name} at {height}x{width} {outcome}: {len(self.pack)} frames, {self.pack.bytes / 1e6:.1f} MB{gone}"


def packs_folder(ws: Workspace) -> Path:
    """Where a workspace keeps its packs."""
    return ws.build / "packs"


def pack(ws: Workspace, ref: DataRef, size: tuple[int, int], *, workers: int = 0, progress: Progress | None = None) -> Pack:
    """The pack of `ref` at `size` (H, W), built when it is not there as `prepare` does."""
    return prepare(packs_folder(ws), ref, size, workers=workers, progress=progress).pack


def prepare(packs: Path, ref: DataRef, size: tuple[int, int], *, workers: int = 0, progress: Progress | None = None) -> Prepared:
    """The pack of `ref` at `size` in the folder `packs`: the one that is there, or a new one.

    A new one is written by `workers` threads (0: one a core), appears whole or not at all, and replaces packs of what the dataset
    was before. A damaged one is built anew. `progress` hears of frames that are packed, and (0, 0) while another process packs them.
    Raises VortexError naming the frame and file that is missing or broken, the folder that cannot be written, or the disk that is
    full; UsageError for a size out of range.
    """
    check_size(size)
    final = packs / folder_name(ref.name, size, ref.digest)
    pack = _usable(final, size, ref.digest)
    if pack:
        return Prepared(pack, built=False)
    started = time.perf_counter()
    with _turn(packs, ref.name, progress):
        pack = _usable(final, size, ref.digest)  # another process may have built it meanwhile
        if pack:
            return Prepared(pack, built=False)
        for left_over in [path for path in packs.iterdir() if is_staging_of(ref.name, path.name)]:
            shutil.rmtree(left_over, ignore_errors=True)
        shutil.rmtree(final, ignore_errors=True)
        _build(packs, final, ref, size, workers or cores(), progress)
        built = Pack.open(final)
        return Prepared(built, True, time.perf_counter() - started, tuple(_remove_older(packs, built)))


def _usable(final: Path, size: tuple[int, int], digest: str) -> Pack | None:
    """The pack in `final`, if it is one of that content and size. Who wrote to it since it was packed has every byte checked, once."""
    if not final.is_dir():
        return None
    try:
        pack = Pack.open(final)
        if (pack.size, pack.index.digest) != (size, digest):
            return None
        if pack.touched:
            pack.verify()
            with suppress(OSError):  # a folder that cannot be written is checked each time
                os.utime(final / INDEX)
    except PackError:  # packs are derived: what cannot be used is made again
        return None
    return pack


def _build(packs: Path, final: Path, ref: DataRef, size: tuple[int, int], workers: int, progress: Progress | None) -> None:
    _require_as_resolved(packs, ref)
    plan = Plan.of(read_manifest(ref.manifest))
    needed = plan.bytes(size)
    free = shutil.disk_usage(packs).free
    if needed > free:
        raise VortexError(
            f"{ref.name} at {size[0]}x{size[1]} takes {needed / 1e6:,.1f} MB packed, the disk of {packs} has {free / 1e6:,.1f} MB free",
            "free some space, or use a smaller --size",
        )
    about = {
        "name": ref.name,
        "manifest": str(ref.manifest.resolve()),
        "manifest_sha256": manifest_digest(ref.manifest),
        "digest": ref.digest,
    }
    with staged_directory(final) as staging:
        write_pack(staging, ref.root, lambda: read_manifest(ref.manifest), plan, size, about, workers, _seldom(progress))
        _require_as_resolved(packs, ref)


def _require_as_resolved(packs: Path, ref: DataRef) -> None:
    """Raise VortexError when the dataset is no longer the one that `ref` was resolved to: the pack would be called what it is not."""
    files = {path for frame in read_manifest(ref.manifest) for path in frame.files().values()}
    if dataset_digest(ref.manifest, ref.root, files, packs.parent / CACHE) != ref.digest:
        lost = next((f": {path} is missing" for path in sorted(files) if not (ref.root / path).is_file()), "")
        raise VortexError(f"{ref.name} is no longer what it was when this command began{lost}; nothing was packed", "run the command again")


def _remove_older(packs: Path, new: Pack) -> Iterator[str]:
    """Remove the packs of what this dataset was before, at any size. Who has one open keeps reading it: its files live on unnamed."""
    for path in sorted(packs.iterdir()):
        if path == new.path or not is_folder_of(new.index.name, path.name):
            continue
        try:
            index = read_index(path)
            older = index.manifest == new.index.manifest and index.digest != new.index.digest
        except PackError:
            older = True
        if older:
            shutil.rmtree(path, ignore_errors=True)
            yield path.name


@contextmanager
def _turn(packs: Path, name: str, progress: Progress | None) -> Iterator[None]:
    """Wait until no other process packs this dataset, however long that takes. Raises VortexError when the folder cannot be written."""
    from filelock import FileLock, Timeout

    try:
        packs.mkdir(parents=True, exist_ok=True)
        lock = FileLock(packs / f".{name}.lock")
        while True:
            try:
                lock.acquire(timeout=_POLL_S)
                break
            except Timeout:
                if progress:
                    progress(0, 0)
    except OSError as error:
        full = disk_full(error, packs)
        why = "no space left on the disk" if full else error.strerror or error
        raise VortexError(
            f"{packs}: packed frames cannot be written there ({why})",
            "free some space" if full else "check the folder's permissions, or name another with `build` in vortex.toml",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _seldom(progress: Progress | None) -> Progress | None:
    """`progress`, at most ten times a second, and at the end."""
    if progress is None:
        return None
    report, last = progress, [0.0]

    def seldom(done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - last[0] >= _BAR_S:
            last[0] = now
            report(done, total)

    return seldom
