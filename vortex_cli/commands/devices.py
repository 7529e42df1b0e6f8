"""`vortex devices`: who runs what, and how it went there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex_cli import console, wording

HEALTH = {"well": "green", "behind": "yellow", "never seen": "yellow", "held": "yellow", "rolled back": "bold red", "failed": "bold red"}


def list_() -> None:
    """List the enrolled devices: what each runs and should run, its engine, its health, and when it was last heard of.

    Example: vortex devices list
    """
    from rich.text import Text

    from pipelines.ship.fleet import fleet

    lines = fleet(console.workspace())
    if not lines:
        console.note("no device is enrolled; enroll one with: vortex devices enroll NAME --key PUB.pem --channel DEVICE/DOMAIN")
    rows = [
        (
            line.device.name,
            str(line.device.channel),
            status.version or "–" if (status := line.device.status) else "–",
            line.wanted or "–",
            Text(line.health, HEALTH[line.health]),
            wording.when(line.device.seen_at) if line.device.seen_at else "–",
            (status.engine or "–") if status else "–",
            status.because if status else "",
        )
        for line in lines
    ]
    columns = ["device", "channel", "runs", "should", "health", "last seen", "engine", "because"]
    console.emit(lines, *([wording.snug(console.table(columns, rows))] if rows else []))


def enroll(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the device calls itself.")],
    key: Annotated[Path, typer.Option("--key", metavar="PUB", help="Its public key (PEM, ed25519).")],
    channel: Annotated[str, typer.Option("--channel", metavar="DEVICE/DOMAIN", help="The channel that it pulls.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")] = "",
) -> None:
    """Know a device by its key: what it signs from now on counts. With another key or channel, it has that one from now on.

    Example: vortex devices enroll orin-07 --key orin-07.pub --channel orin/corridor
    """
    from pipelines.ship.fleet import enroll as record

    new = record(console.workspace(), name, key, channel, reason=reason)
    outcome = f"{name} is enrolled for {channel}" if new else f"{name} was enrolled for {channel} by this key: nothing was changed"
    console.emit({"device": name, "channel": channel, "enrolled": new}, outcome)


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An enrolled device.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the ledger.")] = "",
) -> None:
    """Let what a device signs count no more; what it reported before stays in the history.

    Example: vortex devices revoke orin-07 --reason "stolen"
    """
    from pipelines.ship.fleet import revoke as record

    record(console.workspace(), name, reason=reason)
    console.emit({"device": name, "revoked": True}, f"{name} is revoked: what it signs counts no more")


def collect(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where reports were delivered, or a folder with `reports` in it.")],
) -> None:
    """Take the signed reports of devices: what each runs into the ledger, measurements into the evidence; each counts once.

    Where a device of a rollout failed, or has said nothing for a day, the rollout is stopped, and devices hold.

    Example: vortex devices collect /srv/vortex
    """
    from pipelines.ship.fleet import collect as take

    collection = take(console.workspace(), folder)
    styles = {"taken": "green", "old": "dim", "refused": "bold red"}
    console.emit_checks(
        collection, [console.CheckLine(each.outcome, styles[each.outcome], f"{each.file}: {each.text}") for each in collection.reports]
    )
    if not console.session.json:
        console.write(collection.sentence())
    for line in (*collection.stopped, *collection.published):
        console.note(line)
