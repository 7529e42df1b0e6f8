from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError
from pipelines.data.datasets import DataRef
from pipelines.protocol import NAMED, pools_images, protocol_id, protocol_of, split_of
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
        ("val-pooled-10m/1+align-median", REF, MIXED, "val", 12, {}, "val-pooled-10m/1+align-median"),
        ("val-pooled-10m/1+onnx", REF, MIXED, "val", 12, {}, "val-pooled-10m/1+onnx"),
        ("nyu654-eigen/1", REF, ["train"] * 795 + ["test"] * 654, "test", 654, {}, "nyu654-eigen/1"),
        ("nyu654-eigen/1+tta-flip", REF, MIXED, "test", 3, {}, "nyu654-eigen[3 of 654]/1+tta-flip"),
        ("lineage-val/1", OUTSIDE, MIXED, "val", 12, {"validated": False}, "lineage-val/1+unvalidated+outside"),
    ],
)
def test_only_a_whole_held_out_split_that_passed_is_an_exam(
    base: str, ref: DataRef, splits: list[str], split: str, measured: int, options: dict[str, Any], expected: str
) -> None:
    name = protocol_id(base, ref, splits, split, measured, **{"validated": True, **options})
    assert name == expected
    assert is_exam(name) is (expected in {"val-pooled-10m/1", "val-pooled-10m/1+tof", "test-pooled-10m/1"})


def test_every_word_of_a_protocol_is_in_its_id() -> None:
    words = [
        {"align": align, "tta": tta, "runtime": runtime}
        for align in ("raw", "median", "logls")
        for tta in ("none", "flip")
        for runtime in ("torch", "onnx")
    ]
    ids = {protocol_of(name, **options).base("val", "reference") for name in (None, *NAMED) for options in words}
    assert len(ids) == len(words) * (1 + len(NAMED))
    assert [name for name in ids if is_exam(name)] == ["val-pooled-10m/1"]
    assert protocol_of("nyu654-eigen").base("test", "reference") == "nyu654-eigen/1"
    assert (split_of("nyu654-eigen/1+onnx"), split_of("test-pooled-10m/1")) == ("test", "test")
    assert pools_images("nyu654-eigen[3 of 654]/1+onnx") and not pools_images("lineage-val/1") and not pools_images("val-pooled-10m/1")


def test_words_that_are_none_are_refused() -> None:
    for options, message in (
        ({"name": "nyu"}, "unknown protocol 'nyu', allowed: nyu654-eigen, lineage-val, femto459-da3"),
        ({"align": "affine"}, "unknown align 'affine', allowed: raw, median, logls"),
        ({"tta": "scale"}, "unknown tta 'scale', allowed: none, flip"),
        ({"split": "gap"}, "unknown split 'gap'"),
        ({"runtime": "trt"}, "unknown runtime 'trt', allowed: torch, onnx"),
        ({"name": "nyu654-eigen", "split": "val"}, "--split val, but nyu654-eigen measures on test"),
    ):
        with pytest.raises(UsageError, match=message):
            protocol_of(**options)  # type: ignore[arg-type]
