"""Other people's class ids become Vortex's six, one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.classes import CLASSES, IGNORE
from pipelines.ingest.taxonomies import NYU40, SUN37, look_up, refuse_thirteen, six_of_nyu40, table_37, table_40, table_894
from validation.headers import FrameFileError

EXPECTED = {
    "void": None,
    "wall": "wall",
    "floor": "floor",
    "cabinet": "furniture",
    "bed": "furniture",
    "chair": "furniture",
    "sofa": "furniture",
    "table": "furniture",
    "door": "wall",
    "window": "glass",
    "bookshelf": "furniture",
    "picture": "wall",
    "counter": "furniture",
    "blinds": "other",
    "desk": "furniture",
    "shelves": "furniture",
    "curtain": "other",
    "dresser": "furniture",
    "pillow": "other",
    "mirror": "glass",
    "floor mat": "floor",
    "clothes": "other",
    "ceiling": "other",
    "books": "other",
    "refrigerator": "furniture",
    "television": "other",
    "paper": "other",
    "towel": "other",
    "shower curtain": "other",
    "box": "other",
    "whiteboard": "wall",
    "person": "person",
    "night stand": "furniture",
    "toilet": "other",
    "sink": "other",
    "lamp": "other",
    "bathtub": "other",
    "bag": "other",
    "other structure": "other",
    "other furniture": "furniture",
    "other prop": "other",
}
"""Written out a second time, by name."""
IDENTITY = np.minimum(np.arange(1, 895), 40)


def number(name: str | None) -> int:
    return IGNORE if name is None else CLASSES.index(name)


@pytest.mark.parametrize("identity", range(41))
def test_every_class_of_nyu40(identity: int) -> None:
    wanted = number(EXPECTED[NYU40[identity]])
    assert six_of_nyu40(identity) == table_40()[identity] == wanted
    if identity < 38:
        assert table_37()[identity] == wanted


def test_the_published_ids() -> None:
    found = {name: {index for index, own in enumerate(table_40()) if own == CLASSES.index(name)} for name in CLASSES}
    assert found["floor"] == {2, 20} and found["wall"] == {1, 8, 11, 30} and found["glass"] == {9, 19} and found["person"] == {31}
    assert found["furniture"] == {3, 4, 5, 6, 7, 10, 12, 14, 15, 17, 24, 32, 39}
    assert list(EXPECTED) == list(NYU40) and SUN37[-1] == "bag" and len(SUN37) == 38


def test_all_894_labels_go_through_the_40() -> None:
    mapping = np.resize(np.arange(1, 41), 894)
    table = table_894(mapping)
    for label in range(895):
        wanted = IGNORE if label == 0 else CLASSES.index("glass") if label == 412 else six_of_nyu40(int(mapping[label - 1]))
        assert table[label] == wanted, label
    assert six_of_nyu40(int(mapping[411])) != CLASSES.index("glass"), "or the override would be untested"


def test_thirteen_classes_never_give_a_person() -> None:
    with pytest.raises(ValueError, match="13-class map, which has no person"):
        table_894(IDENTITY % 13 + 1)
    with pytest.raises(ValueError, match="13-class"):
        refuse_thirteen(13)
    refuse_thirteen(14)
    assert CLASSES.index("person") not in look_up(Path("m.png"), np.arange(14), table_40())


@pytest.mark.parametrize("mapping", [IDENTITY[:-1], IDENTITY + 1, IDENTITY - 1, IDENTITY + 0.5, np.array(["wall"] * 894)])
def test_what_is_no_mapping_is_refused(mapping: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        table_894(mapping)


def test_unknown_ids_are_refused_not_wrapped() -> None:
    assert six_of_nyu40(40) == CLASSES.index("other")
    for unknown in (-1, 41):
        with pytest.raises(ValueError, match="0 to 40"):
            six_of_nyu40(unknown)
        with pytest.raises(FrameFileError, match=r"m\.png: found class ids"):
            look_up(Path("m.png"), np.array([[0, unknown]]), table_40())
    with pytest.raises(FrameFileError, match="whole numbers"):
        look_up(Path("m.png"), np.array([[0.0]]), table_40())
    assert look_up(Path("m.png"), np.array([[0, 38]], np.uint16), table_40()).dtype == np.uint8
