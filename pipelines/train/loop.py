"""The loop of one stage: the same in this process and in every Ray worker, and stoppable between any two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from core.errors import VortexError
from models import augment, checkpoint
from models.losses import LossTerms, MultiTaskLoss
from models.student import Prediction, Student
from pipelines.pack import Selection, prepare
from pipelines.pack.loader import Batch, Loader
from pipelines.train.building import make_loss, make_optimizer, set_rates
from pipelines.train.checkpointing import Checkpoints, Progress
from pipelines.train.data import Sampler, SamplerState, loader_processes
from pipelines.train.events import Emit, EventKind, TrainEvent
from pipelines.train.plan import TrainPlan
from pipelines.train.team import Team
from pipelines.train.validating import evaluations, headline, judged_by

START = "start.safetensors"
BAD_BATCHES = 5
"""Batches in a row without a finite total after which training stops: one is bad luck, five are a diverged network."""
DIVERGED_M = 1000.0
"""Best validation RMSE beyond which a student has learnt nothing: a hundred times the farthest depth that is judged. The lineage's
relative teachers missed by 75 m, and that is a finding to keep."""
TERMS = ("loss", "depth", "segmentation", "smoothness")


class Stopped(Exception):
    """The loop was asked to stop; all that it had done is safe on disk."""


class Task(nn.Module):
    """The student and its loss as one module, so that a team averages the gradients of both."""

    def __init__(self, student: Student, loss: MultiTaskLoss) -> None:
        super().__init__()
        self.student, self.loss = student, loss

    def forward(self, batch: Mapping[str, Tensor]) -> LossTerms:
        """Predict, and judge the prediction. On a GPU the network runs in bfloat16; the loss never does."""
        with torch.autocast(batch["rgb"].device.type, torch.bfloat16, enabled=batch["rgb"].is_cuda):
            prediction = self.student(batch["rgb"])
        terms: LossTerms = self.loss(Prediction(prediction.depth.float(), prediction.logits.float()), batch)
        return terms


class StageLoop:
    """One stage of a plan, from its starting weights or its newest checkpoint to its last epoch."""

    def __init__(self, plan: TrainPlan, stage: int, folder: Path, emit: Emit, should_stop: Callable[[], bool]) -> None:
        """Read the frames, and put the weights and the optimiser where the newest checkpoint left them."""
        self.plan, self.recipe, self.stage = plan, plan.recipe, plan.stages[stage]
        self.team = Team.here(plan.device)
        self.checkpoints = Checkpoints(folder)
        self.emit, self.should_stop = emit, should_stop
        self.speed = 0.0
        torch.manual_seed(plan.seed)
        self.student, _ = checkpoint.load(folder / START, encoder=self.recipe.student.encoder)
        self.student.to(self.team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = make_loss(self.recipe).to(self.team.device)
        self.optimizer = make_optimizer(self.recipe, self.student, self.loss)
        self.data = self._read()
        self.sampler = self._sampler()
        self.progress = self.checkpoints.restore(self.student, self.optimizer, self.loss) or Progress()

    def run(self) -> None:
        """Train to the last epoch. Raises Stopped when asked to stop, VortexError when training cannot go on."""
        if self.progress == Progress():
            self._save()
        self._say("started", epoch=self.progress.epoch)
        try:
            while self.progress.epoch < self.stage.last_epoch:
                self._train_epoch()
                self._judge_epoch()
        except (MemoryError, RuntimeError) as error:
            # torch's own error on a GPU is a RuntimeError too; on a CPU only its words tell.
            if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and "allocate memory" not in str(error):
                raise
            height, width = self.plan.size
            raise VortexError(
                f"{self.plan.run}: a batch of {self.recipe.optimizer.batch_size} frames of {height}x{width} does not fit into the memory",
                "train again with a smaller --batch-size or --size",
            ) from error
        finally:
            self.data.close()
        best = self.progress.best
        if best is None or best > DIVERGED_M:
            found = "no epoch had a finite validation RMSE" if best is None else f"the best validation RMSE is {best:.3g} m"
            raise VortexError(
                f"{self.plan.run} diverged: {found}, so nothing is registered",
                "train again with a lower --lr, and look at the data: vortex validate",
            )

    def _train_epoch(self) -> None:
        epoch, first = self.progress.epoch, self.progress.step
        self.sampler.restore(SamplerState(self.plan.seed, epoch, first))
        order = self.sampler.order()
        self.student.train()
        self.student.freeze_encoder(epoch < self.recipe.optimizer.freeze_encoder_epochs)
        task = self.team.join(Task(self.student, self.loss))
        started = time.perf_counter()
        for batch in self.data.batches(order, epoch, first, self.team.rank, self.team.size):
            self._stop_if_asked()
            within = self.progress.step / len(order) if self.recipe.schedule.per == "step" else 0.0
            set_rates(self.optimizer, self.recipe, epoch + within, self.stage.stage.epochs)
            self._step(task, batch)
            self.progress.step += 1
            self.speed = (self.progress.step - first) * order.shape[1] / (time.perf_counter() - started)
            self._say("step", epoch=epoch, step=self.progress.step, steps=len(order), values=self._means())

    def _step(self, task: nn.Module, batch: Batch) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        terms: LossTerms = task(batch.to(self.team.device))
        broken, labelled, valid = self.team.sum(not bool(torch.isfinite(terms.total)), terms.labelled_pixels, terms.valid_pixels)
        if broken:
            self._skip(batch, terms)
            return
        terms.total.backward()  # type: ignore[no-untyped-call]
        self.loss.after_backward(self.student, int(labelled), int(valid))
        self.optimizer.step()
        self.loss.project()
        self._count(terms)

    def _skip(self, batch: Batch, terms: LossTerms) -> None:
        """Leave the weights as they are; say whose frames did it, and give up when it keeps happening."""
        self.progress.bad_streak += 1
        self.progress.skipped += 1
        frames = [name for names in self.team.gather(batch.ids) for name in names]
        broken = (
            ", ".join(name for name, term in zip(TERMS, _scalars(terms), strict=True) if not math.isfinite(term))
            or "loss of another worker"
        )
        where = f"epoch {self.progress.epoch + 1}, step {self.progress.step + 1}"
        if self.progress.bad_streak >= BAD_BATCHES:
            raise VortexError(
                f"{BAD_BATCHES} batches in a row had a loss that is not finite ({broken}), the last at {where}: frames {', '.join(frames)}",
                "look at these frames, lower --lr, or start from other weights; the last good checkpoint is kept",
            )
        self._say("note", message=f"{where}: {broken} is not finite, the batch was skipped: frames {', '.join(frames)}")

    def _judge_epoch(self) -> None:
        """Validate, remember the best, and make the epoch safe before anyone hears of it."""
        self._stop_if_asked()
        values = self.team.share(self._validate() if self.team.leads else {})
        if not values:
            self._stop()
        rmse, epoch = values["rmse"], self.progress.epoch + 1
        is_best = math.isfinite(rmse) and (self.progress.best is None or rmse < self.progress.best)
        losses = self._means()
        self.progress = replace(self.progress, epoch=epoch, step=0, sums={}, validation=values)
        if is_best:
            self.progress.best, self.progress.best_epoch = rmse, epoch
        self._save(is_best=is_best)
        rates = {f"lr/{name}": group["lr"] for name, group in zip(("encoder", "others"), self.optimizer.param_groups, strict=False)}
        report = {f"train/{name}": value for name, value in losses.items()} | {f"val/{name}": value for name, value in values.items()}
        best = {"best/rmse": self.progress.best} if self.progress.best is not None else {}
        self._say("epoch", epoch=epoch, values=report | rates | best | {"train/skipped_batches": float(self.progress.skipped)})

    def _validate(self) -> dict[str, float]:
        """Metrics of the student as it is; nothing when a stop was asked for meanwhile."""

        def look_up(done: int, total: int) -> None:
            if self.should_stop():
                raise Stopped

        try:
            return headline(evaluations(self.plan, judged_by(self.plan), self.student, str(self.team.device), look_up))
        except Stopped:
            return {}

    def _stop_if_asked(self) -> None:
        if self.team.any(self.should_stop()):
            self._stop()

    def _stop(self) -> NoReturn:
        self._save()
        raise Stopped

    def _save(self, *, is_best: bool = False) -> None:
        if self.team.leads:
            meta = {"run": self.plan.run, "recipe": self.recipe.name, "stage": self.stage.stage.name, "epoch": self.progress.epoch}
            try:
                self.checkpoints.save(self.student, self.optimizer, self.loss, self.progress, meta, is_best=is_best)
            except VortexError as error:
                message = f"{self.plan.run}: its checkpoint cannot be written, the one before it is kept ({error.message})"
                raise VortexError(message, f"{error.hint}: vortex train --resume {self.plan.run}", error.details) from error

    def _read(self) -> Loader:
        """Open the packs of the stage's frames, and make those that are not there; also those it is judged by, before anyone waits."""

        def tell(done: int, total: int) -> None:
            if self.should_stop():
                raise Stopped
            self._say("reading", step=done, steps=total)

        packs = {}
        for data in (*self.stage.data, *judged_by(self.plan)):
            if data.digest not in packs:
                made = prepare(self.plan.packs, data.ref, self.plan.size, progress=tell)
                packs[data.digest] = made.pack
                if made.built:
                    self._say("reading", step=len(made.pack), steps=len(made.pack), message=made.said)
        parts = [Selection(packs[data.digest], packs[data.digest].select("train", data.limit)) for data in self.stage.data]
        make = partial(augment.build, self.recipe.augmentation.model_dump(), self.plan.size)
        return Loader(parts, make, self.plan.seed, processes=loader_processes(self.plan.device, self.team.size))

    def _sampler(self) -> Sampler:
        stage = self.stage.stage
        return Sampler(
            self.data.counts,
            [data.share for data in stage.data],
            self.recipe.optimizer.batch_size,
            stage.mixing,
            self.plan.seed,
            labelled=self.data.labelled,
            labelled_per_batch=stage.labelled_per_batch,
        )

    def _count(self, terms: LossTerms) -> None:
        """Add a batch's losses up, each over the batches that it was supervised in."""
        self.progress.bad_streak = 0
        counted = (1, terms.valid_pixels, terms.labelled_pixels, terms.valid_pixels)
        sums = self.progress.sums
        for name, value, pixels in zip(TERMS, _scalars(terms), counted, strict=True):
            if pixels:
                sums[name] = sums.get(name, 0.0) + value
                sums[f"{name}.batches"] = sums.get(f"{name}.batches", 0.0) + 1

    def _means(self) -> dict[str, float]:
        sums = self.progress.sums
        return {name: sums[name] / sums[f"{name}.batches"] for name in TERMS if name in sums}

    def _say(self, kind: EventKind, **said: Any) -> None:
        if self.team.leads:
            stage, epochs = self.stage.stage.name, self.stage.last_epoch
            self.emit(TrainEvent(kind, stage=stage, epochs=epochs, frames_per_second=self.speed, **said))


def _scalars(terms: LossTerms) -> list[float]:
    """The values that `TERMS` names, brought from the device in one go."""
    scalars: list[float] = torch.stack([terms.total.detach(), terms.depth, terms.segmentation, terms.smoothness]).tolist()
    return scalars
