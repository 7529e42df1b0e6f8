from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.classes import CLASSES, IGNORE
from models.teachers.contract import Masks, TeacherError
from models.teachers.merge import SOURCES, merge

SIZE = (5, 7)
PERSON, FURNITURE, OTHER, WALL = (CLASSES.index(name) for name in ("person", "furniture", "other", "wall"))
structures = arrays(np.uint8, SIZE, elements=st.sampled_from([0, 1, 2, 5, IGNORE]))


@st.composite
def some_masks(draw: st.DrawFn) -> Masks:
    number = draw(st.integers(0, 6))
    return Masks(
        draw(arrays(np.bool_, (number, *SIZE))),
        draw(arrays(np.uint8, number, elements=st.sampled_from([PERSON, FURNITURE, OTHER]))),
        # Few values, so that ties are common.
        draw(arrays(np.float32, number, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))),
    )


def one(masks: list[np.ndarray], classes: list[int], scores: list[float]) -> Masks:
    return Masks(np.array(masks, bool), np.array(classes, np.uint8), np.array(scores, np.float32))


@given(st.one_of(st.none(), structures), st.one_of(st.none(), some_masks()))
def test_every_pixel_is_what_the_rules_say_one_pixel_at_a_time(structure: np.ndarray | None, masks: Masks | None) -> None:
    merged = merge(SIZE, structure, masks)
    assert merged.labels.dtype == merged.sources.dtype == np.uint8 and merged.labels.shape == merged.sources.shape == SIZE
    for at in np.ndindex(SIZE):
        best: tuple[bool, float, int] | None = None
        for index in range(len(masks.classes) if masks else 0):
            assert masks is not None
            if masks.masks[(index, *at)]:
                claim = (bool(masks.classes[index] == PERSON), float(masks.scores[index]), -index)
                best = claim if best is None else max(best, claim)
        if best is not None:
            assert masks is not None
            assert (merged.labels[at], SOURCES[merged.sources[at]]) == (masks.classes[-best[2]], "sam2")
        elif structure is not None and structure[at] != IGNORE:
            assert (merged.labels[at], SOURCES[merged.sources[at]]) == (structure[at], "geometric")
        else:
            assert (merged.labels[at], SOURCES[merged.sources[at]]) == (IGNORE, "none")


@given(structures, some_masks(), st.randoms())
def test_the_order_of_masks_matters_for_ties_alone(structure: np.ndarray, masks: Masks, random) -> None:
    scores = np.linspace(0.1, 0.9, len(masks.scores), dtype=np.float32)
    order = np.array(random.sample(range(len(scores)), len(scores)), int)
    before = merge(SIZE, structure, Masks(masks.masks, masks.classes, scores))
    after = merge(SIZE, structure, Masks(masks.masks[order], masks.classes[order], scores[order]))
    assert (before.labels == after.labels).all() and (before.sources == after.sources).all()


def test_inputs_are_left_as_they_were() -> None:
    structure = np.full(SIZE, WALL, np.uint8)
    masks = one([np.ones(SIZE)], [PERSON], [0.5])
    merge(SIZE, structure, masks)
    assert (structure == WALL).all() and masks.masks.all()


def test_a_person_on_a_sofa_is_a_person_and_the_sofa_goes_over_the_wall() -> None:
    person, sofa = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    person[1:3, 2:4] = True
    sofa[1:, 1:] = True
    merged = merge(SIZE, np.full(SIZE, WALL, np.uint8), one([person, sofa], [PERSON, FURNITURE], [0.26, 0.99]))
    assert (merged.labels[person] == PERSON).all() and (merged.labels[sofa & ~person] == FURNITURE).all()
    assert (merged.labels[~sofa] == WALL).all() and (merged.sources == np.where(sofa, 2, 1)).all()


def test_the_earlier_of_two_equal_masks_wins() -> None:
    both = one([np.ones(SIZE), np.ones(SIZE)], [OTHER, FURNITURE], [0.5, 0.5])
    assert (merge(SIZE, None, both).labels == OTHER).all()


@pytest.mark.parametrize(
    ("structure", "masks", "says"),
    [
        (np.zeros((7, 5), np.uint8), None, "wanted uint8"),
        (np.zeros(SIZE, np.int64), None, "wanted uint8"),
        (np.full(SIZE, 6, np.uint8), None, r"class ids \[6\]"),
        (None, one([np.ones((7, 5))], [PERSON], [0.5]), "wanted bool"),
        (None, Masks(np.ones((1, *SIZE), np.uint8), np.array([3], np.uint8), np.ones(1, np.float32)), "wanted bool"),  # type: ignore[arg-type]
        (None, one([np.ones(SIZE)], [PERSON], [0.5, 0.5]), "wanted bool"),
        (None, one([np.ones(SIZE)], [IGNORE], [0.5]), r"class ids \[255\]"),
        (None, one([np.ones(SIZE)], [PERSON], [np.nan]), "not a finite number"),
    ],
)
def test_what_cannot_be_is_refused(structure: np.ndarray | None, masks: Masks | None, says: str) -> None:
    with pytest.raises(TeacherError, match=says):
        merge(SIZE, structure, masks)
