"""The verdict of a comparison: better, worse, equivalent within a stated margin, or open, which is too little to say.

Frames of a stream are not independent: neighbours show nearly the same picture, and 250 of them can be worth nine. So an interval never
rests on single frames. Where there are at least eight sequences, these are resampled whole; otherwise the frames are cut into five
contiguous batches in the order of the stream, and the pooled difference is jackknifed over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors, PairedErrors, Sums, pair
from pipelines.compare.independence import effective_number
from pipelines.compare.intervals import FEWEST_SEEDS, LEVEL, Interval, jackknife_interval, level_of_each, mean_interval, resampled_interval
from pipelines.compare.pooled import Direction, Metric, metric_named

Word = Literal["better", "worse", "equivalent", "open"]
Method = Literal["sequences", "batches", "seeds"]

MARGIN: Final = 0.01
"""Share of the baseline's value within which two are called equivalent where nothing else is asked."""
FEWEST_EFFECTIVE: Final = 10.0
"""Independent frames below which nothing is said: five batches of two are the least that a batch can average over."""
FEWEST_SEQUENCES: Final = 8
BATCHES: Final = 5
RESAMPLES: Final = 10_000
"""Enough that the ends of a 95 % interval move by about 1 % of its width between seeds (Efron & Tibshirani 1993, chapter 14)."""
UNDECIDED: Final = "the interval holds 0 and reaches beyond the margin"
_CHUNK: Final = 2_000_000
"""Sequence numbers drawn at once: 16 MB."""
_METHODS: Final = {"sequences": "resampled sequences", "batches": "contiguous batches", "seeds": "paired seeds"}


class Verdict(BaseModel):
    """What may be said of one metric of a, against the baseline b.

    `a`, `b` and `difference` (a − b) are in the metric's own unit, and so is `margin`, which is `margin_share` of the baseline's value.
    Over seeds they are means. `interval` is that of the difference; None where it cannot be made. `frames` count those with something to
    judge by, `effective_frames` how many independent ones they are worth; None where single frames were not kept. `comparisons` is the
    number of intervals that hold at once with 95 %, for which each is widened.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    direction: Direction
    word: Word
    a: float
    b: float
    difference: float
    interval: Interval | None
    margin: float
    margin_share: float
    frames: int
    effective_frames: float | None
    sequences: int
    method: Method
    comparisons: int = 1

    @property
    def words(self) -> str:
        """The verdict in words, with the margin where it rests on one."""
        if self.word == "equivalent":
            return f"equivalent within {self.text(self.margin)}"
        return "too little to say" if self.word == "open" else self.word

    @property
    def reason(self) -> str:
        """Why it is too little to say; empty when it is not."""
        if self.word != "open":
            return ""
        if self.interval is None and self.method != "seeds":
            if self.frames < BATCHES:
                return f"{self.frames} frame(s) with something to judge by, {BATCHES} are needed"
            return f"so few of the {self.frames} frames show what it judges by that an interval without some of them has no value"
        if self.method == "seeds" and (self.interval is None or self.interval.n < FEWEST_SEEDS):
            return f"fewer than {FEWEST_SEEDS} seeds"
        if self.effective_frames is None:
            return "there are no errors of single frames to tell how many independent ones they are worth"
        if self.effective_frames < FEWEST_EFFECTIVE:
            return f"{self.frames} frames are worth {self.effective_frames:.1f} independent ones, {FEWEST_EFFECTIVE:.0f} are needed"
        return f"{UNDECIDED} of {self.text(self.margin)}"

    @property
    def undecided(self) -> bool:
        """Whether it is too little to say although there are frames enough."""
        return self.reason.startswith(UNDECIDED)

    def text(self, value: float, sign: str = "") -> str:
        """A value of the metric, or with `sign` "+" a difference, as a person reads it."""
        return metric_named(self.metric).text(value, sign)

    @property
    def range_text(self) -> str:
        """The interval as a person reads it, – where there is none."""
        if self.interval is None:
            return "–"
        return f"{self.text(self.interval.low, '+')} to {self.text(self.interval.high, '+')}"

    @property
    def basis(self) -> str:
        """What the interval rests on, and the level at which it holds."""
        worth = "" if self.effective_frames is None else f" worth {self.effective_frames:.1f} independent ones"
        units = "" if self.interval is None else f", {self.interval.n} {_METHODS[self.method]}"
        return (
            f"{self.frames} frames{worth}{units}; {self.family}; "
            f"margin {self.text(self.margin)} ({100 * self.margin_share:.3g} % of the baseline)"
        )

    @property
    def family(self) -> str:
        """The level at which the interval holds, and with how many others at once."""
        level = LEVEL if self.interval is None else self.interval.level
        others = f" each, so that all {self.comparisons} hold at once with {100 * LEVEL:.0f} %" if self.comparisons > 1 else ""
        return f"interval of {100 * level:.4g} %{others}"

    def sentence(self, a: str, b: str) -> str:
        """The verdict with its numbers, of versions of these names."""
        heading = metric_named(self.metric).heading
        because = f" ({self.reason})" if self.reason else ""
        return (
            f"{a} against {b}: {self.words}{because}; {heading} {self.text(self.a)} against {self.text(self.b)}, "
            f"difference {self.text(self.difference, '+')} ({self.range_text}); {self.basis}"
        )


def not_worse(verdict: Verdict) -> Literal["passes", "refuses", "needs override"]:
    """What a gate that asks for "not worse than the incumbent" makes of a verdict: too little to say is a person's decision."""
    return {"better": "passes", "equivalent": "passes", "worse": "refuses", "open": "needs override"}[verdict.word]  # type: ignore[return-value]


def judge_frames(
    a: FrameErrors, b: FrameErrors, metric: str = "rmse", *, margin: float = MARGIN, comparisons: int = 1, seed: int = 0
) -> Verdict:
    """Judge one metric of a against the baseline b on the same frames.

    `margin` is a share of b's value; `comparisons` is how many such verdicts are asked for at once; `seed` is that of the resampling.
    Raises VortexError when the two were not measured on the same frames, no frame has anything to judge by, or an error is not finite;
    UsageError for an unknown metric.
    """
    definition = metric_named(metric)
    paired = pair(a, b, definition.sums)
    paired = paired.where((definition.weight(paired.a) > 0) & (definition.weight(paired.b) > 0))
    value_a, value_b = (float(definition.pool(_totals(sums))) for sums in (paired.a, paired.b))
    if not (np.isfinite(value_a) and np.isfinite(value_b)):
        raise VortexError(f"no frame has anything to judge {definition.heading} by", "evaluate both on a set that has it")
    by_sequence = len(paired.lengths) >= FEWEST_SEQUENCES
    level = level_of_each(comparisons)
    estimate = value_a - value_b
    interval = (
        _over_sequences(definition, paired, estimate, level, seed) if by_sequence else _over_batches(definition, paired, estimate, level)
    )
    effective = effective_number(_influences(definition, paired), paired.lengths)
    width = margin * abs(value_b)
    return Verdict(
        metric=metric,
        direction=definition.direction,
        word=_word(interval, definition.direction, width) if effective >= FEWEST_EFFECTIVE else "open",
        a=value_a,
        b=value_b,
        difference=estimate,
        interval=interval,
        margin=width,
        margin_share=margin,
        frames=paired.frames,
        effective_frames=effective,
        sequences=len(paired.lengths),
        method="sequences" if by_sequence else "batches",
        comparisons=comparisons,
    )


def judge_seeds(
    a: Sequence[float], b: Sequence[float], metric: str, frames: Verdict | None, *, margin: float = MARGIN, comparisons: int = 1
) -> Verdict:
    """Judge one metric of a against the baseline b over paired seeds: one value a seed, in the same order.

    `frames` is the verdict of the same pairs over frames, all seeds pooled: where their frames are too few to say anything, neither do
    the seeds, which repeat the training and not the frames.
    """
    definition = metric_named(metric)
    differences = [of_a - of_b for of_a, of_b in zip(a, b, strict=True)]
    interval = mean_interval(differences, level_of_each(comparisons))
    value_a, value_b = float(np.mean(a)), float(np.mean(b))
    width = margin * abs(value_b)
    enough = len(differences) >= FEWEST_SEEDS and frames is not None and (frames.effective_frames or 0.0) >= FEWEST_EFFECTIVE
    return Verdict(
        metric=metric,
        direction=definition.direction,
        word=_word(interval, definition.direction, width) if enough else "open",
        a=value_a,
        b=value_b,
        difference=float(np.mean(differences)),
        interval=interval,
        margin=width,
        margin_share=margin,
        frames=frames.frames if frames else 0,
        effective_frames=frames.effective_frames if frames else None,
        sequences=frames.sequences if frames else 0,
        method="seeds",
        comparisons=comparisons,
    )


def _word(interval: Interval | None, direction: Direction, margin: float) -> Word:
    """What an interval of a − b says. A difference that lies within the margin whole is equivalence, whichever side of 0 it is on."""
    if interval is None:
        return "open"
    if -margin <= interval.low and interval.high <= margin:
        return "equivalent"
    if interval.low <= 0 <= interval.high:
        return "open"
    return "better" if (interval.high < 0) == (direction == "lower") else "worse"


def _over_batches(metric: Metric, paired: PairedErrors, estimate: float, level: float) -> Interval | None:
    """The jackknife over contiguous batches; None for fewer frames than batches."""
    if paired.frames < BATCHES:
        return None
    batches = np.array_split(np.arange(paired.frames), BATCHES)
    without_each = _without(metric, paired, lambda values: np.stack([values[batch].sum(axis=0) for batch in batches]))
    return jackknife_interval(estimate, without_each, level)


def _over_sequences(metric: Metric, paired: PairedErrors, estimate: float, level: float, seed: int) -> Interval | None:
    """The bootstrap over whole sequences."""
    count = len(paired.lengths)
    starts = np.cumsum([0, *paired.lengths[:-1]])
    of_a, of_b = ({name: np.add.reduceat(values, starts, axis=0) for name, values in sums.items()} for sums in (paired.a, paired.b))
    random = np.random.default_rng(seed)
    differences = []
    for start in range(0, RESAMPLES, step := max(1, _CHUNK // count)):
        rows = min(step, RESAMPLES - start)
        draws = random.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(draws.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float64)
        pooled = [metric.pool({name: np.tensordot(times, values, 1) for name, values in sums.items()}) for sums in (of_a, of_b)]
        differences.append(pooled[0] - pooled[1])
    return resampled_interval(estimate, np.concatenate(differences), count, level)


def _influences(metric: Metric, paired: PairedErrors) -> NDArray[np.float64]:
    """What each frame adds to the difference, up to a constant and a factor [frames]: its value without that frame (the jackknife's).

    Rounded, because frames that are all alike must not be told apart by the last bit of a sum.
    """
    if paired.frames < 2:
        return np.zeros(paired.frames)
    scale = float(np.abs(metric.pool(_totals(paired.b)))) or 1.0
    return np.asarray(np.round(np.nan_to_num(_without(metric, paired, lambda values: values) / scale), 12), np.float64)


def _without(metric: Metric, paired: PairedErrors, parts: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    """The difference without each of the parts [k] into which `parts` sums the frames' values [frames, …] → [k, …]."""

    def pooled(sums: Sums) -> NDArray[np.float64]:
        return metric.pool({name: values.sum(axis=0) - parts(values) for name, values in sums.items()})

    return pooled(paired.a) - pooled(paired.b)


def _totals(sums: Sums) -> dict[str, NDArray[np.float64]]:
    return {name: values.sum(axis=0) for name, values in sums.items()}
