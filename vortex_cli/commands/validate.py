"""`vortex validate`: is this data set fit to train on?"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import GateRefused
from vortex_cli import console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.validate import DataReport


class Format(StrEnum):
    """How the report is printed."""

    table = "table"
    json = "json"
    junit = "junit"
    github = "github"


def validate(
    data: Annotated[str, typer.Argument(metavar="NAME|MANIFEST", help="A data set, or the path of a manifest.jsonl.")],
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Judge by the bounds of this kind instead of the domain's own.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="junit and github are for CI.")] = Format.table,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads that read frames.")] = 2,
) -> None:
    """Judge a data set before anything is trained on it, frame by frame; exit 3 when the gate says no.

    The answer is remembered for exactly this content and these policies; training asks for it.

    Example: vortex validate rooms
    """
    from pipelines import validate as pipeline
    from pipelines.data import datasets

    ws = console.workspace()
    console.session.json = console.session.json or format_ is Format.json
    ref = datasets.resolve(ws, name_or_manifest=data)
    with console.progress() as display:
        task = display.add_task(f"reading {ref.name}", total=None)
        report = pipeline.validate(
            ws, ref, kind=kind, workers=workers, progress=lambda done, total: display.update(task, completed=done, total=total)
        )
    if console.session.json or format_ is Format.table:
        console.emit(report, *_table(report))
    else:
        console.write(pipeline.junit(report) if format_ is Format.junit else pipeline.github(report, ws.root))
    _refuse(report)


def _table(report: DataReport) -> list[RenderableType]:
    rows = [(check.name, check.asked, check.found, console.verdict(check.passed), ", ".join(check.frames)) for check in report.checks]
    labels = (
        f"{report.labelled} of {report.frames} frames have labels; a batch of 16 has none with probability {report.all_ignore_batch:.2f}"
        if report.labelled
        else f"none of {report.frames} frames has labels: it trains depth only"
    )
    title = f"{report.name}, judged as {report.kind}: {'passed' if report.passed else 'refused'}"
    return [console.table(("check", "asked", "found", "", "frames"), rows, title, f"{labels} · {report.seconds:.1f} s")]


def _refuse(report: DataReport) -> None:
    if not report.passed:
        names = ", ".join(check.name for check in report.failed)
        raise GateRefused(
            f"{report.name}: {len(report.failed)} of {len(report.checks)} checks say no: {names}",
            "mend or drop the frames named above, or correct what the manifest declares; "
            "`vortex train --allow-unvalidated` trains anyway, and its versions can never be promoted",
        )
