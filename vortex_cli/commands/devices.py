"""`vortex devices`: who runs what, and how it went there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console, wording
from vortex_cli.parameters import Reason

if TYPE_CHECKING:
    from pipelines.ship.fleet import DeviceLine

HEALTH = {"failed": "bold red", "rolled back": "bold red", "held": "yellow", "never seen": "yellow", "behind": "yellow", "well": "green"}
"""What may be said of a device, the worst first, and how."""


def list_() -> None:
    """List the enrolled devices, the worst first: what each runs and should run, its health, when it was last heard of, and its engine.

    Example: vortex devices list
    """
    from rich.text import Text

    from pipelines.ship.fleet import fleet

    lines = sorted(fleet(console.workspace()), key=lambda line: [*HEALTH].index(line.health))
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
        )
        for line in lines
    ]
    columns = ["device", "channel", "runs", "should", "health", "last seen", "engine"]
    table = [wording.snug(console.fitting(columns, rows, ("engine", "channel")))] if rows else []
    console.emit(lines, *table, *(["", *_reasons(lines), _summary(lines)] if rows else []))


def _reasons(lines: Sequence[DeviceLine]) -> list[str]:
    """Why devices do not run what they should, one line for all with the same reason."""
    devices: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        if line.health in ("failed", "rolled back", "held") and line.device.status and line.device.status.because:
            devices.setdefault((line.health, line.device.status.because), []).append(line.device.name)
    return [f"{wording.several(names)} {health}: {reason}" for (health, reason), names in devices.items()]


def _summary(lines: Sequence[DeviceLine]) -> str:
    counts = {health: sum(line.health == health for line in lines) for health in HEALTH}
    return f"{len(lines)} enrolled: {', '.join(f'{count} {health}' for health, count in counts.items() if count)}"


def enroll(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the device calls itself.")],
    key: Annotated[Path, typer.Option("--key", metavar="PUB", help="Its public key (PEM, ed25519).")],
    channel: Annotated[str, typer.Option("--channel", metavar="DEVICE/DOMAIN", help="The channel that it pulls.")],
    reason: Reason = "",
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
    reason: Reason = "",
) -> None:
    """Let what a device signs count no more; what it reported before stays in the history.

    Example: vortex devices revoke orin-07 --reason "stolen"
    """
    from pipelines.ship.fleet import revoke as record

    record(console.workspace(), name, reason=reason)
    console.emit({"device": name, "revoked": True}, f"{name} is revoked: what it signs counts no more")


def collect(
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE", help="Where reports were delivered: a folder, with or without `reports` in it, or a server's address."
        ),
    ],
) -> None:
    """Take the signed reports of devices: what each runs into the ledger, measurements into the evidence; each counts once.

    Where a device of a rollout failed, or has said nothing for a day, the rollout is stopped, and devices hold.

    Of an address what lies below it in reports/ is fetched, each report once; no redirect is followed.

    Example: vortex devices collect https://models.example/vortex
    """
    from pipelines.ship.fleet import collect as take
    from pipelines.ship.reports import folder_of

    ws = console.workspace()
    collection = take(ws, folder_of(ws, place))
    styles = {"taken": "green", "refused": "bold red"}
    console.emit_checks(
        collection,
        # Every report that ever came may lie there still: those that were taken before are counted below.
        [
            console.CheckLine(each.outcome, styles[each.outcome], f"{each.file}: {each.text}")
            for each in collection.reports
            if each.outcome in styles
        ],
    )
    if not console.session.json:
        console.write(collection.sentence())
    for line in (*collection.stopped, *collection.published):
        console.note(line)
