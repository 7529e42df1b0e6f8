"""What only shows across frames: copies of one picture, and splits that are not apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

HELD_OUT = ("val", "test")


class Placed(NamedTuple):
    """Where a frame belongs, and the hash of its picture (None when it could not be read)."""

    id: str
    split: str
    sequence: str
    content: str | None


def copies(frames: Sequence[Placed]) -> list[str | None]:
    """For each frame, the id of an earlier frame of its own split with the same picture."""
    first: dict[tuple[str, str], str] = {}
    found: list[str | None] = []
    for frame in frames:
        if frame.content is None:
            found.append(None)
            continue
        original = first.setdefault((frame.split, frame.content), frame.id)
        found.append(None if original == frame.id else original)
    return found


def leaks(frames: Sequence[Placed]) -> list[str | None]:
    """For each held-out frame (val, test), the id of a training frame with the same picture."""
    trained = {frame.content: frame.id for frame in frames if frame.split == "train" and frame.content}
    return [trained.get(frame.content) if frame.split in HELD_OUT and frame.content else None for frame in frames]


def interleaved(frames: Sequence[Placed], gap_steps: int) -> list[str | None]:
    """For each held-out frame that lies inside the training part of its own sequence, without a gap, its training neighbour's id.

    Neighbouring frames of one stream are almost one picture. A sequence is ordered by the numbers in its ids; training frames must
    lie both before and after the held-out frame, and touch its block: no frame of split `gap` between, and no jump in the numbers
    of more than `gap_steps` of the sequence's usual steps.
    """
    sequences: dict[str, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        sequences[frame.sequence].append(index)
    found: list[str | None] = [None] * len(frames)
    for members in sequences.values():
        members.sort(key=lambda index: _natural(frames[index].id))
        for block, before, after in _held_out_blocks(frames, members):
            if before is None or after is None:
                continue
            step = _usual_step(frames, members)
            edges = [(before, block[0]), (after, block[-1])]
            near = [frames[train].id for train, edge in edges if _touch(frames, members, train, edge, step * gap_steps)]
            for position in block if near else ():
                found[members[position]] = near[0]
    return found


def _held_out_blocks(frames: Sequence[Placed], members: list[int]) -> list[tuple[list[int], int | None, int | None]]:
    """Runs of held-out positions between training frames, each with the positions of the training frames before and after it."""
    blocks: list[tuple[list[int], int | None, int | None]] = []
    block: list[int] = []
    before: int | None = None
    for position, index in enumerate(members):
        if frames[index].split in HELD_OUT:
            block.append(position)
        elif frames[index].split == "train":
            if block:
                blocks.append((block, before, position))
            block, before = [], position
    return blocks


def _touch(frames: Sequence[Placed], members: list[int], train: int, edge: int, gap: float) -> bool:
    if abs(train - edge) > 1:
        return False
    one, other = _number(frames[members[train]].id), _number(frames[members[edge]].id)
    return one is None or other is None or abs(one - other) <= gap


def _usual_step(frames: Sequence[Placed], members: list[int]) -> float:
    numbers = [number for index in members if (number := _number(frames[index].id)) is not None]
    steps = [after - before for before, after in pairwise(numbers) if after > before]
    return median(steps) if steps else 1.0


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key that puts frame-9 before frame-10."""
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in re.split(r"(\d+)", text) if part]


def _number(text: str) -> int | None:
    """The number that an id ends in (a frame number or a time stamp), if it has one."""
    numbers = re.findall(r"\d+", text)
    return int(numbers[-1]) if numbers else None
