"""`vortex replay`: the nine versions trained anew, and the lineage's findings judged."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.experiments.replay.results import Replay, RunRecord


class ReplayScale(StrEnum):
    """How large a replay is."""

    tiny = "tiny"
    small = "small"
    full = "full"


def replay(
    scale: Annotated[
        ReplayScale, typer.Option(help="tiny takes 25 minutes on two cores, small a night or a GPU, full the real sets.")
    ] = ReplayScale.tiny,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Trainings of every version; fewer than 3 decide nothing.")] = 3,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where to train.")] = "auto",
) -> None:
    """Train V1 to V9 anew, register all nine with their parents, and judge each finding of the lineage.

    Works in a workspace of its own: build/replay/SCALE, or the one that --workspace names. Sets that it has by the recipes' names are used,
    the others are rendered. A training that diverges leaves open what it was to decide. Stopped or killed, the same command goes on where it was; with more --seeds it adds to what there is.

    Example: vortex replay --scale tiny --seeds 3
    """
    from pipelines.experiments.replay.place import workspace_for
    from pipelines.experiments.replay.scales import SCALES

    scale_settings = SCALES[scale.value]
    ws = workspace_for(console.session.workspace_dir, scale_settings)
    console.note(f"the replay's workspace is {ws.root}")
    # What trains takes seconds to import; a place that cannot be used is said before.
    from pipelines.experiments.replay.run import replay as carry_out
    from pipelines.experiments.replay.version_runs import Watch

    with console.progress() as display:
        tasks: dict[str, int] = {}

        def tell(what: str, count: int, total: int) -> None:
            task = tasks.setdefault(what, len(tasks))
            if task == len(display.task_ids):
                display.add_task(what, total=total)
            display.update(display.task_ids[task], completed=count, visible=count < total)

        again = f"vortex replay --scale {scale.value} --seeds {seeds} --workspace {ws.root}"
        result = carry_out(ws, scale_settings, seeds, Watch(tell, lambda run: console.note(_ran(run))), device=device, again=again)
    console.emit(result, *_result(result))
    console.note(f"look around: vortex lineage --workspace {ws.root}")


def _ran(run: RunRecord) -> str:
    if run.diverged:
        return f"{run.version} seed {run.seed}: {run.diverged}; this is kept as a result, and the replay goes on"
    figures = ", ".join(f"{name} {score.values['rmse']:.3g} m" for name, score in run.scores.items())
    return f"{run.version} seed {run.seed}: RMSE {figures}; best epoch {run.best_epoch} of {run.epochs}, {run.seconds:.0f} s"


def _result(result: Replay) -> list[RenderableType]:
    from pipelines.experiments.replay.page import interval_text, range_text

    rows = [
        ("" if number else finding.key, part.quantity, interval_text(part.seeds), range_text(part), part.published, part.verdict)
        for finding in result.findings
        for number, part in enumerate(finding.parts)
    ]
    columns = ("", "quantity", "95 % over seeds", "asked", "published", "verdict")
    verdicts = [(finding.key, finding.title, finding.verdict) for finding in result.findings]
    title = f"{result.scale}: {result.seeds} seed(s), {len(result.runs)} runs in {result.seconds / 60:.1f} min"
    return [console.table(columns, rows), console.table(("", "finding", "verdict"), verdicts, title), *result.lost]
