"""The family tree of versions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from core.errors import VortexError
from registry.edges import Edge, EdgeKind, edges
from registry.lineage import Node, branch, tree, unproven
from registry.records import Summary


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


def text_of(forest: list[Node]) -> list[str]:
    from vortex_cli.branches import lines, plain
    from vortex_cli.commands.lineage import _others

    drawn = lines(forest, lambda node: [node.name], lambda node: _others(node) if node.others else None)
    return [guide + plain(line) for guide, line in drawn]


def test_the_child_from_which_most_descend_goes_on_straight_and_the_others_are_indented() -> None:
    versions = [*FAMILY, one("v12", ("weights", "v9")), one("v13", ("weights", "v12")), one("v14", ("weights", "v6"))]
    assert text_of(tree(versions)) == [
        "v1",
        "v5",
        "↓ v6",
        "│   teacher da3  data rooms",
        "├─ v10",
        "│  │   recipe v7",
        "│  ↓ v11",
        "├─ v14",
        "↓ v9",
        "│   data corridor",
        "↓ v12",
        "↓ v13",
    ]


@pytest.mark.parametrize("side", [(), ("v{}0000",)])
def test_every_version_is_drawn_at_any_depth_and_no_line_is_far_to_the_right(side: tuple[str, ...]) -> None:
    line = [one(f"v{number}", ("weights", f"v{number - 1}")) for number in range(10, 2010)]
    twigs = [one(name.format(number), ("weights", f"v{number}")) for number in range(10, 2009) for name in side]
    lines = text_of(tree(line + twigs))
    assert {line.split()[-1] for line in lines} == {"v9", *(version.name for version in line + twigs)} and len(lines) == 2001 + len(twigs)
    assert max(map(len, lines)) < 20
    assert "↓ v1500" in lines


def test_a_bushy_tree_is_at_most_as_wide_as_the_logarithm_of_its_size() -> None:
    versions = [one(f"v{number}", ("weights", f"v{number // 2}")) for number in range(2, 4096)]
    assert max(line.count("│") for line in text_of(tree(versions))) <= 11


def summary(name: str, registered: str, *parents: tuple[EdgeKind, str], said: tuple[str, ...] = ()) -> Summary:
    found = edges((kind, ref, "") for kind, ref in parents)
    return Summary(name, int(name[1:]), "", None, found, "rooms", (64, 96), None, said, (), 0, (), registered, "Ada", "", None)


def test_weights_of_refused_data_are_marked_whatever_the_clock_said_when_a_child_was_registered() -> None:
    family = [
        summary("v12", "2026-03-01T00:00:00.000Z", said=("bad: failed",)),
        summary("v13", "2020-01-01T00:00:00.000Z", ("weights", "v12")),
        summary("v14", "2019-01-01T00:00:00.000Z", ("weights", "v13"), said=("other: declared",)),
        summary("v15", "2018-01-01T00:00:00.000Z", ("recipe", "v13")),
    ]
    bad, other = "v12 was trained on bad (failed)", "v14 was trained on other (declared, not proven)"
    assert unproven(family) == {"v12": bad, "v13": bad, "v14": other}
    assert unproven(reversed(family)) == {"v12": bad, "v13": bad, "v14": other}
