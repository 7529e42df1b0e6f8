"""The Pareto front of versions: which of them no other beats or equals on every axis, and by how much the others are dominated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError, VortexError
from models.checkpoint import parameter_count
from pipelines.compare.errors_at_hand import ErrorsAtHand
from pipelines.compare.latency import DeviceLatency, latencies
from pipelines.compare.latency import at as timed_on
from pipelines.compare.pooled import METRICS, Direction
from pipelines.compare.shared_series import SharedSeries, at, shared_series
from pipelines.compare.verdict import MARGIN, Verdict, judge_frames
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.records import Series, Version
from registry.versions import Hub, no_versions

PARAMS: Final = "params"
LATENCY: Final = "latency"
MOST_NAMED: Final = 20
ALLOWED: Final = (
    f"PLACE.METRIC, where PLACE is a domain, a dataset or DATASET@CAMERA and METRIC one of {', '.join(METRICS)}; "
    f"{PARAMS}; and {LATENCY}@DEVICE"
)
Place = SharedSeries | DeviceLatency | None
"""What an axis was measured on; None for the number of parameters."""


@dataclass(frozen=True)
class Axis:
    """Something that versions differ in. `series` are the frames that it was measured on; None for parameters and for milliseconds."""

    name: str
    metric: str
    direction: Direction
    series: Series | None

    def text(self, value: float, sign: str = "") -> str:
        """A value on it, or with `sign` "+" a difference, as a person reads it."""
        if self.series:
            return METRICS[self.metric].text(value, sign)
        return f"{value:{sign}.2f} ms" if self.metric == LATENCY else f"{value:{sign},.0f}"

    def gain(self, better: float, worse: float) -> float:
        """By how much the first value is better than the second: positive where it is, whichever way the axis runs."""
        return worse - better if self.direction == "lower" else better - worse


@dataclass(frozen=True)
class AxisGain:
    """By how much a dominating version is better on an axis (0 where the two are equal), and whether their frames say so."""

    axis: str
    gain: float
    text: str
    verdict: Verdict | None
    unjudged: str = ""


@dataclass(frozen=True)
class Dominance:
    """A version on the front that is at least as good on every axis, and better on one."""

    version: str
    gains: tuple[AxisGain, ...]

    @property
    def caveat(self) -> str:
        """On which axes the frames say too little, or could not be asked; empty where they bear the figures out."""
        openly = [gain.axis for gain in self.gains if gain.verdict and gain.verdict.word == "open"]
        unjudged = [gain.axis for gain in self.gains if gain.unjudged]
        parts = [f"too little to say on {', '.join(openly)}" if openly else "", f"not judged on {', '.join(unjudged)}" if unjudged else ""]
        return "; ".join(filter(None, parts))


@dataclass(frozen=True)
class Point:
    """A version with its value on each axis, in their order.

    So many `dominators` dominate it, on the front none; `dominated_by` names them, those on the front first, but not more than twenty.
    `dominance` is that of the one on the front that beats it most clearly.
    """

    version: str
    codename: str
    values: tuple[float, ...]
    dominators: int
    dominated_by: tuple[str, ...]
    dominance: Dominance | None

    @property
    def front(self) -> bool:
        """Whether nothing dominates it."""
        return self.dominators == 0


@dataclass(frozen=True)
class Pareto:
    """The result of `pareto`: the front first, then by the first axis.

    `left_out` is version → what it lacks, `barred` version → the quarantine that keeps it from every stage.
    """

    axes: tuple[Axis, ...]
    points: tuple[Point, ...]
    left_out: Mapping[str, str]
    barred: Mapping[str, str]


def pareto(ws: Workspace, axes: Sequence[str], *, exams_only: bool = True, margin: float = MARGIN, seed: int = 0) -> Pareto:
    """Compute which versions dominate which over two axes or more, each `PLACE.METRIC`, `params` or `latency@DEVICE`.

    An axis is one dataset in one state, one camera and one protocol, or one device and runtime; versions that were measured otherwise, or
    not at all, are left out, and named.
    Raises UsageError for an axis that is none, saying what is allowed, VortexError where no version has all of them.
    """
    if len(set(axes)) < 2:
        raise UsageError(f"{len(set(axes))} axis is not enough for a front, allowed: two or more", "for example --axes rooms.rmse,params")
    registry = hub(ws)
    versions = registry.versions()
    if not versions:
        raise no_versions(f"no front over {', '.join(axes)}: ")
    places = shared_series(versions, exams_only=exams_only)
    shared = [_shared(ws, registry, name, versions, places) for name in dict.fromkeys(axes)]
    definitions = [_axis(name, place) for name, place in zip(dict.fromkeys(axes), shared, strict=True)]
    values: dict[str, tuple[float, ...]] = {}
    left_out: dict[str, str] = {}
    for version in versions:
        value = _values(registry, version, definitions, shared)
        if isinstance(value, str):
            left_out[version.name] = value
        else:
            values[version.name] = value
    if not values:
        reasons = [f"{name}: {reason}" for name, reason in left_out.items()]
        raise VortexError(f"no version has all of {', '.join(axes)}", "measure with: vortex evaluate VERSION --domain DOMAIN", reasons)
    errors = ErrorsAtHand(registry)
    codenames = {version.name: version.codename for version in versions}
    better = _dominating(np.array(list(values.values())), definitions)
    names, dominated = list(values), np.asarray(better.any(axis=0))
    points = []
    for row, name in enumerate(names):
        dominators = np.flatnonzero(better[:, row])
        dominators = dominators[np.argsort(dominated[dominators], kind="stable")]
        on_front = [names[other] for other in dominators if not dominated[other]]
        clearest = max(on_front, key=lambda other: _least_gain(definitions, values[other], values[name]), default=None)
        dominance = _judged(errors, definitions, shared, clearest, name, values, margin, seed) if clearest else None
        dominated_by = tuple(names[other] for other in dominators[:MOST_NAMED])
        points.append(Point(name, codenames[name], values[name], len(dominators), dominated_by, dominance))
    first = 1 if definitions[0].direction == "lower" else -1
    ranked = sorted(points, key=lambda point: (not point.front, first * point.values[0]))
    barred = {name: "; ".join(map(str, bars)) for name, bars in registry.barred().items() if name in values}
    return Pareto(tuple(definitions), tuple(ranked), left_out, barred)


def _shared(ws: Workspace, registry: Hub, name: str, versions: Sequence[Version], places: Sequence[SharedSeries]) -> Place:
    if name == PARAMS:
        return None
    quantity, _, device = name.partition("@")
    if quantity == LATENCY:
        return timed_on(device, latencies(ws, registry, versions))
    place, _, metric = name.rpartition(".")
    if not place or metric not in METRICS:
        raise UsageError(f"unknown axis {name!r}, allowed: {ALLOWED}", "for example --axes rooms.rmse,corridor.rmse,params")
    return at(place, places)


def _axis(name: str, shared: Place) -> Axis:
    if isinstance(shared, DeviceLatency):
        return Axis(f"{LATENCY}@{shared.name}", LATENCY, "lower", None)
    metric = name.rpartition(".")[2]
    return Axis(name, metric, METRICS[metric].direction if shared else "lower", shared.series if shared else None)


def _values(registry: Hub, version: Version, axes: Sequence[Axis], shared: Sequence[Place]) -> tuple[float, ...] | str:
    """A version's value on each axis; or what it lacks."""
    values = []
    for axis, place in zip(axes, shared, strict=True):
        if place is None:
            try:
                values.append(float(parameter_count(registry.artifacts.path(version.checkpoint, verify=False))))
            except VortexError as error:
                return error.message
            continue
        if isinstance(place, DeviceLatency):
            if version.name not in place.p99_ms:
                return f"not measured: no trusted device bench of its export on {place.name}"
            values.append(place.p99_ms[version.name])
            continue
        if version.name not in place.metrics:
            otherwise = place.otherwise.get(version.name)
            return f"measured otherwise on {place.name}: {otherwise}" if otherwise else f"not measured on {place.name}"
        value = place.metrics[version.name].values.get(axis.metric)
        if value is None or not np.isfinite(value):
            return f"has no finite {axis.metric} on {place.name}"
        values.append(value)
    return tuple(values)


def _dominating(values: NDArray[np.float64], axes: Sequence[Axis]) -> NDArray[np.bool_]:
    """[n, n]: whether the version of the row is as good as that of the column on all axes and better on one. `values` is [n, axes]."""
    costs = values * np.array([1.0 if axis.direction == "lower" else -1.0 for axis in axes])
    as_good = np.ones((len(costs), len(costs)), np.bool_)
    better = np.zeros_like(as_good)
    for cost in costs.T:
        as_good &= cost[:, None] <= cost
        better |= cost[:, None] < cost
    return np.asarray(as_good & better)


def _least_gain(axes: Sequence[Axis], better: Sequence[float], worse: Sequence[float]) -> float:
    """The smallest gain over all axes, as a share of the worse value: how clearly one dominates the other."""
    return min(axis.gain(a, b) / (abs(b) or 1.0) for axis, a, b in zip(axes, better, worse, strict=True))


def _judged(
    errors: ErrorsAtHand,
    axes: Sequence[Axis],
    shared: Sequence[Place],
    dominator: str,
    dominated: str,
    values: Mapping[str, tuple[float, ...]],
    margin: float,
    seed: int,
) -> Dominance:
    """What one version has over another on each axis; the intervals of all measured axes hold at once."""
    gains = []
    comparisons = sum(isinstance(place, SharedSeries) for place in shared)
    for axis, place, a, b in zip(axes, shared, values[dominator], values[dominated], strict=True):
        verdict, unjudged = None, ""
        if isinstance(place, SharedSeries):
            try:
                of_a, of_b = (errors.of(name, place.metrics[name]) for name in (dominator, dominated))
                verdict = judge_frames(of_a, of_b, axis.metric, margin=margin, comparisons=comparisons, seed=seed)
            except VortexError as error:
                unjudged = error.message
        gains.append(AxisGain(axis.name, axis.gain(a, b), axis.text(a - b, "+"), verdict, unjudged))
    return Dominance(dominator, tuple(gains))
