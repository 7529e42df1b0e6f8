"""`vortex lineage`: the family tree of the versions, with typed edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console, wording
from vortex_cli.completion import complete_versions

if TYPE_CHECKING:
    from rich.text import Text

    from registry.declarations import DeclaredVersion
    from registry.lineage import Node
    from registry.records import Summary


PRETTY_NODES = 200
"""Above this many versions the tree is written without rich, which takes 0.3 ms a line."""
BRANCH, DOWN = "├─ ", "↓ "
INDENTS = {BRANCH: "│  "}
"""What stands to the left of all that is below such a mark."""


def lineage(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Only this one's family.", autocompletion=complete_versions)
    ] = None,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Show teachers and data sets below each version.")] = True,
) -> None:
    """Show which version was made from which: by weights or by recipe, with its teachers and its data.

    Below each version stand its branches, indented, and after the arrow, not indented, the child from which most versions descend.
    A version in brackets was named as a parent but is not registered here; a declared one has no weights here. One with weights of data that had not passed its gate says so,
    however far back that was.

    Example: vortex lineage v10
    """
    from pipelines.hub.open import hub
    from registry.lineage import branch, tree, unproven

    registry = hub(console.workspace())
    summaries = registry.summaries()
    declared = {version.name: version for version in registry.declared() if not version.adopted}
    if version is not None and version not in declared:
        registry.get(version)  # a wrong name is answered with the right ones
    forest = tree([*summaries, *declared.values()])
    if not forest:
        console.note("no versions yet; make one with: vortex train v6")
    roots = [branch(forest, version)] if version else forest
    by_name = {summary.name: summary for summary in summaries}
    remarks = unproven(summaries)
    if console.session.json:
        console.emit(
            {**_payload(node), "declared": node.declared or node.name in declared, "unproven": remarks.get(node.name)}
            for node in _every(roots)
        )
        return
    size, lines = (
        _count(roots),
        _lines(roots, lambda node: _label(node, by_name.get(node.name) or declared.get(node.name), remarks, version), data),
    )
    if size > PRETTY_NODES:
        console.write("\n".join(f"{guide}{text.plain}" for guide, text in lines))
    else:
        console.emit([], *(_line(guide, text) for guide, text in lines))


def _every(forest: list[Node]) -> list[Node]:
    nodes, waiting = [], list(reversed(forest))
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting.extend(reversed(node.children))
    return nodes


def _payload(node: Node) -> dict[str, Any]:
    parents = node.version.parents if node.version else ()
    return {"name": node.name, "declared": node.declared, "parents": parents, "children": [child.name for child in node.children]}


def _count(forest: list[Node]) -> int:
    return sum(1 for _ in _every(forest))


def _lines(forest: list[Node], label: Callable[[Node], Text], data: bool) -> Iterator[tuple[str, Text]]:
    """The forest from top to bottom: what stands to the left of each line, and the line.

    Of a version's children the one from which most descend goes on straight below it, and only the others are indented. So a line of
    descent of any length has one column, and every step to the right halves what is left: ten thousand versions need 13 at most.
    """
    sizes = _sizes(forest)
    waiting = [("", "", root) for root in reversed(forest)]
    while waiting:
        guide, mark, node = waiting.pop()
        yield guide + mark, label(node)
        below = guide + INDENTS.get(mark, "")
        main = max(reversed(node.children), key=lambda child: sizes[child.name], default=None)
        if data and node.others:
            yield below + ("│   " if main else "    "), _others(node)
        if main is not None:
            waiting.append((below, DOWN, main))
            waiting.extend((below, BRANCH, child) for child in reversed(node.children) if child is not main)


def _sizes(forest: list[Node]) -> dict[str, int]:
    """How many versions there are in each one's part of the forest, itself counted."""
    sizes: dict[str, int] = {}
    for node in reversed(list(_every(forest))):  # children before their parents
        sizes[node.name] = 1 + sum(sizes[child.name] for child in node.children)
    return sizes


def _line(guide: str, text: Text) -> Text:
    from rich.text import Text

    return Text.assemble((guide, "dim"), text)


def _label(node: Node, summary: Summary | DeclaredVersion | None, remarks: dict[str, str], focus: str | None) -> Text:
    from rich.text import Text

    from registry.declarations import DeclaredVersion

    label = Text()
    for number, edge in enumerate(node.edges):
        label.append(" + " if number else "").append(edge.kind, wording.EDGE_STYLES[edge.kind])
    label.append(" → " if node.edges else "")
    if summary is None:
        return label.append(f"({node.name})", "dim").append("  declared, not registered here", "dim")
    label.append(node.name, "bold reverse" if node.name == focus else "bold")
    if isinstance(summary, DeclaredVersion):
        label.append(f"  {summary.declaration.codename}").append("  declared", "dim")
        errors = [metric for metric in summary.declaration.metrics if metric.metric == "rmse"]
        return label.append("".join(f", published {metric.value:g} m on {metric.domain} · {metric.camera}" for metric in errors[:1]), "dim")
    label.append(f"  {summary.codename}" if summary.codename else "")
    if line := summary.headline:
        label.append(f"  {wording.metres(line.rmse) or '–'} m", "bold").append(f" on {wording.measured_on(line)}", "dim")
    if summary.stages:
        label.append("  ").append_text(wording.stages(summary.stages, summary.domain))
    if summary.truncated:
        label.append("  cut short", "red")
    if node.name in remarks:
        label.append(f"  {remarks[node.name]}", "red")
    return label


def _others(node: Node) -> Text:
    from rich.text import Text

    from registry.records import DataEdge

    line = Text()
    for kind in ("weights", "recipe", "teacher", "data"):
        edges = [edge for edge in node.others if edge.kind == kind]
        refs = [f"{edge.name}@{edge.hash[:8]}" if isinstance(edge, DataEdge) and edge.hash else edge.triple()[1] for edge in edges]
        if refs:
            line.append("  " if line else "").append(kind, wording.EDGE_STYLES[kind]).append(f" {', '.join(dict.fromkeys(refs))}", "dim")
    return line
