"""Which datasets hold a frame of some id: those in `data/` now, those of earlier `data/` whose manifests DVC's cache has, and the versions
whose training frames hold its very picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import VortexError
from pipelines.data import datasets, listings
from pipelines.data.repository import repository
from pipelines.workspace import Workspace
from registry.graph import Node
from registry.state import State
from registry.versions import Hub
from validation.manifest import MANIFEST
from validation.rows import Frame, RowFault, parse


@dataclass
class Frames:
    """Where frames of one id are: data nodes that hold one, the split that it has there, and versions that its picture leads to."""

    id: str
    holders: dict[Node, None] = field(default_factory=dict)
    splits: dict[Node, str] = field(default_factory=dict)
    versions: tuple[str, ...] = ()


def frames_called(ws: Workspace, registry: Hub, state: State, text: str, *, earlier: bool = True) -> Frames:
    """The frames called `text`, which is an id or `DATASET/ID`; with `earlier` also those of earlier data, as far as DVC's cache has its
    manifest."""
    here = [(dataset.name, dataset.manifest) for dataset in datasets.listing(ws)]
    recorded = {use.name for version in state.versions.values() for use in version.material.data}
    dataset, slash, rest = text.partition("/")
    only = dataset if slash and dataset in {*recorded, *(name for name, _ in here)} else None
    frames = Frames(rest if only else text)
    pictures: list[tuple[Path, Frame]] = []
    for name, manifest in here:
        if only in (None, name):
            for frame in rows_with(manifest, frames.id):
                node = Node("data", name, datasets.resolve(ws, name_or_manifest=name).digest)
                frames.holders[node], frames.splits[node] = None, frame.split
                pictures.append((manifest.parent, frame))
    for node, split in _earlier(ws, state, frames, only) if earlier else ():
        frames.holders[node], frames.splits[node] = None, split
    if pictures:
        from pipelines.lineage.taught import trained_on  # it decodes pictures: a second to load, which only a frame is worth

        frames.versions = trained_on(registry, state, pictures)
    return frames


def rows_with(manifest: Path, id_: str) -> Iterator[Frame]:
    """The rows of a manifest that have this id; of a long one only the lines that may are parsed."""
    text = json.dumps(id_, ensure_ascii=False).encode()
    spellings = {text, json.dumps(id_).encode()}
    try:
        content = manifest.read_bytes()
    except OSError as error:
        raise VortexError(f"{manifest}: cannot be read ({error.strerror})", "restore it with: dvc checkout data.dvc") from error
    if not any(spelling in content for spelling in spellings):
        return
    for line in content.splitlines():
        if any(spelling in line for spelling in spellings):
            try:
                frame = parse(line)
            except RowFault:  # the data gate says what is wrong with it
                continue
            if frame.id == id_:
                yield frame


def _earlier(ws: Workspace, state: State, frames: Frames, only: str | None) -> Iterator[tuple[Node, str]]:
    """Contents that versions saw and that `data/` does not have now, with the frame in their manifests."""
    seen = {
        (use.dvc, Node("data", use.name, use.digest))
        for version in state.versions.values()
        for use in version.material.data
        if use.dvc and only in (None, use.name)
    }
    missing = sorted((hash_, node) for hash_, node in seen if hash_ and node not in frames.holders)
    if not missing or not (ws.root / ".dvc").is_dir():
        return
    with repository(ws) as repo:
        listing: listings.Listing | None = None
        for hash_, node in missing:
            if listing is None or listing.hash != hash_:
                listing = listings.read(repo, hash_)
            md5 = listing.files.get(f"{node.name}/{MANIFEST}") if listing else None
            path = listings.cache_path(repo, md5) if md5 else None
            if path is not None and path.is_file():
                for frame in rows_with(path, frames.id):
                    yield node, frame.split
