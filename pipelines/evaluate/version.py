"""Measure a registered version on a dataset, and record what it scored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from core.errors import GateRefused, VortexError
from core.progress import Progress
from pipelines.compare.frame_errors import COUNT
from pipelines.data.datasets import DataRef, for_domain, resolve
from pipelines.evaluate.baselines import baseline_figures
from pipelines.evaluate.student import Evaluation, evaluate_predictor, reference_of
from pipelines.hub.open import actor, commit, hub
from pipelines.pack.preparing import packs_folder
from pipelines.predict.of_version import predictor_of
from pipelines.protocol import EXAM, Protocol, protocol_id, split_of
from pipelines.validate.validation_report import passed
from pipelines.workspace import Workspace
from registry.records import Artifact, Metrics, Series, Version
from registry.versions import Hub
from validation.manifest import LEGACY_DOMAIN, load_manifest
from validation.rows import Frame


def evaluate(
    ws: Workspace,
    version: str,
    *,
    domain: str | None = None,
    data: str | None = None,
    protocol: Protocol = EXAM,
    device: str = "auto",
    batch: int | None = None,
    allow_unvalidated: bool = False,
    on_progress: Progress | None = None,
    on_packing: Progress | None = None,
) -> list[Metrics]:
    """Measure a registered version by a protocol on the frames of a domain's datasets, or of one dataset or manifest; record it.

    `domain` defaults to the version's own. A set is read through its pack; `on_packing` hears of one that is built. Metrics go to the registry, the per-frame sums beside the run as a hashed artifact.
    Raises GateRefused for data that has not passed validation, VortexError for an unknown version, domain or dataset, for weights or an
    export that are not those that were registered, and for a set without the frames or the truth of the protocol.
    """
    registry = hub(ws)
    record = registry.get(version)
    sets = data_to_measure(ws, data=data, domain=domain, own=record.domain, split=protocol.split)
    if not allow_unvalidated:
        for ref, _ in sets:
            require_passed(ws, ref)
    reason = f"evaluated on {protocol.split} frames{', data not validated' if allow_unvalidated else ''}"
    return measure(
        ws, registry, record, sets, protocol, device=device, batch=batch, reason=reason, on_progress=on_progress, on_packing=on_packing
    )


def measure(
    ws: Workspace,
    registry: Hub,
    version: Version,
    sets: Sequence[tuple[DataRef, Sequence[Frame]]],
    protocol: Protocol,
    *,
    device: str = "auto",
    batch: int | None = None,
    reason: str,
    on_progress: Progress | None = None,
    on_packing: Progress | None = None,
) -> list[Metrics]:
    """Measure `version` by a protocol on these frames of each set, and record it. Raises VortexError as `evaluate` does."""
    predictor = predictor_of(registry, version, protocol.runtime, device)
    packs = packs_folder(ws)
    metrics = [
        record_of(ws, registry, version.run_id, ref, named)
        for ref, frames in sets
        for named in with_protocols(
            ws,
            ref,
            evaluate_predictor(
                predictor.predict, ref, frames, version.size, packs, protocol, batch, on_progress=on_progress, on_packing=on_packing
            ),
        )
    ]
    registry.add_metrics(version.name, *metrics, actor=actor(), reason=reason, commit=commit(ws))
    return metrics


def series_of(ws: Workspace, ref: DataRef, frames: Sequence[Frame], protocol: Protocol) -> dict[Series, int]:
    """What measuring these frames of one split will be recorded as, each with its number of frames."""
    reference = reference_of(protocol, ref, frames)
    cameras = Counter(frame.camera for frame in frames)
    splits = [frame.split for frame in load_manifest(ref.manifest) if frame.domain in (ref.domain, LEGACY_DOMAIN)]
    name = protocol_id(
        protocol.base(protocol.split, reference),
        ref,
        splits,
        protocol.split,
        len(frames),
        validated=passed(ws, ref, use="evaluation") is True,
    )
    return {Series(ref.domain, camera, name, ref.name, ref.digest): count for camera, count in cameras.items()}


def with_protocols(
    ws: Workspace, ref: DataRef, evaluations: Iterable[Evaluation], truth_size: tuple[int, int] | None = None
) -> list[Evaluation]:
    """Evaluations of frames of one split of `ref`, under the protocols that say what was measured; see `pipelines.protocol`."""
    evaluations = list(evaluations)
    frames = [frame for frame in load_manifest(ref.manifest) if frame.domain in (ref.domain, LEGACY_DOMAIN)]
    validated = passed(ws, ref, use="evaluation") is True
    measured = sum(evaluation.frames for evaluation in evaluations)
    return [
        replace(
            evaluation,
            protocol=protocol_id(
                evaluation.protocol,
                ref,
                [frame.split for frame in frames],
                split_of(evaluation.protocol),
                measured,
                validated=validated,
                truth_size=truth_size,
            ),
        )
        for evaluation in evaluations
    ]


def record_of(ws: Workspace, registry: Hub, run_id: str, ref: DataRef, evaluation: Evaluation) -> Metrics:
    """An evaluation as the registry records it: its per-frame sums stored with the run, and in an exam what the baselines score there."""
    metrics = as_metrics(evaluation, ref, log_errors(ws, registry, run_id, ref, evaluation))
    if not metrics.series.exam or not evaluation.errors.sums[COUNT].any():
        return metrics
    return replace(metrics, values=metrics.values | baseline_figures(ws, ref, evaluation.errors))


def as_metrics(evaluation: Evaluation, ref: DataRef, errors: Artifact | None) -> Metrics:
    """An evaluation as the registry records it, with these stored per-frame sums."""
    return Metrics(
        evaluation.domain,
        evaluation.camera,
        evaluation.protocol,
        ref.name,
        ref.digest,
        evaluation.values,
        evaluation.frames,
        errors,
    )


def log_errors(ws: Workspace, registry: Hub, run_id: str, ref: DataRef, evaluation: Evaluation) -> Artifact:
    """Store the per-frame sums with the run; the file's hash is part of the answer."""
    name = "-".join(_slug(part) for part in (ref.name, evaluation.camera, evaluation.protocol, ref.digest[:8]))
    path = ws.build / "evaluations" / run_id / f"{name}.npz"
    evaluation.errors.save(path)
    return registry.store.log_artifact(run_id, path, "evaluations")


def data_to_measure(
    ws: Workspace, *, data: str | None, domain: str | None, own: str | None, split: str
) -> list[tuple[DataRef, list[Frame]]]:
    """The sets to measure on with their frames of `split`: `data` alone, or those of `domain` (default: `own`, the version's) that have any.

    Raises VortexError when there is no such set, or none of them has frames of that split.
    """
    sets = []
    for ref in _refs(ws, data, domain, own):
        frames = load_manifest(ref.manifest)
        # A domain picks frames, it does not rename them: figures of rooms must never be recorded as those of a corridor.
        of_domain = [frame for frame in frames if frame.domain in (ref.domain, LEGACY_DOMAIN)]
        if not of_domain:
            domains = ", ".join(sorted({frame.domain for frame in frames})) or "no domain"
            raise VortexError(f"{ref.name} has no frames of the domain {ref.domain!r}, they are of: {domains}", "name data of that domain")
        sets.append((ref, of_domain))
    of_split = [(ref, [frame for frame in frames if frame.split == split]) for ref, frames in sets]
    if any(frames for _, frames in of_split):
        return [(ref, frames) for ref, frames in of_split if frames]
    counts = [f"{ref.name} has {_counted(frame.split for frame in frames)}" for ref, frames in sets]
    raise VortexError(f"no {split!r} frames to measure on: {'; '.join(counts)}", "name another split with --split")


def _counted(splits: Iterable[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(splits).items()))


def _refs(ws: Workspace, data: str | None, domain: str | None, own: str | None) -> list[DataRef]:
    if domain is not None:
        ws.domain(domain)
    if data is not None:
        ref = resolve(ws, name_or_manifest=data, domain=domain)
        if ref.domain == LEGACY_DOMAIN:
            raise VortexError(f"{ref.manifest}: its rows name no domain", "say which it is with --domain")
        return [ref]
    target = domain or own
    if target is None:
        raise VortexError("which data? the version has no domain of its own", "name a domain with --domain, or a set with --data")
    return [resolve(ws, name_or_manifest=dataset.name) for dataset in for_domain(ws, target)]


def require_passed(ws: Workspace, ref: DataRef) -> None:
    """Raise GateRefused for data that has not passed its gate as it is now."""
    verdict = passed(ws, ref, use="evaluation")
    if verdict:
        return
    state = "was never validated as it is now" if verdict is None else "failed validation"
    raise GateRefused(
        f"data {ref.name!r} {state}",
        f"vortex validate {ref.manifest if ref.outside else ref.name}; --allow-unvalidated measures on it all the same",
    )


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in text)
