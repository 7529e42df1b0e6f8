"""Two versions or recipes side by side: how they were made, what they measured on the same thing, which is better there, and what each forgot.

Everything comes from the registry: figures from the ledger, verdicts from the stored errors of frames. Neither weights nor data are needed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from core.classes import CLASSES
from core.depth import RANGES_M
from core.errors import VortexError
from core.shipped import SHIPPED
from pipelines.compare.forgetting import Forgetting, forgetting
from pipelines.compare.pooled import METRICS, metric_named
from pipelines.compare.verdict import MARGIN, Verdict, judge_frames
from pipelines.compare.versions import judged_errors
from pipelines.hub.open import hub
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import TOLD, Recipe
from pipelines.workspace import Workspace
from registry.records import Metrics, Series, Version
from registry.versions import Hub

PARTS = (*(f"rmse_{part}" for part in RANGES_M), "miou", *(f"iou_{name}" for name in CLASSES))
"""What every comparison looks into: depth by range, and classes. They are judged as a family of their own, apart from what was asked for."""
SHOWN = ("rmse", "mae", "abs_rel", "delta1", "rmse_median_scaled", *PARTS)
"""Metrics that a comparison shows, in this order; `vortex show` has the rest."""
TOLD_APART = ("name", *(block for block in TOLD if block != "variants"))
"""Parts of a recipe that describe it: two recipes differ in them always, and are made no differently by it."""


@dataclass(frozen=True)
class Side:
    """What one name stands for: a registered version, or a recipe."""

    name: str
    source: Literal["version", "recipe", "version without recipe"]
    codename: str = ""


@dataclass(frozen=True)
class Difference:
    """A setting of the recipes that differs; None where a recipe does not have it."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True)
class MetricRow:
    """One metric of both; `change` is b − a, None where one of them lacks it.

    `verdict` is that of b against a, None where it was not asked for or could not be given: then `unjudged` says why.
    """

    metric: str
    a: float | None
    b: float | None
    change: float | None
    verdict: Verdict | None = None
    unjudged: str = ""


@dataclass(frozen=True)
class Measured:
    """One thing that both were measured on: the same frames, by the same protocol."""

    domain: str
    camera: str
    protocol: str
    dataset: str
    digest: str
    exam: bool
    frames: int
    rows: tuple[MetricRow, ...]

    @property
    def series(self) -> Series:
        """What was measured."""
        return Series(self.domain, self.camera, self.protocol, self.dataset, self.digest)

    def row(self, metric: str) -> MetricRow | None:
        """The row of a metric, or None."""
        return next((row for row in self.rows if row.metric == metric), None)


@dataclass(frozen=True)
class Unpaired:
    """A measurement of one of the two that no measurement of the other can be put beside; `why` says what differs."""

    version: str
    domain: str
    camera: str
    protocol: str
    dataset: str
    digest: str
    why: str

    @property
    def sentence(self) -> str:
        """For people."""
        series = Series(self.domain, self.camera, self.protocol, self.dataset, self.digest)
        return f"{self.version} on {series}: {self.why}"


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`: b is judged against a."""

    a: Side
    b: Side
    asked: tuple[str, ...]
    """The metrics that b was to be judged by."""
    recipe: tuple[Difference, ...]
    measured: tuple[Measured, ...]
    unpaired: tuple[Unpaired, ...] = ()
    forgetting: tuple[Forgetting, ...] = ()
    barred: Mapping[str, str] = field(default_factory=dict)
    """Which of the two may enter no stage → the quarantine that keeps it from that."""


def compare(
    ws: Workspace,
    a: str,
    b: str,
    *,
    domain: str | None = None,
    metrics: Sequence[str] = ("rmse",),
    margin: float = MARGIN,
    seed: int = 0,
) -> Comparison:
    """Put two versions or recipes side by side, and judge b against a by each of `metrics` wherever both were measured on the same thing.

    Ranges of depth and classes are judged too. A `domain` leaves the figures of others out. Raises VortexError for a name that is
    neither version nor recipe, and for a `domain` on which nothing of the two can be compared, saying what each was measured on;
    UsageError for a metric that cannot be judged.
    """
    for metric in metrics:
        metric_named(metric)
    if domain is not None:
        ws.domain(domain)
    registry = hub(ws)
    (side_a, recipe_a, version_a), (side_b, recipe_b, version_b) = (_look_up(registry, name) for name in (a, b))
    different = recipes.differences(recipe_a, recipe_b, TOLD_APART) if recipe_a and recipe_b else []
    pairs, unpaired = _pairs(version_a, version_b, domain) if version_a and version_b else ([], ())
    if domain is not None and not pairs:
        raise _nothing_common(side_a, side_b, version_a, version_b, domain, unpaired)
    measured = [_measured(registry, (a, of_a), (b, of_b), metrics, margin, seed) for of_a, of_b in pairs]
    losses = [loss for version in (version_a, version_b) if version for loss in forgetting(registry, version, margin=margin, seed=seed)]
    return Comparison(
        side_a,
        side_b,
        tuple(metrics),
        tuple(Difference(*line) for line in different),
        tuple(measured),
        unpaired,
        tuple(dict.fromkeys(loss for loss in losses if domain in (None, loss.domain))),
        {name: "; ".join(map(str, bars)) for name, bars in registry.barred().items() if name in (a, b)},
    )


def _look_up(registry: Hub, name: str) -> tuple[Side, Recipe | None, Version | None]:
    """What a name stands for; a version that was brought without a recipe has none."""
    version = registry.find(name)
    if version is None and (name in SHIPPED or name.endswith((".yaml", ".yml"))):
        recipe = recipes.load(name)
        return Side(name, "recipe", recipe.codename), recipe, None
    version = version or registry.get(name)
    of_version = recipes.parse(version.recipe_config, f"the recipe of {name}") if version.recipe_config else None
    return Side(name, "version" if of_version else "version without recipe", version.codename), of_version, version


def _pairs(a: Version, b: Version, domain: str | None) -> tuple[list[tuple[Metrics, Metrics]], tuple[Unpaired, ...]]:
    """Measurements of both of the same thing, exams first, and those of one that none of the other can be put beside."""
    of_a, of_b = ([metrics for metrics in version.metrics if domain in (None, metrics.domain)] for version in (a, b))
    pairs = {}
    for metrics in of_b:
        for other in of_a:
            if other.series == metrics.series:
                pairs[metrics.series] = (other, metrics)
    unpaired = [
        Unpaired(version.name, **vars(metrics.series), why=_why(metrics.series, [other.series for other in others], name))
        for version, own, others, name in ((a, of_a, of_b, b.name), (b, of_b, of_a, a.name))
        for metrics in own
        if metrics.series not in pairs
    ]
    return sorted(pairs.values(), key=lambda pair: not pair[0].series.exam), tuple(unpaired)


def _why(series: Series, others: Sequence[Series], name: str) -> str:
    """What keeps a series from the nearest one of the other version."""
    of_domain = [other for other in others if other.domain == series.domain]
    if not of_domain:
        return f"{name} was not measured on {series.domain}"
    nearest = max(
        of_domain, key=lambda other: sum(getattr(other, what) == getattr(series, what) for what in ("camera", "protocol", "digest"))
    )
    return f"{name} was measured otherwise: {series.difference(nearest)}"


def _nothing_common(
    a: Side, b: Side, version_a: Version | None, version_b: Version | None, domain: str, unpaired: Sequence[Unpaired]
) -> VortexError:
    """The error for a domain without one common measurement, with what each was measured on."""
    recipe = next((side.name for side, version in ((a, version_a), (b, version_b)) if version is None), None)
    if recipe:
        return VortexError(f"{recipe} is a recipe and was not measured on {domain}", f"train it first: vortex train {recipe}")
    without = [side.name for side in (a, b) if side.name not in {line.version for line in unpaired}]
    hint = " and ".join(f"vortex evaluate {name} --domain {domain}" for name in without or [a.name, b.name])
    return VortexError(
        f"{a.name} and {b.name} have nothing on {domain} that can be compared",
        f"measure both on the same frames, by one protocol: {hint}",
        [line.sentence for line in unpaired],
    )


def _measured(registry: Hub, a: tuple[str, Metrics], b: tuple[str, Metrics], asked: Sequence[str], margin: float, seed: int) -> Measured:
    """One thing that both were measured on, with the verdicts by what was asked and by its parts."""
    (_, of_a), (_, of_b) = a, b
    names = [name for name in dict.fromkeys((*SHOWN, *asked)) if name in of_a.values or name in of_b.values]
    common = [name for name in names if name in of_a.values and name in of_b.values]
    families = ([name for name in common if name in asked], [name for name in common if name in PARTS and name not in asked])
    verdicts = _verdicts(registry, b, a, families, margin, seed)
    rows = []
    for name in names:
        value_a, value_b = of_a.values.get(name), of_b.values.get(name)
        change = value_b - value_a if value_a is not None and value_b is not None else None
        if change is not None and not math.isfinite(change):
            change = None
        verdict = verdicts.get(name)
        rows.append(
            MetricRow(name, value_a, value_b, change, None, verdict)
            if isinstance(verdict, str)
            else MetricRow(name, value_a, value_b, change, verdict)
        )
    return Measured(**vars(of_a.series), exam=of_a.series.exam, frames=of_a.frames, rows=tuple(rows))


def _verdicts(
    registry: Hub, b: tuple[str, Metrics], a: tuple[str, Metrics], families: Sequence[Sequence[str]], margin: float, seed: int
) -> Mapping[str, Verdict | str]:
    """Metric → the verdict of b against the baseline a, or why there is none. Within each family all intervals hold at once."""
    try:
        errors_b, errors_a = (judged_errors(registry, name, metrics) for name, metrics in (b, a))
    except VortexError as error:
        return {name: error.message for family in families for name in family}
    verdicts: dict[str, Verdict | str] = {}
    for family in families:
        for name in (name for name in family if name in METRICS):
            try:
                verdicts[name] = judge_frames(errors_b, errors_a, name, margin=margin, comparisons=len(family), seed=seed)
            except VortexError as error:
                verdicts[name] = error.message
    return verdicts
