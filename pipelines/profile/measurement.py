"""One profile from the plan to the prediction that is kept. Needs torch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from pipelines.profile.prediction import longest_stage, predict
from pipelines.profile.record import Profile, profiles, store
from pipelines.profile.rehearsal import Rehearsal
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace

SECONDS = 6.0
"""How long each part is timed, unless told otherwise: a minute in all on a fast device."""


def profile(ws: Workspace, plan: TrainPlan, *, seconds: float = SECONDS, report: Callable[[str], None] | None = None) -> Profile:
    """Time the loader alone, the step alone and both together on a plan's own frames, predict its run, and keep the prediction.

    Frames that are not packed yet are packed, as a training would do first; nothing else is left behind, and nothing is registered.
    `seconds` are spent on each part, in turns; a step that takes longer is taken a few times all the same.
    Raises VortexError where the training itself would: a loss that is not finite from the first steps on, a batch that does not fit.
    """
    folder = profiles(ws)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".rehearsal-") as staging:
        rehearsal = Rehearsal(plan, longest_stage(plan), Path(staging) / "stage", report or (lambda _: None))
        with rehearsal:
            timings = rehearsal.measure(seconds)
    prediction = predict(plan, timings)
    store(ws, prediction)
    return prediction
