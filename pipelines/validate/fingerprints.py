"""Fingerprints of frames, small enough to be kept with every version: by them a frame is known again when its set is long gone."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.files import write_atomic
from pipelines.validate.cached import statistics_of
from pipelines.workspace import Workspace
from validation.near import Pictures, twins_across
from validation.table import moving_of, pictures_of

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef


@dataclass(frozen=True)
class Fingerprints:
    """One entry a frame [n], as `validation.frames.Row` measures them: 41 bytes.

    `content` is a hash of the picture's pixels (0: not readable), `across` and `down` its perceptual hash; `brightness`, `contrast` and
    the median `depth` in metres (NaN without) confirm a likeness; `moving` says whether the camera moved, because the frames of one
    that stands still are alike without being the same.
    """

    content: NDArray[np.uint64]
    across: NDArray[np.uint64]
    down: NDArray[np.uint64]
    brightness: NDArray[np.float32]
    contrast: NDArray[np.float32]
    depth: NDArray[np.float32]
    moving: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.content)

    def save(self, path: Path) -> None:
        """Write a compressed npz, atomically; the same fingerprints give the same bytes."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **vars(self))
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> Fingerprints:
        """Read what `save` wrote. Raises VortexError when the file is something else."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                return cls(**{item.name: archive[item.name] for item in fields(cls)})
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise VortexError(f"{path}: not readable as fingerprints of frames ({error})", "restore it from a backup") from error

    def leaks_from(self, trained: Fingerprints, bits: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of these frames are among `trained`, [n] each: the very picture, and one that differs in at most `bits` bits of 128."""
        hits = (self.content != 0) & np.isin(self.content, trained.content)
        ours, theirs = self._pictures(), trained._pictures()
        alike = (twins_across(ours, theirs, bits) >= 0) & self.moving if len(trained) and len(self) else np.zeros(len(self), bool)
        return hits, alike & ~hits

    def _pictures(self) -> Pictures:
        numbers = (np.asarray(values, np.float64) for values in (self.brightness, self.contrast, self.depth))
        return Pictures(self.across, self.down, self.content != 0, *numbers)


def fingerprints_of(ws: Workspace, ref: DataRef, ids: Collection[str]) -> Fingerprints:
    """The fingerprints of the frames `ids` of a set, from the statistics that the data gate keeps; frames that are new are read."""
    statistics, _, _ = statistics_of(ws, ref)
    table = statistics.table
    rows = table["id"].isin(ids).to_numpy(bool)
    pictures, moving = pictures_of(table), moving_of(table)
    return Fingerprints(
        table["content"].to_numpy(np.uint64)[rows],
        pictures.across[rows],
        pictures.down[rows],
        pictures.brightness[rows].astype(np.float32),
        pictures.contrast[rows].astype(np.float32),
        pictures.depth[rows].astype(np.float32),
        moving[rows],
    )


def joined(parts: Sequence[Fingerprints]) -> Fingerprints:
    """All frames of several sets."""
    columns: dict[str, Any] = {item.name: np.concatenate([getattr(part, item.name) for part in parts]) for item in fields(Fingerprints)}
    return Fingerprints(**columns)
