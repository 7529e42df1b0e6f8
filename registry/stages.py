"""Promotions and rollbacks: what moves a channel, decided and recorded in one transaction. Its state is folded from the ledger, never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import VortexError
from core.stages import STAGES
from registry.channels import Channel, ChannelState
from registry.events import reading
from registry.events.channel import (
    ChannelBundled,
    ChannelEvent,
    ChannelHeld,
    ChannelJudged,
    ChannelPromoted,
    ChannelRefused,
    ChannelRolledBack,
)
from registry.events.version import REGISTERING
from registry.ledger import Entry, Ledger, Reader, Transaction
from registry.quarantine import bars_of


class Quarantined(VortexError):
    """What would enter a stage stands in quarantine, or has weights or data that do."""


class ChannelMoved(VortexError):
    """Someone else moved the channel between judging and recording: what was judged is no longer what would be replaced."""


@dataclass(frozen=True)
class StageJudgement:
    """What a gate asked and found for one stage; `checks` are plain objects (name, asked, found, passed).

    `exam` has the sets that judged, each by its name and content, and their frames; `policies` is the digest of the file that asked.
    """

    stage: str
    passed: bool
    checks: tuple[Mapping[str, Any], ...] = ()
    exam: Mapping[str, int] = field(default_factory=dict)
    policies: str = ""


def channel_state(source: Ledger | Transaction, channel: Channel) -> ChannelState:
    """Where one channel stands; at `seq` 0 with nothing in it when no one has promoted there."""
    entries = source.entries(without=reading.kinds(folds=False), subject=str(channel), bodies=False)
    return reading.fold(entries).channel(str(channel))


def channel_states(source: Ledger | Transaction) -> list[ChannelState]:
    """Where every channel stands that something was promoted on."""
    return list(reading.fold(channel_entries(source)).channels.values())


def channel_entries(source: Ledger | Transaction) -> list[Entry]:
    """Everything that has moved a channel."""
    return source.entries(without=(*reading.kinds_besides("channel"), *reading.kinds(folds=False)), bodies=False)


def entries_of_channels_with(source: Ledger | Transaction, version: str) -> list[Entry]:
    """Everything that has moved a channel on which `version` was ever promoted; nothing of other channels is read."""
    still = (*reading.kinds_besides("channel"), *reading.kinds(folds=False))
    channels = {entry.subject for entry in source.entries(without=still, naming=version, bodies=False)}
    entries = [entry for channel in channels for entry in source.entries(without=still, subject=channel, bodies=False)]
    return sorted(entries, key=lambda entry: entry.seq)


def record_promotion(
    ledger: Ledger,
    channel: Channel,
    version: str,
    stages: Sequence[StageJudgement],
    expected_seq: int,
    *,
    share: float = 1.0,
    actor: str,
    reason: str = "",
    commit: str | None = None,
) -> list[ChannelJudged]:
    """Record judged stages in one transaction, in their order, ending with the first refusal.

    A stage that passed moves the channel; a refusal is recorded and moves nothing. What enters production goes to `share` of the devices.
    `expected_seq` is the channel's `seq` when it was judged. Raises ChannelMoved, recording nothing, when it has moved since, and
    Quarantined where a stage would be entered by what is in quarantine: whoever judged may have looked before.
    """
    _check_order(stages)
    with ledger.transaction() as tx:
        _expect_version(tx, version)
        state = channel_state(tx, channel)
        if state.seq != expected_seq:
            raise ChannelMoved(
                f"channel {channel} moved while {version} was judged: it is at move {state.seq} (production: {state.production or 'none'}),"
                f" the judgement was made at move {expected_seq}",
                "run the promotion again: it is then judged against what is there now",
            )
        bars = bars_of(tx, version) if any(judgement.passed for judgement in stages) else ()
        if bars:
            raise Quarantined(f"{version} enters no stage: {'; '.join(map(str, bars))}", bars[0].remedy)
        recorded: list[ChannelJudged] = []
        seq = state.seq
        for judgement in stages:
            seq += judgement.passed
            replaced = state.current.get(judgement.stage)
            parts = (channel, version, judgement.stage, seq, replaced, tuple(judgement.checks), judgement.exam, judgement.policies)
            of_stage = share if judgement.stage == "production" else 1.0
            recorded.append(ChannelPromoted(*parts, of_stage) if judgement.passed else ChannelRefused(*parts))
            tx.append(recorded[-1], actor=actor, reason=reason, commit=commit)
            if not judgement.passed:
                break
        return recorded


def bundles(source: Reader, channel: Channel) -> list[ChannelBundled]:
    """Every bundle that was made for a channel, the oldest first."""
    entries = source.entries(kinds=(ChannelBundled.kind,), subject=str(channel), bodies=False)
    return [ChannelBundled.parse(entry) for entry in entries]


def held(source: Reader, state: ChannelState) -> str | None:
    """Why the rollout on a channel is stopped; None where it is not, or where its production has moved since.

    What enters a stage before production meanwhile ends nothing.
    """
    stops = source.entries(kinds=(ChannelHeld.kind,), subject=str(state.channel), bodies=False, last=1)
    move = newest_production_move(source, state.channel) if stops else None
    return stops[0].reason if move and ChannelHeld.parse(stops[0]).seq >= move.head["seq"] else None


def newest_production_move(source: Reader, channel: Channel) -> Entry | None:
    """What moved the channel's production last, or sent it to more devices; None where nothing did."""
    moves = source.entries(kinds=(ChannelPromoted.kind, ChannelRolledBack.kind), subject=str(channel), bodies=False)
    return next((entry for entry in reversed(moves) if entry.head["stage"] == "production"), None)


def newest_exam(source: Reader, channel: Channel) -> tuple[str, Mapping[str, int]]:
    """The version that came into production last by an exam that was recorded, and that exam: set → frames. "" and none where nothing did."""
    judged = (promoted for promoted in reversed(_promoted(source, channel)) if promoted.stage == "production" and promoted.exam)
    return next(((promoted.version, promoted.exam) for promoted in judged), ("", {}))


def production_judgement(source: Reader, channel: Channel, version: str) -> ChannelPromoted | None:
    """By what `version` came into production on the channel last; None where it never did."""
    judged = (event for event in reversed(_promoted(source, channel)) if (event.stage, event.version) == ("production", version))
    return next(judged, None)


def waived_checks(source: Reader, channel: Channel, version: str) -> frozenset[str]:
    """The checks that a person answered for when the version was promoted on the channel."""
    checks = (check for promoted in _promoted(source, channel) if promoted.version == version for check in promoted.checks)
    return frozenset(str(check["name"]) for check in checks if check.get("waiver"))


def _promoted(source: Reader, channel: Channel) -> list[ChannelPromoted]:
    """Every promotion on a channel, the oldest first. Raises NotUnderstood for one that this vortex does not understand."""
    events = map(reading.parse, source.entries(kinds=(ChannelPromoted.kind,), subject=str(channel)))
    return [event for event in events if isinstance(event, ChannelPromoted)]


def newest_move(ledger: Ledger, channel: Channel) -> ChannelEvent | None:
    """What moved the channel last; None where nothing did."""
    entries = ledger.entries(without=reading.kinds(folds=False), subject=str(channel), last=1)
    event = reading.parse(entries[0]) if entries else None
    return event if isinstance(event, ChannelEvent) else None


def rollback(
    ledger: Ledger,
    channel: Channel,
    *,
    to: str | None = None,
    actor: str,
    reason: str = "",
    commit: str | None = None,
    expected_seq: int | None = None,
) -> ChannelRolledBack:
    """Put the version `to`, or the one that was in production before, back there, as a new event; repeated, it goes back further.

    Raises VortexError when that was not in production there before, Quarantined where it is in quarantine, ChannelMoved when `expected_seq` is given and the channel has moved since.
    """
    with ledger.transaction() as tx:
        state = channel_state(tx, channel)
        if expected_seq is not None and state.seq != expected_seq:
            raise ChannelMoved(
                f"channel {channel} moved meanwhile: it is at move {state.seq}, expected was {expected_seq}",
                f"look at it with: vortex history --device {channel.device} --domain {channel.domain}",
            )
        if not state.earlier:
            why = f"{state.production} is its first production version" if state.production else "nothing is in production there"
            raise VortexError(f"channel {channel} has nothing to roll back to: {why}", "promote another version instead: vortex promote")
        if to is not None and to not in state.earlier:
            raise VortexError(
                f"{to} was not in production on {channel} before {state.production}; what it can go back to: "
                f"{', '.join(dict.fromkeys(reversed(state.earlier)))}",
                "name one of these with --to, or promote another version: vortex promote",
            )
        target = to or state.earlier[-1]
        if bars := bars_of(tx, target):
            others = [name for name in dict.fromkeys(reversed(state.earlier)) if not bars_of(tx, name)]
            names = f"go back to another one with --to: {', '.join(others)}" if others else "all others there are in quarantine as well"
            raise Quarantined(f"{channel} does not go back to {target}: {'; '.join(map(str, bars))}", f"{names}; or {bars[0].remedy}")
        event = ChannelRolledBack(channel, target, "production", state.seq + 1, state.production)
        tx.append(event, actor=actor, reason=reason, commit=commit)
        return event


def _check_order(stages: Sequence[StageJudgement]) -> None:
    names = [judgement.stage for judgement in stages]
    if not names or names != [stage for stage in STAGES if stage in names]:
        raise VortexError(f"stages {names} cannot be recorded", f"name at least one, each once, in this order: {', '.join(STAGES)}")


def _expect_version(tx: Transaction, version: str) -> None:
    if not tx.entries(kinds=REGISTERING, subject=version, bodies=False):
        raise VortexError(f"version {version!r} is not registered", "list what is with: vortex versions")
