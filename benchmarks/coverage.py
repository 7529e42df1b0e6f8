"""How often an interval that says 95 % covers the truth on streams whose frames are not independent, and what it still finds.

    make bench-coverage             (benchmarks/coverage.py [--series 2000] [--frames 459] [--smoke])

Each series is a stream of `--frames` frames: the logarithms of the squared errors of two versions follow AR(1) processes with correlation ρ
from frame to frame, a part of which both share, as both see the same frames. The truth is known: equally good, or one 5 % better in RMSE.
"frames" is what a bootstrap over single frames gives (its normal limit), "batches" what `judge_frames` gives. "sequences" cuts the series
into whole sequences of unequal length, which differ from each other and are resampled. scipy is the independent check: Student's quantile,
and `scipy.stats.bootstrap(paired=True)` over sequences.

Targets: batches cover at least 91 % for ρ of 0, 0.8 and 0.95, sequences too, and both agree with scipy; exit 1 when missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.signal import lfilter

from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.compare.verdict import BATCHES, FEWEST_SEQUENCES, Verdict, judge_frames

CORRELATIONS: Final = (0.0, 0.8, 0.95)
TARGET: Final = 0.91
POWER: Final = 0.05
"""Share of the RMSE by which the planted version is better."""
SPREAD: Final = 0.4
SHARED: Final = 0.8
"""Standard deviation of a frame's logarithmic squared error, and the share of its variance that both versions have in common."""
PIXELS: Final = 1000.0
SEQUENCES: Final = (8, 12, 30)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pair:
    """Two versions on one stream; `truth` is the difference of their RMSEs in metres."""

    a: FrameErrors
    b: FrameErrors
    truth: float

    def covered(self, verdict: Verdict) -> bool:
        """Whether the verdict's interval holds the truth."""
        interval = verdict.interval
        return interval is not None and interval.low <= self.truth <= interval.high


def autoregressive(random: np.random.Generator, correlation: float, shape: tuple[int, ...]) -> Floats:
    """Stationary AR(1) series of variance 1 along the last axis [..., frames]."""
    noise = random.standard_normal(shape)
    noise[..., 0] /= np.sqrt(1 - correlation**2)
    return np.asarray(np.sqrt(1 - correlation**2) * lfilter([1.0], [1.0, -correlation], noise, axis=-1), np.float64)


def stream(random: np.random.Generator, correlation: float, frames: int, better: float = 0.0) -> Pair:
    """One stream of `frames` frames; a's RMSE is `better` (a share) below b's."""
    own = autoregressive(random, correlation, (3, frames))
    return _pair(own, better)


def cut_stream(random: np.random.Generator, correlation: float, sequences: int) -> Pair:
    """As `stream`, in sequences of 15 to 80 frames that differ from each other by as much as their frames do."""
    lengths = random.integers(15, 81, sequences)
    own = [(random.standard_normal((3, 1)) + autoregressive(random, correlation, (3, int(length)))) / np.sqrt(2) for length in lengths]
    names = tuple(f"s{number:03d}" for number, length in enumerate(lengths) for _ in range(length))
    return _pair(np.concatenate(own, axis=1), 0.0, names)


def _pair(own: Floats, better: float, sequences: tuple[str, ...] = ()) -> Pair:
    """Two versions from three series [3, frames]: what both share, and what each has of its own."""
    shared, *apart = own
    logs = [SPREAD * (np.sqrt(SHARED) * shared + np.sqrt(1 - SHARED) * part) for part in apart]
    truth = 0.5 * np.exp(SPREAD**2 / 4)  # E exp(x) = exp(σ²/2), of which an RMSE is the root
    ids = tuple(f"f{number:05d}" for number in range(own.shape[1]))
    count = np.full(own.shape[1], PIXELS)
    a, b = (
        FrameErrors(ids, {SQUARED: PIXELS * (0.5 * factor) ** 2 * np.exp(values), COUNT: count}, (32, 48), sequences)
        for factor, values in zip((1 - better, 1.0), logs, strict=True)
    )
    return Pair(a, b, -better * truth)


def by_frames(pair: Pair) -> tuple[float, float]:
    """The 95 % interval that takes frames for independent, from each frame's influence on the difference of the RMSEs."""
    influences = np.zeros(len(pair.a.ids))
    estimate = 0.0
    for sign, errors in ((1, pair.a), (-1, pair.b)):
        squared, count = errors.sums[SQUARED], errors.sums[COUNT]
        rmse = np.sqrt(squared.sum() / count.sum())
        estimate += sign * rmse
        influences += sign * (squared - rmse**2 * count) / (2 * rmse * count.mean())
    half = 1.959964 * influences.std(ddof=1) / np.sqrt(len(influences))
    return estimate - half, estimate + half


def agreement(random: np.random.Generator, rounds: int) -> tuple[float, float]:
    """How far the ends of our intervals are from scipy's, as a share of their width: worst over `rounds`, of batches and of sequences."""
    batches, sequences = [], []
    for number in range(rounds):
        pair = stream(random, 0.8, 459)
        interval = judge_frames(pair.a, pair.b).interval
        assert interval is not None
        theirs = stats.t.interval(0.95, BATCHES - 1, loc=interval.estimate, scale=_batch_error(pair))
        width = interval.high - interval.low
        batches.append(max(abs(interval.low - theirs[0]), abs(interval.high - theirs[1])) / width)
        pair = cut_stream(random, 0.8, 12)
        interval = judge_frames(pair.a, pair.b).interval
        assert interval is not None
        low, high = scipy_over_sequences(pair, number)
        sequences.append(max(abs(interval.low - low), abs(interval.high - high)) / (interval.high - interval.low))
    return max(batches), max(sequences)


def _batch_error(pair: Pair) -> float:
    """The jackknife's standard error, batch by batch."""
    batches = np.array_split(np.arange(len(pair.a.ids)), BATCHES)
    values = []
    for batch in batches:
        rest = np.setdiff1d(np.arange(len(pair.a.ids)), batch)
        values.append(_difference(*(errors.sums[name][rest] for errors in (pair.a, pair.b) for name in (SQUARED, COUNT))))
    return float(np.sqrt((BATCHES - 1) / BATCHES * np.sum((np.array(values) - np.mean(values)) ** 2)))


def _difference(squared_a: Floats, count_a: Floats, squared_b: Floats, count_b: Floats, axis: int = -1) -> Floats:
    sums = [values.sum(axis=axis) for values in (squared_a, count_a, squared_b, count_b)]
    return np.asarray(np.sqrt(sums[0] / sums[1]) - np.sqrt(sums[2] / sums[3]))


def scipy_over_sequences(pair: Pair, seed: int) -> tuple[float, float]:
    """scipy's percentile bootstrap over sequences, at the level to which ours is expanded."""
    names = np.array(pair.a.sequences)
    sequences = np.unique(names)
    sums = [
        np.array([errors.sums[key][names == name].sum() for name in sequences]) for errors in (pair.a, pair.b) for key in (SQUARED, COUNT)
    ]
    n = len(sequences)
    level = 1 - 2 * stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(0.975, n - 1))
    interval = stats.bootstrap(
        sums, _difference, n_resamples=10_000, paired=True, vectorized=True, confidence_level=level, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(interval.confidence_interval.low), float(interval.confidence_interval.high)


def coverage(correlation: float, series: int, frames: int) -> tuple[float, float, Verdict, dict[str, int]]:
    """Shares of `series` streams whose interval by frames, and by batches, covers the truth; a typical verdict; the words of all."""
    random = np.random.default_rng([series, frames, round(100 * correlation)])
    covered, single, words, verdicts = 0, 0, dict.fromkeys(("better", "worse", "equivalent", "open"), 0), []
    for _ in range(series):
        pair = stream(random, correlation, frames)
        verdict = judge_frames(pair.a, pair.b)
        low, high = by_frames(pair)
        covered, single = covered + pair.covered(verdict), single + (low <= pair.truth <= high)
        words[verdict.word] += 1
        verdicts.append(verdict)
    middle = sorted(verdicts, key=lambda verdict: verdict.effective_frames or 0.0)[series // 2]
    return single / series, covered / series, middle, words


def power(correlation: float, series: int, frames: int) -> float:
    """Share of streams on which a version that is better by `POWER` is called better."""
    random = np.random.default_rng([series, frames, round(100 * correlation), 1])
    pairs = (stream(random, correlation, frames, POWER) for _ in range(series))
    return sum(judge_frames(pair.a, pair.b).word == "better" for pair in pairs) / series


def coverage_of_sequences(sequences: int, series: int) -> float:
    """Share of streams in so many sequences whose interval covers the truth."""
    random = np.random.default_rng([series, sequences])
    pairs = (cut_stream(random, 0.8, sequences) for _ in range(series))
    return sum(pair.covered(judge_frames(pair.a, pair.b)) for pair in pairs) / series


def main() -> None:
    """Print a line for each correlation and each number of sequences; exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=459)
    parser.add_argument("--smoke", action="store_true", help="60 series: does it work at all?")
    options = parser.parse_args()
    series = 60 if options.smoke else options.series
    missed = report(series, options.frames, CORRELATIONS, options.smoke)
    if missed and not options.smoke:
        sys.exit(f"missed: {', '.join(missed)}")


def report(series: int, frames: int, correlations: Sequence[float], smoke: bool) -> list[str]:
    """Print the figures; what of the targets they miss."""
    started, missed = time.perf_counter(), []
    print(f"{series} series of {frames} frames; 95 % intervals of the difference in RMSE cover the truth in")
    print(f"{'ρ':>5} {'frames':>8} {'batches':>8} {'worth':>7} {'better by 5 % found':>20}   words where both are equally good")
    for correlation in correlations:
        single, covered, middle, words = coverage(correlation, series, frames)
        share = power(correlation, series, frames)
        counts = ", ".join(f"{word} {count / series:.1%}" for word, count in words.items())
        print(f"{correlation:5} {single:8.1%} {covered:8.1%} {middle.effective_frames:7.1f} {share:20.1%}   {counts}")
        if covered < TARGET:
            missed.append(f"{covered:.1%} by batches at ρ {correlation}")
    for sequences in SEQUENCES:
        assert sequences >= FEWEST_SEQUENCES
        covered = coverage_of_sequences(sequences, series)
        print(f"{sequences:5} sequences: {covered:.1%}")
        if covered < TARGET:
            missed.append(f"{covered:.1%} by {sequences} sequences")
    batches, resampled = agreement(np.random.default_rng(7), 3 if smoke else 20)
    print(f"scipy: ends differ by at most {batches:.1e} of the width (batches), {resampled:.1%} (sequences, two bootstraps of 10,000)")
    if batches > 1e-6 or resampled > 0.05:
        missed.append("agreement with scipy")
    print(f"{time.perf_counter() - started:.0f} s")
    return missed


if __name__ == "__main__":
    main()
