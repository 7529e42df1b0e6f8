"""What a version forgot: it against the one whose weights it started from, on the domains that this one was trained for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import VortexError
from pipelines.compare.pooled import metric_named
from pipelines.compare.verdict import MARGIN, Verdict, judge_frames
from pipelines.compare.versions import frame_errors
from registry.edges import WeightsEdge
from registry.records import Metrics, Series, Version
from registry.versions import Hub

BY: Final = ("rmse", "miou")
"""What forgetting is judged by, where both versions have it: depth, and classes."""


@dataclass(frozen=True)
class Forgetting:
    """One metric of a version on a domain of its parent, against the parent: `worse` is what was forgotten.

    `parent_value` and `value` are None where one was not measured there; `verdict` is None where none could be given, and `unjudged` says
    why. Camera, dataset and the rest are empty where there is no common measurement.
    """

    version: str
    parent: str
    domain: str
    metric: str
    camera: str = ""
    protocol: str = ""
    dataset: str = ""
    digest: str = ""
    parent_value: float | None = None
    value: float | None = None
    verdict: Verdict | None = None
    unjudged: str = ""

    @property
    def place(self) -> str:
        """Where: the domain, with camera and dataset where the two were measured on the same frames."""
        return Series(self.domain, self.camera, self.protocol, self.dataset, self.digest).place if self.camera else self.domain

    @property
    def share(self) -> float | None:
        """The change as a share of the parent's value: 1.3 is +130 %."""
        if self.value is None or not self.parent_value:
            return None
        return self.value / self.parent_value - 1

    def text(self, value: float | None) -> str:
        """A value of its metric, as a person reads it."""
        return "–" if value is None else metric_named(self.metric).text(value)

    @property
    def forgotten(self) -> bool:
        """Whether the verdict says that it is worse than its parent."""
        return self.verdict is not None and self.verdict.word == "worse"


def forgetting(registry: Hub, version: Version, *, margin: float = MARGIN, seed: int = 0) -> tuple[Forgetting, ...]:
    """What `version` forgot of each domain that its weights' parent was trained for, the parent's own line of weights included.

    Only exams judge. Where the training data of the parent are unknown, its domains are those that it was measured on. Empty for a
    version that started from no weights; one record without a verdict for each domain that the two cannot be compared on.
    """
    name = next((edge.version for edge in version.parents if isinstance(edge, WeightsEdge)), None)
    if name is None:
        return ()
    parent = registry.find(name)
    if parent is None:
        return (Forgetting(version.name, name, version.domain or "", "rmse", unjudged=f"{name} is not registered here"),)
    pairs = {domain: _pairs(version, parent, domain) for domain in domains_of(registry, parent)}
    judged = sum(
        metric in of_version.values and metric in of_parent.values
        for each in pairs.values()
        for of_version, of_parent in each
        for metric in BY
    )
    records = []
    for domain, of_domain in pairs.items():
        if not of_domain:
            records.append(Forgetting(version.name, name, domain, "rmse", unjudged=_why_unpaired(version, parent, domain)))
        for of_version, of_parent in of_domain:
            records += _judged(registry, version.name, name, of_version, of_parent, judged, margin, seed)
    return tuple(records)


def domains_of(registry: Hub, version: Version) -> tuple[str, ...]:
    """The domains that a version was trained for: those of its data and of every version whose weights are in it, the oldest first."""
    line = [ancestor for ancestor in registry.weights_line(version).values() if isinstance(ancestor, Version)]
    trained = [domain for ancestor in reversed(line) for domain in (*(use.domain for use in ancestor.data), ancestor.domain) if domain]
    return tuple(dict.fromkeys(trained or [metrics.domain for metrics in version.metrics if metrics.series.exam]))


def _pairs(version: Version, parent: Version, domain: str) -> list[tuple[Metrics, Metrics]]:
    """Exams of the domain that both have sat, on the same frames."""
    pairs = {}
    for metrics in version.metrics:
        for other in parent.metrics:
            if metrics.domain == domain and metrics.series.exam and metrics.series == other.series:
                pairs[metrics.series] = (metrics, other)
    return list(pairs.values())


def _why_unpaired(version: Version, parent: Version, domain: str) -> str:
    without = [
        each.name for each in (version, parent) if not any(metrics.domain == domain and metrics.series.exam for metrics in each.metrics)
    ]
    if without:
        return " and ".join(f"{name} was not measured there: vortex evaluate {name} --domain {domain}" for name in without)
    return f"the two were measured there on different frames: vortex evaluate {version.name} --domain {domain}, and {parent.name}"


def _judged(
    registry: Hub, name: str, parent: str, of_version: Metrics, of_parent: Metrics, comparisons: int, margin: float, seed: int
) -> Sequence[Forgetting]:
    records = []
    series = of_version.series
    for metric in (metric for metric in BY if metric in of_version.values and metric in of_parent.values):
        verdict, unjudged = None, ""
        try:
            errors, errors_of_parent = frame_errors(registry, name, of_version), frame_errors(registry, parent, of_parent)
            verdict = judge_frames(errors, errors_of_parent, metric, margin=margin, comparisons=comparisons, seed=seed)
        except VortexError as error:
            unjudged = error.message
        place = (series.camera, series.protocol, series.dataset, series.digest)
        values = (of_parent.values[metric], of_version.values[metric])
        records.append(Forgetting(name, parent, series.domain, metric, *place, *values, verdict, unjudged))
    return records
