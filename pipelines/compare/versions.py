"""Two registered versions compared from what the registry holds of them; what one of them lacks is measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors
from pipelines.compare.verdict import Bootstrap, paired_bootstrap
from pipelines.hub.open import hub as open_hub
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from registry.records import Metrics, Series
    from registry.versions import Hub

Measure = Callable[[str, str], object]
"""Called with (version, domain) to measure and record it as the other one was."""


def compare(ws: Workspace, a: str, b: str, *, domain: str, camera: str | None = None, seed: int = 0) -> Bootstrap:
    """RMSE of version `a` minus `b` with its 95 % interval, from the newest measurement that both have on `domain`.

    Raises VortexError when they were not measured on the same frames by the same protocol.
    """
    ws.domain(domain)
    return compare_errors(open_hub(ws), a, b, domain, camera=camera, seed=seed)


def compare_measured(ws: Workspace, version: str, against: str, metrics: Metrics, measure: Measure, *, seed: int = 0) -> Bootstrap:
    """Compare a version's measurement `metrics` with `against` on the same frames; `measure` is called for one that lacks them."""
    registry = open_hub(ws)
    if not any(metrics.series.comparable(other.series) for other in registry.get(against).metrics):
        measure(against, metrics.domain)
    return compare_errors(registry, version, against, metrics.domain, like=metrics.series, seed=seed)


def compare_errors(
    hub: Hub,
    a: str,
    b: str,
    domain: str,
    *,
    camera: str | None = None,
    like: Series | None = None,
    seed: int = 0,
) -> Bootstrap:
    """As `compare`, with `like` from measurements of those frames by that protocol only."""
    measured = [
        [
            metrics
            for metrics in hub.get(name).metrics
            if metrics.domain == domain and camera in (None, metrics.camera) and (like is None or metrics.series.comparable(like))
        ]
        for name in (a, b)
    ]
    for name, measurements in zip((a, b), measured, strict=True):
        if not measurements:
            raise VortexError(f"{name} was not measured on {domain}", f"measure it with: vortex evaluate {name} --domain {domain}")
    pairs = [(of_a, of_b) for of_a in measured[0] for of_b in measured[1] if of_a.series.comparable(of_b.series)]
    if not pairs:
        of_a, of_b = measured[0][-1], measured[1][-1]
        raise VortexError(
            f"{a} and {b} cannot be compared on {domain}: {of_a.series.difference(of_b.series)}",
            f"measure both on the same data: vortex evaluate {b} --data {of_a.dataset}",
        )
    of_a, of_b = pairs[-1]
    return paired_bootstrap(_frame_errors(hub, a, of_a), _frame_errors(hub, b, of_b), seed=seed)


def _frame_errors(hub: Hub, version: str, metrics: Metrics) -> FrameErrors:
    if metrics.errors is None:
        raise VortexError(
            f"{version} has no per-frame errors on {metrics.dataset}",
            f"measure it again: vortex evaluate {version} --data {metrics.dataset}",
        )
    return FrameErrors.load(hub.artifact_path(metrics.errors))
