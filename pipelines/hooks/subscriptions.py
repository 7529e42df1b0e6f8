"""Which events the hooks of a workspace are sent."""

from __future__ import annotations

from fnmatch import fnmatchcase

from core.errors import VortexError
from pipelines.workspace import FILE, Workspace
from registry.events.event import KINDS
from registry.outbox import Subscription


def subscriptions(ws: Workspace) -> tuple[Subscription, ...]:
    """A subscription for each hook in vortex.toml. Raises VortexError where no event could ever fit."""
    for name, hook in ws.config.hooks.items():
        for pattern in hook.kinds:
            if not any(fnmatchcase(kind, pattern) for kind in KINDS):
                raise VortexError(
                    f"{ws.root / FILE}: hooks.{name}.kinds has {pattern!r}, which no kind of event fits; allowed: {', '.join(sorted(KINDS))}",
                    'name kinds, or patterns such as "channel.*"',
                )
        for pattern in hook.channels:
            if pattern.count("/") != 1:
                raise VortexError(
                    f"{ws.root / FILE}: hooks.{name}.channels has {pattern!r}, which is no channel; allowed: DEVICE/DOMAIN, with * for any",
                    'for example channels = ["*/corridor"]',
                )
        of_channels = [kind for kind in sorted(KINDS) if kind.startswith("channel.")]
        if hook.channels and not any(fnmatchcase(kind, pattern) for kind in of_channels for pattern in hook.kinds):
            raise VortexError(
                f"{ws.root / FILE}: hooks.{name} has channels, and kinds that no channel has: {', '.join(hook.kinds)}",
                f"leave channels out, or add one of: {', '.join(of_channels)}",
            )
    return tuple(Subscription(name, hook.kinds, hook.channels) for name, hook in ws.config.hooks.items())
