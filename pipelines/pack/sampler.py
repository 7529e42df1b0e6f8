"""Which frames in which order: a function of (seed, epoch) alone, whatever the number of threads or workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.machine import cores
from pipelines.pack.reading import Order

Mixing = Literal["within_batch", "alternating"]
MOST_PROCESSES = 8
"""That prepare batches for one GPU: more of them were never needed."""
_LABELS = 1
"""Tells the random stream that places labelled frames from those that shuffle."""


class Sampler:
    """The order of a stage's frames, epoch by epoch: where in an epoch a training stands is for the loader.

    `counts` frames of each dataset are laid end to end, `shares` are their parts of a batch. With `labelled_per_batch` every batch
    holds at least so many frames with labels; `labelled` says which have any.
    """

    def __init__(
        self,
        counts: Sequence[int],
        shares: Sequence[float | None],
        batch: int,
        mixing: Mixing,
        seed: int,
        *,
        labelled: NDArray[np.bool_] | None = None,
        labelled_per_batch: int = 0,
    ) -> None:
        self._counts, self._shares, self._batch, self._mixing, self._seed = tuple(counts), tuple(shares), batch, mixing, seed
        self._labelled, self._labelled_per_batch = labelled, labelled_per_batch
        self._newest: tuple[int, Order] | None = None

    def order(self, epoch: int) -> Order:
        """Frame numbers [steps, batch] of an epoch (from 0)."""
        if self._newest is None or self._newest[0] != epoch:
            order = epoch_order(self._counts, self._shares, self._batch, self._mixing, self._seed, epoch)
            if self._labelled_per_batch and self._labelled is not None:
                # Datasets with parts of their own keep them: a labelled frame takes the place of one of its own dataset.
                pools = self._counts if apart(self._shares, self._mixing) else (sum(self._counts),)
                order = with_labels(order, self._labelled, self._labelled_per_batch, pools, self._seed, epoch)
            self._newest = (epoch, order)
        return self._newest[1]


def epoch_order(counts: Sequence[int], shares: Sequence[float | None], batch: int, mixing: Mixing, seed: int, epoch: int) -> Order:
    """Frame numbers [steps, batch] of an epoch over datasets that are laid end to end, with `counts` frames each.

    Without shares every frame is drawn once (the last incomplete batch is left out; fewer frames than a batch make one small one).
    With shares the dataset that is largest for its share is drawn once and the others are repeated, each lap in a new order;
    `within_batch` mixes in every batch, `alternating` gives whole batches of one dataset, without shares by their sizes.
    """
    if not apart(shares, mixing):
        total = sum(counts)
        batch = min(batch, total)
        steps = total // batch
        return _shuffled(total, seed, epoch)[: steps * batch].reshape(steps, batch)
    parts, steps = _parts(counts, shares, batch)
    starts = np.cumsum([0, *counts[:-1]])
    streams = [_stream(count, int(start), seed, epoch, number) for number, (count, start) in enumerate(zip(counts, starts, strict=True))]
    if mixing == "within_batch":
        quotas = share_quotas(parts, batch)
        rows = [[next(stream) for stream, quota in zip(streams, quotas, strict=True) for _ in range(quota)] for _ in range(steps)]
    else:
        rows = [list(islice(streams[source], batch)) for source in _turns(parts, steps)]
    return np.array(rows, dtype=np.int64)


def frames_drawn(counts: Sequence[int], shares: Sequence[float | None], batch: int, mixing: Mixing) -> list[int]:
    """How many frames an epoch takes from each dataset, repeated ones included; 0 is a dataset that is never heard, in no epoch."""
    if not apart(shares, mixing):
        return list(counts)
    parts, steps = _parts(counts, shares, batch)
    if mixing == "within_batch":
        return [steps * quota for quota in share_quotas(parts, batch)]
    turns = _turns(parts, steps)
    return [batch * turns.count(source) for source in range(len(counts))]


def apart(shares: Sequence[float | None], mixing: Mixing) -> bool:
    """Whether the datasets of a stage have parts of its batches to themselves; otherwise they are laid end to end and drawn as one."""
    return len(shares) > 1 and (None not in shares or mixing == "alternating")


def with_labels(order: Order, labelled: NDArray[np.bool_], least: int, pools: Sequence[int], seed: int, epoch: int) -> Order:
    """`order` with at least `least` labelled frames in every batch.

    Batches that have too few swap unlabelled frames for labelled ones of batches that have more than they need, so that every frame
    is still drawn as often as before. Only when those run out are labelled frames repeated, each lap in a new order, and frames
    without labels give up their place for this epoch. Frames are exchanged within a pool alone (`pools` are their sizes, laid end to
    end). A batch none of whose pools has labels stays as it is: the plan refuses such stages beforehand.
    """
    order = order.copy()
    bounds = np.cumsum([0, *pools])
    pool_of = np.searchsorted(bounds, order, side="right") - 1
    random = np.random.default_rng([seed, epoch, _LABELS])
    # Spare labelled frames of each pool, in random order: which ones move must not depend on where in the epoch they stand.
    spare: dict[int, list[tuple[int, int]]] = {pool: [] for pool in range(len(pools))}
    have = labelled[order].sum(axis=1)
    for row in np.flatnonzero(have > least):
        for column in random.permutation(np.flatnonzero(labelled[order[row]]))[least:]:
            spare[int(pool_of[row, column])].append((int(row), int(column)))
    for places in spare.values():
        random.shuffle(places)
    own = {pool: np.flatnonzero(labelled[bounds[pool] : bounds[pool + 1]]) + bounds[pool] for pool in range(len(pools))}
    again = {pool: _laps(frames, seed, epoch, _LABELS, pool) for pool, frames in own.items() if len(frames)}
    for row in np.flatnonzero(have < least):
        for column in np.flatnonzero(~labelled[order[row]]):
            pool = int(pool_of[row, column])
            if labelled[order[row]].sum() >= least:
                break
            if spare[pool]:
                place = spare[pool].pop()
                order[row, column], order[place] = order[place], order[row, column]
            elif pool in again:
                order[row, column] = next(again[pool])
    return order


def loader_processes(device: str, local: int = 1) -> int:
    """Processes that prepare batches: none beside a CPU that trains (one thread keeps up), up to eight to feed each GPU of a team."""
    return 0 if device == "cpu" else max(1, min(MOST_PROCESSES, cores() // local - 1))


def share_quotas(parts: Sequence[float], batch: int) -> list[int]:
    """Whole numbers that sum to `batch`, as near to the shares as can be (largest remainder)."""
    exact = [part * batch for part in parts]
    quotas = [int(value) for value in exact]
    by_remainder = sorted(range(len(parts)), key=lambda index: quotas[index] - exact[index])
    for index in by_remainder[: batch - sum(quotas)]:
        quotas[index] += 1
    return quotas


def _parts(counts: Sequence[int], shares: Sequence[float | None], batch: int) -> tuple[list[float], int]:
    """Each dataset's part of the batches, by its share or its size, and the steps of an epoch: enough whole batches for the largest."""
    total = sum(counts)
    parts = [count / total if share is None else share for count, share in zip(counts, shares, strict=True)]
    return parts, max(1, max(int(count / (part * batch)) for count, part in zip(counts, parts, strict=True) if part))


def _shuffled(count: int, *key: int) -> Order:
    return np.random.default_rng(list(key)).permutation(count).astype(np.int64)


def _stream(count: int, start: int, seed: int, epoch: int, number: int) -> Iterator[int]:
    return _laps(np.arange(start, start + count), seed, epoch, number)


def _laps(frames: NDArray[np.int64], *key: int) -> Iterator[int]:
    """The frames again and again, each lap in a new order."""
    lap = 0
    while True:
        yield from frames[_shuffled(len(frames), *key, lap)].tolist()
        lap += 1


def _turns(parts: Sequence[float], steps: int) -> list[int]:
    """Which dataset each batch comes from: always the one that is furthest behind its share."""
    drawn, turns = [0] * len(parts), []
    for step in range(1, steps + 1):
        source = max(range(len(parts)), key=lambda index: parts[index] * step - drawn[index])
        drawn[source] += 1
        turns.append(source)
    return turns
