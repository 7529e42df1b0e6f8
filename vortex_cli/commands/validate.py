"""`vortex validate`: are these data sets fit to train on?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from core.errors import GateRefused, UsageError, VortexError
from vortex_cli import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType
    from rich.progress import Progress, TaskID
    from rich.text import Text

    from pipelines.validate import DataReport
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
    data: Annotated[list[str] | None, typer.Argument(metavar="NAME|MANIFEST", help="Data sets, or paths of a manifest.jsonl.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every data set of the workspace.")] = False,
    kind: Annotated[str | None, typer.Option(metavar="KIND", help="Judge by the bounds of this kind instead of the domain's own.")] = None,
    rows_only: Annotated[bool, typer.Option("--rows-only", help="Read the manifests' rows and no frame: for a commit hook.")] = False,
    as_reference: Annotated[
        bool, typer.Option("--as-reference", help="Keep a passed set's profile in references/: later sets of its domain are compared.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", help="junit and github are for CI.")] = Format.table,
    junit: Annotated[Path | None, typer.Option(metavar="XML", help="Write a JUnit report there too.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Threads that read frames.")] = 2,
) -> None:
    """Judge data sets before anything is trained on them, frame by frame; exit 3 when the gate says no.

    The answer is remembered for exactly this content and these policies; training asks for it. A page with the frames that speak
    against a set is written to build/validation/NAME.html.

    Example: vortex validate rooms
    """
    ws = console.workspace()
    names = _chosen(ws, data or [], all_)
    console.session.json = console.session.json or format_ is Format.json
    if rows_only:
        _rows_only(names, ws)
        return
    reports, errors = _judged(ws, names, kind=kind, as_reference=as_reference, workers=workers)
    _print(ws, reports, format_, junit, one=len(names) == 1)
    if as_reference:
        _references(ws, reports)
    _refuse(reports, errors)


def _chosen(ws: Workspace, data: list[str], every: bool) -> list[str]:
    from pipelines.data import datasets
    from pipelines.data.pointer import FETCH, unfetched

    if every == bool(data):
        raise UsageError("name the data sets to judge, or give --all", "for example: vortex validate rooms")
    names = data or [dataset.name for dataset in datasets.listing(ws)]
    if not names:
        missing = f"data.dvc records frames that are not here, {FETCH}"
        console.note(missing if unfetched(ws) else "this workspace has no data sets yet: nothing to judge")
    return names


def _rows_only(names: list[str], ws: Workspace) -> None:
    """Read every row; a manifest that is named by its path needs nothing else of the workspace."""
    from pipelines.data import datasets
    from validation.manifest import read_manifest

    paths = [Path(name) if name.endswith(".jsonl") else datasets.find(ws, name).manifest for name in names]
    counts = {}
    errors: list[VortexError] = []
    for path in paths:
        try:
            counts[str(path)] = sum(1 for _ in read_manifest(path))
        except VortexError as error:
            errors.append(error)
    console.emit([{"manifest": path, "frames": count} for path, count in counts.items()], *_rows_table(counts))
    _raise_all(errors)


def _judged(
    ws: Workspace, names: list[str], *, kind: str | None, as_reference: bool, workers: int
) -> tuple[list[DataReport], list[VortexError]]:
    """A report for each set that could be judged, and what kept the others from it."""
    from pipelines import validate as pipeline
    from pipelines.data import datasets

    reports: list[DataReport] = []
    errors: list[VortexError] = []
    with console.progress() as display:
        for name in names:
            task = display.add_task(f"reading {name}", total=None)
            try:
                reports.append(
                    pipeline.validate(
                        ws,
                        datasets.resolve(ws, name_or_manifest=name),
                        kind=kind,
                        as_reference=as_reference,
                        workers=workers,
                        progress=_shown(display, task),
                    )
                )
            except VortexError as error:
                if len(names) == 1:
                    raise
                errors.append(error)
    return reports, errors


def _shown(display: Progress, task: TaskID) -> Callable[[int, int], None]:
    return lambda done, total: display.update(task, completed=done, total=total)


def _print(ws: Workspace, reports: list[DataReport], format_: Format, junit: Path | None, *, one: bool) -> None:
    from core.files import write_atomic
    from pipelines import validate as pipeline

    if junit is not None:
        write_atomic(junit, pipeline.junit(reports))
    pages = _pages(ws, reports)
    if console.session.json or format_ is Format.table:
        payload = [{**console.plain(report), "page": page and str(page)} for report, page in zip(reports, pages, strict=True)]
        console.emit(payload[0] if one and payload else payload, *(part for report in reports for part in _table(report)))
    else:
        console.write(
            pipeline.junit(reports) if format_ is Format.junit else "".join(pipeline.github(report, ws.root) for report in reports)
        )
    for report, page in zip(reports, pages, strict=True):
        if page:
            console.note(f"page: {page}")
        if report.unkept:
            console.note(f"the answer on {report.name} could not be kept, so training will ask for it again: {report.unkept}")


def _references(ws: Workspace, reports: list[DataReport]) -> None:
    """Where each domain's reference lies now."""
    from pipelines.validate.validation_report import reference_path

    for report in reports:
        console.note(f"reference of {report.domain}: {reference_path(ws, report.domain).relative_to(ws.root)}, to be committed")


def _pages(ws: Workspace, reports: list[DataReport]) -> list[Path | None]:
    """A page for each report; None where it cannot be written, which changes no verdict. Two sets of one name get a page each."""
    from pipelines.report.data_page import data_page

    pages: list[Path | None] = []
    for report in reports:
        name = report.name.encode(errors="surrogateescape")[:150].decode(errors="ignore")
        path = ws.build / "validation" / f"{name}.html"
        if path in pages:
            path = path.with_name(f"{name}-{report.digest[:12]}.html")
        try:
            pages.append(data_page(report, path))
        except VortexError as error:
            console.note(f"no page of {report.name}: {error.message}")
            pages.append(None)
    return pages


def _rows_table(counts: dict[str, int]) -> list[RenderableType]:
    return [console.table(("manifest", ("frames", "right")), list(counts.items()))] if counts else []


def _table(report: DataReport) -> list[RenderableType]:
    """What says no first, then what is waived, then the rest; names are never broken, and a narrow terminal gets fewer columns."""
    from pipelines.validate import by_weight

    checks = by_weight(report.checks)
    if console.stdout().width < WIDE:
        made = console.table(("", "check", "found"), [(_mark(check), check.name, _stacked(check)) for check in checks])
    else:
        made = console.table(("", "check", "asked", "found"), [(_mark(check), check.name, check.asked, _found(check)) for check in checks])
    for column in made.columns[:2]:
        column.no_wrap = True
    said_no = sum(not check.passed for check in checks)
    if 0 < said_no < len(checks):
        made.rows[said_no - 1].end_section = True
    use = " for evaluation only" if report.passed and report.use == "evaluation" else ""
    made.title = f"{report.name}, judged as {report.kind}: {'passed' if report.passed else 'refused'}{use}"
    made.caption = "\n".join(_remarks(report))
    return [made]


def _remarks(report: DataReport) -> list[str]:
    labels = (
        f"{report.labelled} of {report.frames} frames have labels; a batch of 16 has none with probability {report.all_ignore_batch:.2f}"
        if report.labelled
        else f"none of {report.frames} frames has labels: it trains depth only"
    )
    against = ""
    if report.reference:
        itself = report.reference.digest == report.digest
        against = "the reference of its domain · " if itself else f"compared with {report.reference.name} of {report.reference.made} · "
    idle = [f"the waiver of {one.check} by {one.owner} is {one.state} ({one.expires})" for one in report.waivers if one.state != "used"]
    return [labels, f"{against}{report.read} frames read, {report.frames - report.read} known from before · {report.seconds:.1f} s", *idle]


def _found(check: Check) -> Text:
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
        return _found(check)
    return Text("\n").join([_found(check), Text(f"asked: {check.asked}", "dim")])


def _mark(check: Check) -> RenderableType:
    from rich.text import Text

    return Text("waived", "yellow") if check.waiver and not check.passed else console.verdict(check.passed)


def _refuse(reports: list[DataReport], errors: list[VortexError]) -> None:
    refused = [report for report in reports if not report.passed]
    if errors:
        _raise_all(errors)
    if refused:
        parts = [
            f"{report.name}: {len(report.failed)} of {len(report.checks)} checks say no: {', '.join(check.name for check in report.failed)}"
            for report in refused
        ]
        raise GateRefused(
            parts[0] if len(parts) == 1 else f"{len(refused)} of {len(reports)} data sets are refused",
            "mend or drop the frames named above, correct what the manifest declares, or answer for it in waivers.yaml (docs/data-gate.md); "
            "`vortex train --allow-unvalidated` trains anyway, and its versions can never be promoted",
            parts if len(parts) > 1 else (),
        )


def _raise_all(errors: list[VortexError]) -> None:
    """One error as it is, several as one that lists them. The gate's own exit code, unless something else went wrong too."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        details = [line for error in errors for line in (error.message, *error.details)]
        raise type(errors[0])(f"{len(errors)} data sets could not be judged", errors[0].hint, details)
