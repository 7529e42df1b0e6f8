"""What a channel asks of its devices: which bundle to run, for whom, whether to hold, and what must never run again. No input, no output."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Final

from vortex_jetson.errors import BadDocument
from vortex_jetson.formats.document import CHANNEL, LARGEST_COUNT, SHA256, VERSION, Fields, canonical, read
from vortex_jetson.limits import LIMITS

FORMAT: Final = 1
_HASH_VALUES: Final = 2**256


@dataclass(frozen=True)
class Release:
    """A version as it is shipped: the SHA-256 of its bundle's manifest, and the bytes of that manifest."""

    version: str
    bundle: str
    bytes: int


@dataclass(frozen=True)
class Rollout:
    """A release that goes to a share of the devices first; the others run `fallback`, or keep what they run where there is none."""

    share: float
    """From 0 to 1."""
    salt: str
    """Another one for each rollout, so that it is not always the same devices that go first."""
    fallback: Release | None

    def takes(self, device: str) -> bool:
        """Whether a device is among the share: the same answer for ever, and a larger share only adds devices."""
        digest = hashlib.sha256(f"{self.salt}:{device}".encode()).digest()
        return int.from_bytes(digest, "big") < self.share * _HASH_VALUES


@dataclass(frozen=True)
class Channel:
    """The state of one channel after the ledger's move `seq`."""

    channel: str
    """DEVICE/DOMAIN."""
    seq: int
    production: Release | None = None
    shadow: Release | None = None
    """A candidate that may run beside production, and is never what the robot acts on."""
    rollout: Rollout | None = None
    hold: str | None = None
    """Why devices keep what they run; None where they do not have to."""
    barred: tuple[str, ...] = ()
    """Manifests' digests that must never run again."""

    def release_for(self, device: str) -> Release | None:
        """What a device should run, None where it keeps what it has. A hold and what is barred are asked apart."""
        if self.rollout is not None and not self.rollout.takes(device):
            return self.rollout.fallback
        return self.production


def target_name(channel: str) -> str:
    """The name of a channel's document among the targets of TUF."""
    return f"channels/{channel}.json"


def dump(channel: Channel) -> bytes:
    """The document. Raises BadDocument for one that `parse` would refuse, so that it is never published."""
    content = canonical({"format": FORMAT, **asdict(channel)})
    if parse(content) != channel:
        raise BadDocument(f"channel {channel.channel} does not survive being written", "this is a bug, please report it")
    return content


def parse(content: bytes) -> Channel:
    """The channel of a document. Raises BadDocument."""
    fields = read(content, LIMITS.channel_bytes, "the channel")
    fields.format(FORMAT)
    channel = Channel(
        fields.text("channel", CHANNEL),
        fields.count("seq"),
        fields.optional("production", lambda name: _release(fields.part(name))),
        fields.optional("shadow", lambda name: _release(fields.part(name))),
        fields.optional("rollout", lambda name: _rollout(fields.part(name))),
        fields.optional("hold", fields.line),
        fields.texts("barred", SHA256, 0, LARGEST_COUNT),
    )
    fields.end()
    if channel.rollout is not None and channel.production is None:
        fields.refuse("production", "a release, since there is a rollout of it")
    return channel


def _release(fields: Fields) -> Release:
    release = Release(fields.text("version", VERSION), fields.text("bundle", SHA256), fields.count("bytes", 1, LIMITS.manifest_bytes))
    fields.end()
    return release


def _rollout(fields: Fields) -> Rollout:
    rollout = Rollout(
        fields.number("share", 0, 1), fields.line("salt"), fields.optional("fallback", lambda name: _release(fields.part(name)))
    )
    fields.end()
    return rollout
