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

from core.errors import VortexError
from core.files import write_atomic

SQUARED: Final = "squared"
COUNT: Final = "count"
"""The per-frame sums that an RMSE is made of: Σ (prediction − truth)² in m², and the number of valid pixels."""
CONFUSION: Final = "confusion"
"""Confusion matrices [frames, C, C], truth in rows: what IoU is made of."""


@dataclass(frozen=True)
class FrameErrors:
    """Per-frame sums of one version on one set of frames; every pooled metric can be made of them again."""

    ids: tuple[str, ...]
    sums: Mapping[str, NDArray[Any]]
    """Name of the sum → [frames, …]; float32 on disk."""
    size: tuple[int, int]
    """(H, W) that the frames were evaluated at."""

    def save(self, path: Path) -> None:
        """Write a compressed npz, atomically; the same errors give the same bytes, so that their hash means something."""
        buffer = io.BytesIO()
        arrays = {f"sum_{name}": values.astype(np.float32) for name, values in sorted(self.sums.items())}
        content: dict[str, Any] = {"ids": np.array(self.ids, dtype=np.str_), "size": np.array(self.size), **arrays}
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
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise VortexError(f"{path}: not readable as per-frame errors ({error})", "evaluate the version again") from error
        if any(len(values) != len(ids) for values in sums.values()):
            raise VortexError(f"{path}: its sums and its frame ids differ in number", "evaluate the version again")
        return cls(ids, sums, (height, width))


def paired(a: FrameErrors, b: FrameErrors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[2, frames] of squared error and count for each, in a's order of frames.

    Raises VortexError when the two were not measured on the same frames, or an error is not finite.
    """
    unpaired = sorted(set(a.ids) ^ set(b.ids))
    if unpaired:
        raise VortexError(
            f"{len(unpaired)} frame(s) were evaluated for only one of the two, for example {unpaired[0]!r}",
            "evaluate both versions on the same set and split",
        )
    row_of = {name: row for row, name in enumerate(b.ids)}
    rows = np.array([row_of[name] for name in a.ids], dtype=np.intp)
    sums_a, sums_b = _sums(a), _sums(b)[:, rows]
    broken = [name for name, *values in zip(a.ids, *sums_a, *sums_b, strict=True) if not np.isfinite(values).all()]
    if broken:
        raise VortexError(
            f"{len(broken)} frame(s) have errors that are not finite, for example {broken[0]!r}", "a version that predicts NaN lost"
        )
    return sums_a, sums_b


def _sums(errors: FrameErrors) -> NDArray[np.float64]:
    _require(errors.sums, (SQUARED, COUNT))
    return np.stack([errors.sums[SQUARED], errors.sums[COUNT]]).astype(np.float64)


def _require(sums: Mapping[str, object], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in sums]
    if missing:
        raise VortexError(f"per-frame errors lack {', '.join(missing)}; they have {', '.join(sums)}", "evaluate the version again")
