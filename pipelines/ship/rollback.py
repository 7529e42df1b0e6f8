"""Take a channel back to a version that was in production there before."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from core.errors import UsageError, VortexError
from pipelines.hub.open import actor, commit, hub
from pipelines.ship.publish import publish_after
from pipelines.workspace import Workspace
from registry import stages
from registry.channels import Channel
from registry.events.channel import ChannelRolledBack
from registry.stages import channel_state, channel_states, newest_move
from registry.versions import Hub


@dataclass(frozen=True)
class RollbackReport:
    """Which version is in production on a channel again, and which left it. `recorded` is False where that had been done before."""

    channel: str
    version: str
    replaced: str | None
    recorded: bool
    published: tuple[str, ...] = ()
    """What the robots' folder came to after it, in words; empty where no device is published."""

    def sentence(self) -> str:
        """The outcome in words."""
        if self.recorded:
            return f"{self.version} is back in production on {self.channel}; {self.replaced} left it"
        if self.replaced is None:
            return f"{self.version} is already in production on {self.channel}: nothing changed"
        return (
            f"{self.version} is back in production on {self.channel} already; {self.replaced} left it, and nothing more changed:"
            f" to go back further, name the version with --to"
        )


def rollback(
    ws: Workspace, *, device: str | None = None, domain: str | None = None, to: str | None = None, reason: str = ""
) -> RollbackReport:
    """Put version `to`, or the one that was in production before, back there. The ledger keeps both.

    With `to` it can be repeated at will. Without, it goes back further each time, but not where the rollback before it was ended within:
    its aliases tell, and it is finished then. `domain` defaults to the only one with a version in production on the device.
    Raises VortexError when there is nothing to go back to, when `to` was not in production there, or when MLflow, and with it whether
    the rollback before was finished, cannot be reached.
    """
    registry = hub(ws)
    registry.ledger.verify()
    device = ws.device(device)
    if domain is None:
        domain = _only_domain(registry, device)
    ws.domain(domain)
    channel = Channel(device, domain)
    state, move = channel_state(registry.ledger, channel), newest_move(registry.ledger, channel)
    reached = registry.reach_store()
    back = isinstance(move, ChannelRolledBack) and move.version == state.production
    if to is None and move and back:
        if not reached:
            raise VortexError(
                f"{channel} was rolled back from {move.replaced} to {move.version}, and whether that was finished cannot be told without MLflow",
                f"name where it is to go: vortex rollback --device {device} --domain {domain} --to VERSION",
            )
        to = state.production if registry.aliases_stale(channel) else None
    if to is not None and to == state.production:
        report = RollbackReport(str(channel), to, move.replaced if move and back else None, recorded=False)
    else:
        event = stages.rollback(registry.ledger, channel, to=to, actor=actor(), reason=reason, commit=commit(ws), expected_seq=state.seq)
        report = RollbackReport(str(channel), event.version, event.replaced, recorded=True)
    if reached:
        registry.refresh_aliases(channel)
    return dataclasses.replace(report, published=publish_after(ws))


def _only_domain(registry: Hub, device: str) -> str:
    domains = sorted(
        state.channel.domain for state in channel_states(registry.ledger) if state.channel.device == device and state.production
    )
    if len(domains) == 1:
        return domains[0]
    if not domains:
        raise VortexError(f"nothing is in production on {device}", "promote a version first: vortex promote VERSION --stage production")
    raise UsageError(f"which domain? {device} has versions in production for: {', '.join(domains)}", "name one with --domain")
