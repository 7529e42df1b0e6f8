"""`vortex train`: a recipe or a version, some data, and a new version at the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from vortex_cli import console
from vortex_cli.commands.versions import complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

    from pipelines.runs.events import TrainEvent
    from pipelines.train.driver.run import TrainResult


def complete_recipes(incomplete: str) -> list[str]:
    """Names of shipped recipes for shell completion, without reading them."""
    folder = Path(__file__).parents[2] / "pipelines" / "recipes"
    return sorted(path.stem for path in folder.glob(f"{incomplete}*.yaml"))


def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="[RECIPE]", help="A shipped recipe (v1…v9) or a recipe file.", autocompletion=complete_recipes)
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="vK", help="Fine-tune this version's weights.", autocompletion=complete_versions)
    ] = None,
    domain: Annotated[
        str | None, typer.Option(metavar="D", help="Train on this domain's datasets, and judge by its validation frames.")
    ] = None,
    manifest: Annotated[
        list[str] | None, typer.Option(metavar="NAME|PATH", help="Train on this dataset or manifest; may be repeated.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Length of the schedule; default: the recipe's, 50 with --from.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Frames a step, over all workers.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate of the decoder; the encoder's is a tenth.")] = None,
    device: Annotated[str | None, typer.Option(metavar="auto|cpu|cuda", help="Where to train; default: auto.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Continue an interrupted run to its end.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, max=64, help="Worker processes; default: 0, in this one.")] = None,
    address: Annotated[
        str | None, typer.Option(metavar="auto|HOST:PORT|ray://…", help="Ray cluster of the workers; default: local, one for this run.")
    ] = None,
    sync_batch_norm: Annotated[
        bool, typer.Option("--sync-batch-norm", help="Normalise over the batch of all workers, not of each (GPUs only).")
    ] = False,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Size of the frames; default: the recipe's or the version's.")] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Use at most so many frames of each dataset's split.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides order, augmentation and random weights; default: 0.")] = None,
    encoder_weights: Annotated[
        str | None, typer.Option(metavar="imagenet|none|FILE", help="First weights of the encoder; none uses the recipe's scratch rates.")
    ] = None,
    replay: Annotated[
        list[str] | None, typer.Option(metavar="NAME:SHARE", help="Give this dataset a share of every batch; may be repeated.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the recipe, as ema.decay=0.99; may be repeated.")
    ] = None,
    step: Annotated[
        str | None,
        typer.Option(metavar="SWITCHES", help="How a step is carried out, as compile=on,prefetch=4 or eager; default: what pays here."),
    ] = None,
    walltime: Annotated[
        str | None, typer.Option(metavar="12h|90m|SECONDS", help="Stop cleanly before this time is up; default: the SLURM job's own.")
    ] = None,
    checkpoint_minutes: Annotated[
        float | None, typer.Option(help="Minutes between checkpoints within an epoch; default: 10. A kill costs no more.")
    ] = None,
    max_bad_batches: Annotated[
        int | None, typer.Option(min=1, help="Batches in a row that are not finite before training stops; default: 5.")
    ] = None,
    allow_unvalidated: Annotated[
        bool, typer.Option("--allow-unvalidated", help="Train on data that has not passed; the version says so.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
) -> None:
    """Train a student and register it as a version. Ctrl-C, or the wall of a job, leaves a run that --resume continues.

    A recipe is trained anew and on its own datasets, or with --domain or --manifest on others; --from takes a version's weights and
    recipe and fine-tunes them. The first training of a shipped recipe takes its name, later ones the next number from v10.

    Example: vortex train --from v6 --domain corridor --epochs 12
    """
    from pipelines.runs.listing import require_unqueued
    from pipelines.runs.wall import wall
    from pipelines.train.plan import decide as planning

    ws = console.workspace()
    deadline = wall(walltime, os.environ)
    given = plan_options(
        recipe=recipe, from_=from_, domain=domain, manifest=manifest, epochs=epochs, batch_size=batch_size, lr=lr, device=device,
        workers=workers, address=address, sync_batch_norm=sync_batch_norm, size=size, limit=limit, seed=seed,
        encoder_weights=encoder_weights, step=step, replay=replay, settings=settings, checkpoint_minutes=checkpoint_minutes,
        max_bad_batches=max_bad_batches, allow_unvalidated=allow_unvalidated,
    )  # fmt: skip
    if resume is not None and given.keys() - {"recipe", "address"}:
        raise UsageError(
            "--resume continues a run as it was planned: only --address, --walltime and the recipe (to be compared) fit it",
            f"vortex train --resume {resume}",
        )
    if resume is not None:
        require_unqueued(ws, resume, os.environ.get("SLURM_JOB_ID"))
    plan = planning.plan(ws, **given) if resume is None else planning.resume(ws, resume, **given)
    for line in plan.inferred:
        console.note(line)
    if deadline:
        console.note(f"wall     {deadline}")
    if dry_run:
        console.emit(plan)
        return
    from pipelines.train.driver.run import train as carry_out  # brings torch, which nothing before it needs

    with console.progress("state") as display:
        result = carry_out(ws, plan, Display(display, several=len(plan.stages) > 1).show, wall=deadline)
    console.emit(result, *_result(result))
    console.note(_following(result))


def plan_options(**said: Any) -> dict[str, Any]:
    """Options of `vortex train` as `pipelines.train.plan.decide.plan` takes them; what was not said is left to it."""
    said["from_version"] = said.pop("from_")
    said |= {name: tuple(said.get(name) or ()) or None for name in ("manifest", "replay", "settings")}
    said["size"] = _size(said["size"])
    return {name: value for name, value in said.items() if value is not None and value is not False}


BAR_AND_TIME = 24 + len("0:00:00") + len("/") + 4
"""Columns of the bar, the remaining time, and the gaps."""


class Display:
    """Events as a progress bar on a terminal, and one line an epoch everywhere, which names its stage where there are `several`."""

    def __init__(self, display: Progress, several: bool = False) -> None:
        self._display, self._several = display, several
        self._tasks: dict[str, Any] = {}

    def show(self, event: TrainEvent) -> None:
        """Take one event in."""
        if event.kind == "reading":
            self._bar("packing frames", event.step, event.steps)
            if event.message:
                self._line(event.message)
        elif event.kind == "started" and event.epoch:
            self._line(f"{event.stage}: continues after epoch {event.epoch} of {event.epochs}")
        elif event.kind == "step":
            self._bar(event.stage, event.epoch * event.steps + event.step, event.epochs * event.steps, self._state(event))
        elif event.kind == "epoch":
            self._line(f"{event.stage}: {epoch_line(event)}" if self._several else epoch_line(event))
        elif event.kind == "note":
            self._line(event.message)

    def _state(self, event: TrainEvent) -> str:
        """What stands beside the bar: as much of it as a line has room for, so that bar, count and remaining time are never cut."""
        parts = [f"epoch {event.epoch + 1}/{event.epochs}", f"{event.frames_per_second:.0f} frames/s"]
        parts += [f"{name} {value:.3f}" for name, value in event.values.items()]
        room = self._display.console.width - len(event.stage) - BAR_AND_TIME - 2 * len(str(event.epochs * event.steps))
        while len("  ".join(parts)) > room and len(parts) > 1:
            parts.pop()
        return "  ".join(parts)

    def _bar(self, name: str, done: int, total: int, state: str = "") -> None:
        if name not in self._tasks:
            self._tasks[name] = self._display.add_task(name, total=total, completed=done, state=state)
        self._display.update(
            self._tasks[name], completed=done, total=total, state=state, visible=not (name == "packing frames" and done == total)
        )

    def _line(self, text: str) -> None:
        if not console.session.json:
            self._display.console.print(text, markup=False, soft_wrap=True)


def epoch_line(event: TrainEvent) -> str:
    """What a person reads of an epoch."""
    rmse, best = event.values["val/rmse"], event.values.get("best/rmse")
    miou = f", mIoU {100 * event.values['val/miou']:.1f} %" if "val/miou" in event.values else ""
    mark = "  best so far" if best is not None and rmse == best else ""
    loss = f"loss {event.values['train/loss']:.3f}  " if "train/loss" in event.values else ""
    return f"epoch {event.epoch}/{event.epochs}  {loss}validation RMSE {rmse:.3f} m{miou}  {event.frames_per_second:.0f} frames/s{mark}"


def _result(result: TrainResult) -> list[RenderableType]:
    version = result.version
    if version is None:
        return []
    rows = [
        (one.domain, one.camera, one.dataset, one.frames, one.values.get("rmse"), one.values.get("abs_rel"), one.values.get("delta1"),
         100 * one.values["miou"] if "miou" in one.values else None)
        for one in version.metrics
    ]  # fmt: skip
    title = f"{version.name}: best epoch {result.best_epoch}, trained in {result.seconds:.0f} s as {result.run}"
    numbers: Any = [(name, "right") for name in ("frames", "RMSE m", "AbsRel", "δ1", "mIoU %")]
    return [console.table(["domain", "camera", "dataset", *numbers], rows, title)]


def _following(result: TrainResult) -> str:
    """What to do next, on a line of its own: a command that is folded like a table's words cannot be copied."""
    if result.truncated and result.version:
        return f"cut short: {result.truncated}; it goes on with: vortex train --resume {result.run}"
    return f"next: vortex show {result.version.name}" if result.version else f"next: vortex logs {result.run}"


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    height, _, width = text.lower().partition("x")
    numbers = text.isascii() and len(text) < 12 and height.isdigit() and width.isdigit()
    if numbers and 32 <= int(height) <= 4096 and 32 <= int(width) <= 4096:
        return int(height), int(width)
    raise UsageError(f"--size {text!r} is not a size, allowed: HxW with 32 to 4096 pixels each", "for example --size 120x160")
