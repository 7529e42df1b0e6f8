"""A lineage that is too large to be read, folded for a picture: what is far from what was asked stands in boxes with a count."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pipelines.lineage.layout import KINDS, natural
from registry.graph import Graph, Link, Node

WORDS: Final[Mapping[str, str]] = {"data": "dataset", "code": "commit"}
"""Kind of a node → in words, where its name is none."""
MOST_NODES: Final = 300
"""More than that, and nobody reads the picture: it is folded."""
SHOWN: Final = 60
"""Nodes of a folded picture that stand for themselves."""
BRANCHES: Final = ("weights", "recipe")
"""Kinds of links by which a version hangs below another, the stronger one first."""


@dataclass(frozen=True)
class Box:
    """Nodes of one kind that stand for one in the picture: how many, the first and the last by name, and how many are in quarantine."""

    count: int
    first: str
    last: str
    quarantined: int

    @property
    def words(self) -> str:
        """Which they are."""
        return f"{self.first} … {self.last}" + (f" · {self.quarantined:,} quarantined" if self.quarantined else "")


@dataclass(frozen=True)
class Folded:
    """A graph of few nodes, and of those that are boxes what is in them; `nodes` is how many there were."""

    graph: Graph
    boxes: Mapping[Node, Box]
    nodes: int

    @property
    def words(self) -> str:
        """What was folded; empty where nothing was."""
        inside = sum(box.count for box in self.boxes.values())
        return (
            f"{inside:,} of {self.nodes:,} nodes are folded into {len(self.boxes)} box{'' if len(self.boxes) == 1 else 'es'} with a count"
            if self.boxes
            else ""
        )


def fold(graph: Graph, focus: Collection[Node], quarantined: Collection[Node]) -> Folded:
    """The graph as it is where it has no more than 300 nodes, else a part of it that can be read, with boxes for the rest.

    What was asked for stays, then what runs, what is in quarantine and what is nearest, by weights and recipes. All other versions below
    one that stays are one box, and all else of a kind is one.
    """
    if len(graph.nodes) <= MOST_NODES:
        return Folded(graph, {}, len(graph.nodes))
    visible = _shown(graph, focus, quarantined)
    boxes: dict[Node, Box] = {}
    place = {node: node for node in visible}
    suspects = set(quarantined)
    for (kind, _), group in _groups(graph, visible).items():
        if len(group) == 1:
            place[group[0]] = group[0]
            continue
        names = sorted((str(node) for node in group), key=natural)
        box = Node(group[0].kind, f"{len(group):,} {WORDS.get(kind, kind)}s", f"folded {len(boxes)}")
        boxes[box] = Box(len(group), names[0], names[-1], sum(node in suspects for node in group))
        place.update((node, box) for node in group)
    registered = graph.registered | {box.name for box in boxes}
    return Folded(Graph.of(_links(graph, place), dict.fromkeys(place.values()), registered), boxes, len(graph.nodes))


def _shown(graph: Graph, focus: Collection[Node], quarantined: Collection[Node]) -> dict[Node, None]:
    """The nodes that stay."""
    running = [link for node in graph.nodes for link in graph.below[node] if link.kind == "channel" and link.until is None]
    alarming = sorted(quarantined, key=lambda node: (KINDS.index(node.kind), natural(node.name), node.detail))
    # Half of the room is for what is near: of a thousand channels some are shown, with what they hold.
    first = [*focus, *(end for link in running for end in (link.source, link.target)), *alarming]
    visible = dict.fromkeys(list(dict.fromkeys(first or _heads(graph)))[: SHOWN // 2])
    for node in _outwards(graph, visible, set(focus)):
        if len(visible) >= SHOWN:
            break
        visible[node] = None
    return visible


def _heads(graph: Graph) -> list[Node]:
    """Where nothing is asked for and nothing runs: the versions of which most were made."""
    versions = [node for node in graph.nodes if node.kind == "version"]
    return sorted(versions, key=lambda node: (-len(graph.below[node]), natural(node.name)))


def _outwards(graph: Graph, starts: Iterable[Node], focus: Collection[Node]) -> Iterable[Node]:
    """What is nearest to the starts: versions by weights and recipes, and around the focus everything."""
    seen = set(starts)
    waiting = deque(starts)
    while waiting:
        node = waiting.popleft()
        for link in (*graph.above[node], *graph.below[node]):
            end = link.source if link.target == node else link.target
            if end not in seen and (link.kind in BRANCHES or node in focus):
                seen.add(end)
                waiting.append(end)
                yield end


Key = tuple[str, Node | None]
"""A kind, and of versions the shown one below which they hang."""


def _groups(graph: Graph, visible: Collection[Node]) -> dict[Key, list[Node]]:
    """All that is not shown: versions by the nearest shown one above them, what is no version by its kind alone."""
    anchors: dict[Node, Node | None] = {node: node for node in visible}
    groups: dict[Key, list[Node]] = {}
    for node in graph.nodes:
        if node not in visible:
            anchor = _anchor(graph, node, anchors) if node.kind == "version" else None
            groups.setdefault((node.kind, anchor), []).append(node)
    return groups


def _anchor(graph: Graph, node: Node, anchors: dict[Node, Node | None]) -> Node | None:
    """The nearest shown version above one, by the way that a tree has; `anchors` are those that are known. A declared lineage may lead back."""
    way: dict[Node, None] = {}
    at: Node | None = node
    while at is not None and at not in anchors and at not in way:
        way[at] = None
        parents = [link for kind in BRANCHES for link in graph.above[at] if link.kind == kind and link.source.kind == "version"]
        at = parents[0].source if parents else None
    anchor = anchors.get(at) if at else None
    anchors.update(dict.fromkeys(way, anchor))
    return anchor


def _links(graph: Graph, place: Mapping[Node, Node]) -> list[Link]:
    """Every link between the places of its ends; those of one kind, and of one stage, between the same two are one, which lasts while any does."""
    links: dict[tuple[str, Node, Node, str], Link] = {}
    plain: list[Link] = []
    for link in graph.links:
        source, target = place[link.source], place[link.target]
        if source is link.source and target is link.target:
            plain.append(link)
            continue
        if source == target:
            continue
        note = link.note if link.kind == "channel" else ""
        key = (link.kind, source, target, note)
        before = links.get(key)
        ends = [link.until, *([before.until] if before else [])]
        until = None if None in ends else max(filter(None, ends))
        links[key] = Link(link.kind, source, target, note, "", until)
    return [*plain, *links.values()]
