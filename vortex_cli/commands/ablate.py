"""`vortex ablate`: does one thing make a difference? The same training with and without it, seed by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.train.plan.options import TrainOptions
from vortex_cli import console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.compare.verdict import Verdict
    from pipelines.experiments.ablate.effects import Ablation, ArmScore, Effect

SHOWN = {"rmse": ("RMSE m", 1.0, ".4f"), "miou": ("mIoU %", 100.0, ".2f")}
"""Metric → its heading, the factor of its unit, and its decimals."""


def ablate(
    options: TrainOptions,
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
    factor alone: anything else is refused. The effect is reported with its 95 % interval over the paired seeds; with more than two
    values the intervals are widened, so that all hold at once. A training that diverges is a result too. The other options are those of
    `vortex train`. Stopped, the same command goes on; asked for more seeds, it adds them.

    Example: vortex ablate v9 --domain corridor --vary loss.weighting=kendall,fixed --seeds 3
    """
    from pipelines.experiments.ablate.run import ablate as carry_out
    from vortex_cli.commands.train import Display

    ws = console.workspace()
    with console.progress("state") as display:
        progress = Display(display)
        result = carry_out(
            ws,
            options,
            vary=vary,
            against=against,
            seeds=seeds,
            on_run=lambda run, number, total: console.note(f"run {number} of {total}: {run}"),
            on_event=progress.show,
        )
    console.emit(result, *_tables(result))


def _tables(result: Ablation) -> list[RenderableType]:
    right: Any = [(name, "right") for name in ("mean", "± sd")]
    scores = [(score.arm, *(() if _named(result) else (score.value,)), SHOWN[score.metric][0], *_score(score)) for score in result.scores]
    right_too: Any = [("effect", "right"), (f"{100 * result.level:.4g} % over seeds", "right")]
    effects = [
        (f"{effect.arm} − {effect.base}", SHOWN[effect.metric][0], _difference(effect), _interval(effect.verdict), effect.meaning)
        for effect in result.effects
    ]
    return [
        f"{result.recipe}, {result.factor} varied: {len(result.seeds)} seed(s), judged by {result.frames} validation frames",
        console.table([*(("arm",) if _named(result) else ("arm", result.factor)), "metric", *right], scores),
        console.table(["difference", "metric", *right_too, "meaning"], effects, "what it changes"),
        *_over_frames(result),
        *_remarks(result),
        f"kept: build/ablations/{result.name}/result.json",
    ]


def _over_frames(result: Ablation) -> list[RenderableType]:
    """What other frames would say of each seed's students."""
    columns: Any = [
        "difference",
        "metric",
        ("seed", "right"),
        ("effect", "right"),
        ("95 % over frames", "right"),
        ("worth", "right"),
        "meaning",
    ]
    rows = [
        (
            f"{effect.arm} − {effect.base}",
            SHOWN[effect.metric][0],
            seed,
            _number(effect.metric, verdict.difference),
            _interval(verdict),
            f"{verdict.effective_frames or 0:.1f}",
            verdict.words,
        )
        for effect in result.effects
        for seed, verdict in zip(result.seeds, effect.frames, strict=False)
    ]
    caption = "worth: how many independent frames the validation frames are worth"
    return [console.table(columns, rows, "what other frames would say of each seed", caption)] if rows else []


def _named(result: Ablation) -> bool:
    """Whether arms are called by their values, so that these need no column of their own."""
    return all(score.arm == score.value for score in result.scores)


def _remarks(result: Ablation) -> list[str]:
    """What a table cannot say."""
    remarks = [f"{run.arm}, seed {run.seed}: {run.diverged}" for run in result.runs if run.diverged]
    several = len({effect.arm for effect in result.effects})
    if several > 1:
        remarks.append(f"{several} comparisons with {result.effects[0].base}: each interval over seeds is widened to "
                       f"{100 * result.level:.4g} %, so that all of a metric hold at once with 95 % (Bonferroni)")  # fmt: skip
    lacking = {effect.without_frames: None for effect in result.effects if effect.without_frames}
    return remarks + [f"no interval over frames: {reason}" for reason in lacking]


def _score(score: ArmScore) -> tuple[str, str | None]:
    """Mean and standard deviation over the seeds, or that there is none."""
    if score.mean is None:
        return f"diverged in {score.diverged} of {score.seeds} seed(s)", None
    return _number(score.metric, score.mean, ""), None if score.sd is None else _number(score.metric, score.sd, "")


def _difference(effect: Effect) -> str | None:
    return None if effect.difference is None else _number(effect.metric, effect.difference)


def _number(metric: str, value: float, sign: str = "+") -> str:
    _, scale, digits = SHOWN[metric]
    return format(scale * value, f"{sign}z{digits}")  # z: what rounds to nothing has no sign


def _interval(verdict: Verdict | None) -> str | None:
    if verdict is None or verdict.interval is None:
        return None
    return f"{_number(verdict.metric, verdict.interval.low)} to {_number(verdict.metric, verdict.interval.high)}"
