"""What the ledger says about a version or a channel, line by line."""

from __future__ import annotations

from registry import events
from registry.ledger import Entry, Ledger


def history(
    ledger: Ledger, *, version: str | None = None, domain: str | None = None, device: str | None = None, last: int | None = None
) -> list[Entry]:
    """The entries that concern all that is given, oldest first, or the newest `last` of them.

    With a channel's device or domain given, only what happened to channels does.
    Raises VortexError for an entry of a kind that only a newer vortex knows.
    """
    with ledger.understood():
        if version is None and domain is None and device is None:
            entries = ledger.entries(last=last)
            for entry in entries:
                events.type_of(entry)
            return entries
        entries = ledger.entries(without=events.kinds(scope="version"))
        if version is not None and domain is None and device is None:
            entries = sorted([*ledger.entries(subject=version, kinds=events.kinds(scope="version")), *entries], key=lambda entry: entry.seq)
        concerned = [entry for entry in entries if events.parse(entry).concerns(version, device, domain)]
    return concerned[-last:] if last else concerned
