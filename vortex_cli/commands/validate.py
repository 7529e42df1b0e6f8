"""`vortex validate`: are these datasets fit to train on?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from core.errors import VortexError
from vortex_cli import console
from vortex_cli.completion import complete_datasets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import RenderableType
    from rich.progress import Progress
    from rich.text import Text

    from pipelines.validate.sets import Rows
    from pipelines.validate.validation_report import DataReport
    from pipelines.workspace import Workspace
    from validation.checks import Check


WIDE: Final = 90
"""Columns of a terminal from which on `asked` and `found` stand side by side."""


class Format(StrEnum):
    """How the report is printed."""

    table = "table"
    json = "json"
    junit = "junit"
    github = "github"


def validate(
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME|MANIFEST", help="Datasets, or paths of a manifest.jsonl.", autocompletion=complete_datasets),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every dataset of the workspace.")] = False,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Judge by the bounds of this kind instead of the domain's own.")] = None,
    rows_only: Annotated[bool, typer.Option("--rows-only", help="Read the manifests' rows and no frame: for a commit hook.")] = False,
    as_reference: Annotated[
        bool, typer.Option("--as-reference", help="Keep a passed set's profile in references/: later sets of its domain are compared.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="junit and github are for CI.")] = Format.table,
    junit: Annotated[Path | None, typer.Option(metavar="XML", help="Write a JUnit report there too.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads that read frames.")] = 2,
) -> None:
    """Judge datasets before anything is trained on them, frame by frame; exit 3 when the gate says no.

    The answer is remembered for exactly this content and these policies; training asks for it. A page with the frames that speak
    against a set is written to build/validation/NAME.html.

    Example: vortex validate rooms
    """
    from pipelines.validate import sets

    ws = console.workspace()
    names = sets.named(ws, data or [], all_)
    if not names:
        _nothing(ws)
    console.session.json = console.session.json or format_ is Format.json
    if rows_only:
        _rows(sets.count_rows(ws, names))
        return
    with console.progress() as display:
        judged = sets.judge(ws, names, _Bars(display).begin, kind=kind, as_reference=as_reference, workers=workers)
    _print(ws, judged.reports, format_, junit, single=len(names) == 1)
    if as_reference:
        _references(ws, judged.reports)
    sets.require_passed(judged)


class _Bars:
    """A progress bar for each set."""

    def __init__(self, display: Progress) -> None:
        self._display = display

    def begin(self, name: str) -> Callable[[int, int], None]:
        """Begin the bar of a set; it moves when what is returned is called."""
        task = self._display.add_task(f"reading {name}", total=None)
        return lambda count, total: self._display.update(task, completed=count, total=total)


def _nothing(ws: Workspace) -> None:
    from pipelines.data.pointer import FETCH, unfetched

    missing = f"data.dvc records frames that are not here, {FETCH}"
    console.note(missing if unfetched(ws) else "this workspace has no datasets yet: nothing to judge")


def _rows(rows: Rows) -> None:
    from pipelines.validate.sets import raise_all

    tables = [console.table(("manifest", ("frames", "right")), list(rows.counts.items()))] if rows.counts else []
    console.emit([{"manifest": path, "frames": count} for path, count in rows.counts.items()], *tables)
    raise_all(rows.errors)


def _print(ws: Workspace, reports: Sequence[DataReport], format_: Format, junit: Path | None, *, single: bool) -> None:
    from core.files import write_atomic
    from pipelines.validate import formats
    from pipelines.validate.sets import write_pages

    if junit is not None:
        write_atomic(junit, formats.junit(reports))
    pages = write_pages(ws, reports)
    for report, page in zip(reports, pages, strict=True):
        if isinstance(page, VortexError):
            console.note(f"no page of {report.name}: {page.message}")
    if console.session.json or format_ is Format.table:
        payload = [
            {**console.plain(report), "page": str(page) if isinstance(page, Path) else None}
            for report, page in zip(reports, pages, strict=True)
        ]
        console.emit(payload[0] if single and payload else payload, *(_table(report) for report in reports))
    elif format_ is Format.junit:
        console.write(formats.junit(reports))
    else:
        console.write("".join(formats.github(report, ws.root) for report in reports))
    for report, page in zip(reports, pages, strict=True):
        if isinstance(page, Path):
            console.note(f"page: {page}")
        if report.unkept:
            console.note(f"the answer on {report.name} could not be kept, so training will ask for it again: {report.unkept}")


def _references(ws: Workspace, reports: Sequence[DataReport]) -> None:
    """Where each domain's reference lies now."""
    from pipelines.validate.validation_report import reference_path

    for report in reports:
        console.note(f"reference of {report.domain}: {reference_path(ws, report.domain).relative_to(ws.root)}, to be committed")


def _table(report: DataReport) -> RenderableType:
    """What says no first, then what is waived, then the rest; names are never broken, and a narrow terminal gets fewer columns."""
    from pipelines.validate.validation_report import by_weight

    checks = by_weight(report.checks)
    if console.stdout().width < WIDE:
        table = console.table(("", "check", "found"), [(_mark(check), check.name, _stacked(check)) for check in checks])
    else:
        table = console.table(
            ("", "check", "asked", "found"), [(_mark(check), check.name, check.asked, _answer(check)) for check in checks]
        )
    for column in table.columns[:2]:
        column.no_wrap = True
    failed = sum(not check.passed for check in checks)
    if 0 < failed < len(checks):
        table.rows[failed - 1].end_section = True
    use = " for evaluation only" if report.passed and report.use == "evaluation" else ""
    table.title = f"{report.name}, judged as {report.kind}: {'passed' if report.passed else 'refused'}{use}"
    table.caption = "\n".join(_remarks(report))
    return table


def _remarks(report: DataReport) -> list[str]:
    labels = (
        f"{report.labelled} of {report.frames} frames have labels; a batch of 16 has none with probability {report.all_ignore_batch:.2f}"
        if report.labelled
        else f"none of {report.frames} frames has labels: it trains depth only"
    )
    against = ""
    if report.reference:
        is_itself = report.reference.digest == report.digest
        against = "the reference of its domain · " if is_itself else f"compared with {report.reference.name} of {report.reference.made} · "
    idle = [
        f"the waiver of {waiver.check} by {waiver.owner} is {waiver.state} ({waiver.expires})"
        for waiver in report.waivers
        if waiver.state != "used"
    ]
    return [labels, f"{against}{report.read} frames read, {report.frames - report.read} known from before · {report.seconds:.1f} s", *idle]


def _answer(check: Check) -> Text:
    """What was found, who waives it, and which frames to look at."""
    from rich.text import Text

    parts = [Text(check.found)]
    if not check.passed:
        parts += [Text(f"waived: {check.waiver}", "yellow")] if check.waiver else []
        parts += [Text(f"see {', '.join(check.frames)}", "dim")] if check.frames else []
    return Text("\n").join(parts)


def _stacked(check: Check) -> Text:
    """For a narrow terminal: what was asked is told only where the answer is no."""
    from rich.text import Text

    if check.passed:
        return _answer(check)
    return Text("\n").join([_answer(check), Text(f"asked: {check.asked}", "dim")])


def _mark(check: Check) -> RenderableType:
    from rich.text import Text

    return Text("waived", "yellow") if check.waiver and not check.passed else console.verdict(check.passed)
