"""Everything the data gate can ask, by name: which column of the table it looks at, and what the bounds of a kind say there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from core.classes import CLASSES, IGNORE
from validation.policies import Bounds, DataPolicy, Kind, MapBounds, load_policies

if TYPE_CHECKING:
    import pandas as pd

MAPS: Final = ("depth", "tof", "teacher")
NO_BOUNDS: Final = Bounds()
DRIFT: Final = ("drift-depth", "drift-brightness", "drift-blur", "drift-classes", "drift-intrinsics")
"""Asked of a delivery whose domain has a reference (`validation.profile`)."""


@dataclass(frozen=True)
class Question:
    """One named check over one column.

    `empty`: the column holds reasons, and at most `share` of the frames may have one; `contains`: it must hold these `values`;
    `between`: its numbers keep the `bounds`, shown in `unit`; `means`: the means of `columns` keep `ranges`.
    """

    name: str
    column: str
    asked: str
    form: Literal["empty", "contains", "between", "means"] = "empty"
    bounds: Bounds = NO_BOUNDS
    unit: str = ""
    values: tuple[str, ...] = ()
    share: float = 0.0
    ranges: tuple[tuple[float, float], ...] = ()

    def applies(self, table: pd.DataFrame) -> bool:
        """A bound on a map that no frame has, or on labels that none declares, is no question; nor is a bound that is not set."""
        if self.form == "between":
            return bool(table[self.column].notna().any()) and self.bounds != NO_BOUNDS
        if self.form == "means":
            return bool(table[self.column].notna().any())
        if self.column in ("labels", "unlabelled", "blank"):
            return bool((table["supervision"] != "none").any())
        if self.column in ("implausible", "differs"):
            return bool(table["fx"].notna().any())
        if self.column == "relative":
            return bool(table["teacher_bad"].notna().any())
        return True


def questions(kind: Kind, policy: DataPolicy, *, evaluation: bool = False) -> Iterator[Question]:
    """Every question, in the order it is reported; of an `evaluation` set no training frames are asked."""
    splits: tuple[str, ...] = ("test",) if evaluation else policy.required_splits
    text = f"frames in: {', '.join(policy.required_splits)}; or test alone, for an evaluation set"
    yield Question("splits-present", "split", text, "contains", values=splits)
    yield Question("sequences-used", "unused", "every sequence gives a readable frame outside the gap")
    yield Question("files-present", "missing", "every named file exists")
    yield Question("files-readable", "unreadable", "every file decodes whole, in its role's format")
    if kind.sizes == "equal":
        yield Question("sizes-agree", "sizes", "all maps of a frame have its picture's size")
    else:
        yield Question("sizes-agree", "aspect", "all maps of a frame have its picture's proportions")
    yield Question("intrinsics-plausible", "implausible", "intrinsics fit the picture's size, focal length and centre within bounds")
    yield Question("intrinsics-agree", "differs", f"one camera, one lens: within {kind.camera.spread:.0%}")
    yield Question("units-metric", "relative", "no relative depth as metric supervision")
    for name in MAPS:
        bounds: MapBounds = getattr(kind, name)
        yield Question(f"{name}-finite", f"{name}_bad", "no NaN, infinite or negative pixel", "between", Bounds(every=(0, 0)), "pixels")
        yield _within(f"{name}-valid", f"{name}_valid", bounds.valid, policy, "%")
        yield _within(f"{name}-median", f"{name}_median", bounds.median, policy, "m")
        yield _within(f"{name}-p95", f"{name}_p95", bounds.p95, policy, "m")
        yield _within(f"{name}-near", f"{name}_near", bounds.near, policy, "%")
        yield _within(f"{name}-rough", f"{name}_rough", bounds.rough, policy, "%")
    yield _within("teacher-to-sensor", "teacher_to_sensor", kind.teacher_to_sensor, policy, "×")
    yield _within("teacher-rank", "teacher_rank", kind.teacher_rank, policy, "")
    yield _within("tof-to-depth", "tof_to_depth", kind.tof_to_depth, policy, "×")
    yield _within("tof-rank", "tof_rank", kind.tof_rank, policy, "")
    yield _within("depth-roles", "tof_over_depth", kind.tof_over_depth, policy, "%")
    yield _within("exposure", "brightness", kind.brightness, policy, "")
    yield _within("sharpness", "blur", kind.blur, policy, "")
    yield from _labels(kind, policy)
    yield Question("no-copies", "copy_of", "no picture twice in a split")
    copies = f"at most {kind.twins.copies:.0%} of the frames repeat another (≤ {kind.twins.copy_bits} of 128 bits)"
    yield Question("near-duplicates", "twin_of", copies, share=kind.twins.copies)
    yield Question("no-leaks", "leaks_from", "no training picture in val or test")
    leaks = f"no training picture again in val or test, re-encoded (≤ {kind.twins.leak_bits} of 128 bits)"
    yield Question("near-leaks", "twin_in_train", leaks, share=kind.twins.leaks)
    yield Question("splits-apart", "beside", "val and test not interleaved with training frames of a sequence")


REGISTERED: Final = "depth-registered"
"""The check whether depth lies on colour (`validation.registration`); it takes frames."""
ACROSS: Final = "no-leaks-across"
"""The check of a set against the others of the workspace; it takes more than one set's statistics."""


def names() -> tuple[str, ...]:
    """Every name that a check can have, whatever the kind."""
    policy = load_policies().data
    data_checks = [question.name for question in questions(next(iter(policy.kinds.values())), policy)]
    return (*dict.fromkeys(data_checks), REGISTERED, ACROSS, *DRIFT)


def _labels(kind: Kind, policy: DataPolicy) -> Iterator[Question]:
    bounds = kind.classes
    ranges: tuple[tuple[float, float], ...] = tuple(getattr(bounds, name) for name in CLASSES)
    shares = ", ".join(f"{name} {limits(pair, '%')}" for name, pair in zip(CLASSES, ranges, strict=True))
    yield Question("label-ids", "labels", f"class ids 0–{len(CLASSES) - 1} or {IGNORE}")
    yield Question("labels-as-declared", "unlabelled", "full: labels in every frame; partial: in some")
    yield Question("labels-blank", "blank", f"at most {bounds.blank:.0%} of the frames without a labelled pixel", share=bounds.blank)
    yield Question("class-shares", "floor", f"shares over the set: {shares}", "means", ranges=ranges)
    yield _within("class-places", "floor_row", bounds.floor_row, policy, "")


def _within(name: str, column: str, bounds: Bounds, policy: DataPolicy, unit: str) -> Question:
    parts = [
        f"{who} {limits(pair, unit)}"
        for who, pair in (("each frame", bounds.every), (f"{policy.most_share:.0%} of frames", bounds.most), ("median", bounds.median))
        if pair is not None
    ]
    return Question(name, column, ", ".join(parts), "between", bounds, unit)


def limits(pair: tuple[float, float], unit: str) -> str:
    """Two numbers as a report shows them."""
    if unit == "%":
        return f"{pair[0] * 100:.3g}–{pair[1] * 100:.3g} %"
    return f"{_short(pair[0])}–{_short(pair[1])} {unit}".rstrip()


def number(value: float, unit: str) -> str:
    """One number as a report shows it."""
    return f"{value * 100:.3g} %" if unit == "%" else f"{_short(value)} {unit}".rstrip()


def _short(value: float) -> str:
    """Three digits, and thousands in full: 0.123, 45.6, 1,630."""
    return f"{value:,.0f}" if 999.5 <= abs(value) < 1e15 else f"{value:.3g}"
