"""`vortex history`: the ledger, line by line."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from vortex_cli import console, wording
from vortex_cli.completion import complete_domains, complete_versions

if TYPE_CHECKING:
    from rich.table import Table

    from registry.ledger import Entry, Ledger


TABLE_ROWS = 100
"""How many of the newest lines a table shows unless told."""
WIDE = 100
"""Columns of a terminal from which on who and why have columns of their own."""


def history(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Only what concerns this version.", autocompletion=complete_versions)
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="D", help="Only promotions in this domain.", autocompletion=complete_domains)
    ] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="X", help="Only promotions on this device.")] = None,
    last: Annotated[
        int | None, typer.Option("--last", min=1, metavar="N", help="Only the newest N lines; a table shows 100 unless told.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="What held every channel then, and what robots ran: 2026-03-01T12:00 (here), or with Z (UTC)."
        ),
    ] = None,
) -> None:
    """Show who did what, when, why and from which commit: registrations, measurements, promotions, refusals, rollbacks.

    Example: vortex history --domain corridor --device host
    """
    from pipelines.hub import history as recorded
    from pipelines.hub.open import hub

    ws = console.workspace()
    if domain is not None:
        ws.domain(domain)
    if device is not None:
        ws.device(device)
    registry = hub(ws)
    if version is not None:
        registry.described(version)  # a wrong name is answered with the right ones
    if at is not None:
        if last is not None:
            raise UsageError("--at shows a moment, --last the newest lines", "give one of them")
        _at(registry.ledger, at, version, domain, device)
        return
    # A ledger can be long: a table shows its newest lines, machines get all of it.
    newest = last or (None if console.session.json else TABLE_ROWS)
    of_all = recorded.history(registry.ledger, version=version, domain=domain, device=device, last=newest)
    first = next(of_all, None)
    if first is None:
        narrowed = " and ".join(filter(None, [version, domain and f"domain {domain}", device and f"device {device}"]))
        console.note(
            f"nothing recorded of {narrowed}; all that is: vortex history"
            if narrowed
            else "nothing recorded yet; it begins with: vortex train v6"
        )
        console.emit([])
    elif console.session.json:
        console.emit(payload(entry) for entry in chain([first], of_all))
    else:
        entries = [first, *of_all]
        if not last and len(entries) == newest:
            console.note(f"the newest {newest} lines; more with --last N, all with --json")
        with registry.ledger.understood():
            console.emit([], table(entries))


def _at(ledger: Ledger, at: str, version: str | None, domain: str | None, device: str | None) -> None:
    """What held every channel at a moment, and what every enrolled device ran, as far as it was known then."""
    from pipelines.hub.history import moment

    time = _time(at)
    if time > datetime.now(UTC):
        console.note(f"{at} is still to come: this is how it stands now")
    then = moment(ledger, time, version=version, domain=domain, device=device)
    if then.dated_later:
        console.note(
            f"a clock was put back: counted, since something after it is dated before {at}, but itself dated later:"
            f" {wording.several([f'event {seq}' for seq in then.dated_later], 3)}; which date is wrong, the ledger cannot tell"
        )
    if not then.channels:
        console.note(f"nothing held a channel at {at}; who holds one since when: vortex history")
    rows = [(each.channel, each.stage, each.version, wording.when(each.since), wording.who(each.actor)) for each in then.channels]
    tables = [console.table(["channel", "stage", "version", "since", "by"], rows)] if rows else []
    if then.robots:
        runs = [(run.device, run.channel, run.word, run.version, wording.when(run.since)) for run in then.robots]
        tables.append(console.table(["robot", "channel", "", "version", "since"], runs))
    console.emit(then, *tables)


def _time(text: str) -> datetime:
    """A moment as it is typed; without a zone it is of the reader's own, as the times that a table shows.

    Raises UsageError, also for an hour that the clocks of that zone skipped, or had twice.
    """
    try:
        typed = datetime.fromisoformat(text)
        first, second = sorted(typed.replace(fold=fold).astimezone() for fold in (0, 1))
    except (ValueError, OverflowError, OSError) as error:
        raise UsageError(f"--at {text}: not a time", "for example --at 2026-03-01, 2026-03-01T12:00 or 2026-03-01T11:00Z") from error
    if first != second:
        fault = "the clocks here showed that twice" if first.replace(tzinfo=None) == typed else "the clocks here skipped that"
        raise UsageError(f"--at {text}: {fault}", f"say which is meant: --at {first.isoformat()} or --at {second.isoformat()}")
    return first


def payload(entry: Entry) -> dict[str, Any]:
    """An entry for machines."""
    fields = ("seq", "hash", "at", "actor", "kind", "subject", "reason", "commit", "head", "body")
    return {name: getattr(entry, name) for name in fields}


def table(entries: list[Entry]) -> Table:
    """Entries for people; on a narrow terminal who and why stand below what happened, and the commit gives way."""
    from registry.events import reading

    wide = wording.width() >= WIDE
    columns: list[console.Column] = [("#", "right"), "when", "what", *(["who", "why", "commit"] if wide else [])]
    rows: list[list[object]] = []
    for entry in entries:
        what, who = wording.sentence(reading.parse(entry).sentence()), wording.who(entry.actor)
        if wide:
            rows.append([entry.seq, wording.when(entry.at), what, who, entry.reason.strip() or None, wording.digest(entry.commit, 8)])
        else:
            what.append(f"\nby {who}{f': {entry.reason.strip()}' if entry.reason.strip() else ''}", "dim")
            rows.append([entry.seq, wording.when(entry.at), what])
    table = wording.snug(console.table(columns, rows))
    for column in table.columns:
        column.no_wrap = column.header not in ("what", "why")
    return table
