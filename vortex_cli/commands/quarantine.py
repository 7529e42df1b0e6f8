"""`vortex quarantine`: nothing is promoted from a version or a dataset until that is lifted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UsageError
from vortex_cli import console, wording
from vortex_cli.completion import complete_versions_and_datasets
from vortex_cli.parameters import Reason

if TYPE_CHECKING:
    from pipelines.ship.quarantine import QuarantineReport


def quarantine(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A version, DATASET or DATASET@HASH; without one: what is in quarantine.",
            autocompletion=complete_versions_and_datasets,
        ),
    ] = None,
    reason: Reason = "",
    lift: Annotated[bool, typer.Option("--lift", help="End the quarantine, which wants a --reason too.")] = False,
) -> None:
    """Keep a version or a dataset, all that has its weights and all that was trained on it from every stage, until that is lifted.

    Robots that run it are named; they are told to hold where their channel has it in production.

    DATASET is every content of that name, DATASET@HASH one of them, also where it is called otherwise. No override lets it pass. What is
    in production already is not moved, but named with the command that takes it out; a rollback does not go back to it.

    Example: vortex quarantine v10 --reason "brakes late at glass doors"
    """
    from pipelines.hub.open import hub
    from pipelines.ship.quarantine import quarantine as put
    from registry.quarantine import standing

    ws = console.workspace()
    if name is None:
        if lift or reason:
            raise UsageError("a quarantine of nothing", 'name it: vortex quarantine v10 --reason "…"')
        quarantines = standing(hub(ws).ledger)
        rows = [(each.scope, str(each), wording.when(each.at), wording.who(each.actor), each.reason) for each in quarantines]
        if not quarantines:
            console.note('nothing is in quarantine; what is to enter no stage: vortex quarantine NAME --reason "…"')
        console.emit(quarantines, *([wording.snug(console.table(["kind", "what", "since", "by", "because"], rows))] if rows else []))
        return
    report = put(ws, name, reason=reason, lift=lift)
    console.emit(report, report.sentence(), *_running(report), *_devices(report))
    for line in report.published:
        console.note(line)


def _devices(report: QuarantineReport) -> list[str]:
    """The robots that run what is in quarantine, and what they do about it."""
    lines = []
    for each in report.devices:
        what = "are told to hold" if each.asked is None else f"are asked to run {each.asked}"
        states = (
            (each.running, f"run {each.version} by their reports"),
            (each.silent, f"may run {each.version} and have not reported since"),
        )
        lines += [f"robots on {each.channel} that {state}, and {what}: {wording.several(names)}" for names, state in states if names]
    return lines


def _running(report: QuarantineReport) -> list[str]:
    """The channels that it does not stop, each with what to do."""
    return [
        line
        for channel in report.running
        for line in (
            f"{channel.channel} runs {channel.version} since {wording.when(channel.since)}: take it out with",
            f"    {channel.remedy}",
        )
    ]
