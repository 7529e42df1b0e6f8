"""`vortex lineage`: the family tree of the versions, with typed edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console, wording
from vortex_cli.commands.versions import complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from registry.lineage import Node
    from registry.records import Summary


def lineage(
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Only this one's family.", autocompletion=complete_versions)
    ] = None,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Show teachers and data sets below each version.")] = True,
) -> None:
    """Show which version was made from which: by weights or by recipe, with its teachers and its data.

    A version in brackets was named as a parent but is not registered here.

    Example: vortex lineage v10
    """
    from pipelines.hub.open import hub
    from registry.lineage import branch, tree

    registry = hub(console.workspace())
    summaries = registry.summaries()
    if version is not None:
        registry.get(version)  # a wrong name is answered with the right ones
    forest = tree(summaries)
    if not forest:
        console.note("no versions yet; make one with: vortex train v6")
    shown = [branch(forest, version)] if version else forest
    known = {one.name: one for one in summaries}
    console.emit([_payload(node) for node in _every(shown)], *(_drawn(root, known, version, data) for root in shown))


def _every(forest: list[Node]) -> list[Node]:
    found, waiting = [], list(reversed(forest))
    while waiting:
        node = waiting.pop()
        found.append(node)
        waiting.extend(reversed(node.children))
    return found


def _payload(node: Node) -> dict[str, Any]:
    parents = node.version.parents if node.version else ()
    return {"name": node.name, "declared": node.declared, "parents": parents, "children": [child.name for child in node.children]}


def _drawn(root: Node, known: dict[str, Summary], focus: str | None, data: bool) -> RenderableType:
    from rich.tree import Tree

    drawn = Tree(_label(root, known.get(root.name), focus), guide_style="dim")
    waiting = [(root, drawn)]
    while waiting:
        node, at = waiting.pop()
        if data and node.others:
            at.add(_others(node))
        waiting.extend((child, at.add(_label(child, known.get(child.name), focus))) for child in node.children)
    return drawn


def _label(node: Node, one: Summary | None, focus: str | None) -> Text:
    from rich.text import Text

    label = Text()
    for number, parent in enumerate(node.edges):
        label.append(" + " if number else "").append(parent.kind, wording.EDGE_STYLES[parent.kind])
    label.append(" → " if node.edges else "")
    if one is None:
        return label.append(f"({node.name})", "dim").append("  declared, not registered here", "dim")
    label.append(node.name, "bold reverse" if node.name == focus else "bold")
    label.append(f"  {one.codename}" if one.codename else "")
    if line := one.headline:
        label.append(f"  {wording.metres(line.rmse) or '–'} m", "bold").append(f" on {wording.measured_on(line)}", "dim")
    if one.stages:
        label.append("  ").append_text(wording.stages(one.stages, one.domain))
    if one.truncated:
        label.append("  cut short", "red")
    return label


def _others(node: Node) -> Text:
    from rich.text import Text

    line = Text()
    for kind in ("weights", "recipe", "teacher", "data"):
        refs = [parent.ref + (f"@{parent.detail[:8]}" if kind == "data" else "") for parent in node.others if parent.kind == kind]
        if refs:
            line.append("  " if line else "").append(kind, wording.EDGE_STYLES[kind]).append(f" {', '.join(dict.fromkeys(refs))}", "dim")
    return line
