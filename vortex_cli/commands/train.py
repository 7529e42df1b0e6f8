"""`vortex train`: a recipe or a version, some data, and a new version at the end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from pipelines.train.plan.options import TrainOptions
from vortex_cli import console, wording
from vortex_cli.options import After, named

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

    from pipelines.runs.events import TrainEvent
    from pipelines.train.driver.run import TrainResult
    from pipelines.train.plan.train_plan import TrainPlan
    from pipelines.workspace import Workspace


def train(
    context: typer.Context,
    options: TrainOptions,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Continue an interrupted run to its end."), After("device")] = None,
    walltime: Annotated[
        str | None,
        typer.Option(metavar="12h|90m|SECONDS", help="Stop cleanly before this time is up; default: the SLURM job's own."),
        After("step"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
) -> None:
    """Train a student and register it as a version. Ctrl-C, or the wall of a job, leaves a run that --resume continues.

    A recipe is trained anew and on its own datasets, or with --domain or --manifest on others; --from takes a version's weights and
    recipe and fine-tunes them. The first training of a shipped recipe takes its name, later ones the next number from v10.

    Example: vortex train --from v6 --domain corridor --epochs 12
    """
    from pipelines.runs.wall import wall
    from pipelines.train.plan.decide import decide
    from pipelines.train.plan.gather import gather

    ws = console.workspace()
    deadline = wall(walltime, os.environ)
    plan = decide(options, gather(ws, options)) if resume is None else _begun(ws, resume, options, named(context, TrainOptions))
    for line in plan.inferred:
        console.note(line)
    if deadline:
        console.note(f"wall     {deadline}")
    if dry_run:
        console.emit(plan)
        return
    with console.progress("state") as display:
        shown = Display(display, several=len(plan.stages) > 1)
        shown.wait("loading libraries")
        from pipelines.train.driver.run import train as carry_out  # torch and Ray take seconds, and a dry run needs neither

        shown.wait("preparing")
        result = carry_out(ws, plan, shown.show, wall=deadline, on_asked=lambda: console.answer(ASKED))
    console.emit(result, *_result(result))
    console.note(_following(result))


def _begun(ws: Workspace, run: str, options: TrainOptions, names: set[str]) -> TrainPlan:
    """The plan of a run that goes on; `names` are the options that were given. Raises UsageError for those that do not fit it."""
    from pipelines.runs.listing import require_unqueued
    from pipelines.train.plan.resume import resume

    if names - {"recipe", "address"}:
        raise UsageError(
            "--resume continues a run as it was planned: only --address, --walltime and the recipe (to be compared) fit it",
            f"vortex train --resume {run}",
        )
    require_unqueued(ws, run, os.environ.get("SLURM_JOB_ID"))
    return resume(ws, run, address=options.address if "address" in names else None, recipe=options.recipe)


BAR_AND_TIME = 24 + len("0:00:00") + len("/") + 4
"""Columns of the bar, the remaining time, and the gaps."""


ASKED = "stopping after this step, and keeping what was trained; Ctrl-C again stops at once"


class Display:
    """Events as a progress bar on a terminal, and one line an epoch everywhere, which names its stage where there are `several`."""

    def __init__(self, display: Progress, several: bool = False) -> None:
        self._display, self._several = display, several
        self._tasks: dict[str, Any] = {}
        self._waiting: Any = None

    def wait(self, doing: str) -> None:
        """Show what is being done while there is nothing to count; a pipe gets a line of it, once."""
        if self._display.disable:
            self._line(f"{doing} …")
        elif self._waiting is None:
            self._waiting = self._display.add_task(doing, total=None, state="")
        else:
            self._display.update(self._waiting, description=doing, visible=True)

    def _no_longer_wait(self) -> None:
        if self._waiting is not None:
            self._display.update(self._waiting, visible=False)

    def show(self, event: TrainEvent) -> None:
        """Take one event in."""
        if event.kind in ("reading", "step"):
            self._no_longer_wait()
        if event.kind == "reading":
            self._bar("packing frames", event.step, event.steps)
            if event.message:
                self._line(event.message)
        elif event.kind == "started":
            if event.epoch:
                self._line(f"{event.stage}: continues after epoch {event.epoch} of {event.epochs}")
            self.wait(f"{event.stage}: first step")
        elif event.kind == "step":
            self._bar(event.stage, event.epoch * event.steps + event.step, event.epochs * event.steps, self._state(event))
        elif event.kind == "epoch":
            self._line(f"{event.stage}: {epoch_line(event)}" if self._several else epoch_line(event))
        elif event.kind == "note":
            self._line(event.message)

    def _state(self, event: TrainEvent) -> str:
        """What stands beside the bar: as much of it as a line has room for, so that bar, count and remaining time are never cut."""
        parts = [f"epoch {event.epoch + 1}/{event.epochs}", wording.rate(event.frames_per_second)]
        parts += [f"{name} {value:.3f}" for name, value in event.values.items()]
        room = self._display.console.width - len(event.stage) - BAR_AND_TIME - 2 * len(str(event.epochs * event.steps))
        while len("  ".join(parts)) > room and len(parts) > 1:
            parts.pop()
        return "  ".join(parts)

    def _bar(self, name: str, count: int, total: int, state: str = "") -> None:
        if name not in self._tasks:
            self._tasks[name] = self._display.add_task(name, total=total, completed=count, state=state)
        self._display.update(
            self._tasks[name], completed=count, total=total, state=state, visible=not (name == "packing frames" and count == total)
        )

    def _line(self, text: str) -> None:
        if not console.session.json:
            console.say(self._display.console, text)


def epoch_line(event: TrainEvent) -> str:
    """What a person reads of an epoch."""
    rmse, best = event.values["val/rmse"], event.values.get("best/rmse")
    miou = f", mIoU {100 * event.values['val/miou']:.1f} %" if "val/miou" in event.values else ""
    mark = "  best so far" if best is not None and rmse == best else ""
    loss = f"loss {event.values['train/loss']:.3f}  " if "train/loss" in event.values else ""
    return f"epoch {event.epoch}/{event.epochs}  {loss}validation RMSE {rmse:.3f} m{miou}  {wording.rate(event.frames_per_second)}{mark}"


def _result(result: TrainResult) -> list[RenderableType]:
    version = result.version
    if version is None:
        return []
    rows = [
        (metrics.domain, metrics.camera, metrics.dataset, metrics.frames, *(metrics.values.get(name) for name in ("rmse", "abs_rel", "delta1")),
         100 * metrics.values["miou"] if "miou" in metrics.values else None)
        for metrics in version.metrics
    ]  # fmt: skip
    title = f"{version.name}: best epoch {result.best_epoch}, trained in {result.seconds:.0f} s as {result.run}"
    numbers: Any = [(name, "right") for name in ("frames", "RMSE m", "AbsRel", "δ1", "mIoU %")]
    return [console.fitting(["domain", "camera", "dataset", *numbers], rows, ("δ1", "AbsRel", "frames", "domain"), title)]


def _following(result: TrainResult) -> str:
    """What to do next, on a line of its own: a command that is folded like a table's words cannot be copied."""
    if result.truncated and result.version:
        return f"cut short: {result.truncated}; it goes on with: vortex train --resume {result.run}"
    return f"next: vortex show {result.version.name}" if result.version else f"next: vortex logs {result.run}"
