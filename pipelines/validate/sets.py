"""Several datasets judged in one go: each gets its report or its error, and a page; in the end one refusal names them all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import GateRefused, UsageError, VortexError
from core.progress import Progress
from pipelines.data import datasets
from pipelines.validate.validation_report import DataReport
from pipelines.workspace import Workspace
from validation.manifest import read_manifest


@dataclass(frozen=True)
class Judged:
    """A report of each set that could be judged, and what kept the others from it."""

    reports: tuple[DataReport, ...]
    errors: tuple[VortexError, ...]


@dataclass(frozen=True)
class Rows:
    """How many frames each manifest names, and the faults of those that are malformed."""

    counts: dict[str, int]
    errors: tuple[VortexError, ...]


def named(ws: Workspace, names: Sequence[str], every: bool) -> list[str]:
    """The sets to judge: those that are named, or `every` one of the workspace. Raises UsageError for neither and for both."""
    if every == bool(names):
        raise UsageError("name the datasets to judge, or give --all", "for example: vortex validate rooms")
    return list(names) or [dataset.name for dataset in datasets.listing(ws)]


def count_rows(ws: Workspace, names: Sequence[str]) -> Rows:
    """Read every row and no frame; a manifest that is named by its path needs nothing else of the workspace."""
    paths = [Path(name) if name.endswith(".jsonl") else datasets.find(ws, name).manifest for name in names]
    counts: dict[str, int] = {}
    errors: list[VortexError] = []
    for path in paths:
        try:
            counts[str(path)] = sum(1 for _ in read_manifest(path))
        except VortexError as error:
            errors.append(error)
    return Rows(counts, tuple(errors))


def judge(
    ws: Workspace, names: Sequence[str], on_set: Callable[[str], Progress], *, kind: str | None, as_reference: bool, workers: int
) -> Judged:
    """Judge sets one after the other. `on_set` is called with the name of each, and gives what is called as its frames are read.

    Raises VortexError where only one is named and cannot be judged; of several, the others are judged all the same.
    """
    reports: list[DataReport] = []
    errors: list[VortexError] = []
    for name in names:
        progress = on_set(name)
        try:
            ref = datasets.resolve(ws, name_or_manifest=name)
            from pipelines.validate.gate_run import validate  # here, so that a malformed manifest is refused without scipy and pandas

            reports.append(validate(ws, ref, kind=kind, as_reference=as_reference, workers=workers, progress=progress))
        except VortexError as error:
            if len(names) == 1:
                raise
            errors.append(error)
    return Judged(tuple(reports), tuple(errors))


def write_pages(ws: Workspace, reports: Sequence[DataReport]) -> list[Path | VortexError]:
    """A page for each report, or why it could not be written, which changes no verdict. Two sets of one name get a page each."""
    from pipelines.validate.data_page import data_page  # here, so that a commit hook, which counts rows, does without numpy

    pages: list[Path | VortexError] = []
    for report in reports:
        folder = ws.build / "validation" / ("outside" if report.name.startswith(datasets.OUTSIDE) else "")
        name = report.name.removeprefix(datasets.OUTSIDE).encode(errors="surrogateescape")[:150].decode(errors="ignore")
        path = folder / f"{name}.html"
        if path in pages:
            path = path.with_name(f"{name}-{report.digest[:12]}.html")
        try:
            pages.append(data_page(report, path))
        except VortexError as error:
            pages.append(error)
    return pages


def require_passed(judged: Judged) -> None:
    """Raise what kept a set from being judged, else GateRefused naming every set that did not pass."""
    raise_all(judged.errors)
    refused = [report for report in judged.reports if not report.passed]
    if not refused:
        return
    parts = [
        f"{report.name}: {len(report.failed)} of {len(report.checks)} checks say no: {', '.join(check.name for check in report.failed)}"
        for report in refused
    ]
    raise GateRefused(
        parts[0] if len(parts) == 1 else f"{len(refused)} of {len(judged.reports)} datasets are refused",
        "mend or drop the frames named above, correct what the manifest declares, or answer for it in waivers.yaml (docs/data-gate.md); "
        "`vortex train --allow-unvalidated` trains anyway, and its versions can never be promoted",
        parts if len(parts) > 1 else (),
    )


def raise_all(errors: Sequence[VortexError]) -> None:
    """Raise one error as it is, several as one that lists them. The gate's own exit code, unless something else went wrong too."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        details = [line for error in errors for line in (error.message, *error.details)]
        raise type(errors[0])(f"{len(errors)} datasets could not be judged", errors[0].hint, details)
