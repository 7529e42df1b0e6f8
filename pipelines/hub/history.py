"""What the ledger says about a version or a channel, line by line."""

from __future__ import annotations

from collections.abc import Iterator

from registry import events
from registry.channels import Channel
from registry.ledger import Entry, Ledger


def history(
    ledger: Ledger, *, version: str | None = None, domain: str | None = None, device: str | None = None, last: int | None = None
) -> Iterator[Entry]:
    """The entries that concern all that is given, oldest first, or the newest `last` of them; however many, few are held at once.

    With a channel's device or domain given, only what happened to channels does.
    Raises VortexError for an entry of a kind that only a newer vortex knows.
    """
    with ledger.understood():
        events.require_known(ledger)
        if version is None and domain is None and device is None:
            for entry in ledger.each() if last is None else ledger.entries(last=last):
                events.type_of(entry)  # of a later shape
                yield entry
            return
        entries = _of_channels(ledger, version, domain, device)
        if version is not None and domain is None and device is None:
            entries += ledger.entries(subject=version, kinds=events.kinds(scope="version"))
        concerned = [entry for entry in entries if events.parse(entry).concerns(version, device, domain)]
        yield from sorted(concerned, key=lambda entry: entry.seq)[-last if last else None :]


def _of_channels(ledger: Ledger, version: str | None, domain: str | None, device: str | None) -> list[Entry]:
    """What happened on the channels of this device and domain, or all of them; with a version, what names it."""
    about_versions = events.kinds(scope="version")
    if domain is None and device is None:
        return ledger.entries(without=about_versions, naming=version)
    channels = map(Channel.parse, ledger.subjects(events.kinds(scope="channel")))
    named = [channel for channel in channels if domain in (None, channel.domain) and device in (None, channel.device)]
    return [entry for channel in named for entry in ledger.entries(without=about_versions, subject=str(channel), naming=version)]
