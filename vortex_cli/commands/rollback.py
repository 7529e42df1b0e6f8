"""`vortex rollback`: put the version back that held production before."""

from __future__ import annotations

from typing import Annotated

import typer

from vortex_cli import console
from vortex_cli.completion import complete_domains, complete_versions
from vortex_cli.parameters import ChannelDevice, Reason


def rollback(
    device: ChannelDevice = None,
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain", metavar="D", help="Domain of the channel; default: the only one in production.", autocompletion=complete_domains
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="VERSION", help="Back to this one; default: one step.", autocompletion=complete_versions),
    ] = None,
    reason: Reason = "",
) -> None:
    """Take a channel back to the version that was in production before; the history keeps both.

    Repeated, it goes back further; a rollback that was ended within is finished first. With --to nothing happens a second time.

    Example: vortex rollback --domain corridor --reason "late braking at the glass door"
    """
    from pipelines.ship.rollback import rollback as roll

    report = roll(console.workspace(), device=device, domain=domain, to=to, reason=reason)
    console.emit(report, report.sentence())
    for line in report.published:
        console.note(line)
