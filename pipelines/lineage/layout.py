"""Where the nodes of a lineage stand in a picture: in columns from what was before to what came of it, with few crossings.

The four steps of Sugiyama, Tagawa and Toda 1981: links that would close a circle are turned round, every node gets a column, links over
several columns get a point in each, and the order within the columns follows the neighbours' mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from registry.graph import Graph, Node, NodeKind

KINDS: tuple[NodeKind, ...] = ("frame", "data", "teacher", "recipe", "code", "version", "export", "channel", "device", "robot")
"""From top to bottom, where nothing else says."""
SWEEPS = 12
BEND = 0.6
"""Rows between a node and a link that passes it."""
Point = Node | tuple[Node, int]
"""A node, or where all links from a node to what stands further right pass through a column."""
Pairs = dict[Point, list[Point]]


@dataclass(frozen=True)
class Layout:
    """Column and height of each node, the height in rows from 0 on, and the points that a link between two nodes passes, left to right."""

    columns: Mapping[Node, int]
    rows: Mapping[Node, float]
    bends: Mapping[tuple[Node, Node], list[tuple[int, float]]]

    @property
    def size(self) -> tuple[int, float]:
        """How many columns, and how many rows."""
        return max(self.columns.values(), default=-1) + 1, max(self.rows.values(), default=-1.0) + 1


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which v9 stands before v10."""
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text))


def place(graph: Graph) -> Layout:
    """Lay a graph out. The same graph has the same layout, in whatever order its nodes were put in."""
    nodes = sorted(graph.nodes, key=lambda node: (KINDS.index(node.kind), natural(node.name), node.detail))
    pairs = _forward(nodes, sorted({(link.source, link.target) for link in graph.links if link.source != link.target}))
    columns = _columns(nodes, pairs)
    points: dict[Point, int] = dict(columns.items())
    left, right = _joined(pairs, columns, points)
    order = _ordered(points, left, right)
    rows = _heights(order, left, right)
    bends = {
        (source, target): [(column, rows[source, column]) for column in range(columns[source] + 1, columns[target])]
        for source, target in pairs
    }
    return Layout(columns, {node: rows[node] for node in nodes}, bends)


def _forward(nodes: Sequence[Node], pairs: Sequence[tuple[Node, Node]]) -> list[tuple[Node, Node]]:
    """The pairs without those that would lead back to a node that is being left: what remains has no circle."""
    targets: dict[Node, list[Node]] = {node: [] for node in nodes}
    for source, target in pairs:
        targets[source].append(target)
    forward: list[tuple[Node, Node]] = []
    entered: set[Node] = set()
    path: set[Node] = set()
    for root in nodes:
        if root in entered:
            continue
        entered.add(root)
        path.add(root)
        waiting = [(root, iter(targets[root]))]
        while waiting:
            node, rest = waiting[-1]
            following = next(rest, None)
            if following is None:
                path.discard(node)
                waiting.pop()
            elif following not in path:
                forward.append((node, following))
                if following not in entered:
                    entered.add(following)
                    path.add(following)
                    waiting.append((following, iter(targets[following])))
    return forward


def _columns(nodes: Sequence[Node], pairs: Sequence[tuple[Node, Node]]) -> dict[Node, int]:
    """The column of each node: one after the last of what it came from; what came from nothing stands just before what came of it."""
    sources: dict[Node, list[Node]] = {node: [] for node in nodes}
    targets: dict[Node, list[Node]] = {node: [] for node in nodes}
    for source, target in pairs:
        sources[target].append(source)
        targets[source].append(target)
    columns: dict[Node, int] = {}
    missing = {node: len(sources[node]) for node in nodes}
    ready = [node for node in nodes if not missing[node]]
    for node in ready:  # grows while it is walked
        columns[node] = 1 + max((columns[source] for source in sources[node]), default=-1)
        for target in targets[node]:
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    for node in nodes:
        if not sources[node] and targets[node]:
            columns[node] = min(columns[target] for target in targets[node]) - 1
    first = min(columns.values(), default=0)
    return {node: column - first for node, column in columns.items()}


def _joined(pairs: Iterable[tuple[Node, Node]], columns: Mapping[Node, int], points: dict[Point, int]) -> tuple[Pairs, Pairs]:
    """The neighbours of each point to its left and to its right; links over several columns get a point in each between.

    All links from one node share these points: a teacher of forty versions is one line that branches, and not forty."""
    left: Pairs = {point: [] for point in points}
    right: Pairs = {point: [] for point in points}
    for source, target in pairs:
        chain: list[Point] = [source]
        for column in range(columns[source] + 1, columns[target]):
            bend = (source, column)
            if bend not in points:
                points[bend] = column
                left[bend], right[bend] = [], []
            chain.append(bend)
        chain.append(target)
        for before, after in pairwise(chain):
            if after not in right[before]:
                right[before].append(after)
                left[after].append(before)
    return left, right


def _ordered(points: Mapping[Point, int], left: Pairs, right: Pairs) -> list[list[Point]]:
    """The points of each column from top to bottom."""
    order: list[list[Point]] = [[] for _ in range(max(points.values(), default=-1) + 1)]
    for point, column in points.items():
        order[column].append(point)
    for sweep in range(SWEEPS):
        neighbours = right if sweep % 2 else left
        for line in reversed(order) if sweep % 2 else order:
            at = {point: float(index) for each in order for index, point in enumerate(each)}
            line.sort(key=_mean_of(at, neighbours))
    return order


def _mean_of(at: Mapping[Point, float], neighbours: Pairs) -> Callable[[Point], float]:
    def mean(point: Point) -> float:
        places = [at[neighbour] for neighbour in neighbours[point]]
        return sum(places) / len(places) if places else at[point]

    return mean


def _heights(order: Sequence[Sequence[Point]], left: Pairs, right: Pairs) -> dict[Point, float]:
    """The row of each point: near the mean of its neighbours, at least one below the point above it. A bend needs half a row."""
    rows: dict[Point, float] = {}
    for column in order:
        rows.update((point, float(index)) for index, point in enumerate(column))
    both = {point: [*left[point], *right[point]] for point in rows}
    for sweep in range(2 * SWEEPS):
        mean = _mean_of(rows, right if sweep % 3 == 1 else left if sweep % 3 == 2 else both)
        for column in order:
            rows.update(_spread(column, [mean(point) for point in column]))
    top = min(rows.values(), default=0.0)
    return {point: row - top for point, row in rows.items()}


def _spread(column: Sequence[Point], wishes: Sequence[float]) -> dict[Point, float]:
    """The rows nearest to the wishes in which no two points touch: midway between pushing all down and pushing all up."""
    gaps = [1.0 if isinstance(above, Node) and isinstance(below, Node) else BEND for above, below in pairwise(column)]
    down, up = list(wishes), list(wishes)
    for index, gap in enumerate(gaps, 1):
        down[index] = max(down[index], down[index - 1] + gap)
    for index in range(len(column) - 2, -1, -1):
        up[index] = min(up[index], up[index + 1] - gaps[index])
    return {point: (low + high) / 2 for point, low, high in zip(column, down, up, strict=True)}
