"""How many independent frames the frames of a stream are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def effective_number(values: NDArray[np.float64], lengths: Sequence[int]) -> float:
    """n divided by the integrated autocorrelation time of `values` [n], which stand sequence after sequence (`lengths` frames each).

    Sequences are independent of each other. Autocovariances are summed as long as neighbouring pairs of them are positive: the initial
    positive sequence of Geyer 1992, Statistical Science 7:473–483, section 3.3. Never more than n; n for values that do not vary.
    """
    n = len(values)
    if n == 0 or np.ptp(values) == 0:
        return float(n)
    covariances = np.zeros(max(lengths, default=0) + 1)
    for part in np.split(values - values.mean(), np.cumsum(lengths)[:-1]):
        covariances[: len(part)] += _autocovariances(part)
    correlations = covariances / covariances[0]
    pairs = correlations[: len(correlations) // 2 * 2].reshape(-1, 2).sum(axis=1)
    negative = np.flatnonzero(pairs <= 0)
    positive = pairs[: negative[0]] if len(negative) else pairs
    return float(n / max(1.0, 2 * positive.sum() - 1))


def _autocovariances(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ values[i]·values[i + k] for every lag k [n], by the Fourier transform: a million frames need no million squared products."""
    n = len(values)
    spectrum = np.fft.rfft(values, 2 * n)
    return np.fft.irfft(np.abs(spectrum) ** 2, 2 * n)[:n]
