"""What happened to an enrolled device, and what it reported."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from registry import records, stored
from registry.channels import Channel
from registry.events.event import AUDIT, Event, Scope, Sentence
from registry.ledger import Contradiction, Entry
from registry.records import (
    DeviceStatus,
    EnrolledDevice,
)
from registry.state import State


@dataclass(frozen=True)
class DeviceEvent(Event):
    """Something about one enrolled device."""

    scope: ClassVar[Scope] = "device"
    device: str

    @property
    def subject(self) -> str:
        """The device's name."""
        return self.device

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject)


@dataclass(frozen=True)
class DeviceEnrolled(DeviceEvent, kind="device.enrolled"):
    """A device is known by its public key from now on, and pulls a channel; once more, with another key or channel, it has that one."""

    channel: Channel
    keyid: str
    key: str

    def head(self) -> dict[str, Any]:
        """Its channel and its key."""
        return {"channel": str(self.channel), "keyid": self.keyid, "key": self.key}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject, Channel.parse(entry.head["channel"]), *(stored.text(entry.head[name]) for name in ("keyid", "key")))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It is enrolled; what it has reported by the same key stays."""
        event, before = DeviceEnrolled.parse(entry), state.devices.get(entry.subject)
        device = EnrolledDevice(event.device, event.channel, event.keyid, event.key, entry.at)
        if before is not None and before.keyid == event.keyid:
            device = dataclasses.replace(device, status=before.status, seen_at=before.seen_at)
        state.devices[event.device] = device

    def sentence(self) -> Sentence:
        """For which channel, and by which key."""
        return "device ", (self.device, "name"), f" enrolled for {self.channel}, key {self.keyid[:12]}"


@dataclass(frozen=True)
class DeviceRevoked(DeviceEvent, kind="device.revoked"):
    """What a device says counts no more."""

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It is revoked."""
        state.devices[entry.subject] = dataclasses.replace(state.devices[entry.subject], revoked_at=entry.at)

    def sentence(self) -> Sentence:
        """That it is revoked."""
        return "device ", (self.device, "name"), " ", ("revoked", "refused")


@dataclass(frozen=True)
class DeviceReported(DeviceEvent, kind="device.reported"):
    """A device said what it runs and what became of what it was asked to run."""

    status: DeviceStatus

    def head(self) -> dict[str, Any]:
        """All of it."""
        return vars(self.status)

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject, records.device_status(entry.head))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """Its newest report. Raises Contradiction for one that is not newer than the last."""
        device, status = state.devices[entry.subject], DeviceReported.parse(entry).status
        if device.status is not None and status.counter <= device.status.counter:
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: report {status.counter} of device {entry.subject:.160} follows its report"
                f" {device.status.counter}",
                AUDIT,
            )
        state.devices[entry.subject] = dataclasses.replace(device, status=status, seen_at=entry.at)

    def sentence(self) -> Sentence:
        """What became of which version."""
        return "device ", (self.device, "name"), f" {self.status.sentence}"
