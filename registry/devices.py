"""Enrolled devices: who is known by which key, and what each has reported, decided and recorded in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from core.errors import VortexError
from registry.channels import Channel
from registry.events import reading
from registry.events.channel import ChannelBundled, ChannelPromoted, ChannelRolledBack
from registry.events.device import DeviceEnrolled, DeviceReported, DeviceRevoked
from registry.ledger import Ledger, Reader
from registry.records import DeviceStatus, EnrolledDevice

_MOVES: Final = (ChannelPromoted.kind, ChannelRolledBack.kind)


@dataclass(frozen=True)
class Setback:
    """A device reported by event `seq` that it rolled `version` back, or failed to run it.

    Of a report that does not say which bundle it is about, `version` is what was in production on the channel when it was recorded.
    """

    seq: int
    at: str
    """UTC."""
    device: str
    channel: str
    version: str
    outcome: str
    reason: str


def devices(source: Reader, name: str | None = None) -> dict[str, EnrolledDevice]:
    """Name → device, of all that were ever enrolled, in the order in which they were; only the one of this `name`, where one is given.

    Of a device's reports the newest alone is read, for they pile up.
    """
    enrolled = source.entries(kinds=(DeviceEnrolled.kind, DeviceRevoked.kind), subject=name, bodies=False)
    reported = [
        entry
        for subject in dict.fromkeys(entry.subject for entry in enrolled)
        for entry in source.entries(kinds=(DeviceReported.kind,), subject=subject, bodies=False, last=1)
    ]
    return reading.fold(sorted([*enrolled, *reported], key=lambda entry: entry.seq)).devices


def enroll(
    ledger: Ledger, name: str, channel: Channel, keyid: str, key: str, *, actor: str, reason: str = "", commit: str | None = None
) -> bool:
    """Know a device by its key, and say which channel it pulls; False where that was so. Raises VortexError for a key that another one has."""
    with ledger.transaction() as tx:
        enrolled = devices(tx)
        other = next((device for device in enrolled.values() if device.keyid == keyid and device.name != name), None)
        if other is not None:
            raise VortexError(
                f"the key {keyid[:12]} is that of {other.name}; a device is told by its key, and has one of its own",
                "make a key on the device: vortex-jetson init",
            )
        before = enrolled.get(name)
        if before is not None and (before.keyid, before.channel, before.revoked_at) == (keyid, channel, None):
            return False
        tx.append(DeviceEnrolled(name, channel, keyid, key), actor=actor, reason=reason, commit=commit)
        return True


def revoke(ledger: Ledger, name: str, *, actor: str, reason: str = "", commit: str | None = None) -> None:
    """Let what a device says count no more. Raises VortexError where it is not enrolled."""
    with ledger.transaction() as tx:
        require(tx, name)
        tx.append(DeviceRevoked(name), actor=actor, reason=reason, commit=commit)


def report(ledger: Ledger, name: str, status: DeviceStatus, *, actor: str) -> bool:
    """Record what a device reported; False for one that is not newer than its last. Raises VortexError where it is not enrolled."""
    with ledger.transaction() as tx:
        device = require(tx, name)
        if device.status is not None and status.counter <= device.status.counter:
            return False
        tx.append(DeviceReported(name, status), actor=actor)
        return True


def require(source: Reader, name: str) -> EnrolledDevice:
    """The device of this name. Raises VortexError, saying who is, where it is not enrolled or was revoked."""
    device = devices(source, name).get(name)
    if device is None or device.revoked_at is not None:
        names = ", ".join(each.name for each in devices(source).values() if each.revoked_at is None) or "none yet"
        state = f"was revoked on {device.revoked_at[:10]}" if device and device.revoked_at else "is not enrolled"
        raise VortexError(
            f"device {name[:63]!r} {state}; enrolled: {names}",
            f"enroll it with: vortex devices enroll {name[:63]} --key PUB.pem --channel DEVICE/DOMAIN",
        )
    return device


def setbacks(source: Reader) -> Iterator[Setback]:
    """What went wrong on devices, oldest first."""
    production: dict[str, str] = {}
    channels: dict[str, str] = {}
    versions: dict[str, str] = {}
    for entry in source.entries(kinds=(*_MOVES, ChannelBundled.kind, DeviceEnrolled.kind, DeviceReported.kind), bodies=False):
        if entry.kind in _MOVES and entry.head["stage"] == "production":
            production[entry.subject] = entry.head["version"]
        elif entry.kind == ChannelBundled.kind:
            versions[entry.head["bundle"]] = entry.head["version"]
        elif entry.kind == DeviceEnrolled.kind:
            channels[entry.subject] = entry.head["channel"]
        elif entry.kind == DeviceReported.kind and (channel := channels.get(entry.subject)) in production:
            status = DeviceReported.parse(entry).status
            if status.outcome in ("rolled back", "failed"):
                version = versions.get(status.about or "", production[channel])
                yield Setback(entry.seq, entry.at, entry.subject, channel, version, status.outcome, status.because)
