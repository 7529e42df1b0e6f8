"""`vortex lineage`: the family tree of the versions, with typed edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console, wording
from vortex_cli.completion import complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from registry.lineage import Node
    from registry.records import Summary


def lineage(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Only this one's family.", autocompletion=complete_versions)
    ] = None,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Show teachers and data sets below each version.")] = True,
) -> None:
    """Show which version was made from which: by weights or by recipe, with its teachers and its data.

    A version in brackets was named as a parent but is not registered here. One with weights of data that had not passed its gate says so,
    however far back that was.

    Example: vortex lineage v10
    """
    from pipelines.hub.open import hub
    from registry.lineage import branch, tree, unproven

    registry = hub(console.workspace())
    summaries = registry.summaries()
    if version is not None:
        registry.get(version)  # a wrong name is answered with the right ones
    forest = tree(summaries)
    if not forest:
        console.note("no versions yet; make one with: vortex train v6")
    roots = [branch(forest, version)] if version else forest
    by_name = {summary.name: summary for summary in summaries}
    remarks = unproven(summaries)
    trees = (_tree(root, by_name, remarks, version, data) for root in roots)
    console.emit([{**_payload(node), "unproven": remarks.get(node.name)} for node in _every(roots)], *trees)


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


def _tree(root: Node, summaries: dict[str, Summary], remarks: dict[str, str], focus: str | None, data: bool) -> RenderableType:
    from rich.tree import Tree

    tree_view = Tree(_label(root, summaries.get(root.name), remarks, focus), guide_style="dim")
    waiting = [(root, tree_view)]
    while waiting:
        node, at = waiting.pop()
        if data and node.others:
            at.add(_others(node))
        waiting.extend((child, at.add(_label(child, summaries.get(child.name), remarks, focus))) for child in node.children)
    return tree_view


def _label(node: Node, summary: Summary | None, remarks: dict[str, str], focus: str | None) -> Text:
    from rich.text import Text

    label = Text()
    for number, edge in enumerate(node.edges):
        label.append(" + " if number else "").append(edge.kind, wording.EDGE_STYLES[edge.kind])
    label.append(" → " if node.edges else "")
    if summary is None:
        return label.append(f"({node.name})", "dim").append("  declared, not registered here", "dim")
    label.append(node.name, "bold reverse" if node.name == focus else "bold")
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
        refs = [f"{edge.name}@{edge.hash[:8]}" if isinstance(edge, DataEdge) else edge.triple()[1] for edge in edges]
        if refs:
            line.append("  " if line else "").append(kind, wording.EDGE_STYLES[kind]).append(f" {', '.join(dict.fromkeys(refs))}", "dim")
    return line
