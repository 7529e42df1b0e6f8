"""Teachers disagree: one class map out of structure and masks, and beside it who decided each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from models.teachers.contract import Masks, Size, TeacherError

SOURCES: Final = ("none", "geometric", "sam2")
"""Who decided a pixel: the index is the value in the source map."""

PERSON: Final = CLASSES.index("person")


@dataclass(frozen=True)
class Merged:
    """`labels` uint8 [H,W]: class ids, 255 undecided. `sources` uint8 [H,W]: indices into SOURCES, 0 exactly where `labels` is 255."""

    labels: NDArray[np.uint8]
    sources: NDArray[np.uint8]


def merge(size: Size, structure: NDArray[np.uint8] | None, masks: Masks | None) -> Merged:
    """Merge the geometric class map and the masks of one frame of `size` (H, W).

    1. A mask goes over structure: the geometry knows planes, and a table top is one.
    2. People go over everything else, whatever the scores: a person on a sofa is a person.
    3. Among masks of one rank the largest score wins a pixel that both claim.
    4. Among equal scores the earlier mask wins, so that the same input always gives the same map.
    5. Where nobody decides, the label stays 255 and the source 0.

    Raises TeacherError for shapes, class ids or scores that cannot be: a frame is refused, never labelled by accident.
    """
    labels = np.full(size, IGNORE, np.uint8)
    sources = np.zeros(size, np.uint8)
    if structure is not None:
        _check_structure(size, structure)
        decided = structure != IGNORE
        labels[decided] = structure[decided]
        sources[decided] = SOURCES.index("geometric")
    if masks is not None and len(masks.classes):
        _check_masks(size, masks)
        # Painted from the weakest to the strongest: the last paint wins. lexsort's last key is its first.
        order = np.lexsort((-np.arange(len(masks.classes)), masks.scores, masks.classes == PERSON))
        for index in order:
            labels[masks.masks[index]] = masks.classes[index]
            sources[masks.masks[index]] = SOURCES.index("sam2")
    return Merged(labels, sources)


def _check_structure(size: Size, structure: NDArray[np.uint8]) -> None:
    if structure.shape != size or structure.dtype != np.uint8:
        raise TeacherError(f"structure is {structure.dtype} {structure.shape}; wanted uint8 {size}")
    foreign = sorted({int(value) for value in np.unique(structure)} - {*range(len(CLASSES)), IGNORE})
    if foreign:
        raise TeacherError(f"structure holds class ids {foreign}; allowed: 0..{len(CLASSES) - 1} and {IGNORE}")


def _check_masks(size: Size, masks: Masks) -> None:
    number = len(masks.classes)
    if masks.masks.shape != (number, *size) or masks.masks.dtype != np.bool_ or masks.scores.shape != (number,):
        raise TeacherError(
            f"masks are {masks.masks.dtype} {masks.masks.shape} with {len(masks.scores)} scores; wanted bool {(number, *size)} and {number}"
        )
    foreign = sorted({int(value) for value in masks.classes} - set(range(len(CLASSES))))
    if foreign:
        raise TeacherError(f"masks hold class ids {foreign}; allowed: 0..{len(CLASSES) - 1}")
    if not np.isfinite(masks.scores).all():
        raise TeacherError("a mask's score is not a finite number")
