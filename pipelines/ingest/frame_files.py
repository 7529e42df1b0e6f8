"""The files of a new dataset: copied byte for byte, or computed and written as PNG, several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.depth import millimetres
from core.errors import VortexError
from core.files import open_regular
from pipelines.ingest.adapter import Derived, printable
from pipelines.ingest.manifest_rows import Item, Row
from pipelines.ingest.role_checks import METRIC
from validation.headers import FrameFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK: Final = 16
"""Frames a task: enough that handing it over costs nothing, few enough for an even load and a moving progress bar."""


def write_rows(rows: Sequence[Row], staging: Path, workers: int, on_row: Callable[[int], None]) -> None:
    """Write the files of all rows below `staging`. Copies run in threads; what is computed runs in processes when `workers` > 1.

    Raises FrameFileError, naming the frame, when a map cannot be computed; VortexError when a worker process dies; OSError when the
    disk says no. The caller removes `staging` then.
    """
    for folder in {item.place.partition("/")[0] for row in rows for item in row.items}:
        (staging / folder).mkdir(parents=True, exist_ok=True)
    copied = [row for row in rows if all(isinstance(item.source, Path) for item in row.items)]
    computed = [row for row in rows if not all(isinstance(item.source, Path) for item in row.items)]
    written = 0
    # Closed at once on any failure: nothing may still write when the caller removes the folder.
    with closing(_run(copied, computed, staging, workers)) as counts:
        for count in counts:
            written += count
            on_row(written)


def _run(copied: Sequence[Row], computed: Sequence[Row], staging: Path, workers: int) -> Generator[int, None, None]:
    if workers == 1:
        for row in (*copied, *computed):
            yield _write_rows([row], staging)
        return
    from multiprocessing import get_context

    # Spawned, not forked: the caller's progress display runs threads, and a fork would copy their locks.
    pending: list[Future[int]] = []
    with ExitStack() as stack:
        if copied:
            threads = stack.enter_context(ThreadPoolExecutor(workers))
            pending += [threads.submit(_write_rows, part, staging) for part in _parts(copied)]
        if computed:
            processes = stack.enter_context(ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread))
            pending += [processes.submit(_write_rows, part, staging) for part in _parts(computed)]
        # What has not begun is cancelled before the pools are left, and waited for.
        stack.callback(lambda: [future.cancel() for future in pending])
        try:
            for future in as_completed(pending):
                yield future.result()
        except BrokenProcessPool as error:
            hint = "run the command again with fewer --workers"
            raise VortexError("a process that computed depth or classes was killed, perhaps for memory", hint) from error


def _parts(rows: Sequence[Row]) -> list[Sequence[Row]]:
    return [rows[first : first + _CHUNK] for first in range(0, len(rows), _CHUNK)]


def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)


def _write_rows(rows: Sequence[Row], staging: Path) -> int:
    for row in rows:
        for item in row.items:
            if isinstance(item.source, Path):
                copy(item.source, staging / item.place)
            else:
                _compute(row, item, item.source, staging / item.place)
    return len(rows)


def _compute(row: Row, item: Item, source: Derived, target: Path) -> None:
    import cv2

    try:
        picture = encodable(item.role, source.read(), source.size)
    except FrameFileError as error:
        message = f"frame {row.frame.id}: {printable(error.message)}; nothing was added"
        raise FrameFileError(message, error.hint, error.details) from error
    except ValueError as error:
        message = f"frame {row.frame.id}: {printable(source.origin)}: its {item.role} {error}; nothing was added"
        raise FrameFileError(message, "replace the file, or take its frame out of the set") from error
    whole, data = cv2.imencode(".png", picture)
    if not whole:
        raise FrameFileError(f"frame {row.frame.id}: its {item.role} cannot be written as PNG", "look at the file")
    with open(target, "xb") as stream:
        stream.write(data.tobytes())


def encodable(role: str, values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """A computed map as the picture that goes into the PNG: BGR, 16-bit millimetres, class ids, or confidence times 255.

    Metres that are not finite, not above 0, or beyond 65.534 become 0. Raises ValueError when shape or type are not the role's.
    """
    import numpy as np

    shape = (*size, 3) if role == "rgb" else size
    kinds = ("f",) if role in METRIC else ("u", "f") if role == "tof_confidence" else ("u",)
    if values.shape != shape or values.dtype.kind not in kinds or (values.dtype.kind == "u" and values.dtype != np.uint8):
        raise ValueError(f"came out as {values.dtype} {values.shape}, allowed: {'float' if role in METRIC else 'uint8'} {shape}")
    if role == "rgb":
        return np.ascontiguousarray(values[..., ::-1])
    if role in METRIC:
        return millimetres(values)
    if values.dtype.kind == "f":
        if not bool(((values >= 0) & (values <= 1)).all()):
            raise ValueError("lies outside [0, 1] or is not finite, allowed: 0 to 1")
        steps: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
        return steps
    return values


def copy(source: Path, target: Path) -> None:
    """Copy the bytes. The kernel shares the blocks where the file system can (reflink).

    Never a hard link: DVC makes what it caches read-only, and would do so to the user's own file.
    """
    with open_regular(source) as reader, open(target, "xb") as writer:
        remaining = os.fstat(reader.fileno()).st_size
        while remaining > 0 and (copied := _range(reader.fileno(), writer.fileno(), remaining)):
            remaining -= copied


def _range(reader: int, writer: int, count: int) -> int:
    try:
        return os.copy_file_range(reader, writer, count)
    except OSError as error:
        import errno

        if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF):
            raise
        return os.write(writer, os.read(reader, 1 << 20))
