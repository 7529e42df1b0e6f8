"""Promote a version on a channel: gather the evidence, judge every stage in turn, record it in one transaction."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from core.errors import UsageError, VortexError
from core.progress import NamedProgress, Notice
from core.stages import STAGES
from pipelines.hub.exports import HOST, form_of, newest
from pipelines.hub.open import actor, commit, hub
from pipelines.ship.evidence import Request, gather
from pipelines.ship.fleet import rollout_failures
from pipelines.ship.publish import publish_after
from pipelines.workspace import Workspace
from registry.channels import Channel, ChannelState
from registry.records import Version
from registry.stages import StageJudgement, channel_state, held, record_promotion
from registry.versions import Hub
from validation.checks import Check
from validation.policies import load_policies
from validation.promotion.evidence import Exam
from validation.promotion.gate import Undecided
from validation.promotion.gates import judge
from validation.promotion.policies import Place

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
    published: tuple[str, ...] = ()
    """What the robots' folder came to after it, in words; empty where no device is published."""

    @property
    def refused(self) -> StageReport | None:
        """The stage that said no, or None."""
        return next((report for report in self.stages if report.state == "refused"), None)

    @property
    def undecided(self) -> bool:
        """Whether nothing but too little to say stands in the way, so that a person may decide."""
        return self.refused is not None and all(isinstance(check, Undecided) for check in self.refused.checks if not check.ok)

    @property
    def already(self) -> bool:
        """Whether the version held the stage before, so that there was nothing to judge."""
        return all(report.state == "held" for report in self.stages)

    def sentence(self) -> str:
        """The outcome in words."""
        if self.already:
            return f"{self.version} is already in {self.stage} on {self.channel}: nothing to judge, nothing changed"
        if self.refused:
            failed = list(dict.fromkeys(check.name for check in self.refused.checks if not check.ok))
            return f"{self.version} {'would be' if self.dry_run else 'is'} refused for {self.refused.stage} on {self.channel}: {', '.join(failed)}"
        instead = f" in place of {self.replaced}" if self.replaced else ""
        return f"{self.version} {'would be' if self.dry_run else 'is now'} in {self.stage} on {self.channel}{instead}"


def promote(
    ws: Workspace,
    name: str,
    stage: str,
    *,
    device: str | None = None,
    domain: str | None = None,
    dry_run: bool = False,
    reason: str = "",
    override: bool = False,
    share: float | None = None,
    on_step: Notice | None = None,
    on_progress: NamedProgress | None = None,
) -> PromotionReport:
    """Judge version `name` for every stage up to `stage` on the channel (device, domain), and record what was found.

    It is judged on the exam of the domain: what it, or the version in production there, was not measured on yet is measured now. Stages
    that it holds there already are not judged again. The first refusal ends it; that is recorded too, and reported, not raised. A missing
    export is made on the way. With `override` a check that found too little to say lets it pass, and `reason`, which must then be
    given, is recorded with that check. With `dry_run` nothing is recorded at all. What enters production goes to `share` of the devices,
    default all; the same version with a larger share goes to more, once those that have it say that it runs.
    Raises ChannelMoved, recording nothing, when another promotion came first; VortexError for an unknown version, domain or device, for
    a domain without an exam, and for a checkpoint or an export whose bytes are gone or are not those that were recorded.
    """
    _check_options(stage, override, reason, share)
    registry = hub(ws)
    registry.ledger.verify()
    version = registry.get(name)
    channel = _channel(ws, version, device, domain)
    _require_whole(ws, registry, version, channel)
    state = channel_state(registry.ledger, channel)
    incumbent = registry.get(state.production) if state.production and state.production != version.name else None
    waiver = f"overridden by {actor()}: {reason}" if override else ""
    wider = 1.0 if share is None else share
    request = Request(ws, registry, version, incumbent, channel, dry_run, on_step, on_progress)
    reports, exam = _judged(request, state, STAGES[: STAGES.index(stage) + 1], waiver)
    if stage == "production" and reports[-1].state == "held" and state.production == version.name and wider != state.share:
        reports[-1] = _answered(stage, [_rollout_check(registry, state, wider)], waiver)
    passed = reports[-1].state in ("passed", "held")
    report = PromotionReport(version.name, str(channel), stage, passed, dry_run, False, state.current.get(stage), tuple(reports))
    if dry_run:
        return report
    judgements = [
        StageJudgement(entry.stage, entry.state == "passed", tuple(map(dataclasses.asdict, entry.checks)), exam, load_policies().digest)
        for entry in reports
        if entry.state in ("passed", "refused")
    ]
    reached = registry.reach_store()
    if judgements:
        record_promotion(
            registry.ledger, channel, version.name, judgements, state.seq, share=wider, actor=actor(), reason=reason, commit=commit(ws)
        )
    if reached:
        registry.refresh_aliases(channel)
    return dataclasses.replace(report, recorded=bool(judgements), published=publish_after(ws, on_step))


def _check_options(stage: str, override: bool, reason: str, share: float | None) -> None:
    if stage not in STAGES:
        raise UsageError(f"unknown stage {stage!r}; the stages are: {', '.join(STAGES)}", "name one of them with --stage")
    if override and not reason.strip():
        raise UsageError("--override without a reason", "say why with --reason: it is kept in the ledger")
    if share is not None and not (stage == "production" and 0 < share <= 1):
        raise UsageError(
            f"--devices {share:.0%} for {stage}, allowed: above 0 % to 100 %, for production", "leave --devices out for all devices"
        )


def _require_whole(ws: Workspace, registry: Hub, version: Version, channel: Channel) -> None:
    """Hash what would be shipped again. Raises VortexError for what is gone or not what was registered."""
    forms = dict.fromkeys((HOST, form_of(ws.config.devices[channel.device])))
    exports = [exported for form in forms if (exported := newest(version, form))]
    for artifact in (version.checkpoint, *(exported.artifact for exported in exports)):
        registry.artifacts.path(artifact)


def _judged(request: Request, state: ChannelState, stages: Sequence[str], waiver: str) -> tuple[list[StageReport], dict[str, int]]:
    """A report of each stage: held already, judged, or not reached because one before it refuses; and the exam that judged, set → frames."""
    policy, channel = load_policies().promotion, request.channel
    place = Place(channel.device, request.ws.config.devices[channel.device].runtime, channel.domain)
    highest = state.stage_of(request.version.name)
    reports = [StageReport(stage, "held") for stage in stages if highest and STAGES.index(stage) <= STAGES.index(highest)]
    remaining = stages[len(reports) :]
    evidence = gather(request, [rule for stage in remaining for rule in policy.stage(stage, place)])
    for stage in remaining:
        if reports and reports[-1].state in ("refused", "not reached"):
            reports.append(StageReport(stage, "not reached"))
            continue
        # What does not depend on the camera is asked once.
        checks = dict.fromkeys(check for records in evidence for rule in policy.stage(stage, place) for check in judge(rule, records))
        reports.append(_answered(stage, checks, waiver))
    exams = (record for records in evidence for record in records.values() if isinstance(record, Exam))
    return reports, {name: frames for exam in exams for name, frames, _ in exam.sets}


def _answered(stage: str, checks: Iterable[Check], waiver: str) -> StageReport:
    """The report of a judged stage; where there was too little to say, `waiver`, if any, lets it pass."""
    answered = tuple(
        dataclasses.replace(check, waiver=waiver) if isinstance(check, Undecided) and not check.passed else check for check in checks
    )
    return StageReport(stage, "passed" if all(check.ok for check in answered) else "refused", answered)


def _rollout_check(registry: Hub, state: ChannelState, share: float) -> Check:
    """Whether a rollout may go to more devices: those that it went to run it. Raises UsageError where it would go to fewer."""
    if share < state.share:
        raise UsageError(
            f"{state.production} goes to {state.share:.0%} of the devices of {state.channel}, and {share:.0%} is less",
            "take it back with: vortex rollback",
        )
    failures, waiting = rollout_failures(registry, state, datetime.now(UTC))
    shortfalls = [*failures, *(f"{name} has not said yet" for name in waiting)]
    stopped = held(registry.ledger, state)
    asked = f"the devices of the first {state.share:.0%} run {state.production}"
    answer = "; ".join([f"stopped: {stopped}"] if stopped else shortfalls) or "all that are enrolled do"
    return Undecided("rollout", asked, answer, not shortfalls and not stopped)


def _channel(ws: Workspace, version: Version, device: str | None, domain: str | None) -> Channel:
    domain = domain or version.domain
    if domain is None:
        domains = ", ".join(sorted(ws.config.domains)) or "none yet"
        raise VortexError(f"{version.name} has no target domain; this workspace has: {domains}", "name the channel's domain with --domain")
    ws.domain(domain)
    return Channel(ws.device(device), domain)
