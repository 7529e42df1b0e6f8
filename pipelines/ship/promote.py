"""Promote a version on a channel: gather the evidence, judge every stage in turn, record it in one transaction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.errors import UsageError, VortexError
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from pipelines.ship.export import OnStep
    from registry.records import Export, Metrics, Version
    from registry.stages import Channel, ChannelState
    from registry.versions import Hub
    from validation.checks import Check
    from validation.gates import PromotionEvidence
    from validation.policies import Policies

STAGES = ("candidate", "staging", "production")
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
        return next((one for one in self.stages if one.state == "refused"), None)

    @property
    def already(self) -> bool:
        """Whether the version held the stage before, so that nothing was judged."""
        return all(one.state == "held" for one in self.stages)

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
    version: str,
    stage: str,
    *,
    device: str | None = None,
    domain: str | None = None,
    dry_run: bool = False,
    reason: str = "",
    on_step: OnStep | None = None,
) -> PromotionReport:
    """Judge `version` for every stage up to `stage` on the channel (device, domain), and record what was found.

    Stages that it holds there already are not judged again. The first refusal ends it; that is recorded too, and reported, not
    raised. A missing export is made on the way. With `dry_run` nothing is recorded at all.
    Raises ChannelMoved, recording nothing, when another promotion came first; VortexError for an unknown version, domain or device.
    """
    from pipelines.hub.open import actor, commit, hub
    from registry.stages import StageJudgement, channel_state, record_promotion
    from validation.gates import judge_promotion
    from validation.policies import load_policies

    if stage not in STAGES:
        raise UsageError(f"unknown stage {stage!r}; the stages are: {', '.join(STAGES)}", "name one of them with --stage")
    registry = hub(ws)
    candidate = registry.get(version)
    channel = _channel(ws, candidate, device, domain)
    policies = load_policies()
    state = channel_state(registry.ledger, channel)
    wanted = STAGES[: STAGES.index(stage) + 1]
    held = state.stage_of(candidate.name)
    reports = [StageReport(name, "held") for name in wanted if held and STAGES.index(name) <= STAGES.index(held)]
    evidence: list[PromotionEvidence] | None = None
    for name in wanted[len(reports) :]:
        if reports and reports[-1].state in ("refused", "not reached"):
            reports.append(StageReport(name, "not reached"))
            continue
        if evidence is None:
            exported = _exported(ws, candidate, wanted[len(reports) :], policies, dry_run, on_step)
            evidence = _evidence(ws, registry, candidate, channel, state, exported)
        checks = _merged(check for one in evidence for check in judge_promotion(name, one, policies))
        reports.append(StageReport(name, "passed" if all(check.passed for check in checks) else "refused", checks))
    passed = reports[-1].state in ("passed", "held")
    replaced = state.current.get(stage)
    report = PromotionReport(candidate.name, str(channel), stage, passed, dry_run, False, replaced, tuple(reports))
    judged = [one for one in reports if one.state in ("passed", "refused")]
    if dry_run or not judged:
        return report
    record_promotion(
        registry.ledger,
        channel,
        candidate.name,
        [StageJudgement(one.stage, one.state == "passed", tuple(map(dataclasses.asdict, one.checks))) for one in judged],
        state.seq,
        actor=actor(),
        reason=reason,
        commit=commit(ws),
    )
    registry.refresh_aliases(channel)
    return dataclasses.replace(report, recorded=True)


def rollback(ws: Workspace, *, device: str | None = None, domain: str | None = None, reason: str = "") -> RollbackReport:
    """Put the version that was in production before back there. The ledger keeps both; repeated, it goes back further.

    `domain` defaults to the only one with a version in production on the device. Raises VortexError when there is nothing to go back to.
    """
    from pipelines.hub.open import actor, commit, hub
    from registry.stages import Channel, channel_state
    from registry.stages import rollback as record_rollback

    registry = hub(ws)
    device = ws.device(device)
    if domain is None:
        domain = _only_domain(registry, device)
    ws.domain(domain)
    channel = Channel(device, domain)
    state = channel_state(registry.ledger, channel)
    event = record_rollback(registry.ledger, channel, actor=actor(), reason=reason, commit=commit(ws), expected_seq=state.seq)
    registry.refresh_aliases(channel)
    return RollbackReport(str(channel), event.head["version"], event.head["replaced"])


def _channel(ws: Workspace, version: Version, device: str | None, domain: str | None) -> Channel:
    from registry.stages import Channel

    domain = domain or version.domain
    if domain is None:
        known = ", ".join(sorted(ws.config.domains)) or "none yet"
        raise VortexError(f"{version.name} has no target domain; this workspace has: {known}", "name the channel's domain with --domain")
    ws.domain(domain)
    return Channel(ws.device(device), domain)


def _exported(
    ws: Workspace, version: Version, wanted: Iterable[str], policies: Policies, dry_run: bool, on_step: OnStep | None
) -> Export | None:
    """The version's ONNX export, made now when a stage asks for one and there is none."""
    from pipelines.ship.export import export, newest

    found = newest(version)
    asked = any(rule.check == "onnx-parity" for stage in wanted for rule in policies.promotion.stage(stage))
    if found is None and asked:
        return export(ws, version.name, record=not dry_run, on_step=on_step)
    return found


def _evidence(
    ws: Workspace, registry: Hub, version: Version, channel: Channel, state: ChannelState, exported: Export | None
) -> list[PromotionEvidence]:
    """What the stages are judged by: once for each camera that the version, or the one in production, was measured with there."""
    from validation.gates import PromotionEvidence

    incumbent = registry.get(state.production) if state.production and state.production != version.name else None
    shared = {
        "data_validated": all(use.validated for use in version.data) if version.data else None,
        "allowed_unvalidated": any(not use.validated for use in version.data),
        "incumbent_version": incumbent and incumbent.name,
        "onnx_parity_m": exported and exported.parity_m,
        "class_agreement": exported and exported.class_agreement,
        "size": version.size,
        "device_runtime": ws.config.devices[channel.device].runtime,
    }
    found = []
    for camera in _cameras(version, incumbent, channel.domain):
        ours, theirs = _comparable(version, incumbent, channel.domain, camera)
        on = f"{channel.domain} · {camera}" + (f" ({_where(ours)})" if ours else "")
        found.append(
            PromotionEvidence(metrics=ours and ours.values, incumbent=theirs and theirs.values, measured_on=on, **shared)  # type: ignore[arg-type]
        )
    return found or [PromotionEvidence(metrics=None, measured_on=channel.domain, **shared)]  # type: ignore[arg-type]


def _where(one: Metrics) -> str:
    return one.protocol if one.dataset == one.domain else f"{one.dataset}, {one.protocol}"


def _cameras(version: Version, incumbent: Version | None, domain: str) -> list[str]:
    """Both versions' cameras: leaving out the one on which a version is worse must not help it."""
    measured = [*version.metrics, *(incumbent.metrics if incumbent else ())]
    return list(dict.fromkeys(one.camera for one in measured if one.domain == domain and _validation(one)))


def _comparable(version: Version, incumbent: Version | None, domain: str, camera: str) -> tuple[Metrics | None, Metrics | None]:
    """The newest measurement of the version there, and the incumbent's of the same frames by the same protocol.

    One that both have is preferred to a newer one that only the version has.
    """
    ours = [one for one in version.metrics if (one.domain, one.camera) == (domain, camera) and _validation(one)]
    theirs = {_series(one): one for one in (incumbent.metrics if incumbent else ())}
    both = [one for one in ours if _series(one) in theirs]
    if not ours:
        return None, None
    chosen = (both or ours)[-1]
    return chosen, theirs.get(_series(chosen))


def _validation(one: Metrics) -> bool:
    return one.protocol.startswith("val-")


def _series(one: Metrics) -> tuple[str, str, str, str]:
    return one.domain, one.camera, one.protocol, one.digest


def _merged(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Checks of several cameras as one list; what does not depend on the camera is said once."""
    return tuple(dict.fromkeys(checks))


def _only_domain(registry: Hub, device: str) -> str:
    from registry.stages import KINDS, fold

    states = fold(registry.ledger.events(kinds=KINDS, bodies=False)).values()
    domains = sorted(state.channel.domain for state in states if state.channel.device == device and state.production)
    if len(domains) == 1:
        return domains[0]
    if not domains:
        raise VortexError(f"nothing is in production on {device}", "promote a version first: vortex promote VERSION --stage production")
    raise UsageError(f"which domain? {device} has versions in production for: {', '.join(domains)}", "name one with --domain")
