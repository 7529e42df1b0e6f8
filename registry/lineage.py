"""The family tree: who was made from whom. Recipes and weights are branches; teachers, data and further parents are edges on a node."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from core.errors import VortexError
from registry.edges import Edge, RecipeEdge, VersionEdge, WeightsEdge
from registry.records import Summary

BRANCHES = (WeightsEdge, RecipeEdge)
"""Edges that make branches, the stronger one first: a student inherits more with weights than with a recipe."""


class Listed(Protocol):
    """What the tree needs of a version: a Summary and a Version both have it."""

    @property
    def name(self) -> str:
        """The version's name."""

    @property
    def parents(self) -> tuple[Edge, ...]:
        """Its typed edges."""


Known = TypeVar("Known", bound=Listed)
Passed = TypeVar("Passed")
"""What passes from a version to all that have its weights."""


@dataclass
class Node:
    """A version in the tree, or a `declared` one: named as a parent, but not registered here.

    `edges` are those that tie it to the node above it, `others` all the rest.
    """

    name: str
    version: Listed | None = None
    edges: tuple[VersionEdge, ...] = ()
    others: tuple[Edge, ...] = ()
    children: list[Node] = field(default_factory=list)

    @property
    def declared(self) -> bool:
        """Whether it is only named by others."""
        return self.version is None


def tree(versions: Sequence[Listed]) -> list[Node]:
    """The forest of these versions: each hangs below its weights' version, else below its recipe's, in the order of their numbers."""
    nodes = {version.name: Node(version.name, version) for version in versions}
    above: dict[str, str] = {}
    for version in versions:
        parent = main_parent(version)
        if parent and not _leads_back(above, parent, version.name):
            above[version.name] = parent
            nodes.setdefault(parent, Node(parent))
        node = nodes[version.name]
        node.edges = tuple(edge for edge in version.parents if isinstance(edge, BRANCHES) and edge.version == above.get(version.name))
        node.others = tuple(edge for edge in version.parents if edge not in node.edges)
    for name in sorted(nodes, key=_order):
        if name in above:
            nodes[above[name]].children.append(nodes[name])
    return [nodes[name] for name in sorted(nodes, key=_order) if name not in above]


def branch(forest: Iterable[Node], name: str) -> Node:
    """The part of the forest that concerns one version: its ancestors, itself, and all that descend from it.

    Raises VortexError when it is not in the forest.
    """
    above: dict[str, Node] = {}
    focus: Node | None = None
    waiting = list(forest)
    while waiting:
        node = waiting.pop()
        if node.name == name:
            focus = node
        above.update((child.name, node) for child in node.children)
        waiting.extend(node.children)
    if focus is None:
        raise VortexError(f"version {name!r} is not in the lineage", "list the versions with: vortex versions")
    while focus.name in above:
        parent = above[focus.name]
        focus = Node(parent.name, parent.version, parent.edges, parent.others, [focus])
    return focus


def weights_line(version: Known, find: Callable[[str], Known | None]) -> dict[str, Known | None]:
    """A version and all whose weights are in it, by name, the nearest first; None for one that is only named and that `find` does not know."""
    line: dict[str, Known | None] = {version.name: version}
    waiting = [version]
    while waiting:
        for edge in waiting.pop(0).parents:
            if isinstance(edge, WeightsEdge) and edge.version not in line:
                line[edge.version] = ancestor = find(edge.version)
                waiting += [ancestor] if ancestor else []
    return line


def unproven(summaries: Iterable[Summary]) -> dict[str, str]:
    """Of each version with weights of data that had not passed its gate: on which data whose weights were trained, and what the gate had said."""
    every = tuple(summaries)
    own = {
        version.name: f"{version.name} was trained on {', '.join(map(_without_pass, version.unproven))}"
        for version in every
        if version.unproven
    }
    return passed_on(own, children_by_weights(every))


def children_by_weights(versions: Iterable[Listed]) -> dict[str, list[str]]:
    """Every version → those that its weights went into at once, in whatever order they were registered."""
    children: dict[str, list[str]] = {}
    for version in versions:
        for edge in version.parents:
            if isinstance(edge, WeightsEdge):
                children.setdefault(edge.version, []).append(version.name)
    return children


def passed_on(own: Mapping[str, Passed], children: Mapping[str, Iterable[str]]) -> dict[str, Passed]:
    """What versions have of their own, and of the nearest one whose weights are in them."""
    everyone = dict(own)
    waiting = deque(everyone)
    while waiting:
        parent = waiting.popleft()
        for child in children.get(parent, ()):
            if child not in everyone:
                everyone[child] = everyone[parent]
                waiting.append(child)
    return everyone


def _without_pass(use: str) -> str:
    """Data as the ledger has it, `NAME: STATE`, in words."""
    name, _, state = use.rpartition(": ")
    return f"{name} ({'declared, not proven' if state == 'declared' else state})"


def main_parent(version: Listed) -> str | None:
    """The version that one hangs below: that of its weights, else that of its recipe."""
    for kind in BRANCHES:
        for edge in version.parents:
            if isinstance(edge, kind) and edge.version != version.name:
                return edge.version
    return None


def _leads_back(above: dict[str, str], start: str, target: str) -> bool:
    """Whether `target` is an ancestor of `start`: a declared lineage may contradict itself, the tree must still end."""
    name: str | None = start
    while name is not None and name != target:
        name = above.get(name)
    return name == target


def _order(name: str) -> tuple[int, str]:
    number = name.removeprefix("v")
    return (int(number) if number.isdecimal() else 1 << 62, name)
