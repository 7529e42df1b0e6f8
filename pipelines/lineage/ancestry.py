"""The lineage of a workspace: its graph, with what listings know of each version and what bars which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from core.stream_order import natural
from pipelines.lineage.device_runs import WORDS, DeviceRun, device_runs
from registry.devices import Setback, setbacks
from registry.graph import CARRYING, LINK_KINDS, Direction, Graph, Link, LinkKind, Node
from registry.quarantine import Bar, bars_of_all
from registry.records import Quarantine, Summary
from registry.state import State
from registry.versions import Hub


@dataclass(frozen=True)
class Lineage:
    """The graph, the state of the ledger that it was made from, and what enrolled devices run and ran."""

    graph: Graph
    state: State
    runs: tuple[DeviceRun, ...] = ()

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """Version → what a listing shows of it."""
        return {summary.name: summary for summary in self.state.summaries()}

    @cached_property
    def bars(self) -> dict[str, tuple[Bar, ...]]:
        """Every version that may enter no stage → what bars it."""
        return bars_of_all(self.state)

    def quarantine_of(self, node: Node) -> Quarantine | None:
        """The quarantine that a node itself stands in."""
        for quarantine in self.state.quarantines.values():
            if node.kind == "version" and (quarantine.scope, quarantine.subject) == ("version", node.name):
                return quarantine
            if node.kind == "data" and quarantine.holds_data(node.name, node.detail):
                return quarantine
        return None

    def joined(self, nodes: tuple[Node, ...], links: tuple[Link, ...]) -> Lineage:
        """This lineage with what only the workspace's files tell: nodes, and links to them."""
        if not links and all(node in self.graph.nodes for node in nodes):
            return self
        graph = Graph.of([*self.graph.links, *links], [*self.graph.nodes, *nodes], self.graph.registered)
        return replace(self, graph=graph)


@dataclass(frozen=True)
class Tenure:
    """A stage of a channel that what came of something holds or held, `until` is None while it does; UTC.

    `way` are the versions by whose weights or recipes it came from the first of them to `version`.
    """

    channel: str
    device: str
    stage: str
    version: str
    since: str
    until: str | None
    way: tuple[str, ...]


def lineage_of(registry: Hub) -> Lineage:
    """The lineage of a registry, down to enrolled devices. Raises VortexError where the ledger cannot be folded."""
    state, graph = registry.lineage()
    runs = tuple(device_runs(registry.ledger)) if state.devices else ()
    links = [
        Link(
            "robot",
            Node("version", run.version),
            Node("robot", run.device),
            run.channel if run.reported else f"{run.channel}, not reported",
            run.since,
            run.until,
        )
        for run in runs
    ]
    return Lineage(graph, state, runs).joined(tuple(Node("robot", name) for name in state.devices), tuple(links))


def followed(starts: tuple[Node, ...]) -> tuple[LinkKind, ...]:
    """By which links one asks what came of these: what is wrong with data or a teacher does not pass with a recipe."""
    return CARRYING if any(start.kind in ("frame", "data", "teacher") for start in starts) else LINK_KINDS


def family(lineage: Lineage, starts: tuple[Node, ...], directions: tuple[Direction, ...]) -> Graph:
    """What leads to the starts, and what came of them."""
    reached: dict[Node, None] = dict.fromkeys(starts)
    for direction in directions:
        kinds = followed(starts) if direction == "down" else LINK_KINDS
        reached |= dict.fromkeys(lineage.graph.reached(starts, direction, kinds))
    kinds = followed(starts) if directions == ("down",) else LINK_KINDS
    return lineage.graph.part(reached, kinds)


def tenures(lineage: Lineage, starts: tuple[Node, ...]) -> list[Tenure]:
    """Every stage that what came of the starts holds or held: what is in production now first, then what was, then the stages before it."""
    reached = lineage.graph.reached(starts, "down", followed(starts))
    every = []
    for node in reached:
        for link in lineage.graph.below[node]:
            if link.kind == "channel":
                channel = link.target.name
                way = _way(reached, node)
                every.append(Tenure(channel, channel.partition("/")[0], link.note, node.name, link.since, link.until, way))
    every.sort(key=lambda tenure: tenure.since, reverse=True)
    return sorted(every, key=lambda tenure: (tenure.until is not None, tenure.stage != "production", tenure.channel))


def runs_of(lineage: Lineage, starts: tuple[Node, ...]) -> list[DeviceRun]:
    """What enrolled devices run and ran of what came of the starts: what they run first, by device."""
    versions = {node.name for node in lineage.graph.reached(starts, "down", followed(starts)) if node.kind == "version"}
    runs = sorted((run for run in lineage.runs if run.version in versions), key=lambda run: run.since, reverse=True)
    return sorted(runs, key=lambda run: (WORDS.index(run.word), natural(run.device)))


def setbacks_of(registry: Hub, running: Sequence[Tenure]) -> list[Setback]:
    """What robots could not do with these versions while they were in production, oldest first."""
    places = {(tenure.channel, tenure.version) for tenure in running if tenure.stage == "production"}
    with registry.ledger.understood():
        return [setback for setback in setbacks(registry.ledger) if (setback.channel, setback.version) in places] if places else []


def _way(reached: dict[Node, Link | None], node: Node) -> tuple[str, ...]:
    """The versions from a start to a node."""
    way = [node.name]
    while (link := reached[node]) is not None:
        node = link.source
        if node.kind == "version":
            way.append(node.name)
    return tuple(reversed(way))
