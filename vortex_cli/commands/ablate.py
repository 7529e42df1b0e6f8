"""`vortex ablate`: does one thing make a difference? The same training with and without it, seed by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console
from vortex_cli.planning import takes_plan_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.ablate import Ablation
    from pipelines.intervals import Interval

SHOWN = {"rmse": ("RMSE m", 1.0, ".4f"), "miou": ("mIoU %", 100.0, ".2f")}
"""Metric → its heading, the factor of its unit, and its decimals."""


@takes_plan_options()
def ablate(
    plan: dict[str, Any],
    vary: Annotated[
        str | None, typer.Option(metavar="KEY=A,B[,C]", help="A key of the recipe and its values; without it the recipe's variants.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Compare with this recipe, which differs in --vary KEY and in nothing else.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Repetitions of every arm; fewer than 3 decide nothing.")] = 3,
) -> None:
    """Train a recipe with each value of one factor and judge the difference. Nothing is registered.

    All arms have the same data in the same order, the same size and the same seeds (--seed and those after it), and differ in the
    factor alone: anything else is refused. The effect is reported with its 95 % interval over the paired seeds. The other options are
    those of `vortex train`. Stopped, the same command goes on; asked for more seeds, it adds them.

    Example: vortex ablate v9 --domain corridor --vary loss.weighting=kendall,fixed --seeds 3
    """
    from pipelines.ablate import ablate as carry_out
    from vortex_cli.commands.train import Display

    ws = console.workspace()
    with console.progress("state") as display:
        shown = Display(display)
        result = carry_out(
            ws,
            plan,
            vary=vary,
            against=against,
            seeds=seeds,
            on_run=lambda run, number, total: console.note(f"run {number} of {total}: {run}"),
            on_event=shown.show,
        )
    console.emit(result, *_tables(result))


def _tables(result: Ablation) -> list[RenderableType]:
    right: Any = [(name, "right") for name in ("mean", "± sd")]
    scores = [(one.arm, one.value, SHOWN[one.metric][0], _number(one.metric, one.mean, ""),
               None if one.sd is None else _number(one.metric, one.sd, "")) for one in result.scores]  # fmt: skip
    title = f"{result.recipe}, {result.factor} varied: {len(result.seeds)} seed(s), judged by {result.frames} frames"
    right_too: Any = [(name, "right") for name in ("effect", "95 % over seeds", "95 % over frames, by seed")]
    effects = [(f"{one.arm} − {one.base}", SHOWN[one.metric][0], _number(one.metric, one.difference),
                None if one.interval is None else _interval(one.metric, one.interval),
                "\n".join(_interval(one.metric, each) for each in one.frames) or None, one.meaning) for one in result.effects]  # fmt: skip
    several = len({one.arm for one in result.effects})
    caption = f"{several} comparisons with 95 % each: one of them may look like an effect by chance" if several > 1 else ""
    return [
        title,
        console.table(["arm", result.factor, "metric", *right], scores),
        console.table(["difference", "metric", *right_too, "meaning"], effects, "what it changes", caption),
        f"kept: build/ablations/{result.name}/result.json",
    ]


def _number(metric: str, value: float, sign: str = "+") -> str:
    _, scale, digits = SHOWN[metric]
    return format(scale * value, f"{sign}{digits}")


def _interval(metric: str, interval: Interval) -> str:
    return f"{_number(metric, interval.low)} to {_number(metric, interval.high)}"
