"""The family tree: who was made from whom. Recipes and weights are branches; teachers, data and further parents are edges on a node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.errors import VortexError
from registry.records import Parent

VERSION_KINDS = ("weights", "recipe")
"""Edges that make branches, the stronger one first: a student inherits more with weights than with a recipe."""


class Listed(Protocol):
    """What the tree needs of a version: a Summary and a Version both have it."""

    @property
    def name(self) -> str:
        """The version's name."""

    @property
    def parents(self) -> tuple[Parent, ...]:
        """Its typed edges."""


@dataclass
class Node:
    """A version in the tree, or a `declared` one: named as a parent, but not registered here.

    `edges` are those that tie it to the node above it, `others` all the rest.
    """

    name: str
    version: Listed | None = None
    edges: tuple[Parent, ...] = ()
    others: tuple[Parent, ...] = ()
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
        parent = _main_parent(version)
        if parent and not _leads_back(above, parent, version.name):
            above[version.name] = parent
            nodes.setdefault(parent, Node(parent))
        node = nodes[version.name]
        node.edges = tuple(edge for edge in version.parents if edge.kind in VERSION_KINDS and edge.ref == above.get(version.name))
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
    found: Node | None = None
    waiting = list(forest)
    while waiting:
        node = waiting.pop()
        if node.name == name:
            found = node
        above.update((child.name, node) for child in node.children)
        waiting.extend(node.children)
    if found is None:
        raise VortexError(f"version {name!r} is not in the lineage", "list the versions with: vortex versions")
    while found.name in above:
        parent = above[found.name]
        found = Node(parent.name, parent.version, parent.edges, parent.others, [found])
    return found


def _main_parent(version: Listed) -> str | None:
    for kind in VERSION_KINDS:
        for edge in version.parents:
            if edge.kind == kind and edge.ref != version.name:
                return edge.ref
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
