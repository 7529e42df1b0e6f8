"""From timings to a prediction with its error band, and to what would help."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.machine import cores
from pipelines.compare.intervals import percentiles
from pipelines.pack.sampler import MOST_PROCESSES, epoch_order
from pipelines.profile.record import Profile, StageCost, cost_digest, machine
from pipelines.profile.timing import Timings
from pipelines.train.plan.sources import StagePlan
from pipelines.train.plan.train_plan import STALL, TrainPlan
from pipelines.train.worker.validation import validation_data

RESAMPLES: Final = 2000
LOOP: Final[tuple[str, ...]] = ("together", "frozen")
"""What was timed of the loop itself, which checkpoints interrupt."""
BUSY: Final = 0.9
"""Share of the resident batch's rate from which on the loader is not worth a word: less could be chance."""
LONG: Final = 0.2
"""Share of an epoch beyond which validation is worth a word."""
GAIN: Final = 1.1
"""How many times as fast twice the batch must be to be advised."""

Samples = NDArray[np.float64]


def predict(plan: TrainPlan, timings: Timings) -> Profile:
    """What a plan will cost by these timings. The bands come from resampling the rounds, the same ones for every part."""
    drawn = _resampled(timings)
    validation, checkpoint = _validation(plan, timings, drawn), drawn["checkpoint"]
    # Beside those of epochs' ends, checkpoints come by the clock.
    paced = {name: drawn[name] * (1 + checkpoint / (60 * plan.checkpoint_minutes)) for name in LOOP if name in drawn}
    costs = [_stage_cost(stage, plan, paced, validation, checkpoint) for stage in plan.stages]
    wall = sum((cost.frozen_epochs * cold + (cost.epochs - cost.frozen_epochs) * warm for cost, warm, cold in costs), validation)
    wall = wall + len(costs) * (timings.start + checkpoint)
    longest, epoch, _ = costs[longest_stage(plan)]
    computing = longest.steps * np.minimum(drawn["step"], drawn["together"]) + timings.forward * _validated(plan)
    busy = np.minimum(1.0, computing / epoch)
    rates = {name: timings.batch / drawn[name] for name in ("loader", "step", "together")}
    return Profile(
        recipe=plan.recipe.name,
        digest=cost_digest(plan),
        machine=machine(),
        device=_device(plan),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        batch=timings.batch,
        rounds=len(timings.together),
        loader_rate=rates["loader"][0],
        loader_band=percentiles(rates["loader"][1:]),
        step_rate=rates["step"][0],
        step_band=percentiles(rates["step"][1:]),
        together_rate=rates["together"][0],
        together_band=percentiles(rates["together"][1:]),
        utilisation=busy[0],
        utilisation_band=percentiles(busy[1:]),
        validation_seconds=validation[0],
        checkpoint_seconds=checkpoint[0],
        start_seconds=timings.start,
        epoch_seconds=epoch[0],
        epoch_band=percentiles(epoch[1:]),
        wall_seconds=wall[0],
        wall_band=percentiles(wall[1:]),
        stages=tuple(cost for cost, _, _ in costs),
        remedies=remedies(plan, timings, float(epoch[0]), float(validation[0])),
        remarks=_remarks(plan),
    )


def steps_of(stage: StagePlan, plan: TrainPlan) -> int:
    """Steps of an epoch of a stage."""
    counts = [data.frames["train"] for data in stage.data]
    shares = [data.share for data in stage.stage.data]
    return len(epoch_order(counts, shares, plan.recipe.optimizer.batch_size, stage.stage.mixing, plan.seed, 0))


def longest_stage(plan: TrainPlan) -> int:
    """Number of the stage with the most steps in all: the one that is rehearsed. Network, batch and frame size are those of every stage."""
    return max(range(len(plan.stages)), key=lambda number: steps_of(plan.stages[number], plan) * plan.stages[number].last_epoch)


def remedies(plan: TrainPlan, timings: Timings, epoch: float, validation: float) -> tuple[str, ...]:
    """What these numbers say would help, by the share of an `epoch` (seconds, `validation` included) that it would save."""
    step, together = _median(timings.step), _median(timings.together)
    savings: list[tuple[float, str]] = []
    if step < BUSY * together:
        savings.append((1 - step / together, _feeding(plan, timings)))
    if validation > LONG * epoch:
        cost = f"validating {_validated(plan)} frames takes {validation:.1f} of the {epoch:.1f} s of an epoch"
        savings.append((validation / epoch, f"{cost}: judge by fewer frames (--limit)"))
    gain = 2 * step / _median(timings.doubled) if timings.doubled and all(timings.doubled) else 1.0
    if gain > GAIN:
        cost = f"--batch-size {2 * plan.recipe.optimizer.batch_size} takes frames {gain:.1f} times as fast on this device"
        savings.append((1 - 1 / gain, f"{cost} (it changes the training: mind the rates)"))
    return tuple(advice for _, advice in sorted(savings, reverse=True))


def _feeding(plan: TrainPlan, timings: Timings) -> str:
    """What to do for a step that waits for its frames."""
    loader, step = _median(timings.loader), _median(timings.step)
    rates = f"the loader gives {timings.batch / loader:.0f} frames/s, the step takes {timings.batch / step:.0f}"
    if loader <= step:
        return f"{rates}: each alone is fast enough, but they share {cores()} core(s): use more (--cpus-per-task)"
    if not timings.processes:
        return f"{rates}: use more cores, for a thread prepares frames beside the network"
    rates += f" with {timings.processes} loader process(es)"
    enough = math.ceil(timings.processes * loader / step)
    if enough <= MOST_PROCESSES:
        return f"{rates}: {enough} would do, so ask for {enough + 1} cores a GPU (--cpus-per-task)"
    if not plan.step.augment_on_device:
        return f"{rates} of at most {MOST_PROCESSES}, and {enough} would be needed: augment on the GPU (--step augment_on_device=on)"
    return f"{rates}, which only copy: keep build/packs on a faster disk, or in memory"


def _stage_cost(
    stage: StagePlan, plan: TrainPlan, paced: dict[str, Samples], validation: Samples, checkpoint: Samples
) -> tuple[StageCost, Samples, Samples]:
    """A stage, and samples of its epochs' seconds with the encoder trained and frozen. Short epochs share a checkpoint."""
    steps, epochs = steps_of(stage, plan), stage.last_epoch
    alone = [steps * pace + validation for pace in (paced["together"], paced.get("frozen", paced["together"]))]
    warm, cold = (epoch + np.minimum(checkpoint, STALL * epoch) for epoch in alone)
    frozen = min(plan.recipe.optimizer.freeze_encoder_epochs, epochs)
    cost = StageCost(
        name=stage.stage.name,
        steps=steps,
        epochs=epochs,
        frozen_epochs=frozen,
        epoch_seconds=warm[0],
        frozen_epoch_seconds=cold[0],
    )
    return cost, warm, cold


def _validation(plan: TrainPlan, timings: Timings, drawn: dict[str, Samples]) -> Samples:
    """Seconds of one validation: every set is opened, and what follows its first batch goes at the measured rate."""
    sets = validation_data(plan)
    rest = sum(max(0, data.frames["val"] - timings.validation_batch) for data in sets)
    each = drawn.get("validation_frames", np.full(RESAMPLES + 1, timings.validation_start / timings.validation_batch))
    return len(sets) * timings.validation_start + rest * each


def _validated(plan: TrainPlan) -> int:
    return sum(data.frames["val"] for data in validation_data(plan))


def _resampled(timings: Timings) -> dict[str, Samples]:
    """For each part its estimate, then `RESAMPLES` resampled ones. Turns of one round belong together, and are drawn together.

    A turn's time is a mean over its steps, because an epoch is their sum; over the turns the median leaves out one that was disturbed.
    """
    random = np.random.default_rng(0)
    rounds = random.integers(0, len(timings.together), (RESAMPLES, len(timings.together)))
    drawn = {}
    for name in ("loader", "step", "together", "frozen", "validation_frames", "checkpoint"):
        times = np.array(getattr(timings, name))
        if len(times):
            of_rounds = name not in ("validation_frames", "checkpoint")
            rows = rounds if of_rounds else random.integers(0, len(times), (RESAMPLES, len(times)))
            drawn[name] = np.concatenate([[np.median(times)], np.median(times[rows], axis=1)])
    return drawn


def _median(times: Sequence[float]) -> float:
    return float(np.median(times))


def _remarks(plan: TrainPlan) -> tuple[str, ...]:
    if not plan.workers:
        return ()
    return (f"measured is one of {plan.workers} workers alone: averaging gradients, and sharing cores with the others, comes on top",)


def _device(plan: TrainPlan) -> str:
    if plan.device == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name()
