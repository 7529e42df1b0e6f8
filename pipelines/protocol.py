"""The protocol of a measurement: how predictions are compared with truth, and which frames of which data were judged.

    val-pooled-10m/1                    the whole validation split of a set in data/ that passed the data gate: truth in (0, 10] m, at the
                                        version's own size, without crop, alignment or augmentation, the pixels of all frames pooled
    test-pooled-10m/1                   the same of a set whose every frame is of the split test
    train-pooled-10m/1                  training frames, or another split of a set that has an exam of its own (test+other-splits-…)
    val[2 of 12]-pooled-10m/1           2 of the 12 frames of the split
    nyu654-eigen/1, …                   a named protocol (`NAMED`); what of it was not met is marked as below
    …+tof, …+teacher                    judged by confident ToF depth, or by a metric teacher, where there is no reference depth
    …+align-median, …+align-logls       each prediction was aligned with its truth
    …+tta-flip                          the mean of the answers for a picture and for its mirror image
    …+onnx                              the exported file answered, and not the network
    …+unvalidated                       the data had not passed its gate
    …+outside                           a manifest that is no dataset of the workspace
    …+at-64x96                          the prediction was compared with truth at this size, which is not the version's own

Only the first two, with or without their truth, are exams (`registry.records.is_exam`): every other is shown, and nothing is judged by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from core.classes import IGNORE
from core.errors import UsageError
from models.metrics import CAP_M, FLOOR_M, PROTOCOL, Alignment, aligned

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef

Runtime = Literal["torch", "onnx"]
Reference = Literal["reference", "tof_depth", "teacher_depth"]
SPLITS: Final = ("val", "test", "train")
TTA: Final = ("none", "flip")
RUNTIMES: Final = ("torch", "onnx")


@dataclass(frozen=True)
class Crop:
    """Rows and columns that count, each [first, end), in pixels of the protocol's size."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    def mask(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Which pixels of `size` (H, W) count."""
        inside = np.zeros(size, bool)
        inside[slice(*self.rows), slice(*self.columns)] = True
        return inside


@dataclass(frozen=True)
class Protocol:
    """How predictions are compared with truth; the defaults are those of an exam."""

    name: str = ""
    """Of a named protocol; empty for the ordinary one."""
    split: str = "val"
    frames: int | None = None
    """How many frames the split has by this protocol; None: as many as the set says."""
    size: tuple[int, int] | None = None
    """(H, W) at which prediction and truth are compared; None: the version's own."""
    crop: Crop | None = None
    clipped: bool = False
    """Whether predictions are clipped to the range that truth may have, 1 mm to 10 m."""
    per_image: bool = False
    """Whether figures are means of the images' own, instead of pooled over the pixels of all."""
    truth: Reference | None = None
    """What is judged by; None: what the set has (`pipelines.evaluate.student.truth_source`)."""
    teacher: str = ""
    """Who made the truth, where that is a teacher's depth."""
    align: Alignment = "raw"
    tta: str = "none"
    runtime: Runtime = "torch"

    def base(self, split: str, reference: Reference) -> str:
        """Its id for frames of `split` that are judged by `reference`, before what is to be said of the data."""
        suffix = {"reference": "", "tof_depth": "+tof", "teacher_depth": "+teacher"}[reference]
        name = f"{self.name}/1" if self.name else f"{split}-{PROTOCOL.partition('-')[2]}{suffix}"
        marks = (
            (f"align-{self.align}", self.align != "raw"),
            (f"tta-{self.tta}", self.tta != "none"),
            (self.runtime, self.runtime != "torch"),
        )
        return "+".join([name, *(mark for mark, holds in marks if holds)])

    def compared(self, depth: NDArray[Any], truth: NDArray[Any], labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Prediction, truth and labels of one frame, all [H,W], as they are compared: cropped, aligned, clipped."""
        if self.crop is not None:
            inside = self.crop.mask((truth.shape[0], truth.shape[1]))
            truth, labels = np.where(inside, truth, np.float32(0)), np.where(inside, labels, np.uint8(IGNORE))
        depth = aligned(depth, truth, self.align)
        return (np.clip(depth, FLOOR_M, CAP_M) if self.clipped else depth), truth, labels


EXAM: Final = Protocol()
"""By which versions are judged."""
EIGEN_CROP: Final = Crop((45, 471), (41, 601))
"""Of Eigen et al. 2014, in pixels of 480×640."""
NAMED: Final = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "nyu654-eigen", split="test", frames=654, size=(480, 640), crop=EIGEN_CROP, clipped=True, per_image=True, truth="reference"
        ),
        Protocol("lineage-val", split="val", size=(240, 320), truth="reference"),
        Protocol("femto459-da3", split="test", frames=459, size=(240, 320), truth="teacher_depth", teacher="da3-metric-large"),
    )
}
"""Protocols by which figures are published, by name; docs/measuring.md has a section for each."""


def protocol_of(
    name: str | None = None, *, split: str | None = None, align: str = "raw", tta: str = "none", runtime: str = "torch"
) -> Protocol:
    """The protocol of these words. Raises UsageError for one that does not exist, saying what does, and for a split beside a name."""
    for option, word, allowed in (
        ("split", split or "val", SPLITS),
        ("align", align, get_args(Alignment)),
        ("tta", tta, TTA),
        ("runtime", runtime, RUNTIMES),
        ("protocol", name, (None, *NAMED)),
    ):
        if word not in allowed:
            raise UsageError(
                f"unknown {option} {word!r}, allowed: {', '.join(filter(None, allowed))}",
                f"leave --{option} out to measure as an exam does",
            )
    if name is not None and split not in (None, NAMED[name].split):
        raise UsageError(f"--split {split}, but {name} measures on {NAMED[name].split}", "leave --split out")
    protocol = NAMED[name] if name is not None else Protocol(split=split or "val")
    return replace(protocol, align=align, tta=tta, runtime=runtime)  # type: ignore[arg-type]


def pools_images(protocol_id: str) -> bool:
    """Whether the figures of a protocol are means of images: a verdict, which pools pixels, would judge by others."""
    named = _named(protocol_id.partition("[")[0])
    return named is not None and named.per_image


def split_of(base: str) -> str:
    """The split whose frames were measured, from what `Protocol.base` gave."""
    named = _named(base)
    return named.split if named else base.partition("-")[0]


def protocol_id(
    base: str, ref: DataRef, splits: Sequence[str], split: str, measured: int, *, validated: bool, truth_size: tuple[int, int] | None = None
) -> str:
    """The protocol of `measured` frames of `split` of the set `ref`, whose frames have these `splits`.

    `base` is what the evaluation calls it (`Protocol.base`). `validated` says whether the set has passed its gate; `truth_size` (H, W) is
    that of the comparison, where it is neither the version's own input nor that of a named protocol.
    """
    named = _named(base)
    name, cut, rest = base.partition("/" if named else "-")
    whole = named.frames if named and named.frames else splits.count(split)
    if measured != whole:
        name = f"{name}[{measured} of {whole}]"
    if not named and split == "test" and set(splits) != {"test"}:
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
    return "+".join([f"{name}{cut}{rest}", *remarks])


def _named(base: str) -> Protocol | None:
    return NAMED.get(base.partition("/")[0])
