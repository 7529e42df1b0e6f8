"""`vortex promote`: a version on its way to production, judged at every stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import GateRefused
from core.stages import Stage
from vortex_cli import console, wording
from vortex_cli.completion import complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.ship.promote import PromotionReport, StageReport


SHORT = {"candidate": "cand.", "staging": "stag.", "production": "prod."}


def promote(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A registered version.", autocompletion=complete_versions)],
    stage: Annotated[Stage, typer.Option("--stage", help="How far; every stage on the way is judged too.")],
    device: Annotated[str | None, typer.Option("--device", metavar="X", help="Device of the channel; default: the only one.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", metavar="D", help="Domain of the channel; default: the version's own.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, and record nothing.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")] = "",
) -> None:
    """Promote a version on a channel (a device in a domain), stage by stage; exit 3 when a gate says no.

    What each stage asks is written in validation/policies.yaml. Answers, refusals too, are kept in the ledger.

    Example: vortex promote v10 --stage production --reason "glass door fixed"
    """
    from pipelines.ship.promote import promote as judge

    report = judge(
        console.workspace(),
        version,
        stage,
        device=device,
        domain=domain,
        dry_run=dry_run,
        reason=reason,
        on_step=console.note,
    )
    console.emit(report, *_tables(report))
    _refuse(report)


def _tables(report: PromotionReport) -> Iterator[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    if not report.already:
        # Stages ask much of the same: each question is one row, and each stage that was judged a column.
        questions = dict.fromkeys((check.name, check.asked, check.found) for stage in report.stages for check in stage.checks)
        marks = [{(check.name, check.asked): check.passed for check in stage.checks} for stage in report.stages]
        rows = [
            (
                *question,
                *(
                    console.verdict(mark[question[:2]]) if question[:2] in mark else _unasked(stage)
                    for stage, mark in zip(report.stages, marks, strict=True)
                ),
            )
            for question in questions
        ]
        title = f"{report.version} on {report.channel}{': dry run, nothing is recorded' if report.dry_run else ''}"
        heads = [stage.stage if console.stdout().width >= 100 else SHORT[stage.stage] for stage in report.stages]
        table = wording.snug(console.table(("check", "asked", "found", *heads), rows, title))
        for column in table.columns:
            column.no_wrap = column.header not in ("asked", "found")
        yield Padding(table, (0, 0, 1, 0))
    if report.passed:
        yield Text(report.sentence(), "" if report.already else "green")


def _unasked(stage: StageReport) -> str:
    return {"held": "held", "not reached": "not asked"}.get(stage.state, "–")


def _refuse(report: PromotionReport) -> None:
    if report.refused:
        record = "nothing was recorded" if report.dry_run else "the refusal is in the ledger: vortex history"
        raise GateRefused(report.sentence(), f"the table says what was asked and found; {record}")
