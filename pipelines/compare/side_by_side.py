"""Two versions or recipes side by side: how they were made, what they measured on the same thing, and which is better there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import VortexError
from core.shipped import SHIPPED
from pipelines.compare.pooled import metric_named
from pipelines.compare.verdict import MARGIN, Verdict
from pipelines.compare.versions import judge_measured
from pipelines.hub.open import hub
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import TOLD, Recipe
from pipelines.workspace import Workspace
from registry.records import Version
from registry.versions import Hub

SHOWN = ("rmse", "mae", "abs_rel", "delta1", "rmse_near", "rmse_mid", "rmse_far", "rmse_median_scaled", "miou", "iou_glass")
"""Metrics that a comparison shows, in this order; `vortex show` has the rest."""
TOLD_APART = ("name", *(block for block in TOLD if block != "variants"))
"""Parts of a recipe that describe it: two recipes differ in them always, and are made no differently by it."""


@dataclass(frozen=True)
class Side:
    """What one name stands for: a registered version, or a recipe."""

    name: str
    source: Literal["version", "recipe", "version without recipe"]


@dataclass(frozen=True)
class Difference:
    """A setting of the recipes that differs; None where a recipe does not have it."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True)
class MetricRow:
    """One metric on one dataset and camera under one protocol; `change` is b − a, None where one of them was not measured."""

    domain: str
    camera: str
    protocol: str
    dataset: str
    metric: str
    a: float | None
    b: float | None
    change: float | None


@dataclass(frozen=True)
class Judgement:
    """The verdict of b against a by one metric, where both have it; `unjudged` says why there is none."""

    domain: str
    camera: str
    protocol: str
    dataset: str
    metric: str
    verdict: Verdict | None
    unjudged: str = ""


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`."""

    a: Side
    b: Side
    recipe: tuple[Difference, ...]
    metrics: tuple[MetricRow, ...]
    judgements: tuple[Judgement, ...] = ()


def compare(ws: Workspace, a: str, b: str, *, metrics: Sequence[str] = ("rmse",), margin: float = MARGIN, seed: int = 0) -> Comparison:
    """Put two versions or recipes side by side, and judge b against a by each of `metrics` wherever both kept the errors of the same frames.

    Raises VortexError for a name that is neither, saying what exists, UsageError for a metric that cannot be judged.
    """
    for metric in metrics:
        metric_named(metric)
    (side_a, recipe_a, version_a), (side_b, recipe_b, version_b) = (_look_up(ws, name) for name in (a, b))
    different = recipes.differences(recipe_a, recipe_b, TOLD_APART) if recipe_a and recipe_b else []
    judgements = _judgements(hub(ws), version_a, version_b, metrics, margin, seed) if version_a and version_b else []
    rows = _rows(version_a, version_b, metrics)
    return Comparison(side_a, side_b, tuple(Difference(*line) for line in different), tuple(rows), tuple(judgements))


def _look_up(ws: Workspace, name: str) -> tuple[Side, Recipe | None, Version | None]:
    """What a name stands for; a version that was brought without a recipe has none."""
    registry = hub(ws)
    registered = any(summary.name == name for summary in registry.summaries())
    if not registered and (name in SHIPPED or name.endswith((".yaml", ".yml"))):
        return Side(name, "recipe"), recipes.load(name), None
    version = registry.get(name)
    recipe = recipes.parse(version.recipe_config, f"the recipe of {name}") if version.recipe_config else None
    return Side(name, "version" if recipe else "version without recipe"), recipe, version


def _rows(a: Version | None, b: Version | None, also: Sequence[str]) -> list[MetricRow]:
    """A row for each metric that at least one of the versions has; the digest keeps two states of a dataset apart."""
    values_a, values_b = ({metrics.series: metrics.values for metrics in version.metrics} if version else {} for version in (a, b))
    rows = []
    for series in dict.fromkeys([*values_a, *values_b]):
        of_a, of_b = values_a.get(series, {}), values_b.get(series, {})
        for metric in (name for name in dict.fromkeys((*SHOWN, *also)) if name in of_a or name in of_b):
            value_a, value_b = of_a.get(metric), of_b.get(metric)
            change = value_b - value_a if value_a is not None and value_b is not None else None
            rows.append(MetricRow(series.domain, series.camera, series.protocol, series.dataset, metric, value_a, value_b, change))
    return rows


def _judgements(registry: Hub, a: Version, b: Version, metrics: Sequence[str], margin: float, seed: int) -> list[Judgement]:
    """A judgement for each of the metrics, wherever both versions have it of the same thing."""
    measured = {of_a.series: of_a for of_a in a.metrics}
    judgements = []
    for of_b in b.metrics:
        of_a = measured.get(of_b.series)
        names = [metric for metric in metrics if of_a and metric in of_a.values and metric in of_b.values]
        if not of_a or not names:
            continue
        verdicts: dict[str, Verdict] = {}
        unjudged = ""
        try:
            verdicts = {
                verdict.metric: verdict
                for verdict in judge_measured(registry, (b.name, of_b), (a.name, of_a), names, margin=margin, seed=seed)
            }
        except VortexError as error:
            unjudged = error.message
        place = (of_b.domain, of_b.camera, of_b.protocol, of_b.dataset)
        judgements += [Judgement(*place, metric, verdicts.get(metric), unjudged) for metric in names]
    return judgements
