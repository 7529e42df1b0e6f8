"""The lineage as a graph: what its links are, and that up and down are two views of the same."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from registry.channels import Channel
from registry.edges import DataEdge, RecipeEdge, TeacherEdge, WeightsEdge
from registry.events import reading
from registry.events.channel import ChannelPromoted, ChannelRolledBack
from registry.events.version import VersionExported, VersionRegistered
from registry.graph import CARRYING, LINK_KINDS, Graph, Link, LinkKind, Node, graph
from registry.ledger import Ledger
from registry.records import Artifact, DataUse, Export, NewVersion

New = Callable[..., NewVersion]
CHANNEL = Channel("jetson", "corridor")
CONTENT, OTHER = "ab" * 32, "cd" * 32


def version(name: str) -> Node:
    return Node("version", name)


def of_ledger(ledger: Ledger) -> Graph:
    entries = ledger.entries()
    return graph(reading.fold(entries), entries)


def use(name: str, digest: str, hash_: str | None) -> DataUse:
    return DataUse(name, "corridor", "corridor", digest, hash_, True, {"train": 8})


def test_a_version_has_a_link_from_all_that_it_was_made_from(ledger: Ledger, make_new: New) -> None:
    parents = (
        WeightsEdge("v6"),
        RecipeEdge("v5"),
        TeacherEdge("da3", "hall: depth"),
        DataEdge("hall", "1" * 32 + ".dir"),
        DataEdge("far", "9"),
    )
    ledger.append(
        VersionRegistered("v9", make_new(recipe="v9", parents=parents, data=(use("hall", CONTENT, "1" * 32 + ".dir"),)), 1),
        actor="Ada",
        commit="f" * 40,
    )
    made = of_ledger(ledger)
    assert {(link.kind, link.source, link.note) for link in made.above[version("v9")]} == {
        ("recipe", Node("recipe", "v9"), ""),
        ("code", Node("code", "f" * 40), ""),
        ("weights", version("v6"), ""),
        ("recipe", version("v5"), ""),
        ("teacher", Node("teacher", "da3"), "hall: depth"),
        ("data", Node("data", "hall", CONTENT), "1" * 32 + ".dir"),
        ("data", Node("data", "far", "9"), "9"),
    }
    assert made.declared(version("v6")) and not made.declared(version("v9"))


def test_one_content_is_one_node_under_every_hash_of_data(ledger: Ledger, make_new: New) -> None:
    for number, hash_ in ((6, "1" * 32 + ".dir"), (7, "2" * 32 + ".dir")):
        new = make_new(str(number), parents=(DataEdge("hall", hash_),), data=(use("hall", CONTENT, hash_),))
        ledger.append(VersionRegistered(f"v{number}", new, 1), actor="Ada")
    assert [link.target.name for link in of_ledger(ledger).below[Node("data", "hall", CONTENT)]] == ["v6", "v7"]


def test_a_stage_is_held_from_one_move_to_the_next_and_production_is_what_a_device_runs(ledger: Ledger, make_new: New) -> None:
    for number in (6, 7):
        ledger.append(VersionRegistered(f"v{number}", make_new(str(number)), 1), actor="Ada")
    moves = [
        ChannelPromoted(CHANNEL, "v6", "staging", 1, None),
        ChannelPromoted(CHANNEL, "v6", "production", 2, None),
        ChannelPromoted(CHANNEL, "v7", "production", 3, "v6"),
        ChannelRolledBack(CHANNEL, "v6", "production", 4, "v7"),
    ]
    at = [ledger.append(move, actor="Ada").at for move in moves]
    ledger.append(VersionExported("v7", Export(Artifact("x.onnx", "ef" * 32, 7))), actor="Ada")
    made = of_ledger(ledger)
    channel, device = Node("channel", "jetson/corridor"), Node("device", "jetson")
    assert made.above[channel] == [
        Link("channel", version("v6"), channel, "production", at[1], at[2]),
        Link("channel", version("v7"), channel, "production", at[2], at[3]),
        Link("channel", version("v6"), channel, "staging", at[0], None),
        Link("channel", version("v6"), channel, "production", at[3], None),
    ]
    assert [(link.source.name, link.note, link.since, link.until) for link in made.above[device]] == [
        ("v6", "jetson/corridor", at[1], at[2]),
        ("v7", "jetson/corridor", at[2], at[3]),
        ("v6", "jetson/corridor", at[3], None),
    ]
    assert made.below[version("v7")][0].target == Node("export", "v7 onnx fp32", "ef" * 32)


def test_what_is_wrong_with_data_does_not_pass_with_a_recipe() -> None:
    hall = Node("data", "hall", CONTENT)
    made = Graph.of(
        [
            Link("data", hall, version("v6")),
            Link("weights", version("v6"), version("v9")),
            Link("recipe", version("v6"), version("v7")),
        ]
    )
    assert list(made.reached([hall], "down", CARRYING)) == [hall, version("v6"), version("v9")]
    assert version("v7") in made.reached([hall], "down")


def test_a_declared_lineage_that_contradicts_itself_still_ends() -> None:
    circle = Graph.of([Link("weights", version(f"v{number}"), version(f"v{(number + 1) % 3}")) for number in range(3)])
    assert len(circle.reached([version("v0")], "down")) == len(circle.reached([version("v0")], "up")) == 3
    assert len(circle.family([version("v0")], ("up", "down")).links) == 3


def test_a_long_line_is_walked_without_recursion() -> None:
    line = Graph.of([Link("weights", version(f"v{number}"), version(f"v{number + 1}")) for number in range(5000)])
    assert len(line.reached([version("v0")], "down")) == 5001


LINKS = st.lists(
    st.tuples(st.sampled_from(LINK_KINDS), st.integers(0, 12), st.integers(0, 12)).map(
        lambda drawn: Link(drawn[0], version(f"v{drawn[1]}"), version(f"v{drawn[2]}"))
    ),
    max_size=30,
)


@given(LINKS, st.sets(st.sampled_from(LINK_KINDS), min_size=1))
@settings(max_examples=150, deadline=None)
def test_up_and_down_are_inverse(links: list[Link], kinds: set[LinkKind]) -> None:
    made = Graph.of(links)
    down = {node: set(made.reached([node], "down", kinds)) for node in made.nodes}
    up = {node: set(made.reached([node], "up", kinds)) for node in made.nodes}
    for node in made.nodes:
        assert up[node] == {other for other in made.nodes if node in down[other]}
        for link in made.below[node]:
            assert link.kind not in kinds or link.target in down[node]
