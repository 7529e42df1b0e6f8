"""Processes that fill batches in memory that they share with the trainer: augmentation does not scale over threads.

Each of some forty short OpenCV calls a frame gives the interpreter's lock away and waits to get it back: two threads augmented no more
frames a second than one (docs/loading.md; `python -m benchmarks.loader --scaling` measures it).
"""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipelines.pack.filling import Augment, Filler
from pipelines.pack.reading import Pack, Rows, Selection

_ALIGNED: Final = 4096


@dataclass(frozen=True)
class _Job:
    """What a process needs to become a filler: where the packs lie and the shared memory is, and what one batch looks like."""

    packs: tuple[tuple[Path, Rows], ...]
    augmentation: Callable[[], Augment]
    seed: int
    memory: str
    buffers: int
    count: int


class Workers:
    """`processes` fillers and `buffers` batches of `count` frames in memory that all of them see. Close it when it is done with."""

    def __init__(self, filler: Filler, augmentation: Callable[[], Augment], processes: int, buffers: int, count: int) -> None:
        # Memory without a name: it is gone with its last process, however that ends, and /dev/shm, often 64 MB, does not limit it.
        descriptor = os.memfd_create("vortex-batches")
        try:
            os.ftruncate(descriptor, buffers * _bytes(filler, count))
            self.arrays = _views(filler, descriptor, buffers, count)
            packs = tuple((part.pack.path, part.frames) for part in filler.parts)
            job = _Job(packs, augmentation, filler.seed, f"/proc/{os.getpid()}/fd/{descriptor}", buffers, count)
            self._pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(job,))
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def submit(self, buffer: int, numbers: NDArray[np.int64], positions: Sequence[int], epoch: int) -> Future[None]:
        """Have a buffer filled as `Filler.fill` does."""
        return self._pool.submit(_fill, buffer, numbers, list(positions), epoch)

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)
        os.close(self._descriptor)


_FILLER: list[tuple[Filler, list[dict[str, NDArray[Any]]]]] = []
"""In a worker process: its filler, and the shared buffers."""


def _begin(job: _Job) -> None:
    # Ctrl-C reaches the whole group; the trainer decides what comes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # albumentations brings torch along where it can, for a step that is not used here: two seconds and 300 MB in every process.
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    import cv2

    cv2.setNumThreads(1)
    filler = Filler([Selection(Pack.open(path), frames) for path, frames in job.packs], job.augmentation, job.seed)
    descriptor = os.open(job.memory, os.O_RDWR)
    try:
        _FILLER.append((filler, _views(filler, descriptor, job.buffers, job.count)))
    finally:
        os.close(descriptor)


def _end_with_parent() -> None:
    """A killed trainer closes no queue that its workers do not hold open themselves: they would wait for ever."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _fill(buffer: int, numbers: NDArray[np.int64], positions: Sequence[int], epoch: int) -> None:
    filler, buffers = _FILLER[0]
    filler.fill(buffers[buffer], numbers, positions, epoch)


def _bytes(filler: Filler, count: int) -> int:
    return sum(_padded(shape, dtype) for shape, dtype in filler.shapes(count).values())


def _padded(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return -(-int(np.prod(shape)) * dtype.itemsize // _ALIGNED) * _ALIGNED


def _views(filler: Filler, descriptor: int, buffers: int, count: int) -> list[dict[str, NDArray[Any]]]:
    """The arrays of every buffer, laid out in the shared memory one after the other."""
    memory = mmap.mmap(descriptor, buffers * _bytes(filler, count))
    offset, views = 0, []
    for _ in range(buffers):
        arrays = {}
        for name, (shape, dtype) in filler.shapes(count).items():
            arrays[name] = np.frombuffer(memory, dtype, int(np.prod(shape)), offset).reshape(shape)
            offset += _padded(shape, dtype)
        views.append(arrays)
    return views
