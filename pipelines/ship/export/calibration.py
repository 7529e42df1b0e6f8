"""The frames that 8-bit ranges are measured on: training frames of the version's own data, in its own domain, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from pipelines.data.datasets import DataRef, listing, resolve
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.workspace import Workspace
from registry.records import Version
from validation.manifest import load_manifest
from validation.rows import Frame

FRAMES: Final = 64
"""Evenly spread over all: beyond that the ranges hardly move, and each frame costs a pass."""


@dataclass(frozen=True)
class TrainingFrames:
    """Training frames of each set that a version was trained on in its domain, as they are now."""

    sets: tuple[tuple[DataRef, tuple[Frame, ...]], ...]

    @property
    def count(self) -> int:
        """How many."""
        return sum(len(frames) for _, frames in self.sets)

    @property
    def id(self) -> str:
        """Which frames of which contents they are, as 16 hexadecimal digits."""
        return hashlib.sha256(repr(sorted(self.as_json().items())).encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """How many of which sets, and their id."""
        return f"{self.count} training frames of {', '.join(ref.name for ref, _ in self.sets)}, {self.id}"

    def as_json(self) -> dict[str, list[str]]:
        """The ids of the frames, by set and content."""
        return {f"{ref.name}@{ref.digest[:12]}": [frame.id for frame in frames] for ref, frames in self.sets}

    def pictures(self, ws: Workspace, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
        """Their pictures [H,W,3] at `size` (H, W)."""
        return [row["rgb"] for row in self._rows(ws, size)]

    def _rows(self, ws: Workspace, size: tuple[int, int]) -> Iterator[dict[str, Any]]:
        for ref, frames in self.sets:
            yield from load_arrays(packs_folder(ws), ref, frames, size)


def training_frames(ws: Workspace, version: Version, most: int = FRAMES) -> TrainingFrames:
    """At most `most` frames of split train, evenly spread over the sets of its domain that the version was trained on.

    Raises VortexError where none is here with the content that it was trained on: ranges of other pictures are no ranges of this network,
    and those of noise are none at all.
    """
    here = {dataset.name for dataset in listing(ws)}
    frames: list[tuple[DataRef, Frame]] = []
    missing = []
    for use in version.data:
        if use.domain != version.domain:
            continue
        ref = resolve(ws, name_or_manifest=use.name) if use.name in here else None
        if ref is None or ref.digest != use.digest:
            state = "is not in data/" if ref is None else f"is {ref.digest[:12]} now"
            missing.append(f"{use.name}@{use.digest[:12]} {state}")
            continue
        frames += [(ref, frame) for frame in load_manifest(ref.manifest) if frame.split == "train"]
    if not frames:
        raise VortexError(
            f"{version.name} has no training frames of {version.domain or 'a domain'} here: {', '.join(missing) or 'its data names none'}",
            f"bring its data back with: vortex data checkout {version.name}",
        )
    places = np.unique(np.linspace(0, len(frames) - 1, most).astype(int))
    return _by_set([frames[place] for place in places])


def _by_set(frames: Sequence[tuple[DataRef, Frame]]) -> TrainingFrames:
    refs = {ref.digest: ref for ref, _ in frames}
    return TrainingFrames(tuple((ref, tuple(frame for of, frame in frames if of.digest == digest)) for digest, ref in refs.items()))
