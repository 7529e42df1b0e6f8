"""Listings: what a version of `data/` consists of, as DVC's cache records it: for each file its path and the MD5 of its bytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import VortexError
from pipelines.data import contents
from pipelines.data.pointer import EMPTY_DIR
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from dvc.repo import Repo

_MD5: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Listing:
    """One version of `data/`: its `.dir` hash, and file → MD5, paths relative to `data/`."""

    hash: str
    files: dict[str, str]

    @cached_property
    def datasets(self) -> dict[str, int]:
        """Files of each dataset."""
        return dict(sorted(Counter(name.partition("/")[0] for name in self.files).items()))


def cache_path(repo: Repo, oid: str) -> Path:
    """Where DVC's cache keeps an object, whether or not it is there."""
    return Path(repo.cache.local.oid_to_path(oid))


def read(repo: Repo, hash_: str) -> Listing | None:
    """The listing `hash_` out of DVC's cache; None where the cache lacks it. Raises VortexError when it is damaged."""
    if hash_ == EMPTY_DIR:
        return Listing(EMPTY_DIR, {})
    path = cache_path(repo, hash_)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return Listing(hash_, parse(content, hash_, str(path)))


def parse(content: bytes, hash_: str, where: str) -> dict[str, str]:
    """File → MD5 of a listing's bytes. Raises VortexError for bytes that are not `hash_`, and for paths that leave `data/`."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != hash_.removesuffix(".dir"):
        raise _damaged(where, "its bytes are not those that its name stands for")
    try:
        files = {entry["relpath"]: entry["md5"] for entry in json.loads(content)}
        good = all(_is_below(name) and _MD5.fullmatch(md5) for name, md5 in files.items())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(where, "it is no list of paths and MD5s") from error
    if not good:
        raise _damaged(where, "a path in it leaves data/, or an MD5 is none")
    return files


def present(repo: Repo, ws: Workspace) -> Listing:
    """What is in `data/` now. A file is read again only when its size, inode or modification time changed since DVC last looked."""
    if not ws.data.is_dir():
        return Listing(EMPTY_DIR, {})
    tree = contents.tree(ws, repo)
    return Listing(tree.hash_info.value, {"/".join(key): leaf.value for key, _, leaf in tree})


def missing_files(repo: Repo, listing: Listing) -> dict[str, str]:
    """The files of a listing whose bytes DVC's cache lacks: file → MD5."""
    cached = {md5: cache_path(repo, md5).exists() for md5 in set(listing.files.values())}
    return {name: md5 for name, md5 in listing.files.items() if not cached[md5]}


def cached(repo: Repo) -> list[str]:
    """Hashes of all listings in DVC's cache."""
    return sorted(f"{path.parent.name}{path.name}" for path in Path(repo.cache.local.path).glob("[0-9a-f][0-9a-f]/*.dir"))


def file_counts(names: Iterable[str]) -> str:
    """How many files of which dataset, for an error: `12 files of rooms`, or `12 files (9 of rooms, 3 of hall)`."""
    counts = sorted(Counter(name.partition("/")[0] for name in names).items())
    total = sum(count for _, count in counts)
    files = f"{total} file{'' if total == 1 else 's'}"
    return f"{files} of {counts[0][0]}" if len(counts) == 1 else f"{files} ({', '.join(f'{count} of {name}' for name, count in counts)})"


def _is_below(name: str) -> bool:
    """Whether a listed path stays in `data/`. Plain text work: a listing has hundreds of thousands."""
    return bool(name) and name[0] != "/" and "\0" not in name and (".." not in name or ".." not in name.split("/"))


def _damaged(where: str, what: str) -> VortexError:
    return VortexError(f"{where}: is a damaged listing: {what}", "remove it, and fetch it again with: vortex data pull")
