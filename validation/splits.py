"""What only shows across frames: copies of one picture, and splits that are not apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from core.stream_order import stream_key, stream_numbers

Indices = NDArray[np.intp]
Names = NDArray[np.object_]
HELD_OUT = ("val", "test")


class Placed(NamedTuple):
    """Where a frame of a sequence belongs."""

    id: str
    split: str
    number: float | None
    """What the id ends in, a frame number or a time stamp."""


def copies(split: NDArray[Any], content: NDArray[np.uint64]) -> Indices:
    """For each frame, the first earlier frame of its own split with the same picture, or -1. `content` 0 is a picture not read."""
    originals = np.full(len(content), -1, np.intp)
    for name in set(split):
        members = np.flatnonzero((split == name) & (content != 0))
        _, first, inverse = np.unique(content[members], return_index=True, return_inverse=True)
        original = members[first][inverse]
        originals[members] = np.where(original == members, -1, original)
    return originals


def leaks(split: NDArray[Any], content: NDArray[np.uint64]) -> Indices:
    """For each held-out frame (val, test), a training frame with the same picture, or -1."""
    originals = np.full(len(content), -1, np.intp)
    trained = np.flatnonzero((split == "train") & (content != 0))
    held_out = np.flatnonzero(np.isin(split, HELD_OUT) & (content != 0))
    if len(trained) and len(held_out):
        order = trained[np.argsort(content[trained], kind="stable")]
        place = np.minimum(np.searchsorted(content[order], content[held_out]), len(order) - 1)
        originals[held_out] = np.where(content[order[place]] == content[held_out], order[place], -1)
    return originals


def interleaved(ids: Names, split: NDArray[Any], sequence: NDArray[Any], gap_steps: int) -> Indices:
    """For each held-out frame that lies inside the training part of its own sequence, without a gap, its training neighbour, or -1.

    Neighbouring frames of one stream are almost one picture. A sequence is ordered by the numbers in its ids; training frames must
    lie both before and after the held-out frame, and touch its block: no frame of split `gap` between, and no jump in the numbers
    of more than `gap_steps` of the sequence's usual steps.
    """
    neighbours = np.full(len(ids), -1, np.intp)
    by_sequence = np.argsort(sequence, kind="stable")
    bounds = np.flatnonzero(np.diff(sequence[by_sequence])) + 1
    for part in np.split(by_sequence, bounds):
        kinds = set(split[part])
        if "train" not in kinds or not kinds & set(HELD_OUT):
            continue
        names = [str(ids[index]) for index in part]
        order = stream_key(names)
        placed = sorted(zip(names, part.tolist(), stream_numbers(names), strict=True), key=lambda frame: order(frame[0]))
        members = [index for _, index, _ in placed]
        frames = [Placed(name, str(split[index]), None if number is None else float(number)) for name, index, number in placed]
        step: float | None = None
        for block, before, after in _held_out_blocks(frames):
            if before is None or after is None:
                continue
            step = _usual_step(frames) if step is None else step
            edges = [(before, block[0]), (after, block[-1])]
            near = [train for train, edge in edges if _touch(frames, train, edge, step * gap_steps)]
            for position in block if near else ():
                neighbours[members[position]] = members[near[0]]
    return neighbours


def _held_out_blocks(frames: Sequence[Placed]) -> list[tuple[list[int], int | None, int | None]]:
    """Runs of held-out positions between training frames, each with the positions of the training frames before and after it."""
    blocks: list[tuple[list[int], int | None, int | None]] = []
    block: list[int] = []
    before: int | None = None
    for position, frame in enumerate(frames):
        if frame.split in HELD_OUT:
            block.append(position)
        elif frame.split == "train":
            if block:
                blocks.append((block, before, position))
            block, before = [], position
    return blocks


def _touch(frames: Sequence[Placed], train: int, edge: int, gap: float) -> bool:
    if abs(train - edge) > 1:
        return False
    train_number, edge_number = frames[train].number, frames[edge].number
    return train_number is None or edge_number is None or abs(train_number - edge_number) <= gap


def _usual_step(frames: Sequence[Placed]) -> float:
    numbers = [frame.number for frame in frames if frame.number is not None]
    steps = [after - before for before, after in pairwise(numbers) if after > before]
    return median(steps) if steps else 1.0
