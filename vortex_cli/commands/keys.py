"""`vortex keys`: what signs for robots, by role."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from core.errors import UsageError
from vortex_cli import console, wording

PASSPHRASE = "VORTEX_ROOT_PASSPHRASE"
"""Environment variable that holds the passphrase of the root keys, where nobody can be asked."""
ASKED = "passphrase of the root keys"
ROOT = typer.Option("--root", metavar="FOLDER", help="Where a root key lies, outside of the workspace; may be repeated.")


Named = Literal["root", "targets", "snapshot", "timestamp", "release"]
"""What can get a new key: a role of what is published, or the workspace itself, which signs what a bundle states."""


def init(
    root: Annotated[list[Path], ROOT],
    threshold: Annotated[
        int | None, typer.Option("--threshold", metavar="N", help="How many root keys sign a change of keys; default: more than half.")
    ] = None,
) -> None:
    """Make the keys that sign what is published: root keys in the folders that are named, the others in the workspace.

    A root key is encrypted with a passphrase, which is asked for or taken from VORTEX_ROOT_PASSPHRASE. Take its folder away afterwards:
    it is needed once a year, and when a key is replaced.

    Example: vortex keys init --root /media/usb
    """
    from pipelines.ship.keys import LEAST_PASSPHRASE
    from pipelines.ship.keys import init as make

    ws = console.workspace()
    passphrase = _passphrase(f"passphrase of the new root keys, {LEAST_PASSPHRASE} characters or more", new=True)
    change = make(ws, root, passphrase, threshold=threshold)
    console.emit(change, change.sentence())
    console.note(f"take away and keep: {', '.join(map(str, root))}; then publish what is in production with: vortex publish")


def rotate(
    role: Annotated[Named, typer.Argument(metavar="ROLE", help="root, targets, snapshot, timestamp or release.")],
    root: Annotated[list[Path], ROOT],
    new: Annotated[
        list[Path] | None, typer.Option("--new", metavar="FOLDER", help="Where a new root key goes, for ROLE root; may be repeated.")
    ] = None,
    distrust: Annotated[
        list[str] | None,
        typer.Option("--distrust", metavar="KEY", help="A release key that was stolen, by its id or how that begins; may be repeated."),
    ] = None,
) -> None:
    """Give a role a new key; robots that trust the old root key follow, and what the old key signs then is refused.

    The release key, which signs the statement in each bundle, is replaced likewise: bundles by an earlier one may still be run, unless that
    is named with --distrust. Then they are signed anew and published, and robots refuse what the stolen key signed.

    Example: vortex keys rotate timestamp --root /media/usb
    """
    from pipelines.ship import keys
    from pipelines.ship.publish import publish_after
    from pipelines.ship.tuf_repository import refresh as sign

    ws = console.workspace()
    if role == "release":
        if new:
            raise UsageError("--new is where new root keys go, and the release key lies in the workspace", "leave --new out")
        change = keys.rotate_release(ws, root, _passphrase(ASKED), distrust=distrust or ())
    else:
        if distrust:
            raise UsageError(f"--distrust is of release keys; what the old key of {role} signs is refused anyway", "leave --distrust out")
        change = keys.rotate(ws, role, root, _passphrase(ASKED), new_folders=new or ())
    published = publish_after(ws) if distrust else ()
    sign(ws)
    console.emit(change, change.sentence())
    for line in published:
        console.note(line)


def refresh(
    root: Annotated[
        list[Path] | None, typer.Option("--root", metavar="FOLDER", help="Renew root too, by the key in this folder; may be repeated.")
    ] = None,
) -> None:
    """Sign anew what is published and due, before it expires; a second time it changes nothing. A timer does it daily.

    Example: vortex keys refresh
    """
    from pipelines.ship.keys import renew
    from pipelines.ship.tuf_repository import refresh as sign

    ws = console.workspace()
    renewed = renew(ws, root, _passphrase(ASKED)) if root else None
    signed = sign(ws)
    outcome = [renewed.sentence()] if renewed else []
    outcome.append("what was due is signed anew and published" if signed else "nothing is due: nothing was changed")
    console.emit({"signed": signed, "root": renewed}, "; ".join(outcome))


def status() -> None:
    """Show the roles: their keys, how many must sign, how many lie here, and when what they signed expires.

    The release key signs the statement in each bundle; whose bundles may still be run, and whose are refused, is said below.

    Example: vortex keys status
    """
    from pipelines.ship.tuf_repository import repository

    roles, now = repository(console.workspace()).status(), datetime.now(UTC)
    rows = [
        (
            each.role,
            ", ".join(key[:12] for key in each.keys),
            f"{each.threshold} of {len(each.keys)}",
            "kept elsewhere" if each.role == "root" else f"{each.here} of {len(each.keys)}",
            each.expires.strftime("%Y-%m-%d") if each.expires else "it is replaced" if each.role == "release" else "nothing published",
            "" if (left := each.days_left(now)) is None else f"{left:.0f} days" if left >= 0 else "EXPIRED",
        )
        for each in roles
    ]
    lines = [f"bundles by {', '.join(key[:12] for key in each.earlier)} may still be run" for each in roles if each.earlier]
    lines += [f"bundles by {', '.join(key[:12] for key in each.distrusted)} are refused" for each in roles if each.distrusted]
    console.emit(roles, wording.snug(console.table(["role", "key", "sign", "here", "holds until", "left"], rows)), *lines)


def timer() -> None:
    """Print the systemd units that run `vortex keys refresh` once a day.

    Example: vortex keys timer
    """
    from pipelines.ship.keys import timer_units

    units = timer_units(console.workspace(), shutil.which("vortex") or os.path.abspath(sys.argv[0]))
    console.emit(units, *(f"# /etc/systemd/system/{name}\n{text}" for name, text in units.items()))
    console.note("save both, then: systemctl enable --now vortex-keys.timer")


def _passphrase(what: str, *, new: bool = False) -> str:
    """Of the root keys: from the environment, else asked for without an echo."""
    return os.environ.get(PASSPHRASE) or console.ask_secret(what, PASSPHRASE, twice=new)
