"""A channel on the first page: what runs there, since when, why, made from what, how good, what it forgot, and what would replace it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.site.register import ChannelNow, Hold, Register
from pipelines.site.results import BRIEF, Row, results
from registry.edges import Edge, WeightsEdge
from registry.records import EnrolledDevice

if TYPE_CHECKING:
    from pipelines.compare.forgetting import Forgetting
    from pipelines.compare.recommend import Recommendation


@dataclass(frozen=True)
class ChannelCard:
    """The values of a channel's card; `against` is the address of the comparison with what was replaced, empty where there is none."""

    channel: ChannelNow
    codename: str
    parents: tuple[Edge, ...]
    results: tuple[Row, ...]
    forgot: tuple[Forgetting, ...]
    nothing_forgotten: str
    against: str
    waiting: tuple[Hold, ...]
    advice: Recommendation | None
    no_advice: str
    robots: tuple[EnrolledDevice, ...]
    """The devices that pull the channel."""


def channel_card(
    register: Register, channel: ChannelNow, forgot: tuple[Forgetting, ...], against: str, advice: Recommendation | str
) -> ChannelCard:
    """The card of a channel; `forgot` is what the version in production forgot of the one whose weights it started from.

    `advice` is what is recommended for the channel's domain, or in words why nothing is.
    """
    robots = tuple(each for each in register.devices.values() if str(each.channel) == channel.name and each.revoked_at is None)
    counsel = (None, advice, robots) if isinstance(advice, str) else (advice, "", robots)
    run = channel.production
    highest = {hold.version: hold for hold in reversed(channel.holds)}
    waiting = tuple(hold for name, hold in reversed(highest.items()) if run is None or name != run.version)
    if run is None:
        return ChannelCard(channel, "", (), (), (), "", "", waiting, *counsel)
    version = register.version(run.version)
    exams = [metrics for metrics in version.metrics if metrics.series.exam]
    tables = results((metrics for metrics in exams if metrics.domain == channel.domain), BRIEF)
    rows = tuple(row for table in tables for row in table.rows)
    return ChannelCard(
        channel, version.codename, version.parents, rows, forgot, nothing_forgotten(version.parents), against, waiting, *counsel
    )


def nothing_forgotten(parents: tuple[Edge, ...]) -> str:
    """What to say where nothing was judged to be forgotten."""
    if any(isinstance(edge, WeightsEdge) for edge in parents):
        return "its parent was trained for no domain that is recorded"
    return "nothing to forget: it started from no other version's weights"
