"""What the ledger says about a version or a channel: line by line, or where everything stood at a moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from core.stages import STAGES
from registry.channels import Channel
from registry.events import reading
from registry.ledger import Entry, Ledger
from registry.stages import channel_entries


@dataclass(frozen=True)
class Holder:
    """A version that held a stage of a channel, since when (UTC), and who put it there."""

    channel: str
    stage: str
    version: str
    since: str
    actor: str


def holders(
    ledger: Ledger, at: datetime, *, version: str | None = None, domain: str | None = None, device: str | None = None
) -> list[Holder]:
    """Which version held each stage of each channel at the moment `at`, which has a zone.

    A move counts from the millisecond that the ledger has for it. Only channels of this domain and device, and only what `version` held,
    where these are given. Raises VortexError for an entry of a kind that only a newer vortex knows.
    """
    moment = stamp(at)
    with ledger.understood():
        reading.require_known(ledger)
        entries = channel_entries(ledger)
        # All up to the last one that had happened: a clock that was put back in between takes no move out of the middle.
        happened = entries[: max((place for place, entry in enumerate(entries, 1) if entry.at <= moment), default=0)]
        channels = reading.fold(happened).channels
        moves = {(entry.subject, entry.head["stage"], entry.head["version"]): entry for entry in happened}
    return [
        Holder(name, stage, state.current[stage], move.at, move.actor)
        for name, state in sorted(channels.items())
        if domain in (None, state.channel.domain) and device in (None, state.channel.device)
        for stage in reversed(STAGES)
        if stage in state.current and version in (None, state.current[stage])
        for move in [moves[name, stage, state.current[stage]]]
    ]


def stamp(at: datetime) -> str:
    """A moment, which has a zone, as the ledger writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
