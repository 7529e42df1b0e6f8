"""Copies of `data/` elsewhere: `vortex data push` and `vortex data pull`, to and from the remotes that DVC's configuration names.

The default remote is the folder `remote/` of the workspace, so that both work before anybody set a server up. It is beside `data/` and
not in `build/`, which may be removed at any time, nor in `.dvc/`, where `dvc gc` and a removed cache would take the copy along; git and
DVC both ignore it. It outlives `data/` and the cache, not the disk: a team names a server with `dvc remote add --default`.

The objects are carried here and not by `dvc push`: DVC's upload over SSH writes straight to the final name, and takes what a killed one
left there for whole. Here a file gets its name when it is complete, a shorter one is replaced, a listing goes last, and what comes back
is hashed before the cache takes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import VortexError
from core.files import disk_full
from core.progress import NamedProgress
from pipelines.data.connection import Remote, connect, is_missing
from pipelines.data.contents import require_all
from pipelines.data.listings import Listing, cache_path, file_counts, missing_files, parse, present, read
from pipelines.data.pointer import EMPTY_DIR, data_hash, pointer
from pipelines.data.publication import settle
from pipelines.data.repository import repository
from pipelines.data.switch import switch
from pipelines.data.versioning import data_lock
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from dvc.repo import Repo

JOBS = 8


@dataclass(frozen=True)
class Transfer:
    """What went to or came from a remote. `data` is the `.dir` hash, `files` how many it lists, `moved` how many travelled."""

    remote: str | None
    url: str
    data: str
    files: int
    moved: int
    bytes: int
    datasets: dict[str, int]
    written: int = 0
    removed: int = 0


class _Damaged(Exception):
    """An object whose bytes are not those that its name stands for."""


def push(ws: Workspace, remote: str | None = None, on_file: NamedProgress | None = None) -> Transfer:
    """Copy what `data.dvc` records to a remote; what is there already stays. An empty `data/` needs no remote.

    Raises VortexError for a remote that is unknown or cannot be reached, and for frames that DVC's cache lacks.
    """
    settle(ws)
    with repository(ws) as repo:
        hash_ = data_hash(ws) or EMPTY_DIR
        if hash_ == EMPTY_DIR:
            return Transfer(None, "", hash_, 0, 0, 0, {})
        listing = read(repo, hash_)
        missing = missing_files(repo, listing) if listing else {}
        if listing is None or missing:
            what = file_counts(missing) if missing else f"the listing {hash_}"
            raise VortexError(
                f"{pointer(ws).name} records frames that are not here: DVC's cache lacks {what}; nothing was pushed",
                "fetch them from where they are with: vortex data pull --remote NAME",
            )
        require_all(ws, repo, listing.files)
        target = connect(repo, remote)
        with target.errors():
            sizes_there = target.sizes()
            sizes = {md5: cache_path(repo, md5).stat().st_size for md5 in listing.files.values()}
            uploads = [md5 for md5, size in sizes.items() if sizes_there.get(md5) != size]
            _all(f"pushing to {target.name}", uploads, lambda oid: target.upload(cache_path(repo, oid), oid), on_file)
            # Last: DVC takes a listing on a remote to mean that everything it lists is there.
            own = cache_path(repo, hash_)
            if sizes_there.get(hash_) != own.stat().st_size:
                target.upload(own, hash_)
    moved = sum(sizes[md5] for md5 in uploads)
    return Transfer(target.name, target.url, hash_, len(listing.files), len(uploads), moved, listing.datasets)


def pull(ws: Workspace, remote: str | None = None, on_file: NamedProgress | None = None) -> Transfer:
    """Fetch what `data.dvc` records from a remote, and make `data/` that. An empty `data/` needs no remote.

    Raises VortexError for a remote that is unknown, cannot be reached or lacks frames, and when frames in `data/` would be lost.
    """
    settle(ws)
    hash_ = data_hash(ws) or EMPTY_DIR
    with repository(ws) as repo:
        if hash_ == EMPTY_DIR and not present(repo, ws).files:
            return Transfer(None, "", hash_, 0, 0, 0, {})
        listing, source, moved = fetch(repo, hash_, remote, on_file, always=remote is not None)
        with data_lock(ws), repo.lock:
            if (data_hash(ws) or EMPTY_DIR) != hash_:
                raise VortexError(f"{pointer(ws).name} changed while its frames were fetched; data/ is as it was", "run the command again")
            written, removed = switch(ws, repo, listing, on_file and (lambda done, total: on_file("writing", done, total)))
    size = sum(cache_path(repo, md5).stat().st_size for md5 in moved)
    name, url = (source.name, source.url) if source else (None, "")
    return Transfer(name, url, hash_, len(listing.files), len(moved), size, listing.datasets, written, removed)


def fetch(
    repo: Repo, hash_: str, remote: str | None = None, on_file: NamedProgress | None = None, *, always: bool = False
) -> tuple[Listing, Remote | None, list[str]]:
    """Bring a version's listing and all that it lists into DVC's cache; return it, the remote that was asked, and what came.

    The remote is asked only when something is missing, or `always`. Raises VortexError saying how many files of which dataset it lacks.
    """
    listing = read(repo, hash_)
    missing = missing_files(repo, listing) if listing else {}
    if listing and not missing and not always:
        return listing, None, []
    source = connect(repo, remote)
    with source.errors():
        if listing is None:
            listing = _fetch_listing(repo, source, hash_)
            missing = missing_files(repo, listing)
        lacking: set[str] = set()
        damaged: set[str] = set()

        def bring(oid: str) -> None:
            try:
                source.download(oid, cache_path(repo, oid), _check)
                repo.cache.local.protect(str(cache_path(repo, oid)))
            except _Damaged:
                damaged.add(oid)
            except OSError as error:
                if not is_missing(error):
                    raise
                lacking.add(oid)

        oids = sorted(set(missing.values()))
        _all(f"fetching from {source.name}", oids, bring, on_file)
    faults = [(lacking, "lacks"), (damaged, "holds damaged bytes for")]
    shortfalls = [f"{verb} {file_counts(name for name, md5 in missing.items() if md5 in oids)}" for oids, verb in faults if oids]
    if shortfalls:
        raise VortexError(
            f"remote {source.name!r} ({source.url}) {' and '.join(shortfalls)} of this version of data/; data/ is as it was",
            _again(source, bool(damaged)),
            [f"{name}: {source.path(md5)}" for name, md5 in sorted(missing.items()) if md5 in lacking | damaged][:10],
        )
    return listing, source, oids


def _fetch_listing(repo: Repo, source: Remote, hash_: str) -> Listing:
    path = cache_path(repo, hash_)
    try:
        source.download(hash_, path, _check)
    except _Damaged as error:
        raise VortexError(
            f"remote {source.name!r} ({source.url}): the listing {hash_} is damaged; data/ is as it was",
            _again(source, True),
            [source.path(hash_)],
        ) from error
    except OSError as error:
        if not is_missing(error):
            raise
        raise VortexError(
            f"remote {source.name!r} ({source.url}) does not hold this version of data/ ({hash_}); data/ is as it was",
            "push it from a machine that has it with `vortex data push`; "
            f"`dvc remote modify --local {source.name} url PLACE` names another place",
        ) from error
    repo.cache.local.protect(str(path))
    return Listing(hash_, parse(path.read_bytes(), hash_, str(path)))


def _again(source: Remote, damaged: bool) -> str:
    """How a remote is mended. Damage that leaves the length as it was is not seen by a push."""
    push_again = f"push them again from a machine that has them: vortex data push --remote {source.name}"
    return f"remove the damaged objects there, then {push_again}" if damaged else push_again


def _check(path: Path, oid: str) -> None:
    """Raise _Damaged when the file's MD5 is not what its name says."""
    with open(path, "rb") as stream:
        md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if md5 != oid.removesuffix(".dir"):
        raise _Damaged(oid)


def _all(what: str, oids: Iterable[str], carry: Callable[[str], None], on_file: NamedProgress | None) -> None:
    """Carry every object, eight at a time; the first that fails ends it, and those under way are finished or undone."""
    oids = list(oids)
    pool = ThreadPoolExecutor(JOBS)
    try:
        pending = [pool.submit(carry, oid) for oid in oids]
        for number, future in enumerate(as_completed(pending), 1):
            future.result()
            if on_file:
                on_file(what, number, len(oids))
    except OSError as error:
        if disk_full(error, Path.cwd()) and error.errno is not None:
            raise VortexError(
                f"{what}: no space left on the disk; data/ is as it was", "free some space and run the command again: it goes on there"
            ) from error
        raise
    finally:
        pool.shutdown(cancel_futures=True)
