from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.data.datasets import DataRef
from pipelines.evaluate.protocol import protocol
from registry.records import is_exam

REF = DataRef("rooms", Path("m"), Path("."), "rooms", "room", "0" * 64, None)
OUTSIDE = DataRef("outside:rooms", Path("m"), Path("."), "rooms", "room", "0" * 64, None)
MIXED = ["train"] * 4 + ["val"] * 12 + ["test"] * 3


@pytest.mark.parametrize(
    ("base", "ref", "splits", "split", "measured", "options", "expected"),
    [
        ("val-pooled-10m/1", REF, MIXED, "val", 12, {}, "val-pooled-10m/1"),
        ("val-pooled-10m/1+tof", REF, MIXED, "val", 12, {}, "val-pooled-10m/1+tof"),
        ("test-pooled-10m/1", REF, ["test"] * 3, "test", 3, {}, "test-pooled-10m/1"),
        ("val-pooled-10m/1", REF, MIXED, "val", 2, {}, "val[2 of 12]-pooled-10m/1"),
        ("train-pooled-10m/1", REF, MIXED, "train", 4, {}, "train-pooled-10m/1"),
        ("test-pooled-10m/1", REF, MIXED, "test", 3, {}, "test+other-splits-pooled-10m/1"),
        ("val-pooled-10m/1", REF, MIXED, "val", 12, {"validated": False}, "val-pooled-10m/1+unvalidated"),
        ("val-pooled-10m/1", OUTSIDE, MIXED, "val", 12, {}, "val-pooled-10m/1+outside"),
        ("val-pooled-10m/1", REF, MIXED, "val", 12, {"truth_size": (64, 96)}, "val-pooled-10m/1+at-64x96"),
        ("val-pooled-10m/1+tof", OUTSIDE, MIXED, "val", 2, {"validated": False}, "val[2 of 12]-pooled-10m/1+tof+unvalidated+outside"),
    ],
)
def test_only_a_whole_held_out_split_that_passed_is_an_exam(
    base: str, ref: DataRef, splits: list[str], split: str, measured: int, options: dict[str, Any], expected: str
) -> None:
    name = protocol(base, ref, splits, split, measured, **{"validated": True, **options})
    assert name == expected
    assert is_exam(name) is (expected in {"val-pooled-10m/1", "val-pooled-10m/1+tof", "test-pooled-10m/1"})
