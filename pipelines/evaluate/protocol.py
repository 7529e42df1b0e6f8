"""The protocol of a measurement: which frames of which data were judged, by what truth, at what size.

    val-pooled-10m/1                    the whole validation split of a set in data/ that passed the data gate
    test-pooled-10m/1                   the same of a set whose every frame is of the split test
    train-pooled-10m/1                  training frames, or another split of a set that has an exam of its own (test+other-splits-…)
    val[2 of 12]-pooled-10m/1           2 of the 12 frames of the split
    …+tof, …+teacher                    judged by confident ToF depth, or by a metric teacher, where there is no reference depth
    …+unvalidated                       the data had not passed its gate
    …+outside                           a manifest that is no dataset of the workspace
    …+at-64x96                          the prediction was compared with truth at this size, which is not the version's own

Only the first two, with or without their truth, are exams (`registry.records.is_exam`): every other is shown, and nothing is judged by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef


def protocol(
    base: str, ref: DataRef, splits: Sequence[str], split: str, measured: int, *, validated: bool, truth_size: tuple[int, int] | None = None
) -> str:
    """The protocol of `measured` frames of `split` of the set `ref`, whose frames have these `splits`.

    `base` is what the student's evaluation calls it: split, pooling and truth. `validated` says whether the set has passed its gate;
    `truth_size` (H, W) is that of the comparison, where it is not the version's own input.
    """
    name, _, rest = base.partition("-")
    whole = splits.count(split)
    if measured != whole:
        name = f"{name}[{measured} of {whole}]"
    if split == "test" and set(splits) != {"test"}:
        name = f"{name}+other-splits"
    remarks = [
        remark
        for remark, holds in (
            ("unvalidated", not validated),
            ("outside", ref.outside),
            (f"at-{truth_size[0]}x{truth_size[1]}" if truth_size else "", truth_size is not None),
        )
        if holds
    ]
    return "+".join([f"{name}-{rest}", *remarks])
