"""What the lineage is asked: what leads to something and what came of it, which channels and robots run or ran that, and the tree that shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pipelines.lineage.ancestry import Lineage, Tenure, family, followed, runs_of, setbacks_of, tenures
from pipelines.lineage.device_runs import DeviceRun
from pipelines.lineage.focus import Focus, resolve
from pipelines.workspace import Workspace
from registry.devices import Setback
from registry.graph import LINK_KINDS, Direction, Graph, Link, Node
from registry.versions import Hub

LASTING: Final = ("channel", "device", "robot")
"""Kinds that nothing comes of. They stand in a table with their times, and in a tree only where it starts from one."""
UPWARD: Final = ("version", *LASTING)
"""Kinds that are asked for what they come from, unless a direction is said."""


@dataclass(frozen=True)
class Answer:
    """What leads to the nodes of `focus` and what came of them, in these directions; all there is where it is None.

    `tenures`, `runs` and `setbacks` are of what came of them, and empty where that was not asked.
    """

    lineage: Lineage
    focus: Focus | None
    directions: tuple[Direction, ...]
    tenures: Sequence[Tenure] = ()
    runs: Sequence[DeviceRun] = ()
    setbacks: Sequence[Setback] = ()

    @property
    def starts(self) -> tuple[Node, ...]:
        """The nodes that were asked about."""
        return self.focus.nodes if self.focus else ()

    def part(self) -> Graph:
        """The graph of the answer."""
        return family(self.lineage, self.starts, self.directions) if self.focus else self.lineage.graph


def ask(ws: Workspace, registry: Hub, lineage: Lineage, name: str | None, *, up: bool = False, down: bool = False) -> Answer:
    """What leads to `name` and what came of it; without a direction, what one asks of its kind. Raises as `resolve`."""
    if name is None:
        return Answer(lineage, None, ())
    focus = resolve(ws, registry, lineage, name)
    lineage = lineage.joined(focus.nodes, focus.links)
    if not (up or down):
        up, down = focus.kind in UPWARD, focus.kind not in LASTING
    directions: tuple[Direction, ...] = (*(("up",) if up else ()), *(("down",) if down else ()))
    if not down:
        return Answer(lineage, focus, directions)
    lasting = tenures(lineage, focus.nodes)
    return Answer(lineage, focus, directions, lasting, runs_of(lineage, focus.nodes), setbacks_of(registry, lasting))


@dataclass
class Step:
    """A node in a tree of the graph, with the links that tie it to the one above it, and to others that the tree has elsewhere."""

    node: Node
    links: list[Link] = field(default_factory=list)
    elsewhere: list[Link] = field(default_factory=list)
    children: list[Step] = field(default_factory=list)


def steps(lineage: Lineage, starts: Sequence[Node], direction: Direction) -> dict[Node, Step]:
    """Every node that is reached, each hanging below the one that led to it first."""
    kinds = followed(tuple(starts)) if direction == "down" else LINK_KINDS
    kinds = tuple(kind for kind in kinds if kind not in LASTING or any(start.kind in LASTING for start in starts))
    reached = lineage.graph.reached(starts, direction, kinds)
    of_node = {node: Step(node) for node in reached}
    for node, first in reached.items():
        links = lineage.graph.above[node] if direction == "down" else lineage.graph.below[node]
        above = (first.source if direction == "down" else first.target) if first else None
        for link in links:
            end = link.source if direction == "down" else link.target
            if end == above:
                of_node[node].links.append(link)
            elif end in of_node and link.kind in kinds:
                of_node[node].elsewhere.append(link)
        if above is not None:
            of_node[above].children.append(of_node[node])
    return of_node


def document(answer: Answer) -> dict[str, Any]:
    """The answer for machines: its nodes and links by id, and what runs or ran; each array but the focus is an iterator."""
    part = answer.part()
    ids = {node: f"{node.kind}:{node.detail}/{node.name}" if node.kind == "frame" else _id(node) for node in part.nodes}
    return {
        "focus": [ids[start] for start in answer.starts],
        "nodes": (
            {
                "id": ids[node],
                "kind": node.kind,
                "name": node.name,
                "detail": node.detail,
                "declared": part.declared(node),
                "quarantined": _why_barred(answer.lineage, node),
            }
            for node in part.nodes
        ),
        "links": (
            {
                "kind": link.kind,
                "from": ids[link.source],
                "to": ids[link.target],
                "note": link.note,
                "since": link.since or None,
                "until": link.until,
            }
            for link in part.links
        ),
        "runs": iter(answer.tenures),
        "robots": iter(answer.runs),
        "setbacks": iter(answer.setbacks),
    }


def _id(node: Node) -> str:
    return f"{node.kind}:{node.name}" + (f"@{node.detail}" if node.detail else "")


def _why_barred(lineage: Lineage, node: Node) -> list[str]:
    if node.kind == "version":
        return [str(bar) for bar in lineage.bars.get(node.name, ())]
    quarantine = lineage.quarantine_of(node)
    return [quarantine.reason] if quarantine else []
