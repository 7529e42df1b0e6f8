"""What lies in `data/` now, and what of it patterns of a `.dvcignore` would keep out of a version.

DVC leaves such files out of `dvc add` without a word, and then pushes and pulls a version that lacks them.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from core.errors import VortexError
from pipelines.workspace import Workspace
from validation.manifest import MANIFEST, read_manifest

if TYPE_CHECKING:
    from dvc.repo import Repo

SHOWN: Final = 10


@dataclass(frozen=True)
class Walk:
    """How DVC is to walk `data/` when it compares: past what patterns leave out, except where it belongs to a dataset."""

    repo: Repo

    def walk(self, fs: Any, path: str) -> Iterator[tuple[str, list[str], list[str]]]:
        """Folder by folder, as DVC's own filter does. Raises VortexError for a `.dvcignore` inside, which DVC cannot version."""
        for folder, taken, left_out, _ in _folders(self.repo, path):
            belonging = [name for name in left_out if _belongs(os.path.relpath(os.path.join(folder, name), path))]
            if ".dvcignore" in taken:
                raise VortexError(
                    f"{Path(folder, '.dvcignore')}: lies in data/, and DVC versions no folder that holds one",
                    "move its patterns to the .dvcignore beside data/",
                )
            yield folder, [], [*taken, *belonging]


def tree(ws: Workspace, repo: Repo) -> Any:
    """What is in `data/`, as DVC hashes it. A file is read again only when its size, inode or modification time changed since."""
    from dvc_data.hashfile.build import build

    walk: Any = Walk(repo)  # build asks it for nothing but `walk`
    return build(repo.cache.local, os.path.realpath(ws.data), repo.fs, "md5", ignore=walk, dry_run=True)[2]


def left_out(ws: Workspace, repo: Repo) -> dict[str, str]:
    """Files of datasets, relative to `data/`, that DVC would not version → why, as `.dvcignore:3:*.npy`."""
    data = os.path.realpath(ws.data)
    reasons: dict[str, str] = {}
    for folder, _, names, links in _folders(repo, data):
        for path in (os.path.join(folder, name) for name in names):
            if _belongs(os.path.relpath(path, data)):
                reasons[os.path.relpath(path, data)] = _pattern(repo, path)
        for link in (os.path.relpath(os.path.join(folder, name), data) for name in links):
            reasons |= dict.fromkeys(_named_below(ws, link), f"{link} is a link to a folder")
    return reasons


def require_all(ws: Workspace, repo: Repo, held: Container[str] = ()) -> None:
    """Raise VortexError when DVC would leave a file of a dataset out of the next version, naming the pattern and the file.

    `held` are files that a version has already: patterns cannot take those away from it.
    """
    missing = {name: why for name, why in left_out(ws, repo).items() if name not in held}
    if not missing:
        return
    first, why = next(iter(missing.items()))
    many = f"{len(missing)} files of datasets" if len(missing) > 1 else "a file of a dataset"
    raise VortexError(
        f"{ws.data}: DVC would leave {many} out of every version, the first: {first} ({why}); nothing was changed",
        f"take that pattern out of .dvcignore, or let this be its last line: !/{ws.data.name}/**"
        if ".dvcignore" in why
        else "put the files themselves there, in folders whose names are not DVC's own",
        [f"{name} ({reason})" for name, reason in missing.items()][:SHOWN] if len(missing) > 1 else [],
    )


def _folders(repo: Repo, data: str) -> Iterator[tuple[str, list[str], list[str], list[str]]]:
    """Each folder of `data/`: the files that DVC takes, those that it leaves out, and the links to folders, which it does not follow."""
    ignored: set[str] = set()
    for folder, below, names in os.walk(data):
        taken: list[str] = []
        if folder in ignored:
            ignored.update(os.path.join(folder, name) for name in below)
        else:
            kept, taken = repo.dvcignore(folder, list(below), list(names))
            ignored.update(os.path.join(folder, name) for name in set(below).difference(kept))
        omitted = sorted(set(names).difference(taken)) if len(taken) < len(names) else []
        yield folder, taken, omitted, [name for name in below if os.path.islink(os.path.join(folder, name))]


def _belongs(relative: str) -> bool:
    """Whether a file is a dataset's: not what a file browser, an editor or Python leaves beside it, nor a folder of Vortex's own."""
    parts = PurePath(relative).parts
    return not any(part.startswith(".") or part == "__pycache__" for part in parts) and not relative.endswith((".pyc", "~"))


def _named_below(ws: Workspace, folder: str) -> list[str]:
    """Files below `folder`, relative to `data/`, that a row of its dataset's manifest names."""
    dataset, _, within = folder.partition("/")
    manifest = ws.data / dataset / MANIFEST
    if not manifest.is_file():
        return []
    paths = {path for frame in read_manifest(manifest) for path in frame.files().values()}
    return [f"{dataset}/{path}" for path in sorted(paths) if path.startswith(f"{within}/")]


def _pattern(repo: Repo, path: str) -> str:
    patterns = repo.dvcignore.check_ignore(path).pattern_infos
    return str(patterns[-1].file_info if patterns else "") or "a name that DVC keeps for itself"
