"""Channels and their stages: one device in one domain, and which version it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.errors import VortexError
from core.stages import STAGES


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
class ChannelState:
    """Where a channel stands. `seq` counts its moves: a judgement made at one `seq` may only be recorded at that same one."""

    channel: Channel
    seq: int = 0
    current: Mapping[str, str] = field(default_factory=dict)
    earlier: tuple[str, ...] = ()
    """Versions that were in production before the present one, newest last: what `rollback` goes back through."""
    share: float = 1.0
    """Of the devices that take what is in production, above 0 to 1; the others stay with what was there before."""
    since: int = 0
    """The move with which the version in production came; a rollout that is widened goes on from there."""
    withdrawn: tuple[str, ...] = ()
    """Versions that a rollback took out of production, and that did not come back."""

    @property
    def production(self) -> str | None:
        """The version in production, or None."""
        return self.current.get("production")

    def before(self, version: str) -> tuple[str, ...]:
        """Those of `earlier` that were in production before `version` was the last time. Raises ValueError when it never was."""
        newest_first = self.earlier[::-1]
        return newest_first[newest_first.index(version) + 1 :][::-1]

    def stage_of(self, version: str) -> str | None:
        """The highest stage that `version` holds here, or None."""
        return next((stage for stage in reversed(STAGES) if self.current.get(stage) == version), None)
