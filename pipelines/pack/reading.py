"""An open pack: arrays mapped from disk, tables that say which row is whose, and a check of every byte for who asks."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.files import sha256_file
from core.progress import Progress
from pipelines.pack.layout import (
    ABSENT,
    IDS,
    INDEX,
    OFFSETS,
    ROLES,
    SPLIT_NAMES,
    SPLITS,
    ArrayEntry,
    Index,
    PackError,
    checksums_file,
    read_index,
    rows_file,
)

Rows = NDArray[np.int32]
Order = NDArray[np.int64]
"""Frame numbers [steps, batch] over selections that are laid end to end."""
AGAIN = "pack it again: remove the folder and run the command that needs it, or vortex pack NAME"
_SHOWN = 20
_BLOCK = 4096


@dataclass(frozen=True)
class Pack:
    """The frames of a dataset at one size, in the manifest's order. Everything is mapped: opening reads the tables and no pixel.

    Nothing of it is believed without its digest: of a table the SHA-256 when it is opened, of a row of pixels the CRC-32 when it is first read.
    """

    path: Path
    index: Index
    arrays: dict[str, NDArray[Any]] = field(repr=False)
    """Role → [rows, H, W] or [rows, H, W, 3], as stored."""
    tables: dict[str, Rows] = field(repr=False)
    """Role → for each frame its row in the array, -1 where it lacks the role."""
    _splits: NDArray[np.uint8] = field(repr=False)
    _offsets: NDArray[np.int64] = field(repr=False)
    _ids: NDArray[np.uint8] = field(repr=False)
    _checksums: dict[str, NDArray[np.uint32]] = field(repr=False)
    _checked: dict[str, NDArray[np.bool_]] = field(repr=False)
    """Role → which rows this process has found to be what was packed."""

    @classmethod
    def open(cls, path: Path) -> Pack:
        """Map the pack in the folder `path`. Raises PackError for a file that is missing or of another length, and for a changed table."""
        index = read_index(path)
        sizes = {entry.file: entry.bytes for entry in index.arrays.values()} | {name: entry.bytes for name, entry in index.tables.items()}
        for name, size in sizes.items():
            _check_length(path / name, size)
        _check_shape(path, index)
        faults = _table_faults(path, index)
        if faults:
            raise PackError(f"{path}: {faults[0]}", AGAIN, faults if len(faults) > 1 else ())
        arrays = {}
        for role, entry in index.arrays.items():
            shape = (entry.rows, *ROLES[role].shape(index.size))
            arrays[role] = _map(path / entry.file, ROLES[role].dtype, shape)
        tables: dict[str, Rows] = {role: _map(path / rows_file(role), np.dtype("<i4"), (index.frames,)) for role in index.arrays}
        splits = _map(path / SPLITS, np.dtype(np.uint8), (index.frames,))
        offsets = _map(path / OFFSETS, np.dtype("<i8"), (index.frames + 1,))
        ids = _map(path / IDS, np.dtype(np.uint8), (index.tables[IDS].bytes,))
        checksums = {role: _map(path / checksums_file(role), np.dtype("<u4"), (entry.rows,)) for role, entry in index.arrays.items()}
        checked = {role: np.zeros(entry.rows, bool) for role, entry in index.arrays.items()}
        return cls(path, index, arrays, tables, splits, offsets, ids, checksums, checked)

    def __len__(self) -> int:
        return self.index.frames

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every frame."""
        return self.index.size

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(entry.bytes for entry in self.index.arrays.values())

    def id(self, frame: int) -> str:
        """The id of a frame."""
        return bytes(self._ids[self._offsets[frame] : self._offsets[frame + 1]]).decode()

    def ids(self) -> Iterator[str]:
        """All ids, in order."""
        for first in range(0, len(self), _BLOCK):
            ends = self._offsets[first : first + _BLOCK + 1].tolist()
            text = bytes(self._ids[ends[0] : ends[-1]])
            yield from (text[a - ends[0] : b - ends[0]].decode() for a, b in pairwise(ends))

    def has(self, role: str, frames: Rows) -> NDArray[np.bool_]:
        """Which of `frames` have a role."""
        return self.tables[role][frames] != ABSENT if role in self.tables else np.zeros(len(frames), bool)

    def select(self, split: str, limit: int | None = None) -> Rows:
        """The frames of a split; with a limit, that many spread evenly over it (as `pipelines.train.plan.sources.pick` takes them)."""
        frames = np.flatnonzero(self._splits == SPLIT_NAMES.index(split)).astype(np.int32)
        if limit is None or len(frames) <= limit:
            return frames
        return frames[np.arange(limit) * len(frames) // limit]

    def find(self, ids: Sequence[str]) -> Rows:
        """Where the frames of these ids are. Raises PackError naming one that is not in the pack."""
        places = {name: place for place, name in enumerate(ids)}
        frames = np.full(len(ids), ABSENT, np.int32)
        for frame, name in enumerate(self.ids()):
            if name in places:
                frames[places[name]] = frame
        if (frames == ABSENT).any():
            name = ids[int(np.argmax(frames == ABSENT))]
            raise PackError(f"{self.path}: has no frame {name!r}, its {len(self)} frames are those of another manifest", AGAIN)
        return frames

    def stored(self, frame: int) -> dict[str, NDArray[Any]]:
        """A frame's roles as stored, without copying. Raises PackError as `check` does."""
        rows = {role: table[frame : frame + 1] for role, table in self.tables.items()}
        for role, row in rows.items():
            self.check(role, row)
        return {role: self.arrays[role][int(row[0])] for role, row in rows.items() if row[0] != ABSENT}

    def check(self, role: str, rows: Rows) -> None:
        """Compare rows of a role (-1: none) with their checksums, each once in a process: who reads pixels asks this first.

        Raises PackError, naming its frame, for one that is not what was packed.
        """
        checked = self._checked[role]
        for row in rows[~checked[rows] & (rows != ABSENT)].tolist():
            if not self._intact(role, row):
                raise PackError(f"{self.path}: {self._damage(role, [row])}", AGAIN)
            checked[row] = True

    @property
    def touched(self) -> bool:
        """Whether any file of it was written to after its index, which the packer writes last."""
        names = [*self.index.tables, *(entry.file for entry in self.index.arrays.values())]
        return any((self.path / name).stat().st_mtime_ns > (self.path / INDEX).stat().st_mtime_ns for name in names)

    def verify(self, progress: Progress | None = None) -> None:
        """Read every byte. Raises PackError that lists each damaged array with its first damaged frame, and each damaged table."""
        faults = _table_faults(self.path, self.index)
        total, done = sum(entry.rows for entry in self.index.arrays.values()), 0
        for role, entry in self.index.arrays.items():
            damaged = []
            for row in range(entry.rows):
                if not self._intact(role, row):
                    damaged.append(row)
                done += 1
                if progress and (done % 64 == 0 or done == total):
                    progress(done, total)
            if damaged:
                faults.append(self._damage(role, damaged))
        if faults:
            details = faults if len(faults) > 1 else []
            raise PackError(f"{self.path}: {faults[0]}", AGAIN, details[:_SHOWN])

    def _intact(self, role: str, row: int) -> bool:
        return zlib.crc32(self.arrays[role][row].data) == int(self._checksums[role][row])

    def _damage(self, role: str, rows: list[int]) -> str:
        entry = self.index.arrays[role]
        owner = np.flatnonzero(self.tables[role] == rows[0])
        whose = f", the first that of frame {self.id(int(owner[0]))!r}" if len(owner) else ""
        return f"{entry.file}: {len(rows)} of {entry.rows} rows are damaged{whose}"


@dataclass(frozen=True)
class Selection:
    """Some frames of a pack, in the order in which they are counted."""

    pack: Pack
    frames: Rows

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that any of the frames has."""
        return tuple(role for role in self.pack.index.arrays if self.pack.has(role, self.frames).any())

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which frames have a class map."""
        return self.pack.has("segmentation", self.frames)


def table_digest(content: bytes) -> str:
    """SHA-256 of a table's bytes."""
    return hashlib.sha256(content).hexdigest()


def _table_faults(path: Path, index: Index) -> list[str]:
    return [
        f"{name}: its SHA-256 is not that of the index" for name, entry in index.tables.items() if sha256_file(path / name) != entry.sha256
    ]


def _check_length(path: Path, size: int) -> None:
    try:
        actual = os.stat(path).st_size
    except FileNotFoundError as error:
        raise PackError(f"{path}: is missing", AGAIN) from error
    if actual != size:
        raise PackError(f"{path}: has {actual} bytes, wanted are {size}: it was cut or added to", AGAIN)


def _check_shape(path: Path, index: Index) -> None:
    """Raise PackError unless the index agrees with itself: nothing below may read past the end of a map."""
    sizes = {IDS: None, OFFSETS: 8 * (index.frames + 1), SPLITS: index.frames}
    for role, entry in index.arrays.items():
        if not _fits(role, entry, index.size):
            raise PackError(f"{path}: its index says of {role!r} what cannot be", AGAIN)
        sizes |= {rows_file(role): 4 * index.frames, checksums_file(role): 4 * entry.rows}
    for name, size in sizes.items():
        if name not in index.tables or (size is not None and index.tables[name].bytes != size):
            raise PackError(f"{path}: its index and its table {name} disagree", AGAIN)


def _fits(role: str, entry: ArrayEntry, size: tuple[int, int]) -> bool:
    return role in ROLES and entry.dtype == ROLES[role].dtype.str and entry.bytes == entry.rows * ROLES[role].row_bytes(size)


def _map(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The file as an array. A plain array over the map: indexing a `memmap` costs three times as much."""
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))
