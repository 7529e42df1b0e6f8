"""A metric along a version's ancestors: what each step from parent to child did to it, where the two were measured alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from core.errors import UsageError, VortexError
from pipelines.lineage.ancestry import Lineage
from registry.lineage import main_parent
from registry.records import Series, Version
from registry.versions import Hub

MANY = 40
"""Ancestors from which on all versions are read at once, and not one by one."""


@dataclass(frozen=True)
class Point:
    """One version's value, and how it differs from that of `against`, the nearest ancestor with one in the same series.

    `made_by` is the kind of the edge from its parent.
    """

    version: str
    made_by: str
    value: float
    frames: int
    series: Series
    against: str | None = None
    change: float | None = None


@dataclass(frozen=True)
class MetricLine:
    """Values that can be joined: measured on the same frames, by the same protocol, which is an exam's. The oldest ancestor first."""

    series: Series
    points: tuple[Point, ...]


@dataclass(frozen=True)
class MetricHistory:
    """A metric on one domain along the ancestors of a version.

    `apart` are measurements that no line joins, because no exam made them or they are not finite; `unmeasured` the ancestors without any.
    """

    version: str
    metric: str
    domain: str
    ancestors: tuple[str, ...]
    lines: tuple[MetricLine, ...]
    apart: tuple[Point, ...]
    unmeasured: tuple[str, ...]


def metric_history(registry: Hub, lineage: Lineage, version: str, metric: str) -> MetricHistory:
    """The metric `NAME@DOMAIN`, or `NAME` on the version's own domain, along its ancestors: by weights where it has them, else by recipe.

    Raises UsageError without a domain, and VortexError for a domain or a metric that none of them was measured in, with those that are.
    """
    name, _, domain = metric.partition("@")
    domain = domain or lineage.summaries[version].domain or ""
    if not (name and domain):
        raise UsageError(f"--metric {metric!r} names no metric on a domain", "for example: --metric rmse@rooms")
    chain = _ancestors(lineage, version)
    registered = [summary for summary in chain if summary in lineage.summaries]
    versions = (
        {each.name: each for each in registry.versions()} if len(registered) > MANY else {each: registry.get(each) for each in registered}
    )
    _require_measured([versions[each] for each in registered], name, domain)
    kinds = {child: _made_by(versions[child], parent) for parent, child in pairwise(chain) if child in versions}
    points = [
        Point(each, kinds.get(each, ""), measured.values[name], measured.frames, measured.series)
        for each in registered
        for measured in versions[each].metrics
        if measured.domain == domain and name in measured.values
    ]
    with_value = {point.version for point in points}
    unmeasured = tuple(each for each in chain if each not in with_value)
    joined = [point for point in points if point.series.exam and math.isfinite(point.value)]
    apart = tuple(point for point in points if point not in joined)
    return MetricHistory(version, name, domain, tuple(chain), _lines(joined), apart, unmeasured)


def _ancestors(lineage: Lineage, version: str) -> list[str]:
    """The oldest first, and the version itself last; one that is only named ends the line."""
    chain = [version]
    while (summary := lineage.summaries.get(chain[-1])) and (parent := main_parent(summary)) and parent not in chain:
        chain.append(parent)
    return chain[::-1]


def _made_by(version: Version, parent: str) -> str:
    return next((edge.kind for edge in version.parents if edge.triple()[1] == parent), "")


def _lines(points: list[Point]) -> tuple[MetricLine, ...]:
    lines: list[list[Point]] = []
    for point in points:
        line = next((line for line in lines if line[0].series == point.series), None)
        if line is None:
            lines.append([point])
        else:
            line.append(_after(line[-1], point))
    return tuple(MetricLine(line[-1].series, tuple(line)) for line in sorted(lines, key=len, reverse=True))


def _after(before: Point, point: Point) -> Point:
    return Point(
        point.version, point.made_by, point.value, point.frames, point.series, against=before.version, change=point.value - before.value
    )


def _require_measured(versions: list[Version], metric: str, domain: str) -> None:
    names = ", ".join(version.name for version in versions)
    domains = sorted({measured.domain for version in versions for measured in version.metrics})
    if domain not in domains:
        raise VortexError(
            f"none of {names} was measured on {domain[:80]!r}; they were on: {', '.join(domains) or 'nothing yet'}",
            "name one of these, or measure with: vortex evaluate",
        )
    metrics = {name for version in versions for measured in version.metrics if measured.domain == domain for name in measured.values}
    if metric not in metrics:
        raise VortexError(f"no metric {metric[:80]!r} was measured on {domain}, allowed: {', '.join(sorted(metrics))}", "name one of these")
