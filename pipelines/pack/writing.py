"""Fill the arrays of a pack: every row has its place before the first frame is decoded, so threads write in any order."""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.files import sha256_file
from core.progress import Progress
from pipelines.pack.decoding import decode_frame, roles_of
from pipelines.pack.layout import (
    ABSENT,
    FORMAT,
    IDS,
    INDEX,
    OFFSETS,
    ROLES,
    SPLIT_NAMES,
    SPLITS,
    ArrayEntry,
    Index,
    TableEntry,
    array_file,
    checksums_file,
    rows_file,
)
from pipelines.pack.reading import table_digest

if TYPE_CHECKING:
    from validation.rows import Frame

_AHEAD: Final = 4
"""Frames that wait for each thread: enough that none idles, few enough that memory stays flat."""


@dataclass
class Plan:
    """Who is in the pack and where, from the manifest alone: arrays of numbers, however long the manifest is."""

    ids: bytearray = field(default_factory=bytearray)
    offsets: list[int] = field(default_factory=lambda: [0])
    splits: bytearray = field(default_factory=bytearray)
    tables: dict[str, NDArray[np.int32]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> Plan:
        """Lay the frames out, in order: each role's rows are those frames that have it, without gaps."""
        plan, bits = cls(), bytearray()
        bit_of = {role: 1 << number for number, role in enumerate(ROLES)}
        for frame in frames:
            plan.ids += frame.id.encode()
            plan.offsets.append(len(plan.ids))
            plan.splits.append(SPLIT_NAMES.index(frame.split))
            bits.append(sum(bit_of[role] for role in roles_of(frame)))
        has_roles = np.frombuffer(bits, np.uint8)
        for number, role in enumerate(ROLES):
            has = (has_roles >> number & 1).astype(bool)
            if has.any():
                plan.tables[role] = np.where(has, np.cumsum(has) - 1, ABSENT).astype("<i4")
                plan.counts[role] = int(has.sum())
        return plan

    def bytes(self, size: tuple[int, int]) -> int:
        """Bytes that the arrays will take."""
        return sum(count * ROLES[role].row_bytes(size) for role, count in self.counts.items())


def write_pack(
    folder: Path,
    root: Path,
    frames: Callable[[], Iterator[Frame]],
    plan: Plan,
    size: tuple[int, int],
    about: dict[str, str],
    workers: int,
    progress: Progress | None,
) -> None:
    """Write the pack of `frames` (a fresh stream each call) into the empty `folder`; its bytes do not depend on `workers`.

    `about` gives the index its name, manifest and digests. Raises OSError when the disk is full, VortexError for a broken file.
    """
    checksums = {role: np.zeros(count, "<u4") for role, count in plan.counts.items()}
    with ExitStack() as stack:
        files = {role: stack.enter_context(_preallocated(folder / array_file(role), plan, role, size)) for role in plan.counts}

        def work(number: int, frame: Frame) -> None:
            for role, pixels in decode_frame(root, frame, size).items():
                row, data = int(plan.tables[role][number]), np.ascontiguousarray(pixels, ROLES[role].dtype).data.cast("B")
                _write_at(files[role], data, row * len(data))
                checksums[role][row] = zlib.crc32(data)

        _in_threads(work, frames(), len(plan.splits), workers, progress)
    write_tables(folder, plan, checksums, size, about)


def write_tables(folder: Path, plan: Plan, checksums: dict[str, NDArray[np.uint32]], size: tuple[int, int], about: dict[str, str]) -> None:
    """Write everything but the pixels: ids, splits, row tables, checksums, and the index that says what must be there."""
    tables = {IDS: bytes(plan.ids), OFFSETS: np.array(plan.offsets, "<i8").tobytes(), SPLITS: bytes(plan.splits)}
    for role in plan.counts:
        tables |= {rows_file(role): plan.tables[role].tobytes(), checksums_file(role): checksums[role].tobytes()}
    for name, content in tables.items():
        (folder / name).write_bytes(content)
    index = Index(
        format=FORMAT,
        **about,
        size=size,
        frames=len(plan.splits),
        splits={name: count for number, name in enumerate(SPLIT_NAMES) if (count := plan.splits.count(number))},
        arrays={
            role: ArrayEntry(file=array_file(role), dtype=ROLES[role].dtype.str, rows=count, bytes=count * ROLES[role].row_bytes(size))
            for role, count in plan.counts.items()
        },
        tables={name: TableEntry(bytes=len(content), sha256=table_digest(content)) for name, content in tables.items()},
    )
    (folder / INDEX).write_text(index.model_dump_json(indent=1) + "\n")


def manifest_digest(manifest: Path) -> str:
    """SHA-256 of a manifest. Raises VortexError when it cannot be read."""
    try:
        return sha256_file(manifest)
    except OSError as error:
        raise VortexError(f"{manifest}: cannot be read ({error.strerror})", "name a dataset of `vortex data list`") from error


@contextmanager
def _preallocated(path: Path, plan: Plan, role: str, size: tuple[int, int]) -> Iterator[int]:
    """Open a new file with its blocks reserved: a disk that is too small is found out now, not after an hour."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, plan.counts[role] * ROLES[role].row_bytes(size))
        yield descriptor
    finally:
        os.close(descriptor)


def _write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of `data`. Written, not stored through a map: on a full disk that would be a signal instead of an error."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _in_threads(work: Callable[[int, Frame], None], frames: Iterator[Frame], total: int, workers: int, progress: Progress | None) -> None:
    """Do the work on every frame. Threads are enough: decoding, resizing and checksums release the interpreter lock."""
    numbered = enumerate(frames)
    ahead: deque[Future[None]] = deque()
    with _one_thread_each(), ThreadPoolExecutor(workers) as pool:
        try:
            ahead.extend(pool.submit(work, *item) for item in islice(numbered, _AHEAD * workers))
            for done in range(1, total + 1):
                ahead.popleft().result()
                ahead.extend(pool.submit(work, *item) for item in islice(numbered, 1))
                if progress:
                    progress(done, total)
        finally:
            for future in ahead:
                future.cancel()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own below ours."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
