"""Promote a version on a channel: gather the evidence, judge every stage in turn, record it in one transaction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from core.errors import UsageError, VortexError
from core.progress import Notice
from core.stages import STAGES
from pipelines.hub.open import actor, commit, hub
from pipelines.ship.export import export, newest, parity_evidence
from pipelines.workspace import Workspace
from registry import stages as registry_stages
from registry.channels import Channel
from registry.records import Metrics, Version
from registry.stages import StageJudgement, channel_state, channel_states, record_promotion
from registry.versions import Hub
from validation.checks import Check
from validation.policies import load_policies
from validation.promotion.evidence import DeviceInput, Evidence, ExportParity, Incumbent, Measurement, TrainingData
from validation.promotion.gates import judge, kinds_read

State = Literal["held", "passed", "refused", "not reached"]


@dataclass(frozen=True)
class StageReport:
    """One stage on the way: held already, or judged, with what was asked and found."""

    stage: str
    state: State
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class PromotionReport:
    """What a promotion found and did. `recorded` says whether it is in the ledger; a dry run never is."""

    version: str
    channel: str
    stage: str
    passed: bool
    dry_run: bool
    recorded: bool
    replaced: str | None
    stages: tuple[StageReport, ...]

    @property
    def refused(self) -> StageReport | None:
        """The stage that said no, or None."""
        return next((report for report in self.stages if report.state == "refused"), None)

    @property
    def already(self) -> bool:
        """Whether the version held the stage before, so that nothing was entry."""
        return all(report.state == "held" for report in self.stages)

    def sentence(self) -> str:
        """The outcome in words."""
        if self.already:
            return f"{self.version} is already in {self.stage} on {self.channel}: nothing to judge, nothing changed"
        if self.refused:
            failed = [check.name for check in self.refused.checks if not check.passed]
            return f"{self.version} {'would be' if self.dry_run else 'is'} refused for {self.refused.stage} on {self.channel}: {', '.join(failed)}"
        instead = f" in place of {self.replaced}" if self.replaced else ""
        return f"{self.version} {'would be' if self.dry_run else 'is now'} in {self.stage} on {self.channel}{instead}"


@dataclass(frozen=True)
class RollbackReport:
    """Which version came back to production on a channel, and which left it."""

    channel: str
    version: str
    replaced: str | None

    def sentence(self) -> str:
        """The outcome in words."""
        return f"{self.version} is back in production on {self.channel}; {self.replaced} left it"


def promote(
    ws: Workspace,
    name: str,
    stage: str,
    *,
    device: str | None = None,
    domain: str | None = None,
    dry_run: bool = False,
    reason: str = "",
    on_step: Notice | None = None,
) -> PromotionReport:
    """Judge version `name` for every stage up to `stage` on the channel (device, domain), and record what was found.

    Stages that it holds there already are not judged again. The first refusal ends it; that is recorded too, and reported, not
    raised. A missing export is made on the way. With `dry_run` nothing is recorded at all.
    Raises ChannelMoved, recording nothing, when another promotion came first; VortexError for an unknown version, domain or device.
    """
    if stage not in STAGES:
        raise UsageError(f"unknown stage {stage!r}; the stages are: {', '.join(STAGES)}", "name one of them with --stage")
    registry = hub(ws)
    registry.ledger.verify()
    version = registry.get(name)
    channel = _channel(ws, version, device, domain)
    policy = load_policies().promotion
    state = channel_state(registry.ledger, channel)
    stages = STAGES[: STAGES.index(stage) + 1]
    highest = state.stage_of(version.name)
    reports = [StageReport(step, "held") for step in stages if highest and STAGES.index(step) <= STAGES.index(highest)]
    remaining = stages[len(reports) :]
    kinds = kinds_read(rule for step in remaining for rule in policy.stage(step))
    incumbent = registry.get(state.production) if state.production and state.production != version.name else None
    evidence = _gather(_Request(ws, version, incumbent, channel, dry_run, on_step), kinds)
    for step in remaining:
        if reports and reports[-1].state in ("refused", "not reached"):
            reports.append(StageReport(step, "not reached"))
            continue
        # What does not depend on the camera is asked once.
        checks = tuple(dict.fromkeys(judge(rule, records) for records in evidence for rule in policy.stage(step)))
        reports.append(StageReport(step, "passed" if all(check.passed for check in checks) else "refused", checks))
    passed = reports[-1].state in ("passed", "held")
    replaced = state.current.get(stage)
    report = PromotionReport(version.name, str(channel), stage, passed, dry_run, False, replaced, tuple(reports))
    judgements = [
        StageJudgement(entry.stage, entry.state == "passed", tuple(map(dataclasses.asdict, entry.checks)))
        for entry in reports
        if entry.state in ("passed", "refused")
    ]
    if dry_run or not judgements:
        return report
    record_promotion(registry.ledger, channel, version.name, judgements, state.seq, actor=actor(), reason=reason, commit=commit(ws))
    registry.refresh_aliases(channel)
    return dataclasses.replace(report, recorded=True)


def rollback(ws: Workspace, *, device: str | None = None, domain: str | None = None, reason: str = "") -> RollbackReport:
    """Put the version that was in production before back there. The ledger keeps both; repeated, it goes back further.

    `domain` defaults to the only one with a version in production on the device. Raises VortexError when there is nothing to go back to.
    """
    registry = hub(ws)
    registry.ledger.verify()
    device = ws.device(device)
    if domain is None:
        domain = _only_domain(registry, device)
    ws.domain(domain)
    channel = Channel(device, domain)
    state = channel_state(registry.ledger, channel)
    event = registry_stages.rollback(registry.ledger, channel, actor=actor(), reason=reason, commit=commit(ws), expected_seq=state.seq)
    registry.refresh_aliases(channel)
    return RollbackReport(str(channel), event.version, event.replaced)


def _channel(ws: Workspace, version: Version, device: str | None, domain: str | None) -> Channel:
    domain = domain or version.domain
    if domain is None:
        domains = ", ".join(sorted(ws.config.domains)) or "none yet"
        raise VortexError(f"{version.name} has no target domain; this workspace has: {domains}", "name the channel's domain with --domain")
    ws.domain(domain)
    return Channel(ws.device(device), domain)


@dataclass(frozen=True)
class _Request:
    """A version that asks for a channel, and the one in production there: what every kind of evidence is gathered from."""

    ws: Workspace
    version: Version
    incumbent: Version | None
    channel: Channel
    dry_run: bool
    on_step: Notice | None


def _gather(request: _Request, kinds: Iterable[type]) -> list[Evidence]:
    """The evidence of these kinds, once for each camera that the version, or the one in production, was measured with there."""
    shared = {kind: _OF_VERSION[kind](request) for kind in kinds if kind in _OF_VERSION}
    cameras = _cameras(request.version, request.incumbent, request.channel.domain) or [None]
    return [shared | {kind: _OF_CAMERA[kind](request, camera) for kind in kinds if kind not in _OF_VERSION} for camera in cameras]


def _training_data(request: _Request) -> TrainingData:
    if not request.version.data:
        return TrainingData("never validated")
    return TrainingData("passed" if all(use.validated for use in request.version.data) else "allowed unvalidated")


def _device_input(request: _Request) -> DeviceInput:
    return DeviceInput(request.version.size, request.ws.config.devices[request.channel.device].runtime)


def _parity(request: _Request) -> ExportParity | None:
    """Of the version's ONNX export, which is made now where there is none."""
    exported = newest(request.version)
    if exported is None:
        exported = export(request.ws, request.version.name, record=not request.dry_run, on_step=request.on_step)
    return parity_evidence(exported)


def _measurement(request: _Request, camera: str | None) -> Measurement:
    domain = request.channel.domain
    if camera is None:
        return Measurement(domain, None)
    ours, _ = _comparable(request.version, request.incumbent, domain, camera)
    return Measurement(f"{domain} · {camera}", None) if ours is None else Measurement(str(ours.series), ours.values)


def _incumbent(request: _Request, camera: str | None) -> Incumbent | None:
    if request.incumbent is None:
        return None
    if camera is None:
        return Incumbent(request.incumbent.name, None)
    _, theirs = _comparable(request.version, request.incumbent, request.channel.domain, camera)
    return Incumbent(request.incumbent.name, theirs.values if theirs else None)


_OF_VERSION: Final[Mapping[type, Callable[[_Request], object]]] = {
    TrainingData: _training_data,
    DeviceInput: _device_input,
    ExportParity: _parity,
}
"""How each kind of evidence that does not depend on the camera is gathered."""
_OF_CAMERA: Final[Mapping[type, Callable[[_Request, str | None], object]]] = {Measurement: _measurement, Incumbent: _incumbent}
"""How each kind that depends on the camera is gathered; the camera is None where nothing was measured on the channel's domain."""


def _cameras(version: Version, incumbent: Version | None, domain: str) -> list[str | None]:
    """Both versions' cameras: leaving out the one on which a version is worse must not help it."""
    measured = [*version.metrics, *(incumbent.metrics if incumbent else ())]
    return list(dict.fromkeys(metrics.camera for metrics in measured if metrics.domain == domain and _validation(metrics)))


def _comparable(version: Version, incumbent: Version | None, domain: str, camera: str) -> tuple[Metrics | None, Metrics | None]:
    """The newest measurement of the version there, and the incumbent's of the same frames by the same protocol.

    One that both have is preferred to a newer one that only the version has.
    """
    ours = [metrics for metrics in version.metrics if (metrics.domain, metrics.camera) == (domain, camera) and _validation(metrics)]
    theirs = incumbent.metrics if incumbent else ()
    pairs = [(metrics, other) for metrics in ours for other in theirs if metrics.series.comparable(other.series)]
    return pairs[-1] if pairs else (ours[-1] if ours else None, None)


def _validation(metrics: Metrics) -> bool:
    return metrics.protocol.startswith("val-")


def _only_domain(registry: Hub, device: str) -> str:
    domains = sorted(
        state.channel.domain for state in channel_states(registry.ledger) if state.channel.device == device and state.production
    )
    if len(domains) == 1:
        return domains[0]
    if not domains:
        raise VortexError(f"nothing is in production on {device}", "promote a version first: vortex promote VERSION --stage production")
    raise UsageError(f"which domain? {device} has versions in production for: {', '.join(domains)}", "name one with --domain")
