"""Paired bootstrap over frames: is one version really better than another on the same frames?"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.files import write_atomic
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from registry.records import Metrics
    from registry.versions import Hub

RESAMPLES = 10_000
"""Enough that the ends of a 95 % interval move by about 1 % of its width between seeds (Efron & Tibshirani 1993, chapter 14)."""
SQUARED, COUNT = "squared", "count"
"""The per-frame sums that an RMSE is made of: Σ (prediction − truth)² in m², and the number of valid pixels."""
_CHUNK = 2_000_000  # drawn frame numbers held at once: 16 MB


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


@dataclass(frozen=True)
class Bootstrap:
    """RMSE of a minus RMSE of b over the same frames, in metres, with its 95 % interval."""

    difference: float
    low: float
    high: float
    p: float
    frames: int
    rmse_a: float
    rmse_b: float
    resamples: int
    seed: int

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0

    def verdict(self, a: str, b: str) -> str:
        """The finding in a few words."""
        if not self.shown:
            return "no difference shown"
        return f"{a if self.difference < 0 else b} is better"

    def sentence(self, a: str, b: str) -> str:
        """The finding in words, with its interval."""
        interval = f"RMSE {self.rmse_a:.3f} against {self.rmse_b:.3f} m, difference {self.difference:+.4f} m"
        return f"{a} and {b}: {self.verdict(a, b)} ({interval}, 95 % interval {self.low:+.4f} to {self.high:+.4f}, {self.frames} frames)"


def paired_bootstrap(a: FrameErrors, b: FrameErrors, *, resamples: int = RESAMPLES, seed: int = 0) -> Bootstrap:
    """Resample frames with replacement, the same draw for both versions, and take the spread of the pooled RMSE's difference.

    Frames are the unit because pixels of one frame err together. Frames of one stream resemble each other too, so for a
    single short stream the interval is an optimistic one.
    Raises VortexError when the two were not measured on the same frames, or fewer than two frames hold a valid pixel.
    """
    ours, theirs = _paired(a, b)
    usable = (ours[1] > 0) & (theirs[1] > 0)
    (square_a, count_a), (square_b, count_b) = ours[:, usable], theirs[:, usable]
    frames = int(usable.sum())
    if frames < 2:
        raise VortexError(f"{frames} frame(s) with valid reference depth: too few to resample", "evaluate both on a set with more frames")
    random = np.random.default_rng(seed)
    rmse_a, rmse_b = _rmse(square_a.sum(), count_a.sum()), _rmse(square_b.sum(), count_b.sum())
    differences = np.empty(resamples)
    step = max(1, _CHUNK // frames)
    for start in range(0, resamples, step):
        draw = random.integers(0, frames, (min(step, resamples - start), frames))
        resampled = [values[draw].sum(axis=1) for values in (square_a, count_a, square_b, count_b)]
        differences[start : start + len(draw)] = np.sqrt(resampled[0] / resampled[1]) - np.sqrt(resampled[2] / resampled[3])
    low, high = np.quantile(differences, (0.025, 0.975))
    # Two-sided: how often a resample crosses 0, never reported finer than the number of resamples can tell.
    tail = min((differences <= 0).mean(), (differences >= 0).mean())
    p = float(min(1.0, max(2 * tail, 1 / resamples)))
    return Bootstrap(rmse_a - rmse_b, float(low), float(high), p, frames, rmse_a, rmse_b, resamples, seed)


def compare(ws: Workspace, a: str, b: str, *, domain: str, camera: str | None = None, seed: int = 0) -> Bootstrap:
    """RMSE of version `a` minus `b` with its 95 % interval, from the newest measurement that both have on `domain`.

    Raises VortexError when they were not measured on the same frames by the same protocol.
    """
    from pipelines.hub.open import hub

    ws.domain(domain)
    return compare_errors(hub(ws), a, b, domain, camera=camera, seed=seed)


def compare_errors(
    hub: Hub,
    a: str,
    b: str,
    domain: str,
    *,
    camera: str | None = None,
    protocol: str | None = None,
    digest: str | None = None,
    seed: int = 0,
) -> Bootstrap:
    """As `compare`, by that `protocol` and on the frames with that `digest` only, where they are given."""
    wanted = {"domain": domain, "camera": camera, "protocol": protocol, "digest": digest}
    measured = [
        [one for one in hub.get(name).metrics if all(value in (None, getattr(one, key)) for key, value in wanted.items())]
        for name in (a, b)
    ]
    for name, found in zip((a, b), measured, strict=True):
        if not found:
            raise VortexError(f"{name} was not measured on {domain}", f"measure it with: vortex evaluate {name} --domain {domain}")
    pairs = [(ours, theirs) for ours in measured[0] for theirs in measured[1] if _difference(ours, theirs) is None]
    if not pairs:
        ours, theirs = measured[0][-1], measured[1][-1]
        raise VortexError(
            f"{a} and {b} cannot be compared on {domain}: {_difference(ours, theirs)}",
            f"measure both on the same data: vortex evaluate {b} --data {ours.dataset}",
        )
    ours, theirs = pairs[-1]
    errors = []
    for name, one in ((a, ours), (b, theirs)):
        if one.errors is None:
            raise VortexError(
                f"{name} has no per-frame errors on {one.dataset}", f"measure it again: vortex evaluate {name} --data {one.dataset}"
            )
        errors.append(FrameErrors.load(hub.artifact_path(one.errors)))
    return paired_bootstrap(*errors, seed=seed)


def _difference(ours: Metrics, theirs: Metrics) -> str | None:
    """What keeps two measurements from being compared, in words; None when nothing does."""
    for what, one, other in (
        ("camera", ours.camera, theirs.camera),
        ("protocol", ours.protocol, theirs.protocol),
        ("data", f"{ours.dataset}@{ours.digest[:12]}", f"{theirs.dataset}@{theirs.digest[:12]}"),
    ):
        if one != other and (what != "data" or ours.digest != theirs.digest):
            return f"{what} differs ({one} against {other})"
    return None


def _rmse(squares: float, count: float) -> float:
    return float(np.sqrt(squares / count))


def _paired(a: FrameErrors, b: FrameErrors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[2, frames] of squared error and count for each, in the same order of frames."""
    missing = sorted(set(a.ids) ^ set(b.ids))
    if missing:
        raise VortexError(
            f"{len(missing)} frame(s) were evaluated for only one of the two, for example {missing[0]!r}",
            "evaluate both versions on the same set and split",
        )
    order = {name: row for row, name in enumerate(b.ids)}
    rows = np.array([order[name] for name in a.ids], dtype=np.intp)
    ours, theirs = _pair(a), _pair(b)[:, rows]
    bad = [name for name, *values in zip(a.ids, *ours, *theirs, strict=True) if not np.isfinite(values).all()]
    if bad:
        raise VortexError(
            f"{len(bad)} frame(s) have errors that are not finite, for example {bad[0]!r}", "a version that predicts NaN lost"
        )
    return ours, theirs


def _pair(errors: FrameErrors) -> NDArray[np.float64]:
    _require(errors.sums, (SQUARED, COUNT))
    return np.stack([errors.sums[SQUARED], errors.sums[COUNT]]).astype(np.float64)


def _require(sums: Mapping[str, object], names: Sequence[str]) -> None:
    absent = [name for name in names if name not in sums]
    if absent:
        raise VortexError(f"per-frame errors lack {', '.join(absent)}; they have {', '.join(sums)}", "evaluate the version again")
