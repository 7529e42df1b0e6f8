"""Batches from packs, prepared ahead in buffers that are used again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.classes import IGNORE
from core.depth import MILLIMETRES
from core.errors import VortexError
from pipelines.pack.decoding import CERTAIN
from pipelines.pack.filling import HAS_TEACHER, Augment, Filler
from pipelines.pack.reading import Order, Selection
from pipelines.pack.workers import Workers

DEPTHS: Final = ("reference", "tof_depth", "teacher_depth")


class Buffer:
    """Room for one batch. `arrays` and `tensors` are the same memory."""

    def __init__(self, number: int, arrays: dict[str, NDArray[Any]]) -> None:
        self.number, self.arrays = number, arrays
        self.tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}


@dataclass(frozen=True)
class Batch:
    """A batch as it is stored: bytes and whole millimetres. It is good until the next one is asked for; `to` makes what stays."""

    buffer: Buffer
    filler: Filler
    numbers: NDArray[np.int64]
    positions: tuple[int, ...]
    epoch: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """What the augmentation of each of its frames is seeded with."""
        return tuple(self.filler.augmentation_seed(self.epoch, position) for position in self.positions)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its frames."""
        return tuple(part.pack.id(frame) for part, frame in self.filler.places(self.numbers))

    @property
    def nbytes(self) -> int:
        """Bytes that travel to the device, but for a flag a frame."""
        return sum(tensor.nbytes for name, tensor in self.buffer.tensors.items() if name != HAS_TEACHER)

    def to(self, device: torch.device) -> dict[str, Tensor]:
        """What the loss takes, on a device: it travels as bytes and becomes floats there.

        `rgb` [B,3,H,W] in [0,1], channels last in memory; `reference`, `tof_depth`, `teacher_depth` [B,1,H,W] in metres (a relative
        teacher's in its own unit), `tof_confidence` [B,1,H,W] in [0,1], 0 where a frame has none; `segmentation` [B,H,W] int64, 255
        where it has none; `has_teacher` [B].
        """
        moved = {role: _sent(tensor, device) for role, tensor in self.buffer.tensors.items()}
        count, height, width = moved["rgb"].shape[:3]

        def empty(value: int, *shape: int) -> Tensor:
            return torch.full((1,), value, device=device, dtype=torch.int64 if value == IGNORE else torch.float32).expand(shape)

        none = empty(0, count, 1, height, width)
        depths = {role: moved[role][:, None].float() / MILLIMETRES if role in moved else none for role in DEPTHS}
        if "teacher_relative" in moved:
            # A frame has one kind of teacher, and the other's map is 0.
            depths["teacher_depth"] = depths["teacher_depth"] + moved["teacher_relative"][:, None].float()
        return {
            "rgb": moved["rgb"].permute(0, 3, 1, 2).float() / 255,
            **depths,
            "tof_confidence": moved["tof_confidence"][:, None].float() / CERTAIN if "tof_confidence" in moved else none,
            "segmentation": moved["segmentation"].long() if "segmentation" in moved else empty(IGNORE, count, height, width),
            # Cloned, because on a CPU it is still the buffer itself.
            "has_teacher": moved[HAS_TEACHER].clone(),
        }


class Loader:
    """Batches of frames from one or more packs, for one process of a team. Close it, or use it in a `with`.

    What a batch holds is a function of (seed, epoch, position in the epoch) and the frame alone: not of threads, processes, ranks, or
    where the epoch was entered.
    """

    def __init__(
        self,
        parts: Sequence[Selection],
        augmentation: Callable[[], Augment],
        seed: int,
        threads: int = 1,
        *,
        processes: int = 0,
    ) -> None:
        """Take the selections in the stage's order; all have one size.

        `augmentation` makes an augmentation; every thread or process makes its own, because it keeps random state. As many batches
        are prepared ahead as there are `threads`, or `processes` instead of them; with none of either, when they are asked for.
        """
        self.counts = [len(part) for part in parts]
        self.labelled: NDArray[np.bool_] = np.concatenate([part.labelled for part in parts])
        self._filler = Filler(parts, augmentation, seed)
        self._make, self._threads, self._processes = augmentation, threads, processes
        self._workers: Workers | None = None
        self._buffers: list[Buffer] = []

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, if there are any, and forget the buffers."""
        self._buffers = []
        if self._workers is not None:
            self._workers.close()
            self._workers = None

    def batches(self, order: Order, epoch: int, first: int = 0, rank: int = 0, size: int = 1) -> Iterator[Batch]:
        """This process's part (every `size`-th frame from `rank` on) of each batch of `order`, from step `first` on."""
        import cv2

        # Threads below ours would fight them for the cores.
        cv2.setNumThreads(1)
        positions = range(rank, order.shape[1], size)
        steps = iter(range(first, len(order)))
        free = deque(self._room(len(positions)))
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(self._threads) if self._threads and not self._workers else nullcontext())
            ahead: deque[tuple[Batch, Future[None] | None]] = deque()
            # Whoever leaves early must not leave anyone behind who still writes into a buffer.
            stack.callback(lambda: wait([future for _, future in ahead if future and not future.cancel()]))

            def prepare(step: int) -> None:
                places = tuple(step * order.shape[1] + position for position in positions)
                batch = Batch(free.popleft(), self._filler, order[step, rank::size], places, epoch)
                ahead.append((batch, self._start(batch, pool)))

            for step in islice(steps, max(1, len(free) - 1)):
                prepare(step)
            while ahead:
                batch, future = ahead.popleft()
                if future:
                    with _named_if_broken():
                        future.result()
                if free:
                    for step in islice(steps, 1):
                        prepare(step)
                yield batch
                free.append(batch.buffer)
                if len(free) == len(self._buffers):  # nothing was prepared ahead: there is but one buffer
                    for step in islice(steps, 1):
                        prepare(step)

    def _start(self, batch: Batch, pool: Executor | None) -> Future[None] | None:
        """Have a batch filled: by a process, by a thread, or here and now."""
        if self._workers:
            with _named_if_broken():
                return self._workers.submit(batch.buffer.number, batch.numbers, batch.positions, batch.epoch)
        if pool:
            return pool.submit(self._filler.fill, batch.buffer.arrays, batch.numbers, batch.positions, batch.epoch)
        self._filler.fill(batch.buffer.arrays, batch.numbers, batch.positions, batch.epoch)
        return None

    def _room(self, count: int) -> list[Buffer]:
        """One buffer for each thread or process and one for who computes: those of the last epoch where they fit."""
        if not self._buffers or len(self._buffers[0].arrays["rgb"]) != count:
            self.close()
            buffers = (self._processes or self._threads) + 1
            if self._processes:
                self._workers = Workers(self._filler, self._make, self._processes, buffers, count)
                room = self._workers.arrays
            else:
                room = [{name: np.empty(*each) for name, each in self._filler.shapes(count).items()} for _ in range(buffers)]
            self._buffers = [Buffer(number, arrays) for number, arrays in enumerate(room)]
        return self._buffers


@contextmanager
def _named_if_broken() -> Iterator[None]:
    """A pool that lost a process says so when it is asked for a result, or when it is given more to do."""
    try:
        yield
    except BrokenProcessPool as error:
        raise VortexError(
            "a process that prepares batches ended unexpectedly", "the machine may be out of memory: train with a smaller --batch-size"
        ) from error


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A GPU fetches while the trainer goes on, from page-locked memory that torch keeps and gives to a later batch once it was fetched."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
