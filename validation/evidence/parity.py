"""Whether a share of yes among pairs is as high as another's: an interval for the difference of paired proportions, and its verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Final, Literal

Z: Final = 1.959963984540054
"""Of a 95 % interval."""
Word = Literal["parity", "worse", "open"]


@dataclass(frozen=True)
class Pairs:
    """How often both said yes, only ours, only theirs, or neither, in runs that differ in nothing else."""

    both: int
    ours: int
    theirs: int
    neither: int

    @classmethod
    def of(cls, answers: Iterable[tuple[bool, bool]]) -> Pairs:
        """Counted from (ours, theirs) of each pair."""
        every = list(answers)
        return cls(*(every.count(answer) for answer in ((True, True), (True, False), (False, True), (False, False))))

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return self.both + self.ours + self.theirs + self.neither

    @property
    def difference(self) -> float:
        """Our share minus theirs."""
        return (self.ours - self.theirs) / self.count

    def interval(self) -> tuple[float, float]:
        """A 95 % interval for the difference.

        Method 10 of Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data",
        Statistics in Medicine 17 (1998): Wilson's intervals of both shares, joined with their correlation, which is corrected for
        continuity. It needs no large sample, and does not shrink to nothing where all pairs agree.
        """
        count = self.count
        ours, theirs = self.both + self.ours, self.both + self.theirs
        (low_a, high_a), (low_b, high_b) = _wilson(ours, count), _wilson(theirs, count)
        share_a, share_b = ours / count, theirs / count
        product = float(self.both * self.neither - self.ours * self.theirs)
        if product > 0:
            product = max(product - count / 2, 0.0)
        scale = sqrt(ours * (count - ours) * theirs * (count - theirs))
        correlation = product / scale if scale else 0.0
        below = _joined(share_a - low_a, high_b - share_b, correlation)
        above = _joined(high_a - share_a, share_b - low_b, correlation)
        return max(self.difference - below, -1.0), min(self.difference + above, 1.0)

    def word(self, margin: float) -> Word:
        """Parity where the whole interval lies above `-margin`, worse where it lies below, else open: too little to say.

        Fewer pairs than could show parity where all agree do not show it by luck either: at 20 pairs and a margin of a tenth the interval
        alone would say parity of a student that is a tenth worse in up to 9 of 100 cases, from 35 on in 4 at the most (counted over all outcomes).
        """
        low, high = self.interval()
        if low > -margin and self.count >= needed_pairs(margin):
            return "parity"
        return "worse" if high < -margin else "open"

    def text(self, margin: float) -> str:
        """Verdict, shares and interval in words; what the pairs say of a difference, those that differ say, and the others how rare one is."""
        low, high = self.interval()
        verdicts: dict[Word, str] = {
            "parity": f"parity within {100 * margin:g} points",
            "worse": f"worse by more than {100 * margin:g} points",
            "open": "too little to say",
        }
        word, needed = self.word(margin), needed_pairs(margin)
        lacking = f" (at least {needed} are needed)" if word == "open" and self.count < needed else ""
        return (
            f"{verdicts[word]}: {self.both + self.ours} of {self.count} against {self.both + self.theirs} of {self.count},"
            f" {100 * self.difference:+.0f} points ({100 * low:+.0f} to {100 * high:+.0f}),"
            f" {self.ours + self.theirs} of {self.count} seeds differ{lacking}"
        )


def needed_pairs(margin: float) -> int:
    """How many pairs that all say yes show parity within `margin`: Wilson's interval of n of n reaches down to z²/(n + z²) below 1."""
    return ceil(Z * Z * (1 / margin - 1))


def _wilson(yes: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share (Journal of the American Statistical Association 22, 1927)."""
    share = yes / count
    middle, half = share + Z * Z / (2 * count), Z * sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    scale = 1 + Z * Z / count
    return max((middle - half) / scale, 0.0), min((middle + half) / scale, 1.0)


def _joined(a: float, b: float, correlation: float) -> float:
    return sqrt(max(a * a - 2 * correlation * a * b + b * b, 0.0))
