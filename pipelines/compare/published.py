"""Published figures of two versions side by side: shown beside what was measured, and never judged."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.declarations import DeclaredMetric
from registry.versions import Hub


@dataclass(frozen=True)
class PublishedPair:
    """One published metric at one place, of two versions; None where it was not published of one."""

    place: str
    metric: str
    a: float | None
    b: float | None


def published_pairs(ws: Workspace, a: str, b: str) -> list[PublishedPair]:
    """What was published of two versions, declared ones without weights included; empty where nothing was of either."""
    registry = hub(ws)
    of_a, of_b = ({(metric.place, metric.metric): metric.value for metric in _published(registry, name)} for name in (a, b))
    return [PublishedPair(*key, of_a.get(key), of_b.get(key)) for key in dict.fromkeys([*of_a, *of_b])]


def _published(registry: Hub, name: str) -> tuple[DeclaredMetric, ...]:
    version = registry.find(name)
    if version is not None:
        return version.published
    return next((declared.declaration.metrics for declared in registry.declared() if declared.name == name), ())
