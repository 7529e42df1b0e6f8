"""What each enrolled device runs and ran: by its reports, and by what its channel had for it where it has not reported since."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from vortex_jetson.formats.channel import Rollout

from registry.channels import ChannelState
from registry.events import reading
from registry.events.channel import ChannelPromoted, ChannelRolledBack
from registry.events.device import DeviceEnrolled, DeviceReported, DeviceRevoked
from registry.ledger import Entry, Ledger
from registry.state import State

KINDS: Final = tuple(each.kind for each in (ChannelPromoted, ChannelRolledBack, DeviceEnrolled, DeviceReported, DeviceRevoked))
Word = Literal["runs", "may run", "ran", "may have run"]
WORDS: Final[tuple[Word, ...]] = ("runs", "may run", "ran", "may have run")


@dataclass(frozen=True)
class DeviceRun:
    """A version on an enrolled device of a channel, from the report that said so until one that said otherwise, or the device was revoked.

    Where it is not `reported`, the channel had the version for this device from `since` to `until`, and no report has come since. Times are
    UTC, by when reports were collected; `until` is None while it lasts.
    """

    device: str
    channel: str
    version: str
    since: str
    until: str | None
    reported: bool

    @property
    def word(self) -> Word:
        """How certain it is, and whether it lasts."""
        return WORDS[2 * (self.until is not None) + (not self.reported)]


@dataclass
class _Timeline:
    """What is known of one device while events are read: what it reported last, and what it may have run since."""

    channel: str
    reported: DeviceRun | None = None
    unheard: list[DeviceRun] = field(default_factory=list)

    def lasting(self) -> DeviceRun | None:
        """What it may run now, and has not reported."""
        return self.unheard[-1] if self.unheard and self.unheard[-1].until is None else None


def asked_of(channel: ChannelState, device: str) -> str | None:
    """The version that a channel has for a device: the one in production, or where a rollout does not go to it, what was there before."""
    rollout = Rollout(channel.share, f"{channel.production}@{channel.since}", None)
    return channel.production if rollout.takes(device) else channel.earlier[-1] if channel.earlier else None


def device_runs(ledger: Ledger) -> list[DeviceRun]:
    """What enrolled devices ran and may have run, by when each began. Raises VortexError where the ledger cannot be folded."""
    if not ledger.entries(kinds=(DeviceEnrolled.kind,), bodies=False, first=1):
        return []
    with ledger.understood():
        return runs_of(ledger.entries(kinds=KINDS, bodies=False))


def runs_of(entries: Iterable[Entry]) -> list[DeviceRun]:
    """The same by these entries, in their order; those of other kinds say nothing about it."""
    telling = [entry for entry in entries if entry.kind in KINDS]
    enrols = any(entry.kind == DeviceEnrolled.kind for entry in telling)  # else there is no need to fold the moves of channels
    return sorted(_runs(telling), key=lambda run: run.since) if enrols else []


def _runs(entries: Iterable[Entry]) -> list[DeviceRun]:
    state, timelines, ended = State(), dict[str, _Timeline](), list[DeviceRun]()
    for entry in entries:
        reading.type_of(entry).fold_head(entry, state)
        if entry.kind in (ChannelPromoted.kind, ChannelRolledBack.kind):
            if entry.head["stage"] == "production":
                for name, timeline in timelines.items():
                    if timeline.channel == entry.subject and state.devices[name].revoked_at is None:
                        _offer(timeline, name, state, entry.at)
        elif entry.kind == DeviceEnrolled.kind:
            timeline = timelines.setdefault(entry.subject, _Timeline(""))
            timeline.channel = str(state.devices[entry.subject].channel)
            _offer(timeline, entry.subject, state, entry.at)
        elif entry.kind == DeviceReported.kind:
            ended += _report(timelines[entry.subject], entry, state)
        else:
            timeline = timelines[entry.subject]
            ended += [_ended(timeline.reported, entry.at)] if timeline.reported else []
            ended += [_ended(run, entry.at) for run in timeline.unheard]
            timeline.reported, timeline.unheard = None, []
    lasting = [run for timeline in timelines.values() for run in (timeline.reported, *timeline.unheard) if run is not None]
    return ended + lasting


def _offer(timeline: _Timeline, device: str, state: State, at: str) -> None:
    """A device's channel has something for it, from now on."""
    offered, lasting = asked_of(state.channel(timeline.channel), device), timeline.lasting()
    if lasting is not None:
        if (lasting.version, lasting.channel) == (offered, timeline.channel):
            return
        timeline.unheard[-1] = _ended(lasting, at)
    if offered is not None and (timeline.reported is None or timeline.reported.version != offered):
        timeline.unheard.append(DeviceRun(device, timeline.channel, offered, at, None, reported=False))


def _report(timeline: _Timeline, entry: Entry, state: State) -> list[DeviceRun]:
    """What a device ran until now, if its report ends that. It has delivered every report of before, so what it may have run it did not.

    A report of something else than what it was asked was written before that, where it says that nothing went wrong: then it may run that now.
    """
    device, status, before, lasting = entry.subject, DeviceReported.parse(entry).status, timeline.reported, timeline.lasting()
    if before is None or before.version != status.version:
        timeline.reported = (
            None if status.version is None else DeviceRun(device, timeline.channel, status.version, entry.at, None, reported=True)
        )
    timeline.unheard = []
    offered = asked_of(state.channel(timeline.channel), device)
    if status.outcome == "committed" and offered not in (None, status.version):
        timeline.unheard = [lasting] if lasting and lasting.version == offered else []
    return [] if before is None or before is timeline.reported else [_ended(before, entry.at)]


def _ended(run: DeviceRun, at: str) -> DeviceRun:
    return DeviceRun(run.device, run.channel, run.version, run.since, run.until or at, run.reported)
