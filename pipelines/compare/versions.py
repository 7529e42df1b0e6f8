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
    from registry.records import Metrics
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
    if all(_difference(metrics, other) is not None for other in registry.get(against).metrics):
        measure(against, metrics.domain)
    return compare_errors(
        registry, version, against, metrics.domain, camera=metrics.camera, digest=metrics.digest, protocol=metrics.protocol, seed=seed
    )


def compare_errors(
    hub: Hub,
    a: str,
    b: str,
    domain: str,
    *,
    camera: str | None = None,
    protocol: str | None = None,
    digest: str | None = None,
    seed: int = 0,
) -> Bootstrap:
    """As `compare`, by that `protocol` and on the frames with that `digest` only, where they are given."""
    filters = {"domain": domain, "camera": camera, "protocol": protocol, "digest": digest}
    measured = [
        [metrics for metrics in hub.get(name).metrics if all(value in (None, getattr(metrics, key)) for key, value in filters.items())]
        for name in (a, b)
    ]
    for name, measurements in zip((a, b), measured, strict=True):
        if not measurements:
            raise VortexError(f"{name} was not measured on {domain}", f"measure it with: vortex evaluate {name} --domain {domain}")
    pairs = [(of_a, of_b) for of_a in measured[0] for of_b in measured[1] if _difference(of_a, of_b) is None]
    if not pairs:
        of_a, of_b = measured[0][-1], measured[1][-1]
        raise VortexError(
            f"{a} and {b} cannot be compared on {domain}: {_difference(of_a, of_b)}",
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


def _difference(a: Metrics, b: Metrics) -> str | None:
    """What keeps two measurements from being compared, in words; None when nothing does."""
    for what, of_a, of_b in (
        ("camera", a.camera, b.camera),
        ("protocol", a.protocol, b.protocol),
        ("data", f"{a.dataset}@{a.digest[:12]}", f"{b.dataset}@{b.digest[:12]}"),
    ):
        if of_a != of_b and (what != "data" or a.digest != b.digest):
            return f"{what} differs ({of_a} against {of_b})"
    return None
