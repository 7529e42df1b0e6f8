"""`vortex profile`: what a training will cost, before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from pipelines.train.plan.options import TrainOptions
from vortex_cli import console

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.profile.record import Profile
    from pipelines.workspace import Partition


def profile(
    options: TrainOptions,
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
    from pipelines.profile.record import require_utilisation
    from pipelines.train.plan.decide import decide
    from pipelines.train.plan.gather import gather

    ws = console.workspace()
    threshold = None if partition is None else _threshold(ws.config.partitions, partition)
    plan = decide(options, gather(ws, options))
    from pipelines.profile.measurement import profile as measure  # here, so that what cannot be planned is refused without torch

    prediction = measure(ws, plan, seconds=seconds, report=console.note)
    console.emit(prediction, *_tables(prediction))
    if threshold is not None:
        require_utilisation(prediction, threshold, str(partition))


def _threshold(partitions: dict[str, Partition], name: str) -> float:
    """The utilisation that a partition demands. Raises UsageError when vortex.toml does not say."""
    threshold = partitions[name].min_utilisation if name in partitions else None
    if threshold is None:
        demanding = ", ".join(sorted(each for each, partition in partitions.items() if partition.min_utilisation is not None)) or "none"
        raise UsageError(
            f"vortex.toml demands no utilisation of partition {name!r}; it does of: {demanding}",
            f"[partitions.{name}] min_utilisation = 0.5",
        )
    return threshold


def _tables(profile: Profile) -> list[RenderableType]:
    def rate(value: float, band: tuple[float, float]) -> tuple[str, str]:
        return f"{value:.1f} frames/s", f"{band[0]:.1f} to {band[1]:.1f}"

    rows: list[Any] = [
        ("loader alone", *rate(profile.loader_rate, profile.loader_band)),
        ("step alone", *rate(profile.step_rate, profile.step_band)),
        ("together", *rate(profile.together_rate, profile.together_band)),
        ("device computes", f"{profile.utilisation:.0%}", f"{profile.utilisation_band[0]:.0%} to {profile.utilisation_band[1]:.0%}"),
        ("validation", _time(profile.validation_seconds), None),
        ("checkpoint", _time(profile.checkpoint_seconds), None),
        ("epoch", _time(profile.epoch_seconds), f"{_time(profile.epoch_band[0])} to {_time(profile.epoch_band[1])}"),
        ("whole run", _time(profile.wall_seconds), f"{_time(profile.wall_band[0])} to {_time(profile.wall_band[1])}"),
    ]
    epochs = " + ".join(f"{stage.epochs} epochs of {stage.steps} steps" for stage in profile.stages)
    title = f"{profile.recipe} on {profile.device} ({profile.machine}): {epochs}, {profile.batch} frames a step"
    right: Any = [("predicted", "right"), ("95 % band", "right")]
    lines = [*(f"try: {remedy}" for remedy in profile.remedies), *(f"note: {remark}" for remark in profile.remarks)]
    return [title, console.table(["", *right], rows), *lines]


def _time(seconds: float) -> str:
    """As a person says it: 0.08 s, 12.3 s, 4 min 05 s, 3 h 20 min."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
