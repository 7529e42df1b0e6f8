"""The statistics of a whole set: one row a frame, gathered in pieces, kept on disk as a parquet table, and read back in a second.

Nothing here holds a Python object a frame: a million frames are columns of numbers (about 400 MB) from beginning to end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.files import sha256_file, staged_file, write_atomic
from validation.frames import MAPS, VERSION, Counts, Row, measure
from validation.pixels import BINS
from validation.rows import Frame

if TYPE_CHECKING:
    import pandas as pd

"""Called with the number of frames done so far."""

Totals: TypeAlias = NDArray[np.int64]

PIECE: Final = 4096
"""Rows gathered as Python objects before they become columns."""
BIN_COLUMNS: Final = tuple(f"{name}_bins" for name in MAPS)
_TEXTS: Final = ("missing", "unreadable", "sizes", "aspect", "relative", "labels")
_HASHES: Final = ("content", "across", "down")
_ROW: Final = tuple(item.name for item in fields(Row) if item.name not in BIN_COLUMNS)
_FRAME: Final = ("id", "split", "sequence", "camera", "supervision")
_CAMERA: Final = ("fx", "fy", "cx", "cy", "camera_height", "camera_width")


@dataclass
class Statistics:
    """`table`: what each row of the manifest says (id, split, sequence, camera, supervision, intrinsics) and the columns of `Row`.

    `counts`: depth histograms of the whole set by map, [BINS]. `bins` are those of each frame, [frames, BINS], zeros where it has
    none, and `keys` names what each row was measured from: both are needed to take rows over, and only then loaded.
    """

    table: pd.DataFrame
    counts: dict[str, Totals]
    bins: dict[str, Counts] = field(default_factory=dict)
    keys: pd.Series | None = None

    def __len__(self) -> int:
        return len(self.table)


@dataclass
class _Pieces:
    """Collects rows, and turns every `PIECE` of them into columns."""

    frames: list[tuple[Any, ...]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    manifest: list[pd.DataFrame] = field(default_factory=list)
    measured: list[pd.DataFrame] = field(default_factory=list)
    bins: dict[str, list[Counts]] = field(default_factory=lambda: {name: [] for name in MAPS})
    taken: list[int] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def add(self, frame: Frame, row: Row | int, key: str) -> None:
        camera = frame.intrinsics
        pinhole = (camera.fx, camera.fy, camera.cx, camera.cy, *map(float, camera.size)) if camera else (math.nan,) * 6
        self.frames.append((frame.id, frame.split, frame.sequence, frame.camera, frame.supervision, *pinhole))
        self.keys.append(key)
        self.taken.append(row if isinstance(row, int) else -1)
        if not isinstance(row, int):
            self.rows.append(row)
        if len(self.frames) >= PIECE:
            self.flush()

    def flush(self) -> None:
        self.manifest.append(_manifest_columns(self.frames))
        self.measured.append(_measured(self.rows))
        for name in MAPS:
            empty = np.zeros(BINS, np.uint16)
            counts = [bins if (bins := getattr(row, f"{name}_bins")) is not None else empty for row in self.rows]
            self.bins[name].append(np.array(counts, np.uint16).reshape(-1, BINS))
        self.frames, self.rows = [], []


def gather(
    root: Path,
    frames: Iterable[Frame],
    *,
    earlier: Statistics | None = None,
    key: Callable[[Frame], str] = lambda frame: "",
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
) -> tuple[Statistics, int]:
    """Statistics of every frame below `root`, in order, and how many had to be read.

    A frame whose `key` is a row of `earlier` is not read again; an empty key never is one. `workers` threads decode; OpenCV
    releases the interpreter's lock.
    """
    import pandas as pd

    places = {name: place for place, name in enumerate(earlier.keys) if name} if earlier is not None and earlier.keys is not None else {}
    pieces = _Pieces()

    def work(frame: Frame, place: int | None) -> Row | int:
        return measure(root, frame) if place is None else place

    reads = 0
    queue = ((frame, name := key(frame), places.get(name) if name else None) for frame in frames)
    for count, (frame, name, row) in enumerate(_mapped(work, queue, workers), 1):
        pieces.add(frame, row, name)
        reads += not isinstance(row, int)
        if progress:
            progress(count)
    pieces.flush()
    manifest = pd.concat(pieces.manifest, ignore_index=True)
    measured = pd.concat(pieces.measured, ignore_index=True)
    bins = {name: np.concatenate(parts) for name, parts in pieces.bins.items()}
    if earlier is not None and reads < len(manifest):
        taken = np.array(pieces.taken, np.intp)
        old = taken >= 0
        # Kept rows first, then those just read; `back` puts both where their frames are.
        back = np.argsort(np.concatenate([np.flatnonzero(old), np.flatnonzero(~old)]), kind="stable")
        reused = earlier.table.loc[taken[old], list(_ROW)]
        measured = pd.concat([reused, measured], ignore_index=True).take(back).reset_index(drop=True)
        bins = {name: np.concatenate([earlier.bins[name][taken[old]], bins[name]])[back] for name in MAPS}
    table = pd.concat([manifest, measured], axis=1)
    return Statistics(table, _totals(bins), bins, pd.Series(pieces.keys, dtype="str")), reads


def save(path: Path, statistics: Statistics, digest: str) -> None:
    """Write the table whole or not at all, with the digest of the set that it describes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(statistics.table, preserve_index=False)
    for name in MAPS:
        flat = pa.array(statistics.bins[name].ravel(), pa.uint16())
        table = table.append_column(f"{name}_bins", pa.FixedSizeListArray.from_arrays(flat, BINS))
    if statistics.keys is not None:
        table = table.append_column("key", pa.array(statistics.keys, pa.string()))
    metadata = {**(table.schema.metadata or {}), b"vortex.digest": digest.encode(), b"vortex.statistics": str(VERSION).encode()}
    with staged_file(path) as staging:
        pq.write_table(table.replace_schema_metadata(metadata), staging, compression="zstd", row_group_size=65536)
        sha256 = sha256_file(staging)
    write_atomic(_sum_path(path), sha256)


def stored_digest(path: Path) -> str | None:
    """The digest of the set that a table describes; None when there is no such table, one of another version, or one that `save` did not write."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if _sum_path(path).read_text() != sha256_file(path):
            return None
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, ValueError, pa.ArrowException):
        return None
    digest = metadata.get(b"vortex.digest")
    return digest.decode() if digest is not None and metadata.get(b"vortex.statistics") == str(VERSION).encode() else None


def load(path: Path, *, keys: bool = False) -> Statistics | None:
    """Read a table that `save` wrote; None when it is not there, of another version, or damaged: then it is measured anew."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if stored_digest(path) is None:
        return None
    try:
        with pq.ParquetFile(path) as file:
            # Column by column, and the histograms a piece at a time: the table is never there twice.
            table = pq.read_table(path, columns=[*_FRAME, *_CAMERA, *_ROW]).to_pandas(self_destruct=True, split_blocks=True)
            counts = {name: np.zeros(BINS, np.int64) for name in MAPS}
            parts: dict[str, list[Counts]] = {name: [] for name in MAPS}
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=list(BIN_COLUMNS))
                for name in MAPS:
                    part = _unlisted(rows.column(f"{name}_bins"))
                    counts[name] += part.sum(axis=0, dtype=np.int64)
                    if keys:
                        parts[name].append(part)
            if not keys:
                return Statistics(table, counts)
            bins = {name: np.concatenate(parts[name]) for name in MAPS}
            return Statistics(table, counts, bins, file.read(columns=["key"]).column("key").to_pandas())
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None


def _sum_path(path: Path) -> Path:
    """Where the SHA-256 of a table's file is kept."""
    return path.with_suffix(".sha256")


def _totals(bins: dict[str, Counts]) -> dict[str, Totals]:
    return {name: counts.sum(axis=0, dtype=np.int64) for name, counts in bins.items()}


def _unlisted(column: Any) -> Counts:
    flat = column.combine_chunks()
    values: NDArray[np.uint16] = flat.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, BINS)


def _manifest_columns(frames: list[tuple[Any, ...]]) -> pd.DataFrame:
    import pandas as pd

    columns = list(zip(*frames, strict=True)) or [()] * (len(_FRAME) + len(_CAMERA))
    texts = {name: pd.Series(values, dtype="str") for name, values in zip(_FRAME, columns, strict=False)}
    numbers = {name: pd.Series(values, dtype="float64") for name, values in zip(_CAMERA, columns[len(_FRAME) :], strict=True)}
    return pd.DataFrame(texts | numbers)


def _measured(rows: list[Row]) -> pd.DataFrame:
    import pandas as pd

    kinds = dict.fromkeys(_TEXTS, "str") | dict.fromkeys(_HASHES, "uint64")
    return pd.DataFrame({name: pd.Series([getattr(row, name) for row in rows], dtype=kinds.get(name, "float32")) for name in _ROW})


def _mapped(
    work: Callable[[Frame, int | None], Row | int], queue: Iterable[tuple[Frame, str, int | None]], workers: int
) -> Iterator[tuple[Frame, str, Row | int]]:
    """`map` in order over threads, with a bounded number in flight so that an interrupt ends soon."""
    if workers <= 1:
        for frame, name, place in queue:
            yield frame, name, work(frame, place)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="frames") as pool:
        waiting: deque[tuple[Frame, str, Future[Row | int]]] = deque()
        for frame, name, place in queue:
            waiting.append((frame, name, pool.submit(work, frame, place)))
            if len(waiting) >= 4 * workers:
                frame, name, future = waiting.popleft()
                yield frame, name, future.result()
        while waiting:
            frame, name, future = waiting.popleft()
            yield frame, name, future.result()
