"""`vortex pareto`: which versions no other beats on every axis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console, wording
from vortex_cli.parameters import Margin

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.compare.pareto import Pareto, Point


def pareto(
    axes: Annotated[
        str, typer.Option("--axes", metavar="AXIS,AXIS", help="DOMAIN.METRIC, DATASET.METRIC, params or latency@DEVICE; two or more.")
    ],
    any_protocol: Annotated[bool, typer.Option("--any-protocol", help="Figures of other protocols than an exam's, too.")] = False,
    margin: Margin = 0.01,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="PATH", help="Write the drawing as SVG, too.")] = None,
) -> None:
    """Show which versions are on the Pareto front over two axes or more, and which version dominates each of the others, by how much.

    A version is dominated by one that is as good on every axis and better on one. That is computed from the figures; where the errors of
    frames say too little to tell the two apart on an axis, it is said. An axis is one dataset in one state, one camera and one protocol:
    versions that were measured otherwise are left out, and named. `latency@DEVICE` is the slowest of a hundred frames on it, from the newest
    trusted device-bench report about the file that a version is exported as.

    Example: vortex pareto --axes rooms.rmse,params
    """
    from core.files import write_atomic
    from pipelines.compare.pareto import pareto as compute
    from pipelines.report.pareto_drawing import pareto_svg

    names = [name.strip() for name in axes.split(",") if name.strip()]
    result = compute(console.workspace(), names, exams_only=not any_protocol, margin=margin)
    if svg:
        write_atomic(svg, pareto_svg(result))
    console.emit({**vars(result), "svg": svg}, *_parts(result))
    if svg:
        console.note(f"drawing: {svg}")


def _parts(result: Pareto) -> Iterator[RenderableType]:
    from pipelines.report.pareto_drawing import pareto_text

    for axis in result.axes:
        if axis.series:
            yield f"{axis.name}: {axis.series}, data {wording.digest(axis.series.digest, 8)}"
    heads: list[Any] = ["version", *((axis.name, "right") for axis in result.axes), "standing"]
    rows = [
        (point.version, *(axis.text(value) for axis, value in zip(result.axes, point.values, strict=True)), _standing(point))
        for point in result.points
    ]
    yield wording.snug(console.table(heads, rows, whole=["version"]))
    if len(result.points) > 1:
        yield pareto_text(result, min(72, wording.width() - 14))
    if result.barred:
        yield "\nmay enter no stage:"
        yield from wording.left_out(result.barred)
    if result.left_out:
        yield "\nleft out:"
        yield from wording.left_out(result.left_out)


def _standing(point: Point) -> str:
    dominance = point.dominance
    if dominance is None:
        return "on the front"
    gains = ", ".join(gain.text for gain in dominance.gains)
    others = [name for name in point.dominated_by if name != dominance.version]
    more = point.dominators - 1 - len(others)
    also = f"; also by {', '.join(others)}{f' and {more} more' if more else ''}" if others else ""
    return f"dominated by {dominance.version} ({gains}){also}" + (f"; {dominance.caveat}" if dominance.caveat else "")
