"""All that is known of one frame: its row, its files, what was measured of them, and which versions were trained on its picture."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import numpy as np

from core.errors import VortexError
from core.files import inside, sha256_file
from pipelines.data.datasets import Dataset, resolve
from pipelines.hub.open import hub
from pipelines.lineage.taught import versions_taught
from pipelines.validate.cached import statistics_of
from pipelines.validate.fingerprints import fingerprints_of
from pipelines.workspace import Workspace
from registry.records import to_json
from validation.manifest import read_manifest
from validation.rows import Frame

OF_THE_ROW: Final = ("fx", "fy", "cx", "cy", "camera_height", "camera_width")
"""Columns of the statistics that say again what the row's intrinsics say."""
FINGERPRINT: Final = ("content", "across", "down")
"""Columns that are hashes, by which a picture is known again."""


@dataclass(frozen=True)
class FrameFile:
    """A file that a frame names; without bytes and hash it is missing."""

    role: str
    path: str
    bytes: int | None
    sha256: str | None


@dataclass(frozen=True)
class FrameRecord:
    """What is known of a frame. `statistics` are those that the data gate measures.

    `trained` are versions among whose training frames its very picture is, whatever their set was called; of those in `unknown` that
    cannot be told, because they are older than fingerprints or theirs cannot be read.
    """

    dataset: str
    row: dict[str, Any]
    files: tuple[FrameFile, ...]
    statistics: dict[str, Any]
    trained: tuple[str, ...]
    unknown: tuple[str, ...]


def find(dataset: Dataset, id_: str) -> Frame:
    """The frame of a dataset with this id. Raises VortexError naming ids that are like it."""
    ids = []
    for frame in read_manifest(dataset.manifest):
        if frame.id == id_:
            return frame
        ids.append(frame.id)
    alike = get_close_matches(id_, ids, 3) or ids[:3]
    raise VortexError(f"{dataset.name} has no frame {id_[:100]!r}", f"there are {len(ids):,}, for example: {', '.join(alike)}")


def frame_record(ws: Workspace, dataset: Dataset, frame: Frame) -> FrameRecord:
    """What is known of a frame. Raises VortexError where the dataset cannot be read."""
    ref = resolve(ws, name_or_manifest=dataset.name)
    table = statistics_of(ws, ref)[0].table
    statistics = {str(name): value for name, value in table[table["id"] == frame.id].iloc[0].items()}
    row = {name: value for name, value in to_json(frame).items() if value is not None}
    registry = hub(ws)
    fingerprints = {version.name: version.fingerprints for version in registry.versions()}
    taught = versions_taught(registry, fingerprints, map(int, fingerprints_of(ws, ref, [frame.id]).content))
    other = {*row, *OF_THE_ROW, *FINGERPRINT}
    measured = {key: to_json(value) for key, value in statistics.items() if key not in other and not _nothing(value)}
    return FrameRecord(dataset.name, row, tuple(_files(dataset, frame)), measured, taught.versions, taught.unknown)


def _files(dataset: Dataset, frame: Frame) -> list[FrameFile]:
    files = []
    for role, path in frame.files().items():
        place = inside(dataset.root, path)
        there = place.is_file()
        files.append(FrameFile(role, path, place.stat().st_size if there else None, sha256_file(place) if there else None))
    return files


def _nothing(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float | np.floating) and bool(np.isnan(value)))
