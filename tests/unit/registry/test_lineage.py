"""The family tree of versions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from core.errors import VortexError
from registry.lineage import Node, branch, tree
from registry.records import Edge, EdgeKind, edges


@dataclass
class One:
    name: str
    parents: tuple[Edge, ...] = ()


def one(name: str, *parents: tuple[EdgeKind, str]) -> One:
    return One(name, edges((kind, ref, "") for kind, ref in parents))


def drawn(forest: list[Node]) -> list[str]:
    lines: list[str] = []

    def draw(node: Node, depth: int) -> None:
        edges = "+".join(edge.kind for edge in node.edges)
        lines.append("  " * depth + edges + (" " if edges else "") + node.name + ("?" if node.declared else ""))
        for child in node.children:
            draw(child, depth + 1)

    for root in forest:
        draw(root, 0)
    return lines


FAMILY = [
    one("v6", ("recipe", "v5"), ("teacher", "da3"), ("data", "rooms")),
    one("v9", ("weights", "v6"), ("data", "corridor")),
    one("v10", ("recipe", "v7"), ("weights", "v6")),
    one("v11", ("weights", "v10"), ("recipe", "v10")),
    one("v1"),
]


def test_versions_hang_below_their_weights_else_below_their_recipe() -> None:
    assert drawn(tree(FAMILY)) == [
        "v1",
        "v5?",
        "  recipe v6",
        "    weights v9",
        "    weights v10",
        "      weights+recipe v11",
    ]


def test_all_other_edges_stay_with_their_node() -> None:
    v6 = tree(FAMILY)[1].children[0]
    assert [edge.triple()[:2] for edge in v6.others] == [("teacher", "da3"), ("data", "rooms")]
    assert [edge.triple()[:2] for edge in v6.children[1].others] == [("recipe", "v7")]


def test_a_branch_is_ancestors_and_descendants_without_siblings() -> None:
    assert drawn([branch(tree(FAMILY), "v10")]) == ["v5?", "  recipe v6", "    weights v10", "      weights+recipe v11"]
    assert drawn([branch(tree(FAMILY), "v1")]) == ["v1"]
    with pytest.raises(VortexError, match="'v12' is not in the lineage"):
        branch(tree(FAMILY), "v12")


def test_a_declared_lineage_that_contradicts_itself_still_ends() -> None:
    circle = [one("v1", ("recipe", "v3")), one("v2", ("recipe", "v1")), one("v3", ("recipe", "v2")), one("v4", ("recipe", "v4"))]
    assert drawn(tree(circle)) == ["v3", "  recipe v1", "    recipe v2", "v4"]


def test_a_long_line_of_descent_does_not_overflow_the_stack() -> None:
    line = [one(f"v{number}", ("weights", f"v{number - 1}")) for number in range(10, 3010)]
    node = branch(tree(line), "v3009")
    depth = 0
    while node.children:
        node, depth = node.children[0], depth + 1
    assert (depth, node.name) == (3000, "v3009")


def test_nothing_makes_no_tree() -> None:
    assert tree([]) == []
