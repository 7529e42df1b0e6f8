"""What the ledger says about a version or a channel: line by line, or where everything stood at a moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.stages import STAGES
from core.stream_order import natural
from pipelines.lineage.device_runs import DeviceRun, runs_of
from registry.channels import Channel
from registry.events import reading
from registry.ledger import Entry, Ledger


@dataclass(frozen=True)
class Holder:
    """A version that held a stage of a channel, since when (UTC), and who put it there."""

    channel: str
    stage: str
    version: str
    since: str
    actor: str


@dataclass(frozen=True)
class Moment:
    """What held every channel at a moment, and what every enrolled device ran, as far as it was known then."""

    channels: list[Holder]
    robots: list[DeviceRun]
    dated_later: list[int]
    """Events that count, because one after them is dated before the moment, and are themselves dated after it: a clock was put back."""


def moment(ledger: Ledger, at: datetime, *, version: str | None = None, domain: str | None = None, device: str | None = None) -> Moment:
    """What was at the moment `at`, which has a zone: of channels of this domain and device, and of `version`, where these are given.

    A move counts from the millisecond that the ledger has for it, a report from the one in which it was collected.
    Raises VortexError for an entry of a kind that only a newer vortex knows.
    """
    stamp = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with ledger.understood():
        # One look at every event, for channels and devices alike; so a kind that is not known is met here too.
        others = (*reading.kinds(scope="version"), *reading.kinds(scope="data"), *reading.kinds(folds=False))
        entries = ledger.entries(without=others, bodies=False)
        for entry in entries:
            reading.type_of(entry)
        # All up to the last one that had happened: a clock that was put back in between takes no move out of the middle.
        happened = entries[: max((place for place, entry in enumerate(entries, 1) if entry.at <= stamp), default=0)]
        of_channels = reading.kinds(scope="channel")
        holders, runs = _holders([entry for entry in happened if entry.kind in of_channels]), runs_of(happened)

    def concerned(of: Holder | DeviceRun) -> bool:
        channel = Channel.parse(of.channel)
        return version in (None, of.version) and domain in (None, channel.domain) and device in (None, channel.device)

    robots = sorted((run for run in runs if run.until is None), key=lambda run: natural(run.device))
    dated_later = [entry.seq for entry in happened if entry.at > stamp]
    return Moment([*filter(concerned, holders)], [*filter(concerned, robots)], dated_later)


def _holders(entries: Sequence[Entry]) -> list[Holder]:
    """Which version holds each stage of each channel after these moves."""
    moves = {(entry.subject, entry.head["stage"], entry.head["version"]): entry for entry in entries}
    return [
        Holder(name, stage, state.current[stage], move.at, move.actor)
        for name, state in sorted(reading.fold(entries).channels.items())
        for stage in reversed(STAGES)
        if stage in state.current
        for move in [moves[name, stage, state.current[stage]]]
    ]


def history(
    ledger: Ledger, *, version: str | None = None, domain: str | None = None, device: str | None = None, last: int | None = None
) -> Iterator[Entry]:
    """The entries that concern all that is given, oldest first, or the newest `last` of them; however many, few are held at once.

    With a channel's device or domain given, only what happened to channels does.
    Raises VortexError for an entry of a kind that only a newer vortex knows.
    """
    with ledger.understood():
        reading.require_known(ledger)
        if version is None and domain is None and device is None:
            for entry in ledger.each() if last is None else ledger.entries(last=last):
                reading.type_of(entry)  # of a later shape
                yield entry
            return
        entries = _of_channels(ledger, version, domain, device)
        if version is not None and domain is None and device is None:
            entries += ledger.entries(subject=version, kinds=reading.kinds(scope="version"))
        concerned = [entry for entry in entries if reading.parse(entry).concerns(version, device, domain)]
        yield from sorted(concerned, key=lambda entry: entry.seq)[-last if last else None :]


def _of_channels(ledger: Ledger, version: str | None, domain: str | None, device: str | None) -> list[Entry]:
    """What happened on the channels of this device and domain, or all of them; with a version, what names it."""
    others = reading.kinds_besides("channel")
    if domain is None and device is None:
        return ledger.entries(without=others, naming=version)
    channels = map(Channel.parse, ledger.subjects(reading.kinds(scope="channel")))
    named = [channel for channel in channels if domain in (None, channel.domain) and device in (None, channel.device)]
    return [entry for channel in named for entry in ledger.entries(without=others, subject=str(channel), naming=version)]
