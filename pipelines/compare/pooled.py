"""Metrics of pooled sums: what of a set of frames can be judged, which way is better, and how it is made of the frames' sums.

They pool as `models.metrics` does: an RMSE is the root of all squared errors over all pixels, a mean IoU is made of the confusion matrix
of all pixels. So a metric of a set is no mean of the frames' own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES
from core.depth import RANGES_M
from core.errors import UsageError
from pipelines.compare.frame_errors import CONFUSION, COUNT, SQUARED, Sums

Direction = Literal["lower", "higher"]
Unit = Literal["m", "share"]


@dataclass(frozen=True)
class Metric:
    """A pooled metric. `direction` is the better one, `sums` what it is made of.

    `pool` takes totals [..., …] of the sums and gives values [...], NaN where nothing is behind them; `weight` takes the frames' sums
    and gives how many pixels of a frame count, [frames].
    """

    name: str
    heading: str
    direction: Direction
    unit: Unit
    sums: tuple[str, ...]
    pool: Callable[[Sums], NDArray[np.float64]]
    weight: Callable[[Sums], NDArray[np.float64]]

    def text(self, value: float, sign: str = "") -> str:
        """A value of it, or with `sign` "+" a difference, as a person reads it: metres, or percent; of a network that answered NaN it is no number."""
        if not math.isfinite(value):
            return "not finite"
        return f"{value:{sign}z.4f} m" if self.unit == "m" else f"{100 * value:{sign}z.2f} %"


def metric_named(name: str) -> Metric:
    """The metric of that name. Raises UsageError for one that cannot be judged, naming those that can."""
    if name not in METRICS:
        raise UsageError(f"{name!r} cannot be judged frame by frame, allowed: {', '.join(METRICS)}", "name one of them")
    return METRICS[name]


def _mean(name: str, heading: str, direction: Direction, unit: Unit, numerator: str, *, count: str = COUNT, root: bool = False) -> Metric:
    """A mean over pixels, or the root of one."""

    def pool(totals: Sums) -> NDArray[np.float64]:
        with np.errstate(divide="ignore", invalid="ignore"):
            means = totals[numerator] / totals[count]
        return np.sqrt(means) if root else means

    return Metric(name, heading, direction, unit, (numerator, count), pool, lambda sums: sums[count])


def _iou(name: str, heading: str, label: int | None) -> Metric:
    """IoU of a class, or without a `label` its mean over the classes that occur or are predicted."""

    def pool(totals: Sums) -> NDArray[np.float64]:
        confusion = totals[CONFUSION]
        hits = np.diagonal(confusion, axis1=-2, axis2=-1)
        union = confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits
        with np.errstate(divide="ignore", invalid="ignore"):
            iou = hits / union
            if label is not None:
                return np.asarray(iou[..., label], np.float64)
            occurs = union > 0
            return np.asarray(np.where(occurs, iou, 0.0).sum(axis=-1) / occurs.sum(axis=-1), np.float64)

    return Metric(name, heading, "higher", "share", (CONFUSION,), pool, lambda sums: sums[CONFUSION].sum(axis=(-2, -1)))


_ALL: Final = (
    _mean("rmse", "RMSE", "lower", "m", SQUARED, root=True),
    _mean("mae", "MAE", "lower", "m", "absolute"),
    _mean("abs_rel", "AbsRel", "lower", "share", "abs_rel"),
    _mean("delta1", "δ1", "higher", "share", "delta1"),
    *(_mean(f"rmse_{part}", f"RMSE {part}", "lower", "m", f"{SQUARED}_{part}", count=f"{COUNT}_{part}", root=True) for part in RANGES_M),
    _mean("fused_rmse", "RMSE fused", "lower", "m", f"fused_{SQUARED}", count=f"fused_{COUNT}", root=True),
    _mean("jitter", "jitter", "lower", "m", "jitter_absolute", count="jitter_count"),
    _mean("rmse_median_scaled", "RMSE median-scaled", "lower", "m", f"{SQUARED}_median_scaled", root=True),
    _iou("miou", "mIoU", None),
    *(_iou(f"iou_{name}", f"IoU {name}", label) for label, name in enumerate(CLASSES)),
)
METRICS: Final[Mapping[str, Metric]] = {metric.name: metric for metric in _ALL}
"""What can be judged frame by frame, by the names of `models.metrics`."""
