"""Per-frame errors: the sums that pooled metrics are made of, kept so that two versions can be compared frame by frame."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES
from core.depth import RANGES_M
from core.errors import VortexError
from core.files import write_atomic

SQUARED: Final = "squared"
COUNT: Final = "count"
"""The per-frame sums that an RMSE is made of: Σ (prediction − truth)² in m², and the number of valid pixels."""
CONFUSION: Final = "confusion"
"""Confusion matrices [frames, C, C], truth in rows: what IoU is made of."""

Sums = Mapping[str, NDArray[np.float64]]
"""Name of the sum → [frames, …]."""


@dataclass(frozen=True)
class FrameErrors:
    """Per-frame sums of one version on one set of frames, in the order of the set's manifest; every pooled metric can be made of them again."""

    ids: tuple[str, ...]
    sums: Mapping[str, NDArray[Any]]
    """Name of the sum → [frames, …]; float32 on disk."""
    size: tuple[int, int]
    """(H, W) that the frames were evaluated at."""
    sequences: tuple[str, ...] = ()
    """The sequence of each frame; empty where that is not known, and all frames count as one."""

    def save(self, path: Path) -> None:
        """Write a compressed npz, atomically; the same errors give the same bytes, so that their hash means something."""
        buffer = io.BytesIO()
        arrays = {f"sum_{name}": values.astype(np.float32) for name, values in sorted(self.sums.items())}
        content: dict[str, Any] = {"ids": np.array(self.ids, dtype=np.str_), "size": np.array(self.size), **arrays}
        if self.sequences:
            content["sequences"] = np.array(self.sequences, dtype=np.str_)
        np.savez_compressed(buffer, **content)
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> FrameErrors:
        """Read what `save` wrote. Raises VortexError when the file is missing, truncated or something else."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                sums = {name.removeprefix("sum_"): archive[name] for name in archive.files if name.startswith("sum_")}
                height, width = (int(value) for value in archive["size"])
                ids = tuple(str(value) for value in archive["ids"])
                sequences = tuple(str(value) for value in archive["sequences"]) if "sequences" in archive.files else ()
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise VortexError(f"{path}: not readable as per-frame errors ({error})", "evaluate the version again") from error
        if any(len(values) != len(ids) for values in sums.values()) or len(sequences) not in (0, len(ids)):
            raise VortexError(f"{path}: its sums and its frame ids differ in number", "evaluate the version again")
        return cls(ids, sums, (height, width), sequences)


@dataclass(frozen=True)
class PairedErrors:
    """The sums of two versions on the same frames, in stream order: sequence after sequence, each in the order of the manifest."""

    a: Sums
    b: Sums
    lengths: tuple[int, ...]
    """Frames of each sequence, in the order of the rows."""

    @property
    def frames(self) -> int:
        """Frames of both."""
        return sum(self.lengths)

    def where(self, usable: NDArray[np.bool_]) -> PairedErrors:
        """The frames that `usable` [frames] marks; a sequence without any is left out."""
        ends = np.cumsum(self.lengths)[:-1]
        lengths = tuple(count for part in np.split(usable, ends) if (count := int(part.sum())))
        a, b = ({name: values[usable] for name, values in sums.items()} for sums in (self.a, self.b))
        return PairedErrors(a, b, lengths)


def pair(a: FrameErrors, b: FrameErrors, names: Sequence[str]) -> PairedErrors:
    """The sums `names` of both, frame by frame, in a's order.

    Where only one of the two says which sequence a frame is of, that holds for both. Raises VortexError when the two were not measured
    on the same frames, lack a sum, or an error is not finite.
    """
    unpaired = sorted(set(a.ids) ^ set(b.ids))
    if unpaired:
        raise VortexError(
            f"{len(unpaired)} frame(s) were evaluated for only one of the two, for example {unpaired[0]!r}",
            "evaluate both versions on the same set and split",
        )
    row_of = {name: row for row, name in enumerate(b.ids)}
    rows_of_b = np.array([row_of[name] for name in a.ids], dtype=np.intp)
    sequences = a.sequences or tuple(b.sequences[row] for row in rows_of_b if b.sequences)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(sequences))}
    sequence_of = np.array([numbers[name] for name in sequences] if sequences else [0] * len(a.ids), dtype=np.intp)
    order = np.argsort(sequence_of, kind="stable")
    sums_a, sums_b = _sums(a, names, order), _sums(b, names, rows_of_b[order])
    finite = np.all([_finite(values) for values in (*sums_a.values(), *sums_b.values())], axis=0)
    if not finite.all():
        broken = [a.ids[row] for row, whole in zip(order, finite, strict=True) if not whole]
        raise VortexError(
            f"{len(broken)} frame(s) have errors that are not finite, for example {broken[0]!r}", "a version that predicts NaN lost"
        )
    return PairedErrors(sums_a, sums_b, tuple(int(count) for count in np.bincount(sequence_of)))


def pooled_errors(runs: Sequence[FrameErrors]) -> FrameErrors:
    """The errors of several runs on the same frames, added up frame by frame. Raises VortexError when the frames differ."""
    first = runs[0]
    if any(run.ids != first.ids for run in runs):
        raise VortexError("runs that are to be pooled were measured on different frames", "measure them all on the same set and split")
    names = [name for name in first.sums if all(name in run.sums for run in runs)]
    sums = {name: np.sum([np.asarray(run.sums[name], np.float64) for run in runs], axis=0) for name in names}
    return FrameErrors(first.ids, sums, first.size, first.sequences)


def share_of(errors: FrameErrors, metric: str) -> float:
    """How many of the pixels with truth a metric is about: of one class, or of one range of depth; 0 where that was not counted."""
    label = metric.removeprefix("iou_")
    if label in CLASSES and CONFUSION in errors.sums:
        labelled = np.asarray(errors.sums[CONFUSION], np.float64).sum(axis=(0, 2))
        return float(labelled[CLASSES.index(label)] / labelled.sum()) if labelled.sum() else 0.0
    of_range = errors.sums.get(f"{COUNT}_{metric.removeprefix('rmse_')}")
    if of_range is not None:
        return float(of_range.sum() / max(float(errors.sums[COUNT].sum()), 1.0))
    return 1.0 if metric.partition("_")[2] not in (*CLASSES, *RANGES_M) else 0.0


def _sums(errors: FrameErrors, names: Sequence[str], rows: NDArray[np.intp]) -> dict[str, NDArray[np.float64]]:
    missing = [name for name in names if name not in errors.sums]
    if missing:
        raise VortexError(f"per-frame errors lack {', '.join(missing)}; they have {', '.join(errors.sums)}", "evaluate the version again")
    return {name: errors.sums[name].astype(np.float64)[rows] for name in names}


def _finite(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """[frames]: whether all of a frame's values are finite."""
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))
