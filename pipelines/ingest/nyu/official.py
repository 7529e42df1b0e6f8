"""NYU's official splits, and the validation part that they lack."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pipelines.ingest.nyu.matlab import read_variables

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from validation.rows import Split

VALIDATION: Final = 10
"""Percent of a room kind's training frames that its last scenes must hold before no more are taken."""
_VARIABLES: Final = {"train": "trainNdxs", "test": "testNdxs"}
_Part = Literal["train", "test"]


def official_splits(path: Path, total: int, faults: list[str]) -> dict[int, _Part]:
    """The part of each frame, by its index from 0; the file counts from 1. `total` 0 leaves the range unchecked."""
    variables = read_variables(path, tuple(_VARIABLES.values()), "the official train and test frames", faults)
    if variables is None:
        return {}
    parts: dict[int, _Part] = {}
    for part, variable in _VARIABLES.items():
        numbers = _whole(variables[variable])
        if numbers is None or not numbers:
            faults.append(f"{path.name}: {variable} holds no whole numbers, allowed: frame numbers from 1")
            continue
        if min(numbers) < 1 or (total and max(numbers) > total):
            counted = "; it seems to count from 0" if min(numbers) == 0 else ""
            faults.append(f"{path.name}: {variable} runs from {min(numbers)} to {max(numbers)}, allowed: 1 to {total}{counted}")
            continue
        twice = sum(number - 1 in parts for number in numbers) + len(numbers) - len(set(numbers))
        if twice:
            faults.append(f"{path.name}: {twice} frames of {variable} are in a split already, allowed: each frame once")
        parts.update((number - 1, "train" if part == "train" else "test") for number in numbers)
    return parts


def with_validation(parts: Mapping[int, _Part], scenes: Sequence[str]) -> dict[int, Split]:
    """Test frames stay test; of the training frames, the last scenes of each kind of room become validation.

    Scenes are named `kitchen_0004`: the kind is the name without its number. Each kind gives whole scenes until they hold
    `VALIDATION` percent of its frames, and keeps at least one for training. Without scene names (all are empty), or with a single
    scene of each kind, the last frames in the file's order are taken, after a gap of two percent.
    """
    splits: dict[int, Split] = dict(parts)
    training = sorted(index for index, part in parts.items() if part == "train")
    kinds: dict[str, dict[str, list[int]]] = {}
    for index in training:
        kinds.setdefault(re.sub(r"_[0-9]+[a-z]?$", "", scenes[index]), {}).setdefault(scenes[index], []).append(index)
    for members in kinds.values():
        share = sum(map(len, members.values())) * VALIDATION / 100
        frames = 0
        for scene in sorted(members)[:0:-1]:
            if frames >= share:
                break
            frames += len(members[scene])
            splits.update(dict.fromkeys(members[scene], "val"))
    if training and "val" not in splits.values():
        count = max(1, len(training) * VALIDATION // 100)
        gap = len(training) * 2 // 100
        splits.update(dict.fromkeys(training[len(training) - count - gap :], "gap"))
        splits.update(dict.fromkeys(training[-count:], "val"))
    return splits


def _whole(values: NDArray[Any]) -> list[int] | None:
    import numpy as np

    flat = np.asarray(values).ravel()
    if flat.dtype.kind not in "uif" or not bool((flat == np.rint(flat)).all()):
        return None
    return [int(value) for value in flat]
