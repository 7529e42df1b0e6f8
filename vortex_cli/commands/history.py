"""`vortex history`: the ledger, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console, wording
from vortex_cli.commands.versions import complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from registry.ledger import Event, Ledger


TABLE_ROWS = 100
"""How many of the newest lines a table shows unless told."""


def history(
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Only what concerns this version.", autocompletion=complete_versions)
    ] = None,
    domain: Annotated[str | None, typer.Option("--domain", metavar="D", help="Only promotions in this domain.")] = None,
    device: Annotated[str | None, typer.Option("--device", metavar="X", help="Only promotions on this device.")] = None,
    last: Annotated[
        int | None, typer.Option("--last", min=1, metavar="N", help="Only the newest N lines; a table shows 100 unless told.")
    ] = None,
) -> None:
    """Show who did what, when, why and from which commit: registrations, measurements, promotions, refusals, rollbacks.

    Example: vortex history --domain corridor --device host
    """
    from pipelines.hub.open import hub

    ws = console.workspace()
    if domain is not None:
        ws.domain(domain)
    if device is not None:
        ws.device(device)
    registry = hub(ws)
    if version is not None:
        registry.get(version)
    # A ledger can be long: a table shows its newest lines, machines get all of it.
    newest = last or (None if console.session.json else TABLE_ROWS)
    events = [event for event in recorded(registry.ledger, version, domain, device, newest) if concerns(event, version, domain, device)]
    shown = events[-newest:] if newest else events
    if not shown:
        console.note("nothing recorded" + (" for that" if version or domain or device else " yet; it begins with: vortex train v6"))
    elif not last and newest and len(shown) == newest:
        console.note(f"the newest {newest} lines; more with --last N, all with --json")
    with registry.ledger.understood():
        rendered = [table(shown)] if shown else []
    console.emit([payload(event) for event in shown], *rendered)


def recorded(
    ledger: Ledger, version: str | None, domain: str | None = None, device: str | None = None, last: int | None = None
) -> list[Event]:
    """The events that may concern a version or a channel, oldest first; with neither named, only the `last` ones where that is given."""
    from registry.stages import KINDS

    if domain or device:
        return ledger.events(kinds=KINDS)
    if version is None:
        return ledger.events(last=last)
    return sorted([*ledger.events(subject=version), *ledger.events(kinds=KINDS)], key=lambda event: event.seq)


def concerns(event: Event, version: str | None, domain: str | None, device: str | None) -> bool:
    """Whether an event belongs to the asked version and channel; with a channel named, only its moves do."""
    place, separator, where = event.subject.partition("/")
    if (domain or device) and not separator:
        return False
    if version and version not in (event.subject, event.head.get("version"), event.head.get("replaced")):
        return False
    return domain in (None, where) and device in (None, place)


def payload(event: Event) -> dict[str, Any]:
    """An event for machines."""
    fields = ("seq", "hash", "at", "actor", "kind", "subject", "reason", "commit", "head", "body")
    return {name: getattr(event, name) for name in fields}


def table(events: list[Event]) -> RenderableType:
    """Events for people; on a narrow terminal the commit gives way."""
    wide = wording.width() >= 100
    columns: list[console.Column] = [("#", "right"), "when", "what", "who", "why", *(["commit"] if wide else [])]
    rows = []
    for event in events:
        at = wording.when(event.at, minutes=wide)
        row = [event.seq, at, told(event), wording.who(event.actor), event.reason or None]
        rows.append([*row, wording.digest(event.commit, 8)] if wide else row)
    made = wording.snug(console.table(columns, rows))
    for column in made.columns:
        column.no_wrap = column.header not in ("what", "why")
    return made


def told(event: Event) -> Text:
    """What happened, as a sentence's core."""
    from rich.text import Text

    head, subject = event.head, (event.subject, "bold")
    version = (str(head.get("version")), "bold")
    stage = str(head.get("stage"))
    replaced = head.get("replaced")
    instead = f", instead of {replaced}" if stage == "production" and replaced not in (None, head.get("version")) else ""
    match event.kind:
        case "version.registered":
            made_from = " and ".join(f"{kind} {ref}" for kind, ref, _ in head["parents"] if kind in ("weights", "recipe"))
            return Text.assemble(subject, " registered", f", from {made_from}" if made_from else "")
        case "version.measured":
            rmse = head["rmse"]
            error = "" if rmse is None else f": RMSE {float(rmse):.3f} m"
            return Text.assemble(subject, f" measured on {head['domain']} · {head['camera']}{error}")
        case "version.exported":
            return Text.assemble(subject, f" exported to {head['format']} {head['precision']}")
        case "channel.promoted":
            return Text.assemble(version, " to ", (stage, wording.STAGE_STYLES.get(stage, "")), f" on {event.subject}{instead}")
        case "channel.refused":
            failed = [f"{check['name']} (asked {check['asked']}, found {check['found']})" for check in _failed(event)]
            why = f": {'; '.join(failed)}" if failed else ""
            return Text.assemble(version, " ", ("refused", "bold red"), f" for {stage} on {event.subject}{why}")
        case "channel.rolled_back":
            return Text.assemble((event.subject, ""), " ", ("rolled back", "bold yellow"), " to ", version, f", from {replaced}")
    return Text.assemble(subject, f" {event.kind}")


def _failed(event: Event) -> list[dict[str, Any]]:
    checks = (event.body or {}).get("checks", [])
    return [check for check in checks if not check.get("passed") and {"name", "asked", "found"} <= check.keys()]
