"""What happened to a channel: judged, moved, rolled back, held, and what its devices were sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from registry import stored
from registry.channels import Channel, ChannelState
from registry.events.event import AUDIT, Event, Scope, Sentence
from registry.ledger import Claim, Contradiction, Entry
from registry.state import State


@dataclass(frozen=True)
class ChannelEvent(Event):
    """A version and a stage of a channel. `seq` is the channel's move after it, `replaced` the version that held the stage before."""

    scope: ClassVar[Scope] = "channel"
    channel: Channel
    version: str
    stage: str
    seq: int
    replaced: str | None

    @property
    def subject(self) -> str:
        """The channel."""
        return str(self.channel)

    def head(self) -> dict[str, Any]:
        """All but the channel."""
        return {"version": self.version, "stage": self.stage, "seq": self.seq, "replaced": self.replaced}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        channel, head = Channel.parse(entry.subject), entry.head
        version, stage = stored.text(head["version"]), stored.text(head["stage"])
        return cls(channel, version, stage, stored.count(head["seq"]), stored.optional_text(head["replaced"]))

    def concerns(self, version: str | None, device: str | None, domain: str | None) -> bool:
        """Whether it is about this channel, and about `version` or replaced it."""
        return (
            version in (None, self.version, self.replaced)
            and device in (None, self.channel.device)
            and domain in (None, self.channel.domain)
        )


@dataclass(frozen=True)
class ChannelJudged(ChannelEvent):
    """A gate judged a version for a stage; `checks` are plain objects (name, asked, found, passed).

    `exam` has the sets that it was judged by, each by its name and content, and their frames; `policies` is the digest of the file that asked.
    Both are empty in events of before 2026-11-29.
    """

    checks: tuple[Mapping[str, Any], ...] = ()
    exam: Mapping[str, int] = field(default_factory=dict)
    policies: str = ""

    def body(self) -> dict[str, Any]:
        """What was asked and found, the exam, and who asked."""
        exam = [{"set": name, "frames": frames} for name, frames in self.exam.items()]
        return {"checks": self.checks} | ({"exam": exam} if exam else {}) | ({"policies": self.policies} if self.policies else {})

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        body, parsed = entry.body or {}, super().parse(entry)
        exam = {stored.text(part["set"]): stored.count(part["frames"]) for part in map(stored.mapping, stored.array(body.get("exam", ())))}
        checks = tuple(map(stored.mapping, stored.array(body["checks"])))
        return dataclasses.replace(parsed, checks=checks, exam=exam, policies=stored.text(body.get("policies", "")))


@dataclass(frozen=True)
class ChannelPromoted(ChannelJudged, kind="channel.promoted"):
    """A version passed a stage's gate and holds the stage now. `share` of the devices take it, where that is less than all."""

    share: float = 1.0

    def head(self) -> dict[str, Any]:
        """As of any, and the share where it is not all."""
        return super().head() | ({"share": self.share} if self.share < 1 else {})

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return dataclasses.replace(super().parse(entry), share=stored.number(entry.head.get("share", 1.0)))

    def claims(self) -> tuple[Claim, ...]:
        """The channel's next move."""
        return ((channel_scope(self.channel), self.seq),)

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """The channel has moved; what was in production before is remembered. Raises Contradiction for a move that is not the next."""
        channel = _before_move(entry, state)
        version, stage = stored.text(entry.head["version"]), stored.text(entry.head["stage"])
        replaces = stage == "production" and channel.production not in (None, version)
        earlier = (*channel.earlier, str(channel.production)) if replaces else channel.earlier
        moved = dataclasses.replace(channel, seq=entry.head["seq"], current={**channel.current, stage: version}, earlier=earlier)
        if stage == "production":
            moved = dataclasses.replace(
                moved,
                share=stored.number(entry.head.get("share", 1.0)),
                since=channel.since if version == channel.production else moved.seq,
                withdrawn=tuple(name for name in channel.withdrawn if name != version),
            )
        state.channels[entry.subject] = moved

    def sentence(self) -> Sentence:
        """To which stage, and instead of which version."""
        instead = f", instead of {self.replaced}" if self.stage == "production" and self.replaced not in (None, self.version) else ""
        instead += f", on {self.share:.0%} of the devices" if self.share < 1 else ""
        waived = dict.fromkeys(str(check.get("name")) for check in self.checks if check.get("waiver"))
        override = f", {', '.join(waived)} overridden" if waived else ""
        return (self.version, "name"), " to ", (self.stage, "stage"), f" on {self.channel}{instead}{override}"


@dataclass(frozen=True)
class ChannelRefused(ChannelJudged, kind="channel.refused"):
    """A version did not pass a stage's gate: it is recorded and moves nothing."""

    folds: ClassVar[bool] = False

    def sentence(self) -> Sentence:
        """For which stage, and which checks failed."""
        failed = [
            check
            for check in self.checks
            if not check.get("passed") and not check.get("waiver") and {"name", "asked", "found"} <= check.keys()
        ]
        reasons = "; ".join(f"{check['name']} (asked {check['asked']}, found {check['found']})" for check in failed)
        why = f": {reasons}" if reasons else ""
        return (self.version, "name"), " ", ("refused", "refused"), f" for {self.stage} on {self.channel}{why}"


@dataclass(frozen=True)
class ChannelRolledBack(ChannelEvent, kind="channel.rolled_back"):
    """The version that was in production before is there again."""

    def claims(self) -> tuple[Claim, ...]:
        """The channel's next move."""
        return ((channel_scope(self.channel), self.seq),)

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """The channel has moved back. Raises Contradiction for a move that is not the next, or leads to what was not there before."""
        channel = _before_move(entry, state)
        version = entry.head["version"]
        if version not in channel.earlier:
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: it takes channel {entry.subject:.160} back to {version!s:.60}, which was"
                " not in production there",
                AUDIT,
            )
        current, seq = {**channel.current, stored.text(entry.head["stage"]): version}, entry.head["seq"]
        left = (*(name for name in channel.withdrawn if name not in (version, channel.production)), str(channel.production))
        state.channels[entry.subject] = ChannelState(channel.channel, seq, current, channel.before(version), since=seq, withdrawn=left)

    def sentence(self) -> Sentence:
        """To which version, and from which."""
        return f"{self.channel} ", ("rolled back", "rolled back"), " to ", (self.version, "name"), f", from {self.replaced}"


@dataclass(frozen=True)
class ChannelNote(Event):
    """Something about a version on a channel that moves nothing there: it is told, and read by who asks for it."""

    scope: ClassVar[Scope] = "channel"
    folds: ClassVar[bool] = False
    channel: Channel
    version: str

    @property
    def subject(self) -> str:
        """The channel."""
        return str(self.channel)

    def concerns(self, version: str | None, device: str | None, domain: str | None) -> bool:
        """Whether it is about this version on this channel."""
        return version in (None, self.version) and device in (None, self.channel.device) and domain in (None, self.channel.domain)


@dataclass(frozen=True)
class ChannelBundled(ChannelNote, kind="channel.bundled"):
    """A version was packed for the devices of a channel: the manifest's SHA-256 and bytes, and the SHA-256 of the export in it."""

    bundle: str
    bytes: int
    export: str

    def head(self) -> dict[str, Any]:
        """All but the channel."""
        return {"version": self.version, "bundle": self.bundle, "bytes": self.bytes, "export": self.export}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        head = entry.head
        version, bundle, export = (stored.text(head[name]) for name in ("version", "bundle", "export"))
        return cls(Channel.parse(entry.subject), version, bundle, stored.count(head["bytes"]), export)

    def sentence(self) -> Sentence:
        """For which channel, and as which bundle."""
        return (self.version, "name"), f" packed for the devices of {self.channel} as bundle {self.bundle[:12]}"


@dataclass(frozen=True)
class ChannelHeld(ChannelNote, kind="channel.held"):
    """The rollout of a version was stopped after the channel's move `seq`, for the entry's reason; the next move of production ends that."""

    seq: int

    def head(self) -> dict[str, Any]:
        """The version and the move."""
        return {"version": self.version, "seq": self.seq}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(Channel.parse(entry.subject), stored.text(entry.head["version"]), stored.count(entry.head["seq"]))

    def sentence(self) -> Sentence:
        """Whose rollout."""
        return "rollout of ", (self.version, "name"), f" on {self.channel} ", ("held", "refused")


def _before_move(entry: Entry, state: State) -> ChannelState:
    """The channel as this move of it finds it."""
    channel = state.channel(entry.subject)
    if stored.count(entry.head["seq"]) != channel.seq + 1:
        raise Contradiction(
            f"the chain breaks at event {entry.seq}: it is move {entry.head['seq']!r:.20} of channel {entry.subject:.160}, which is at move {channel.seq}",
            AUDIT,
        )
    return channel


def channel_scope(channel: Channel) -> str:
    """In which scope the moves of a channel are claimed."""
    return f"channel {channel}"
