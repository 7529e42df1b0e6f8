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
    from validation.checks import Check


SHORT = {"candidate": "cand.", "staging": "stag.", "production": "prod."}


def promote(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A registered version.", autocompletion=complete_versions)],
    stage: Annotated[Stage, typer.Option("--stage", help="How far; every stage on the way is judged too.")],
    device: Annotated[str | None, typer.Option("--device", metavar="X", help="Device of the channel; default: the only one.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", metavar="D", help="Domain of the channel; default: the version's own.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, and record nothing.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")] = "",
    override: Annotated[
        bool, typer.Option("--override", help="Let it pass where there is too little to say; wants --reason, and is recorded.")
    ] = False,
) -> None:
    """Promote a version on a channel (a device in a domain), stage by stage; exit 3 when a gate says no.

    It is judged on the exam of the domain: the whole validation split of every dataset in data/, or of those that vortex.toml names. What
    it or the version in production was not measured on yet is measured now. What each stage asks is written in
    validation/policies.yaml. Answers, refusals and overrides too, are kept in the ledger.

    Example: vortex promote v10 --stage production --reason "glass door fixed"
    """
    from pipelines.ship.promote import promote as judge

    with console.progress() as display:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = display.add_task(what, total=total or None)
            display.update(tasks[what], completed=done, visible=done < total)  # type: ignore[arg-type]

        report = judge(
            console.workspace(),
            version,
            stage,
            device=device,
            domain=domain,
            dry_run=dry_run,
            reason=reason,
            override=override,
            on_step=console.note,
            on_progress=show,
        )
    console.emit(report, *_tables(report))
    _refuse(report)


def _tables(report: PromotionReport) -> Iterator[RenderableType]:
    from rich.padding import Padding
    from rich.text import Text

    if not report.already:
        # Stages ask much of the same: each question is one row, and each stage that was judged a column.
        questions = dict.fromkeys((check.name, check.asked, _answer(check)) for stage in report.stages for check in stage.checks)
        marks = [{(check.name, check.asked): check for check in stage.checks} for stage in report.stages]
        rows = [
            (
                *question,
                *(
                    _mark(mark[question[:2]]) if question[:2] in mark else _unasked(stage)
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


def _answer(check: Check) -> str:
    return f"{check.found}; {check.waiver}" if check.waiver else check.found


def _mark(check: Check) -> RenderableType:
    return "overridden" if check.waiver else console.verdict(check.passed)


def _unasked(stage: StageReport) -> str:
    return {"held": "held", "not reached": "not asked"}.get(stage.state, "–")


def _refuse(report: PromotionReport) -> None:
    if report.refused:
        record = "nothing was recorded" if report.dry_run else "the refusal is in the ledger: vortex history"
        decide = '; a person may decide: add --override --reason "…"' if report.undecided else ""
        raise GateRefused(report.sentence(), f"the table says what was asked and found; {record}{decide}")
