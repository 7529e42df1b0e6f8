"""`vortex data diff`: which frames were added, removed, relabelled, changed or moved between two versions of `data/`.

Both sides are read from listings and manifests in DVC's cache; the frames themselves need not be anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import VortexError
from pipelines.data import version_names
from pipelines.data.listings import Listing, cache_path, present, read
from pipelines.data.pointer import pointer
from pipelines.data.publication import settle
from pipelines.data.repository import repository
from pipelines.workspace import Workspace
from validation.manifest import MANIFEST, read_manifest
from validation.rows import Frame

if TYPE_CHECKING:
    from dvc.repo import Repo

SEEN: Final = ("rgb", "depth", "tof", "tof_confidence")
"""Roles that a camera delivered; other bytes here make another frame."""
TAUGHT: Final = ("teacher_depth", "segmentation", "segmentation_sources", "provenance")
"""Roles that somebody said about a frame; other bytes here relabel it."""
_SEEN_SAYS: Final = ("domain", "sequence", "camera", "intrinsics", "depth_unit", "tof_unit")
_TAUGHT_SAYS: Final = ("teacher", "teacher_unit", "segmentation_teacher", "supervision")


@dataclass(frozen=True)
class DatasetDiff:
    """Ids of the frames of one dataset that differ. A frame that moved between splits may be in a second list too."""

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    relabelled: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    same: int = 0


@dataclass(frozen=True)
class DataDiff:
    """Two versions of `data/` by hash, and dataset by dataset what differs; a dataset without differences is left out."""

    a: str
    b: str
    datasets: dict[str, DatasetDiff]


@dataclass(frozen=True)
class _Side:
    listing: Listing
    folder: Path | None
    """`data/` itself, for the side that is there and not in a cache."""


def diff(ws: Workspace, a: str, b: str) -> DataDiff:
    """Compare two versions of `data/`, each named as for a checkout, or `now` for what is in `data/` at this moment.

    Raises VortexError when a name is not one, or DVC's cache lacks a listing or a manifest.
    """
    settle(ws)
    with repository(ws) as repo:
        old, new = _side(ws, repo, a), _side(ws, repo, b)
        names = sorted(old.listing.datasets.keys() | new.listing.datasets.keys())
        differences = {}
        for name in names:
            before, after = _below(old.listing, name), _below(new.listing, name)
            if before != after:
                rows = _rows(repo, old, name, before)
                same = before.get(MANIFEST) == after.get(MANIFEST)
                differences[name] = compare(rows, rows if same else _rows(repo, new, name, after), before, after)
    return DataDiff(old.listing.hash, new.listing.hash, differences)


def compare(a: Mapping[str, Frame], b: Mapping[str, Frame], before: Mapping[str, str], after: Mapping[str, str]) -> DatasetDiff:
    """Compare two manifests of one dataset (id → row), `before` and `after` naming the MD5 of each of its files."""
    result = DatasetDiff(added=[id_ for id_ in b if id_ not in a], removed=[id_ for id_ in a if id_ not in b])
    same = 0
    for id_, old in a.items():
        new = b.get(id_)
        if new is None:
            continue
        unlike = old is not new and old != new
        changed = _differs(old, new, before, after, SEEN) or (unlike and any(getattr(old, key) != getattr(new, key) for key in _SEEN_SAYS))
        if changed:
            result.changed.append(id_)
        elif _differs(old, new, before, after, TAUGHT) or (unlike and any(getattr(old, key) != getattr(new, key) for key in _TAUGHT_SAYS)):
            result.relabelled.append(id_)
        elif old.split == new.split:
            same += 1
        if old.split != new.split:
            result.moved.append(id_)
    return DatasetDiff(result.added, result.removed, result.relabelled, result.changed, result.moved, same)


def _differs(old: Frame, new: Frame, before: Mapping[str, str], after: Mapping[str, str], roles: tuple[str, ...]) -> bool:
    """Whether a frame's files of these roles have other bytes; where they lie does not matter."""
    for role in roles:
        old_path, new_path = getattr(old, role), getattr(new, role)
        if (old_path is None) is not (new_path is None) or (old_path is not None and before.get(old_path) != after.get(new_path)):
            return True
    return False


def _side(ws: Workspace, repo: Repo, name: str) -> _Side:
    if name == version_names.NOW:
        return _Side(present(repo, ws), ws.data)
    target = version_names.resolve(ws, repo, name)
    listing = read(repo, target.hash)
    if listing is None:
        raise _missing(ws, name, f"the listing {target.hash}")
    return _Side(listing, None)


def _below(listing: Listing, name: str) -> dict[str, str]:
    """File → MD5 of one dataset, paths relative to it."""
    prefix = f"{name}/"
    return {path[len(prefix) :]: md5 for path, md5 in listing.files.items() if path.startswith(prefix)}


def _rows(repo: Repo, side: _Side, name: str, files: Mapping[str, str]) -> dict[str, Frame]:
    if MANIFEST not in files:
        return {}
    path = side.folder / name / MANIFEST if side.folder else cache_path(repo, files[MANIFEST])
    if not path.exists():
        raise VortexError(
            f"DVC's cache lacks the manifest of {name} in {side.listing.hash[:12]}",
            f"fetch that version with: vortex data checkout {side.listing.hash[:12]}",
        )
    return {frame.id: frame for frame in read_manifest(path)}


def _missing(ws: Workspace, name: str, what: str) -> VortexError:
    return VortexError(
        f"{name}: DVC's cache lacks {what}",
        "fetch it with: vortex data pull" if pointer(ws).exists() else f"fetch it with: vortex data checkout {name}",
    )
