"""Channels and stages: which version a device runs in a domain. State is folded from the ledger, never stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from core.errors import VortexError
from registry.ledger import Event, Ledger, Transaction

Stage = Literal["candidate", "staging", "production"]
STAGES: Final[tuple[Stage, ...]] = ("candidate", "staging", "production")
PROMOTED, REFUSED, ROLLED_BACK = "channel.promoted", "channel.refused", "channel.rolled_back"
KINDS: Final = (PROMOTED, REFUSED, ROLLED_BACK)


class ChannelMoved(VortexError):
    """Someone else moved the channel between judging and recording: what was judged is no longer what would be replaced."""


@dataclass(frozen=True)
class Channel:
    """One device in one domain: the thing that has a version in production."""

    device: str
    domain: str

    def __str__(self) -> str:
        return f"{self.device}/{self.domain}"

    @classmethod
    def parse(cls, text: str) -> Channel:
        """The channel written as `device/domain`. Raises VortexError when it is not that."""
        device, separator, domain = text.partition("/")
        if not (device and separator and domain):
            raise VortexError(f"channel {text!r} is not DEVICE/DOMAIN", "for example: host/corridor")
        return cls(device, domain)

    def alias(self, stage: str) -> str:
        """MLflow alias of a stage. Names are lower case, so the upper-case words keep two channels from sharing one."""
        return f"{stage}-ON-{self.device}-FOR-{self.domain}"


@dataclass(frozen=True)
class StageJudgement:
    """What a gate asked and found for one stage; `checks` are plain objects (name, asked, found, passed)."""

    stage: str
    passed: bool
    checks: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class ChannelState:
    """Where a channel stands. `seq` counts its moves: a judgement made at one `seq` may only be recorded at that same one."""

    channel: Channel
    seq: int = 0
    current: Mapping[str, str] = field(default_factory=dict)
    earlier: tuple[str, ...] = ()
    """Versions that were in production before the present one, newest last: what `rollback` goes back through."""

    @property
    def production(self) -> str | None:
        """The version in production, or None."""
        return self.current.get("production")

    def stage_of(self, version: str) -> str | None:
        """The highest stage that `version` holds here, or None."""
        return next((stage for stage in reversed(STAGES) if self.current.get(stage) == version), None)


def fold(events: Iterable[Event]) -> dict[str, ChannelState]:
    """The state of every channel, by its name, after `events` in their order."""
    states: dict[str, ChannelState] = {}
    for event in events:
        if event.kind not in (PROMOTED, ROLLED_BACK):
            continue
        name = event.subject
        state = states.get(name) or ChannelState(Channel.parse(name))
        version, stage = event.head["version"], event.head["stage"]
        earlier = state.earlier
        if event.kind == ROLLED_BACK:
            earlier = earlier[:-1]
        elif stage == "production" and state.production not in (None, version):
            earlier = (*earlier, str(state.production))
        states[name] = ChannelState(state.channel, event.head["seq"], {**state.current, stage: version}, earlier)
    return states


def channel_state(source: Ledger | Transaction, channel: Channel) -> ChannelState:
    """Where one channel stands; at `seq` 0 with nothing in it when no one has promoted there."""
    return fold(source.events(kinds=(PROMOTED, ROLLED_BACK), subject=str(channel), bodies=False)).get(str(channel)) or ChannelState(channel)


def history(ledger: Ledger, channel: Channel | None = None) -> list[Event]:
    """Every promotion, refusal and rollback, of one channel or of all, oldest first."""
    return ledger.events(kinds=KINDS, subject=str(channel) if channel else None)


def record_promotion(
    ledger: Ledger,
    channel: Channel,
    version: str,
    stages: Sequence[StageJudgement],
    expected_seq: int,
    *,
    actor: str,
    reason: str = "",
    commit: str | None = None,
) -> list[Event]:
    """Record judged stages in one transaction, in their order, ending with the first refusal.

    A stage that passed moves the channel; a refusal is recorded and moves nothing. `expected_seq` is the channel's `seq`
    when it was judged. Raises ChannelMoved, recording nothing, when it has moved since.
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
        recorded = []
        seq = state.seq
        for judgement in stages:
            seq += judgement.passed
            recorded.append(
                tx.append(
                    PROMOTED if judgement.passed else REFUSED,
                    str(channel),
                    {"version": version, "stage": judgement.stage, "seq": seq, "replaced": state.current.get(judgement.stage)},
                    {"checks": list(judgement.checks)},
                    actor=actor,
                    reason=reason,
                    commit=commit,
                    claims=((f"channel {channel}", seq),) if judgement.passed else (),
                )
            )
            if not judgement.passed:
                break
        return recorded


def rollback(
    ledger: Ledger,
    channel: Channel,
    *,
    actor: str,
    reason: str = "",
    commit: str | None = None,
    expected_seq: int | None = None,
) -> Event:
    """Put the version that was in production before back there, as a new event; repeated, it goes back further.

    Raises VortexError when there is none, ChannelMoved when `expected_seq` is given and the channel has moved since.
    """
    with ledger.transaction() as tx:
        state = channel_state(tx, channel)
        if expected_seq is not None and state.seq != expected_seq:
            raise ChannelMoved(
                f"channel {channel} moved meanwhile: it is at move {state.seq}, expected was {expected_seq}",
                f"look at it with: vortex history --device {channel.device} --domain {channel.domain}",
            )
        if not state.earlier:
            found = f"{state.production} is its first production version" if state.production else "nothing is in production there"
            raise VortexError(f"channel {channel} has nothing to roll back to: {found}", "promote another version instead: vortex promote")
        return tx.append(
            ROLLED_BACK,
            str(channel),
            {"version": state.earlier[-1], "stage": "production", "seq": state.seq + 1, "replaced": state.production},
            {},
            actor=actor,
            reason=reason,
            commit=commit,
            claims=((f"channel {channel}", state.seq + 1),),
        )


def _check_order(stages: Sequence[StageJudgement]) -> None:
    names = [judgement.stage for judgement in stages]
    if not names or names != [stage for stage in STAGES if stage in names]:
        raise VortexError(f"stages {names} cannot be recorded", f"name at least one, each once, in this order: {', '.join(STAGES)}")


def _expect_version(tx: Transaction, version: str) -> None:
    number = version.removeprefix("v")
    if not number.isdecimal() or tx.claimed("version", int(number)) is None:
        raise VortexError(f"version {version!r} is not registered", "list what is with: vortex versions")
