"""Is one version really better than another on the same frames? The paired bootstrap over frames, and what it lets be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors, paired

RESAMPLES: Final = 10_000
"""Enough that the ends of a 95 % interval move by about 1 % of its width between seeds (Efron & Tibshirani 1993, chapter 14)."""
_CHUNK = 2_000_000  # drawn frame numbers held at once: 16 MB


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
        difference = f"RMSE {self.rmse_a:.3f} against {self.rmse_b:.3f} m, difference {self.difference:+.4f} m"
        return f"{a} and {b}: {self.verdict(a, b)} ({difference}, 95 % interval {self.low:+.4f} to {self.high:+.4f}, {self.frames} frames)"


def paired_bootstrap(a: FrameErrors, b: FrameErrors, *, resamples: int = RESAMPLES, seed: int = 0) -> Bootstrap:
    """Resample frames with replacement, the same draw for both versions, and take the spread of the pooled RMSE's difference.

    Frames are the unit because pixels of one frame err together. Frames of one stream resemble each other too, so for a
    single short stream the interval is an optimistic one.
    Raises VortexError when the two were not measured on the same frames, or fewer than two frames hold a valid pixel.
    """
    sums_a, sums_b = paired(a, b)
    usable = (sums_a[1] > 0) & (sums_b[1] > 0)
    (square_a, count_a), (square_b, count_b) = sums_a[:, usable], sums_b[:, usable]
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


def _rmse(squares: float, count: float) -> float:
    return float(np.sqrt(squares / count))
