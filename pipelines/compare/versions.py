"""Two registered versions compared from what the registry holds of them; what one of them lacks is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors
from pipelines.compare.verdict import MARGIN, Verdict, judge_frames
from pipelines.hub.open import hub as open_hub
from pipelines.protocol import pools_images
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from registry.records import Metrics, Series
    from registry.versions import Hub

Measure = Callable[[str, str], object]
"""Called with (version, domain) to measure and record it as the other one was."""


def compare(
    ws: Workspace,
    a: str,
    b: str,
    *,
    domain: str,
    camera: str | None = None,
    metrics: Sequence[str] = ("rmse",),
    margin: float = MARGIN,
    seed: int = 0,
) -> tuple[Verdict, ...]:
    """Judge version `a` against `b` by each of `metrics`, on the newest frames of `domain` that both were measured on.

    Raises VortexError when they were not measured on the same frames by the same protocol.
    """
    ws.domain(domain)
    return compare_errors(open_hub(ws), a, b, domain, camera=camera, metrics=metrics, margin=margin, seed=seed)


def compare_measured(
    ws: Workspace,
    version: str,
    against: str,
    measured: Metrics,
    measure: Measure,
    *,
    metrics: Sequence[str] = ("rmse",),
    margin: float = MARGIN,
    seed: int = 0,
) -> tuple[Verdict, ...]:
    """Judge what `version` `measured` against the same frames of `against`; `measure` is called for it where it lacks them."""
    registry = open_hub(ws)
    if not any(measured.series == other.series for other in registry.get(against).metrics):
        measure(against, measured.domain)
    return compare_errors(registry, version, against, measured.domain, like=measured.series, metrics=metrics, margin=margin, seed=seed)


def compare_errors(
    hub: Hub,
    a: str,
    b: str,
    domain: str,
    *,
    camera: str | None = None,
    like: Series | None = None,
    metrics: Sequence[str] = ("rmse",),
    margin: float = MARGIN,
    seed: int = 0,
) -> tuple[Verdict, ...]:
    """As `compare`, with `like` from measurements of those frames by that protocol only."""
    measured = [
        [
            of_version
            for of_version in hub.get(name).metrics
            if of_version.domain == domain and camera in (None, of_version.camera) and (like is None or of_version.series == like)
        ]
        for name in (a, b)
    ]
    for name, measurements in zip((a, b), measured, strict=True):
        if not measurements:
            raise VortexError(f"{name} was not measured on {domain}", f"measure it with: vortex evaluate {name} --domain {domain}")
    pairs = [(of_a, of_b) for of_a in measured[0] for of_b in measured[1] if of_a.series == of_b.series]
    if not pairs:
        of_a, of_b = measured[0][-1], measured[1][-1]
        raise VortexError(
            f"{a} and {b} cannot be compared on {domain}: {of_a.series.difference(of_b.series)}",
            f"measure both on the same data: vortex evaluate {b} --data {of_a.dataset}",
        )
    of_a, of_b = sorted(pairs, key=lambda pair: pair[0].series.exam)[-1]  # the newest, of an exam where there is one
    return judge_measured(hub, (a, of_a), (b, of_b), metrics, margin=margin, seed=seed)


def judge_measured(
    hub: Hub, a: tuple[str, Metrics], b: tuple[str, Metrics], metrics: Sequence[str], *, margin: float = MARGIN, seed: int = 0
) -> tuple[Verdict, ...]:
    """Judge one measurement of a version against another's of the same frames, each given with its version's name.

    Raises VortexError where per-frame errors are missing or cannot be paired, or the protocol's figures are means of images.
    """
    errors_a, errors_b = (judged_errors(hub, name, measured) for name, measured in (a, b))
    return tuple(judge_frames(errors_a, errors_b, metric, margin=margin, comparisons=len(metrics), seed=seed) for metric in metrics)


def judged_errors(hub: Hub, version: str, measured: Metrics) -> FrameErrors:
    """As `frame_errors`, to be judged by. Raises VortexError where the protocol's figures are means of images, too."""
    if pools_images(measured.protocol):
        raise VortexError(
            f"figures by {measured.protocol} are means of images, and a verdict pools the pixels of all", "measure both without --protocol"
        )
    return frame_errors(hub, version, measured)


def frame_errors(hub: Hub, version: str, measured: Metrics) -> FrameErrors:
    """The stored errors behind a measurement of a version. Raises VortexError where none were kept, or they are gone or not whole."""
    if measured.errors is None:
        raise VortexError(
            f"{version} has no per-frame errors on {measured.dataset}",
            f"measure it again: vortex evaluate {version} --data {measured.dataset}",
        )
    return FrameErrors.load(hub.artifacts.path(measured.errors))
