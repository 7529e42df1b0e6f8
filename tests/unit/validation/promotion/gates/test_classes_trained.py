from __future__ import annotations

import pytest

from validation.promotion.evidence import TrainedClasses
from validation.promotion.gates.classes_trained import ClassesTrained, judge

RULE = ClassesTrained(check="classes-trained")
PIXELS = {"floor": 1200, "wall": 40, "glass": 0, "person": 0, "furniture": 3, "other": 0}


@pytest.mark.parametrize(
    ("required", "pixels", "answer", "passed"),
    [
        ((), None, "none required", True),
        (("floor", "wall"), PIXELS, "floor 1,200 pixels, wall 40 pixels", True),
        (("floor", "glass"), PIXELS, "floor 1,200 pixels, glass 0 pixels", False),
        (("glass",), None, "its labelled pixels were not counted: train it again", False),
    ],
)
def test_required_classes_must_have_been_trained(
    required: tuple[str, ...], pixels: dict[str, int] | None, answer: str, passed: bool
) -> None:
    check = judge(RULE, TrainedClasses(required, pixels))
    assert check.asked == f"trained on the classes that the domain requires: {', '.join(required) or 'none'}"
    assert (check.found, check.passed) == (answer, passed)
