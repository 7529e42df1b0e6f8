"""Measurements as tables show them: exams apart from all else, a figure a column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from core.classes import CLASSES
from pipelines.compare.pooled import METRICS
from registry.records import Metrics

SHOWN: Final = ("rmse", "mae", "abs_rel", "delta1", "rmse_near", "rmse_mid", "rmse_far", "miou")
BRIEF: Final = ("rmse", "rmse_near", "delta1", "miou")
"""What is said of a version where it is one line among others."""
OF_CLASSES: Final = tuple(f"iou_{name}" for name in CLASSES)


@dataclass(frozen=True)
class Row:
    """One measurement: where, on what and how, and its figures as (heading, text); the text is empty where it has none."""

    place: str
    frames: int
    figures: tuple[tuple[str, str], ...]
    protocol: str
    dataset: str
    digest: str


@dataclass(frozen=True)
class Results:
    """A table of measurements by one protocol: figures of two never stand in one."""

    protocol: str
    headings: tuple[str, ...]
    rows: tuple[Row, ...]


def results(measurements: Iterable[Metrics], names: Sequence[str] = SHOWN) -> tuple[Results, ...]:
    """The tables, one a protocol, of those measurements that have any of the figures `names`; what none of a table has is no column."""
    protocols: dict[str, list[Metrics]] = {}
    for metrics in measurements:
        if any(name in metrics.values for name in names):
            protocols.setdefault(metrics.protocol, []).append(metrics)
    return tuple(_table(protocol, of_protocol, names) for protocol, of_protocol in protocols.items())


def _table(protocol: str, measurements: Sequence[Metrics], names: Sequence[str]) -> Results:
    names = [name for name in names if any(name in metrics.values for metrics in measurements)]
    rows = [
        Row(
            metrics.series.place,
            metrics.frames,
            tuple((METRICS[name].heading, _text(name, metrics.values.get(name))) for name in names),
            metrics.protocol,
            metrics.dataset,
            metrics.digest,
        )
        for metrics in measurements
    ]
    return Results(protocol, tuple(METRICS[name].heading for name in names), tuple(rows))


def _text(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return METRICS[name].text(value) if math.isfinite(value) else "not finite"
