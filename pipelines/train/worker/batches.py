"""What a stage is fed with: the packs of its frames, and the order in which they come."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from models import augment
from pipelines.pack import Selection, prepare
from pipelines.pack.loader import Loader
from pipelines.pack.sampler import Sampler, loader_processes
from pipelines.train.plan.sources import StagePlan
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.validation import judged_by

Tell = Callable[[int, int, str], None]
"""Hears how far packing is (done, total) and, when a pack was made, what there is to say of it."""


def open_loader(plan: TrainPlan, stage: StagePlan, augmentation: dict[str, Any], local: int, tell: Tell) -> Loader:
    """The packs of the stage's frames, made where they are not there; also those that it is judged by, before anyone waits for them.

    `local` processes of the team share this machine.
    """
    packs = {}
    for data in (*stage.data, *judged_by(plan)):
        if data.digest not in packs:
            made = prepare(plan.packs, data.ref, plan.size, progress=lambda done, total: tell(done, total, ""))
            packs[data.digest] = made.pack
            if made.built:
                tell(len(made.pack), len(made.pack), made.said)
    parts = [Selection(packs[data.digest], packs[data.digest].select("train", data.limit)) for data in stage.data]
    make = partial(augment.build, augmentation, plan.size)
    return Loader(parts, make, plan.seed, processes=loader_processes(plan.device, local))


def make_sampler(plan: TrainPlan, stage: StagePlan, data: Loader) -> Sampler:
    """The order of the stage's frames."""
    return Sampler(
        data.counts,
        [part.share for part in stage.stage.data],
        plan.recipe.optimizer.batch_size,
        stage.stage.mixing,
        plan.seed,
        labelled=data.labelled,
        labelled_per_batch=stage.stage.labelled_per_batch,
    )
