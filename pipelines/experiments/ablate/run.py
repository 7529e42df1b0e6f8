"""An ablation from its factor to the verdict: every arm with every seed, and what the difference is."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import Interrupted, UsageError, VortexError
from core.files import write_atomic
from pipelines.compare.verdict import FEWEST_EFFECTIVE
from pipelines.experiments.ablate.arm_runs import ArmRun, carry_out, run_name
from pipelines.experiments.ablate.effects import Ablation, judge
from pipelines.experiments.ablate.factor import arms
from pipelines.runs.events import Emit, TrainEvent
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.validation import validation_data
from pipelines.workspace import Workspace

MOST_SEEDS = 100
FEWEST_FRAMES = 2
"""One frame says nothing about others. How many of them hold a depth to judge by is only known once they are read."""
RESULT = "result.json"

OnRun = Callable[[str, int, int], None]
"""Called with (run, its number from 1, runs in all) before each run."""


def ablate(
    ws: Workspace,
    options: TrainOptions,
    *,
    vary: str | None = None,
    against: str | None = None,
    seeds: int = 3,
    on_run: OnRun = lambda run, number, total: None,
    on_event: Emit = lambda event: None,
) -> Ablation:
    """Train every arm with every seed and judge the difference; nothing is registered.

    `options` are the same for all arms; `options.seed` is the first seed. `vary` is
    `KEY=A,B[,C]`, or `KEY` alone together with `against`, a second recipe; without it the recipe's own variants are compared.
    All that decides the outcome is in the name of a run, so that the same call goes on where it was stopped.
    A training that diverges is a result, and the others go on.
    Raises UsageError for a factor that does not vary, VortexError for too few validation frames, GateRefused when more than the factor
    differs, Interrupted on a signal.
    """
    if not 1 <= seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds {seeds} is out of range, allowed: 1 to {MOST_SEEDS}", "3 are the fewest that can decide anything")
    factor, planned = arms(ws, options, vary, against)
    _require_frames(next(iter(planned.values())), on_event)
    folder = ws.build / "ablations" / factor.name
    measured: list[ArmRun] = []
    total = seeds * len(planned)
    try:
        # Seed by seed, so that what is there after a stop is already paired.
        for seed in range(options.seed, options.seed + seeds):
            for arm, plan in planned.items():
                on_run(run_name(factor, arm, seed), len(measured) + 1, total)
                measured.append(carry_out(ws, factor, arm, plan.model_copy(update={"seed": seed}), folder, on_event))
    except Interrupted as error:
        # Of the same kind, so that a job that is to be requeued still is.
        again = "run the same command again: it goes on"
        raise type(error)(f"{factor.name} was stopped with {len(measured)} of {total} runs done", again) from error
    result = judge(factor, measured)
    write_atomic(folder / RESULT, result.model_dump_json(indent=1))
    return result


def _require_frames(plan: TrainPlan, on_event: Emit) -> None:
    """Refuse, before anything is trained, a validation that could say nothing about other frames, and tell of one that has too few."""

    judged = validation_data(plan)
    count = sum(data.frames["val"] for data in judged)
    if count < FEWEST_FRAMES:
        raise VortexError(
            f"{', '.join(data.name for data in judged)}: {count} validation frame(s), and an ablation needs at least {FEWEST_FRAMES}",
            "train on data with a larger validation split: --manifest",
        )
    if count < FEWEST_EFFECTIVE:
        message = f"{count} validation frames will be too little to say anything: {FEWEST_EFFECTIVE:.0f} independent ones are needed"
        on_event(TrainEvent("note", message=message))
