"""The lineage as a graph: what every version was made from, and what came of it, down to the channels and devices that run or ran it.

Everything here is derived from events that were read before; nothing is read or written. A declared lineage may contradict itself: walks
end in circles too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, get_args

from registry.channels import Channel
from registry.edges import DataEdge, Edge, RecipeEdge, TeacherEdge, VersionEdge
from registry.events.channel import ChannelPromoted, ChannelRolledBack
from registry.events.version import VersionExported
from registry.ledger import Entry
from registry.state import State, VersionState

NodeKind = Literal["frame", "data", "teacher", "recipe", "code", "version", "export", "channel", "device", "robot"]
LinkKind = Literal["frame", "data", "teacher", "recipe", "weights", "code", "export", "channel", "device", "robot"]
LINK_KINDS: Final[tuple[LinkKind, ...]] = get_args(LinkKind)
CARRYING: Final[tuple[LinkKind, ...]] = tuple(kind for kind in LINK_KINDS if kind != "recipe")
"""Links by which what is wrong with a frame, a dataset or a teacher reaches a version: a recipe is settings, and carries none of it."""
Direction = Literal["up", "down"]


class Node(NamedTuple):
    """Something in the lineage. `detail` tells those of one name apart: of data its content, of a frame its dataset, of an export its SHA-256."""

    kind: NodeKind
    name: str
    detail: str = ""

    def __str__(self) -> str:
        if self.kind == "data" and self.detail:
            return f"{self.name}@{self.detail[:12]}"
        if self.kind == "code":
            commit, dash, mark = self.name.partition("-")
            return f"{commit[:12]}{dash}{mark}"
        return f"{self.detail}/{self.name}" if self.kind == "frame" else self.name


class Link(NamedTuple):
    """One step from what was before, `source`, to what came of it, `target`.

    A channel's, a device's and a robot's link last: `since` and `until` are UTC, and `until` is None while it lasts. `note` says what the
    kind does not: the stage in a channel, a device's channel, the `.dir` hash of `data/`, what a teacher labelled.
    """

    kind: LinkKind
    source: Node
    target: Node
    note: str = ""
    since: str = ""
    until: str | None = None


@dataclass(frozen=True)
class Graph:
    """Nodes with their links in both directions. `registered` names the versions that are more than named by others."""

    above: Mapping[Node, list[Link]] = field(default_factory=dict)
    """Node → the links from what it was made from."""
    below: Mapping[Node, list[Link]] = field(default_factory=dict)
    """Node → the links to what came of it."""
    registered: frozenset[str] = frozenset()

    @classmethod
    def of(cls, links: Iterable[Link], nodes: Iterable[Node] = (), registered: Iterable[str] = ()) -> Graph:
        """A graph of these links and their ends, and of `nodes`, which may have no link; each link once, in the order given."""
        above: dict[Node, list[Link]] = {}
        below: dict[Node, list[Link]] = {}
        for node in nodes:
            above.setdefault(node, [])
            below.setdefault(node, [])
        for link in dict.fromkeys(links):
            for end in (link.source, link.target):
                above.setdefault(end, [])
                below.setdefault(end, [])
            below[link.source].append(link)
            above[link.target].append(link)
        return cls(above, below, frozenset(registered))

    @property
    def nodes(self) -> Collection[Node]:
        """Every node, in the order in which they were put in."""
        return self.above.keys()

    @property
    def links(self) -> list[Link]:
        """Every link, by its source."""
        return [link for links in self.below.values() for link in links]

    def declared(self, node: Node) -> bool:
        """Whether it is a version that others name as their parent, and that is not registered here."""
        return node.kind == "version" and node.name not in self.registered

    def reached(self, starts: Iterable[Node], direction: Direction, kinds: Collection[LinkKind] = LINK_KINDS) -> dict[Node, Link | None]:
        """Every node that links of these kinds lead to, with the link that led there first and None for the starts, nearest first.

        A start that is no node of the graph is left out.
        """
        links = self.above if direction == "up" else self.below
        reached: dict[Node, Link | None] = {start: None for start in starts if start in links}
        waiting = deque(reached)
        while waiting:
            for link in links[waiting.popleft()]:
                end = link.source if direction == "up" else link.target
                if link.kind in kinds and end not in reached:
                    reached[end] = link
                    waiting.append(end)
        return reached

    def part(self, nodes: Collection[Node], kinds: Collection[LinkKind] = LINK_KINDS) -> Graph:
        """These nodes, and the links of these kinds between them."""
        links = [link for node in nodes for link in self.below[node] if link.kind in kinds and link.target in nodes]
        return Graph.of(links, nodes, self.registered)

    def family(self, starts: Collection[Node], directions: Collection[Direction], kinds: Collection[LinkKind] = LINK_KINDS) -> Graph:
        """The part of the graph that links of these kinds lead to from the starts, in these directions."""
        reached = [self.reached(starts, direction, kinds) for direction in directions]
        return self.part(dict.fromkeys(node for nodes in reached for node in nodes), kinds)


def graph(state: State, entries: Iterable[Entry]) -> Graph:
    """The graph of a folded ledger and its entries, which may be heads alone.

    Data is told apart by its content where the state has the versions' material, and by the hash of its edge where it has not.
    """
    links: list[Link] = []
    nodes = [Node("version", name) for name in dict.fromkeys([*state.versions, *state.declared])]
    for version in state.versions.values():
        links += _origins(version)
    for declared in state.declared.values():
        if not declared.adopted:
            links += [link for edge in declared.parents if (link := _origin(edge, Node("version", declared.name), {}))]
    links += _exports(entries := list(entries))
    links += _tenures(entries)
    return Graph.of(links, nodes, state.versions)


def _origins(version: VersionState) -> list[Link]:
    """The links to a version from all that it was made from."""
    target = Node("version", version.name)
    links = [Link("recipe", Node("recipe", version.recipe), target)] if version.recipe else []
    links += [Link("code", Node("code", version.commit), target)] if version.commit else []
    contents = {DataEdge(use.name, use.dvc or use.digest): use.digest for use in version.material.data}
    # What it saw is a link whether or not an edge says so.
    edges = dict.fromkeys([*version.parents, *contents])
    return links + [link for edge in edges if (link := _origin(edge, target, contents))]


def _origin(edge: Edge, target: Node, contents: Mapping[DataEdge, str]) -> Link | None:
    match edge:
        case VersionEdge():
            return Link("recipe" if isinstance(edge, RecipeEdge) else "weights", Node("version", edge.version), target, edge.note)
        case TeacherEdge():
            return Link("teacher", Node("teacher", edge.teacher), target, edge.labels)
        case DataEdge():
            return Link("data", Node("data", edge.name, contents.get(edge, edge.hash)), target, edge.hash)
    return None


def _exports(entries: Iterable[Entry]) -> list[Link]:
    links = []
    for entry in entries:
        if entry.kind == VersionExported.kind:
            form = f"{entry.head['format']} {entry.head['precision']}"
            links.append(
                Link("export", Node("version", entry.subject), Node("export", f"{entry.subject} {form}", entry.head["sha256"]), form)
            )
    return links


def _tenures(entries: Iterable[Entry]) -> list[Link]:
    """From when until when a version held a stage of a channel; one that held production was run by the device."""
    links: list[Link] = []
    open_: dict[tuple[str, str], tuple[str, str]] = {}
    for entry in entries:
        if entry.kind not in (ChannelPromoted.kind, ChannelRolledBack.kind):
            continue
        place, version = (entry.subject, entry.head["stage"]), entry.head["version"]
        holder, since = open_.get(place, (None, ""))
        if holder == version:
            continue
        if holder is not None:
            links += _tenure(place, holder, since, entry.at)
        open_[place] = (version, entry.at)
    for place, (holder, since) in open_.items():
        links += _tenure(place, holder, since, None)
    return links


def _tenure(place: tuple[str, str], version: str, since: str, until: str | None) -> list[Link]:
    channel, stage = place
    source = Node("version", version)
    links = [Link("channel", source, Node("channel", channel), stage, since, until)]
    if stage == "production":
        links.append(Link("device", source, Node("device", Channel.parse(channel).device), channel, since, until))
    return links
