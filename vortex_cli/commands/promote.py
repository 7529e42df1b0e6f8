"""`vortex promote`: a version on its way to production, judged at every stage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import GateRefused, UsageError
from core.stages import Stage
from vortex_cli import console
from vortex_cli.parameters import ChannelDevice, ChannelDomain, Reason, VersionName

if TYPE_CHECKING:
    from pipelines.ship.promote import PromotionReport
    from validation.checks import Check


UNJUDGED = {"held": "held already", "not reached": "not asked, for a stage before it refuses"}
"""A stage's state where nothing was judged → in words."""


def promote(
    version: VersionName,
    stage: Annotated[Stage, typer.Option("--stage", help="How far; every stage on the way is judged too.")],
    device: ChannelDevice = None,
    domain: ChannelDomain = None,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="SHARE", help="Of production: to so many of the devices first, such as 10%; default: all."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Judge, and record nothing.")] = False,
    reason: Reason = "",
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
            share=_share(devices),
            on_step=console.note,
            on_progress=show,
        )
    if not report.already and not console.session.json:
        console.write(f"{report.version} on {report.channel}{': dry run, nothing is recorded' if report.dry_run else ''}")
    console.emit_checks(report, () if report.already else _lines(report))
    if report.passed and not console.session.json:
        console.write(report.sentence())
    for line in report.published:
        console.note(line)
    _refuse(report)


def _share(text: str | None) -> float | None:
    """The share that `10%` or `0.1` is."""
    if text is None:
        return None
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise UsageError(f"--devices {text[:40]!r} is no share", "give it as 10%") from error


def _lines(report: PromotionReport) -> Iterator[console.CheckLine]:
    """What was asked, once, with what was found, and of whom it is asked; stages ask much of the same."""
    judged = [(check, stage.stage) for stage in report.stages for check in stage.checks]
    for question in dict.fromkeys((check.name, check.asked, _answer(check)) for check, _ in judged):
        asking = [(check, stage) for check, stage in judged if (check.name, check.asked, _answer(check)) == question]
        name, asked, answer = question
        yield console.CheckLine(*_state(asking[0][0]), f"{name}: {answer}", f"{', '.join(stage for _, stage in asking)}: {asked}")
    for stage in report.stages:
        if stage.state in UNJUDGED:
            yield console.CheckLine("–", "dim", f"{stage.stage}: {UNJUDGED[stage.state]}")


def _state(check: Check) -> tuple[str, str]:
    if check.waiver:
        return "override", "yellow"
    return ("pass", "green") if check.passed else ("FAIL", "bold red")


def _answer(check: Check) -> str:
    return f"{check.found}; {check.waiver}" if check.waiver else check.found


def _refuse(report: PromotionReport) -> None:
    if report.refused:
        record = "nothing was recorded" if report.dry_run else "the refusal is in the ledger: vortex history"
        decide = '; a person may decide: add --override --reason "…"' if report.undecided else ""
        raise GateRefused(report.sentence(), f"the lines above say what was found and asked; {record}{decide}")
