"""Batches: which frames in which order, augmented how, is a function of (seed, epoch, position) alone."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.classes import IGNORE
from pipelines.frames import Arrays, FrameArrays

Order = NDArray[np.int64]
DEPTHS = ("reference", "tof_depth", "tof_confidence", "teacher_depth")


@dataclass(frozen=True)
class Batch:
    """What the loss takes (images still uint8, channels last in memory), and the ids of its frames."""

    tensors: dict[str, Tensor]
    ids: tuple[str, ...]

    def to(self, device: torch.device) -> dict[str, Tensor]:
        """The tensors on a device, images as float in [0,1]: they travel as bytes and become floats there."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.tensors.items()}
        return moved | {"rgb": moved["rgb"].float() / 255}


def epoch_order(
    counts: Sequence[int],
    shares: Sequence[float | None],
    batch: int,
    mixing: Literal["within_batch", "alternating"],
    seed: int,
    epoch: int,
) -> Order:
    """Frame indices [steps, batch] of an epoch over datasets that are laid end to end, with `counts` frames each.

    Without shares every frame is drawn once (the last incomplete batch is left out; fewer frames than a batch make one small one).
    With shares the dataset that is largest for its share is drawn once and the others are repeated, each lap in a new order;
    `within_batch` mixes in every batch, `alternating` gives whole batches of one dataset.
    """
    if None in shares or len(counts) == 1:
        total = sum(counts)
        batch = min(batch, total)
        steps = total // batch
        return _shuffled(total, seed, epoch)[: steps * batch].reshape(steps, batch)
    parts = [share or 0.0 for share in shares]
    steps = max(1, max(int(count / (part * batch)) for count, part in zip(counts, parts, strict=True)))
    starts = np.cumsum([0, *counts[:-1]])
    streams = [_stream(count, int(start), seed, epoch, number) for number, (count, start) in enumerate(zip(counts, starts, strict=True))]
    if mixing == "within_batch":
        quotas = _quotas(parts, batch)
        rows = [[next(stream) for stream, quota in zip(streams, quotas, strict=True) for _ in range(quota)] for _ in range(steps)]
    else:
        rows = [list(islice(streams[source], batch)) for source in _turns(parts, steps)]
    return np.array(rows, dtype=np.int64)


class TrainingData:
    """The frames of a stage, as batches for one process of a team."""

    def __init__(self, parts: Sequence[FrameArrays], augmentation: Callable[[], Callable[..., Any]], seed: int, threads: int = 1) -> None:
        """Take the datasets in the stage's order.

        `augmentation` makes a function `(rgb, maps, seed) -> (rgb, maps)`; every thread makes its own, because it keeps random state.
        """
        self.parts = parts
        self.counts = [len(part) for part in parts]
        self._make, self._seed, self._threads = augmentation, seed, threads
        self._own = threading.local()

    def batches(self, order: Order, epoch: int, first: int, rank: int = 0, size: int = 1) -> Iterator[Batch]:
        """This process's part of each batch of `order`, from step `first` on, prepared ahead in threads."""
        steps = iter(range(first, len(order)))

        def prepare(step: int) -> Batch:
            positions = range(rank, order.shape[1], size)
            return self._collate([self._item(int(order[step, p]), epoch, step * order.shape[1] + p) for p in positions])

        with ThreadPoolExecutor(self._threads) as pool:
            ahead = deque(pool.submit(prepare, step) for step in islice(steps, 2 * self._threads))
            try:
                while ahead:
                    ready = ahead.popleft().result()
                    ahead.extend(pool.submit(prepare, step) for step in islice(steps, 1))
                    yield ready
            finally:
                for future in ahead:
                    future.cancel()

    def _item(self, index: int, epoch: int, position: int) -> tuple[str, Arrays]:
        if not hasattr(self._own, "augment"):
            self._own.augment = self._make()
        part, local = self._locate(index)
        arrays = self.parts[part][local]
        maps = {name: array for name, array in arrays.items() if name != "rgb"}
        # By position, not by frame: a frame that is repeated within an epoch is augmented anew each time.
        seed = int(np.random.SeedSequence([self._seed, epoch, position]).generate_state(1)[0])
        rgb, maps = self._own.augment(arrays["rgb"], maps, seed)
        return self.parts[part].frames[local].id, {"rgb": rgb, **maps}

    def _locate(self, index: int) -> tuple[int, int]:
        for part, count in enumerate(self.counts):
            if index < count:
                return part, index
            index -= count
        raise IndexError(index)

    def _collate(self, items: Sequence[tuple[str, Arrays]]) -> Batch:
        ids, arrays = zip(*items, strict=True)
        rgb = np.stack([item["rgb"] for item in arrays])
        empty = np.zeros(rgb.shape[1:3], np.float32)
        unlabelled = np.full(rgb.shape[1:3], IGNORE, np.uint8)
        tensors = {name: torch.from_numpy(np.stack([item.get(name, empty) for item in arrays])[:, None]) for name in DEPTHS}
        tensors["rgb"] = torch.from_numpy(rgb).permute(0, 3, 1, 2)
        tensors["segmentation"] = torch.from_numpy(np.stack([item.get("segmentation", unlabelled) for item in arrays])).long()
        tensors["has_teacher"] = torch.tensor(["teacher_depth" in item for item in arrays])
        return Batch(tensors, ids)


def loader_threads(device: str) -> int:
    """Threads that prepare batches: one beside a CPU that trains, up to eight to feed a GPU."""
    return 1 if device == "cpu" else min(8, os.cpu_count() or 1)


def _shuffled(count: int, *key: int) -> Order:
    return np.random.default_rng(list(key)).permutation(count).astype(np.int64)


def _stream(count: int, start: int, seed: int, epoch: int, number: int) -> Iterator[int]:
    lap = 0
    while True:
        yield from (_shuffled(count, seed, epoch, number, lap) + start).tolist()
        lap += 1


def _quotas(parts: Sequence[float], batch: int) -> list[int]:
    """Whole numbers that sum to `batch`, as near to the shares as can be (largest remainder)."""
    exact = [part * batch for part in parts]
    quotas = [int(value) for value in exact]
    by_remainder = sorted(range(len(parts)), key=lambda index: quotas[index] - exact[index])
    for index in by_remainder[: batch - sum(quotas)]:
        quotas[index] += 1
    return quotas


def _turns(parts: Sequence[float], steps: int) -> list[int]:
    """Which dataset each batch comes from: always the one that is furthest behind its share."""
    given, turns = [0] * len(parts), []
    for step in range(1, steps + 1):
        source = max(range(len(parts)), key=lambda index: parts[index] * step - given[index])
        given[source] += 1
        turns.append(source)
    return turns
