"""Every version on the same frames: what is not measured yet is, and all stand in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import VortexError
from core.progress import NamedProgress, Progress
from pipelines.data.datasets import DataRef
from pipelines.evaluate.version import data_to_measure, measure, require_passed, series_of
from pipelines.hub.open import hub
from pipelines.protocol import Protocol
from pipelines.workspace import Workspace
from registry.records import Metrics, Version
from registry.versions import no_versions
from validation.rows import Frame


@dataclass(frozen=True)
class Standing:
    """What one version scored; `new` says whether it was measured now. Without metrics, `fault` says why it could not be."""

    version: str
    metrics: tuple[Metrics, ...] = ()
    new: bool = False
    fault: str = ""


def evaluate_all(
    ws: Workspace,
    *,
    domain: str | None = None,
    data: str | None = None,
    protocol: Protocol,
    device: str = "auto",
    batch: int | None = None,
    on_progress: NamedProgress | None = None,
) -> list[Standing]:
    """Every registered version by a protocol on the frames of a domain's datasets, or of one dataset, in the order of their numbers.

    Each is recorded as soon as it is measured, so that an interrupted call goes on where it was; what is recorded of these very frames by
    this protocol is not measured again. A version whose weights or export are gone is told apart, and ends nothing.
    Raises GateRefused for data that has not passed validation, VortexError for an unknown domain or dataset, and without a version.
    """
    registry = hub(ws)
    sets = data_to_measure(ws, data=data, domain=domain, own=None, split=protocol.split)
    for ref, _ in sets:
        require_passed(ws, ref)
    planned = [(ref, frames, series_of(ws, ref, frames, protocol)) for ref, frames in sets]
    versions = registry.versions()
    if not versions:
        raise no_versions("nothing to measure: ")
    standings = []
    for version in versions:
        missing: list[tuple[DataRef, Sequence[Frame]]] = []
        recorded: list[Metrics] = []
        for ref, frames, series in planned:
            of_set = [metrics for metrics in version.metrics if series.get(metrics.series) == metrics.frames]
            recorded += of_set
            if {metrics.series for metrics in of_set} != series.keys():
                missing.append((ref, frames))
        try:
            fresh = _measured(ws, version, missing, protocol, device, batch, on_progress) if missing else []
        except VortexError as error:
            standings.append(Standing(version.name, fault=error.message))
            continue
        again = {metrics.series for metrics in fresh}
        earlier = [metrics for metrics in recorded if metrics.series not in again]
        standings.append(Standing(version.name, (*earlier, *fresh), bool(fresh)))
    return standings


def _measured(
    ws: Workspace,
    version: Version,
    sets: Sequence[tuple[DataRef, Sequence[Frame]]],
    protocol: Protocol,
    device: str,
    batch: int | None,
    on_progress: NamedProgress | None,
) -> list[Metrics]:
    def progress(what: str) -> Progress | None:
        return (lambda count, total: on_progress(f"{what} {version.name}", count, total)) if on_progress else None

    return measure(
        ws,
        hub(ws),
        version,
        sets,
        protocol,
        device=device,
        batch=batch,
        reason=f"evaluated on {protocol.split} frames with all versions",
        on_progress=progress("measuring"),
        on_packing=progress("packing frames for"),
    )
