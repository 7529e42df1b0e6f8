"""`vortex logs`: what a run says, wherever it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import Interrupted
from vortex_cli import console
from vortex_cli.commands.train import epoch_line
from vortex_cli.completion import complete_runs

if TYPE_CHECKING:
    from pipelines.runs.events import TrainEvent
    from pipelines.runs.listing import LogLine


def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run of `vortex runs`.", autocompletion=complete_runs)],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends; Ctrl-C leaves the run alone.")] = False,
) -> None:
    """Show what a run did, epoch by epoch, and what its SLURM jobs printed. With --json, one document when all is said.

    Example: vortex logs v6-corridor-20261121-101500-3f2a -f
    """
    from pipelines.runs import listing as pipeline

    ws = console.workspace()
    entries: list[LogLine] = []
    try:
        for entry in pipeline.log(ws, run, follow=follow):
            if console.session.json:
                entries.append(entry)
            elif line := _line(entry):
                console.write(line)
    except KeyboardInterrupt as error:
        raise Interrupted(f"no longer following {run}, which was left alone", f"vortex logs {run} -f") from error
    record = pipeline.find(ws, run)
    if console.session.json:
        console.emit({"run": record, "log": entries})
    console.note(f"{run}: {record.state}{f', {record.version}' if record.version else ''}")


def _line(entry: LogLine) -> str:
    words = entry.text if entry.event is None else _words(entry.event)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.at))}  {words}" if words else ""


def _words(event: TrainEvent) -> str:
    """An event for a person; nothing for the many that only move a progress bar."""
    if event.kind == "epoch":
        return f"{event.stage}: {epoch_line(event)}"
    if event.kind == "started":
        return f"{event.stage}: {f'continues after epoch {event.epoch}' if event.epoch else 'begins its first epoch'} of {event.epochs}"
    if event.kind == "failed":
        return "; ".join(part for part in (f"failed: {event.message}", *event.details, event.hint) if part)
    return event.message or ("stopped" if event.kind == "stopped" else "")
