"""`vortex hooks`: what the hooks of vortex.toml were sent, and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import UsageError, VortexError
from vortex_cli import console, wording

if TYPE_CHECKING:
    from registry.outbox import Delivery

TABLE_ROWS = 20
PLACE_LETTERS = 30
STATES = {"delivered": "delivered", "waiting": "waits", "refused": "REFUSED", "dropped": "dropped", "moved": "moved"}


def log(
    hook: Annotated[str | None, typer.Option("--hook", metavar="NAME", help="Of this hook alone.")] = None,
    undelivered: Annotated[bool, typer.Option("--undelivered", help="Only what waits or was refused.")] = False,
    last: Annotated[
        int | None, typer.Option("--last", min=1, metavar="N", help="The newest N deliveries; default: 20, all under --json.")
    ] = None,
) -> None:
    """Show what each hook was sent, when and what it answered, and what waits and why.

    Example: vortex hooks log --undelivered
    """
    from pipelines.hooks.log import log as read

    newest = last or (None if console.session.json else TABLE_ROWS)
    report = read(console.workspace(), hook=hook, undelivered=undelivered, last=newest)
    if not report.hooks:
        console.note("no hooks in vortex.toml, and nothing waits for any: docs/ship.md says how one is named")
    rows = [(state.hook, _short(state.place), state.waiting, state.refused, state.why or None) for state in report.hooks]
    columns: list[console.Column] = ["hook", "leads to", ("waits", "right"), ("refused", "right"), "why it waits"]
    tables = [wording.snug(console.table(columns, rows))] if rows else []
    deliveries = [_row(delivery) for delivery in report.deliveries]
    of_each: list[console.Column] = [("#", "right"), "hook", "event", "is", "tried", "answer", "id"]
    whole = ("#", "hook", "is", "tried", "id")
    tables += [wording.snug(console.table(of_each, deliveries, whole=whole))] if deliveries else []
    console.emit({"hooks": report.hooks, "deliveries": [delivery._asdict() for delivery in report.deliveries]}, *tables)


def replay(
    id: Annotated[
        str | None, typer.Argument(metavar="ID", help="One delivery once more, also a delivered one; the first letters of its id do.")
    ] = None,
    first: Annotated[
        int | None, typer.Option("--from", min=1, metavar="SEQ", help="All events from this number on once more, also delivered ones.")
    ] = None,
    hook: Annotated[str | None, typer.Option("--hook", metavar="NAME", help="To this hook alone.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what would be sent, and send nothing.")] = False,
) -> None:
    """Send the hooks of vortex.toml what waits, now and to the end; exit 1 when something still waits then.

    Every hook gets its events in their order, and the next one only when it took the one before. With --from also what was recorded before
    the hook was named.

    Example: vortex hooks replay --from 120 --hook ci
    """
    from pipelines.hooks.log import planned
    from pipelines.hooks.log import replay as send

    if id is not None and (first is not None or hook is not None):
        raise UsageError("an ID names one delivery of one hook", "leave --from and --hook out, or the ID")
    if dry_run:
        counts = planned(console.workspace(), id=id, first=first, hook=hook)
        console.emit(counts, *(f"{name}: {count} would be sent" for name, count in counts.items()))
        return
    with console.progress() as display:
        task = display.add_task("delivering", total=None)
        reports = send(console.workspace(), id=id, first=first, hook=hook, on_delivery=lambda: display.update(task, advance=1))
    rows = [(each.hook, each.delivered, each.refused, each.state, each.problem or None) for each in reports]
    columns: list[console.Column] = ["hook", ("delivered", "right"), ("refused", "right"), "is", "because"]
    console.emit(reports, *([wording.snug(console.table(columns, rows))] if rows else ["nothing waits"]))
    if waiting := [each.hook for each in reports if each.state != "done"]:
        raise VortexError(f"something still waits for {', '.join(waiting)}", "see why with: vortex hooks log --undelivered")


def test(hook: Annotated[str, typer.Argument(metavar="HOOK", help="A hook of vortex.toml.")]) -> None:
    """Send a hook an example, of which the ledger and the outbox know nothing; exit 1 when it does not take it.

    Example: vortex hooks test ci
    """
    from pipelines.hooks.delivery import trial

    answer = trial(console.workspace(), hook)
    console.emit(answer, f"{hook}: {answer.outcome}, {answer.text}")
    if answer.outcome != "delivered":
        raise VortexError(
            f"hook {hook} did not take the example: {answer.text}", "mend its url, its secret_env or its command in vortex.toml"
        )


def drop(hook: Annotated[str, typer.Argument(metavar="HOOK", help="A hook, also one that is in vortex.toml no more.")]) -> None:
    """Send a hook nothing of what waits for it, or what it has refused. `vortex hooks replay --from` brings it back.

    Example: vortex hooks drop old-chat
    """
    from pipelines.hooks.log import drop as forget

    dropped = forget(console.workspace(), hook)
    console.emit({"hook": hook, "dropped": dropped}, f"{hook}: {dropped} deliveries dropped")


def _row(delivery: Delivery) -> tuple[object, ...]:
    """A delivery for people."""
    tried = wording.when(delivery.tried_at, minutes=wording.width() >= 100) if delivery.tried_at else None
    state = STATES[delivery.state] + (f" ×{delivery.attempts}" if delivery.attempts > 1 else "")
    event = f"{delivery.kind.partition('.')[2].replace('_', ' ')} {delivery.subject}"
    return delivery.event, delivery.hook, event, state, tried, delivery.answer or None, delivery.id[:8]


def _short(place: str) -> str:
    """Where a hook leads, in one line of a narrow column."""
    return place if len(place) <= PLACE_LETTERS else f"{place[: PLACE_LETTERS - 1]}…"
