"""`vortex publish`: make what robots pull what the ledger says."""

from __future__ import annotations

from core.errors import VortexError
from vortex_cli import console


def publish() -> None:
    """Make the folder that robots pull what the ledger says; a second time it changes nothing.

    Promotions, rollbacks and quarantines do it by themselves. It is there for what was killed within, for promotions of before there were
    keys, and for a folder that was lost. Any web server serves the folder; vortex.toml names it.

    Example: vortex publish
    """
    from pipelines.ship.publish import publish as reconcile

    report = reconcile(console.workspace(), on_step=console.note)
    console.emit(report, *report.sentences(), f"{report.folder}: {'written' if report.changed else 'nothing was changed'}")
    waiting = [publication.channel for publication in report.channels if publication.waiting]
    if waiting:
        raise VortexError(f"not published: {', '.join(waiting)}", "the lines above say why; then give the same command again")
