"""`vortex profile`: what a training will cost, before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from vortex_cli import console
from vortex_cli.planning import takes_plan_options

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.profile import Profile
    from pipelines.workspace import Partition


@takes_plan_options()
def profile(
    plan: dict[str, Any],
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long each part is timed.")] = 6.0,
    partition: Annotated[
        str | None, typer.Option(metavar="P", help="Refuse when the device would compute less than this partition asks for.")
    ] = None,
) -> None:
    """Time the loader alone, the training step alone and both together, and predict epoch, whole run and utilisation.

    Takes the options of `vortex train` and plans the same training, on its own frames and on this machine; it trains no version. With
    --partition the prediction is held against `min_utilisation` of that partition in vortex.toml, as `vortex submit` does.

    Example: vortex profile v6 --domain corridor --partition gpu
    """
    from pipelines.profile import profile as measure
    from pipelines.profile import require_utilisation
    from pipelines.train.plan import decide as planning

    ws = console.workspace()
    threshold = None if partition is None else _threshold(ws.config.partitions, partition)
    planned = planning.plan(ws, **plan)
    made = measure(ws, planned, seconds=seconds, report=console.note)
    console.emit(made, *_tables(made))
    if threshold is not None:
        require_utilisation(made, threshold, str(partition))


def _threshold(partitions: dict[str, Partition], name: str) -> float:
    """The utilisation that a partition demands. Raises UsageError when vortex.toml does not say."""
    asked = partitions[name].min_utilisation if name in partitions else None
    if asked is None:
        known = ", ".join(sorted(known for known, one in partitions.items() if one.min_utilisation is not None)) or "none"
        raise UsageError(
            f"vortex.toml demands no utilisation of partition {name!r}; it does of: {known}", f"[partitions.{name}] min_utilisation = 0.5"
        )
    return asked


def _tables(made: Profile) -> list[RenderableType]:
    def rate(value: float, band: tuple[float, float]) -> tuple[str, str]:
        return f"{value:.1f} frames/s", f"{band[0]:.1f} to {band[1]:.1f}"

    rows: list[Any] = [
        ("loader alone", *rate(made.loader_rate, made.loader_band)),
        ("step alone", *rate(made.step_rate, made.step_band)),
        ("together", *rate(made.together_rate, made.together_band)),
        ("device computes", f"{made.utilisation:.0%}", f"{made.utilisation_band[0]:.0%} to {made.utilisation_band[1]:.0%}"),
        ("validation", _time(made.validation_seconds), None),
        ("checkpoint", _time(made.checkpoint_seconds), None),
        ("epoch", _time(made.epoch_seconds), f"{_time(made.epoch_band[0])} to {_time(made.epoch_band[1])}"),
        ("whole run", _time(made.wall_seconds), f"{_time(made.wall_band[0])} to {_time(made.wall_band[1])}"),
    ]
    epochs = " + ".join(f"{stage.epochs} epochs of {stage.steps} steps" for stage in made.stages)
    title = f"{made.recipe} on {made.device} ({made.machine}): {epochs}, {made.batch} frames a step"
    right: Any = [("predicted", "right"), ("95 % band", "right")]
    lines = [*(f"try: {remedy}" for remedy in made.remedies), *(f"note: {remark}" for remark in made.remarks)]
    return [title, console.table(["", *right], rows), *lines]


def _time(seconds: float) -> str:
    """As a person says it: 0.08 s, 12.3 s, 4 min 05 s, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
