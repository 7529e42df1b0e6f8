"""The anchor of a stage: made once, before its first step, and kept beside its starting weights, so that resuming pulls the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from models import augment, checkpoint
from models.anchor import Anchor, fisher
from models.student import Student
from models.tensors import CheckpointError, digest, read_tensors, write_tensors
from pipelines.pack.loader import Loader
from pipelines.pack.preparing import prepare
from pipelines.pack.reading import Selection
from pipelines.recipes.schema import AugmentationRecipe
from pipelines.train.plan.sources import DataPlan
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.optimizer import make_loss

ANCHOR: Final = "anchor.safetensors"
FISHER_FRAMES: Final = 256
"""Frames of the old data that importance is measured on. Kirkpatrick et al. take the whole set; a diagonal of means needs far less."""
_UNCHANGED: Final = AugmentationRecipe(hflip=0.0, color_jitter=None, random_crop_resize=None)


def is_anchored(plan: TrainPlan, number: int) -> bool:
    """Whether a stage is held to its starting weights: the recipe says so, and they were trained on something."""
    return plan.recipe.anchor is not None and (number > 0 or plan.start.kind == "version")


def lay_anchor(plan: TrainPlan, number: int, folder: Path, start: Path, on_note: Callable[[str], None]) -> None:
    """Make the anchor of stage `number` in its folder from the weights in `start`, unless it is there; nothing when it has none.

    EWC's takes a while, of which `on_note` hears. Raises VortexError when the old data that EWC needs cannot be read.
    """
    recipe = plan.recipe.anchor
    if recipe is None or not is_anchored(plan, number) or (folder / ANCHOR).exists():
        return
    student, _ = checkpoint.load(start, encoder=plan.recipe.student.encoder)
    importance = None
    if recipe.kind == "ewc":
        on_note(f"measuring which weights matter for the old data, on up to {FISHER_FRAMES} of its frames")
        # The workers may have other devices than this process: it takes what it was planned on only when it trains itself.
        device = torch.device("cpu" if plan.workers else plan.device)
        importance = _importance(plan, student.to(device), old_data(plan, number), device)
    anchor = Anchor.at(student, recipe.kind, recipe.strength, importance)
    tensors = anchor.tensors()
    write_tensors(folder / ANCHOR, tensors, {"kind": recipe.kind, "digest": digest(tensors)})


def read_anchor(plan: TrainPlan, number: int, folder: Path, student: Student) -> Anchor | None:
    """The anchor of a stage beside the student's weights in memory; None when the stage has none. Raises CheckpointError."""
    recipe = plan.recipe.anchor
    if recipe is None or not is_anchored(plan, number):
        return None
    tensors, metadata = read_tensors(folder / ANCHOR)
    if metadata.get("digest", actual := digest(tensors)) != actual:
        raise CheckpointError(
            f"{folder / ANCHOR}: the anchor of the stage is not what was written",
            "remove the file: it is made again from the starting weights",
        )
    return Anchor.from_tensors(recipe.kind, recipe.strength, tensors).to(student)


def old_data(plan: TrainPlan, number: int) -> Sequence[DataPlan]:
    """What the starting weights of a stage were trained on: the stage before it, or the parent's datasets."""
    return plan.stages[number - 1].data if number else plan.anchor_data


def _importance(plan: TrainPlan, student: Student, data: Sequence[DataPlan], device: torch.device) -> dict[str, Tensor]:
    loss = make_loss(plan.recipe).to(device)

    def judge(batch: Mapping[str, Tensor]) -> Tensor:
        total: Tensor = loss(student(batch["rgb"]), batch).total
        return total

    return fisher(student, judge, _single_frames(plan, data, device))


def _single_frames(plan: TrainPlan, data: Sequence[DataPlan], device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Training frames of `data`, one at a time, spread evenly over it."""
    packs = [prepare(plan.packs, item.ref, plan.size).pack for item in data]
    parts = [Selection(pack, pack.select("train", item.limit)) for pack, item in zip(packs, data, strict=True)]
    make: Callable[[], augment.Augmentation] = partial(augment.build, _UNCHANGED.model_dump(), plan.size)
    total = sum(len(part) for part in parts)
    count = min(total, FISHER_FRAMES)
    order = (np.arange(count, dtype=np.int64) * total // max(count, 1))[:, None]
    with Loader(parts, make, plan.seed) as loader:
        for batch in loader.batches(order, epoch=0):
            yield batch.to(device)
