"""The batches of a stage: packs of its frames, the order in which they come, and tensors that wait on the device when they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from models import augment, augment_device
from pipelines.pack.loader import Batch, Loader
from pipelines.pack.preparing import prepare
from pipelines.pack.reading import Order, Selection
from pipelines.pack.sampler import Sampler, loader_processes
from pipelines.train.plan.sources import StagePlan
from pipelines.train.plan.switches import Switches
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.validation import validation_data

OnPacking = Callable[[int, int, str], None]
"""Hears how far packing is (done, total) and, when a pack was made, what there is to say of it."""
Tensors = dict[str, Tensor]


class Augment(Protocol):
    """What `models.augment_device.build` makes."""

    def __call__(self, batch: Tensors, seeds: tuple[int, ...]) -> Tensors:
        """Augment a batch that is on the device; each frame as its seed has it."""


class Batches:
    """One process's part of every batch of a stage, epoch by epoch, on its device. Close it.

    A batch follows from (seed, epoch, step) alone, so that an epoch can be entered at any step: that is all that resuming needs.
    """

    def __init__(self, plan: TrainPlan, stage: StagePlan, group: ProcessGroup, on_packing: OnPacking) -> None:
        """Pack the frames that are not yet; also those of the validation, before anyone waits for them."""
        self._group, self._switches = group, plan.step
        augmentation = plan.recipe.augmentation.model_dump()
        self._augment = augment_device.build(augmentation) if plan.step.augment_on_device else None
        self.loader = _open_loader(plan, stage, {} if self._augment else augmentation, group.local, on_packing)
        self.sampler = Sampler(
            self.loader.counts,
            [part.share for part in stage.stage.data],
            plan.recipe.optimizer.batch_size,
            stage.stage.mixing,
            plan.seed,
            labelled=self.loader.labelled,
            labelled_per_batch=stage.stage.labelled_per_batch,
        )

    def order(self, epoch: int) -> Order:
        """Frame numbers [steps, batch] of an epoch, over all processes."""
        return self.sampler.order(epoch)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[Batch, Tensors]]:
        """The batches of an epoch from step `first` on, each with its tensors as `device_batches` gives them."""
        read = self.loader.batches(self.order(epoch), epoch, first, self._group.rank, self._group.size)
        return device_batches(read, self._group.device, self._switches, self._augment)

    def close(self) -> None:
        """End what prepares batches."""
        self.loader.close()


def _open_loader(plan: TrainPlan, stage: StagePlan, augmentation: dict[str, Any], local: int, on_packing: OnPacking) -> Loader:
    """The loader of the stage's frames; `local` processes of the group share this machine."""
    packs = {}
    for data in (*stage.data, *validation_data(plan)):
        if data.digest not in packs:
            prepared = prepare(plan.packs, data.ref, plan.size, progress=lambda done, total: on_packing(done, total, ""))
            packs[data.digest] = prepared.pack
            if prepared.built:
                on_packing(len(prepared.pack), len(prepared.pack), prepared.summary)
    parts = [Selection(packs[data.digest], packs[data.digest].select("train", data.limit)) for data in stage.data]
    make = partial(augment.build, augmentation, plan.size)
    return Loader(parts, make, plan.seed, processes=loader_processes(plan.device, local))


def device_batches(
    batches: Iterable[Batch], device: torch.device, switches: Switches, augment: Augment | None = None
) -> Iterator[tuple[Batch, Tensors]]:
    """Each batch with its tensors on the device (see `Batch.to`), augmented there when `augment` is given.

    Of the batch itself only what needs no buffer (`ids`, `seeds`) is still good: on a GPU the next ones are already being read.
    """

    def moved(batch: Batch) -> Tensors:
        tensors = batch.to(device)
        return augment(tensors, batch.seeds) if augment else tensors

    if device.type != "cuda" or not switches.prefetch:
        for batch in batches:
            yield batch, moved(batch)
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    source = iter(batches)
    ahead: deque[tuple[Batch, Tensors, torch.cuda.Event]] = deque()
    while True:
        while len(ahead) < switches.prefetch and (coming := next(source, None)) is not None:
            with torch.cuda.stream(stream):
                ahead.append((coming, moved(coming), stream.record_event()))
        if not ahead:
            return
        batch, tensors, arrived = ahead.popleft()
        computing = torch.cuda.current_stream(device)
        computing.wait_event(arrived)
        for tensor in tensors.values():
            # They were made on the other stream: their memory must not be given to a later batch while this one is computed.
            tensor.record_stream(computing)
        yield batch, tensors
