"""A stage's training: its step, and the loop over its epochs. The same in this process and in every Ray worker, stoppable between any two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor

from models.losses import LossTerms
from pipelines.pack.loader import Batch
from pipelines.runs.events import Diverged, Emit, EventKind, TrainEvent
from pipelines.runs.state import NONFINITE, learnt
from pipelines.runs.stop import Stopped
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker import memory, nonfinite
from pipelines.train.worker.batches import Batches
from pipelines.train.worker.checkpoints import Checkpoints, CheckpointWriter, Progress, seed_generators
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.learner import Learner, load_learner
from pipelines.train.worker.optimizer import rates, set_rates
from pipelines.train.worker.validation import validate


@dataclass(frozen=True)
class StepResult:
    """What a step came to, over the whole group: the mean losses by name, and how many pixels supervised depth and classes.

    `nonfinite` says what of the batch was not finite; the step has then changed nothing, and the losses are not worth counting.
    """

    losses: dict[str, float]
    valid_pixels: int
    labelled_pixels: int
    nonfinite: str = ""


def train_step(learner: Learner, batch: Mapping[str, Tensor], group: ProcessGroup) -> StepResult:
    """Take one step on a batch that is on the device (see `Batch.to`), every process of the group on its part of it."""
    with group.apart():
        return _step(learner, batch, group)


def _step(learner: Learner, batch: Mapping[str, Tensor], group: ProcessGroup) -> StepResult:
    learner.optimizer.zero_grad(set_to_none=True)
    learner.guard.save()
    terms: LossTerms = learner.network(batch)
    if learner.anchor:
        terms = terms._replace(total=terms.total + learner.anchor.penalty(learner.student))
    terms.total.backward()  # type: ignore[no-untyped-call]
    # A loss that is not finite leaves gradients that are not, and in a group everybody has them: one look suffices for both.
    norm = nonfinite.gradient_norm(weight for part in learner.optimizer.param_groups for weight in part["params"])
    *values, gradient, statistics = nonfinite.scalars(terms, norm, learner.guard.norm())
    finite = math.isfinite(values[0] + gradient + statistics)
    broken, *sums = group.sum(not finite, *values)
    losses = {name: total / group.size for name, total in zip(nonfinite.TERMS, sums, strict=True)}
    if broken:
        learner.guard.undo()
        fault = nonfinite.describe(dict(zip(nonfinite.TERMS, values, strict=True)), gradient, statistics)
        return StepResult(losses, terms.valid_pixels, terms.labelled_pixels, fault)
    learner.loss.after_backward(learner.student, terms.labelled_pixels, terms.valid_pixels)
    learner.optimizer.step()
    learner.loss.project()
    if learner.ema:
        learner.ema.update(learner.student)
    return StepResult(losses, terms.valid_pixels, terms.labelled_pixels)


def count_step(progress: Progress, result: StepResult, frames: Sequence[str], allowed: int) -> None:
    """Count a step; of one that was not finite, remember the frames. Raises Diverged when that happened `allowed` times in a row."""
    if result.nonfinite:
        progress.skip(frames)
    else:
        progress.add(result.losses, result.valid_pixels, result.labelled_pixels)
    if progress.bad_streak >= allowed:
        where = f"epoch {progress.epoch + 1}, step {progress.step + 1}"
        raise Diverged(
            f"{allowed} batches in a row were not finite ({result.nonfinite}), the last at {where}: frames {', '.join(frames)}",
            "look at these frames, lower --lr, or start from other weights; the last good checkpoint is kept",
            (f"frames of all {allowed}: {', '.join(dict.fromkeys(progress.bad_frames))}",),
        )
    progress.step += 1


class StageLoop:
    """One stage of a plan, from its starting weights or its newest checkpoint to its last epoch."""

    def __init__(
        self,
        plan: TrainPlan,
        number: int,
        folder: Path,
        emit: Emit,
        should_stop: Callable[[], bool],
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Read the frames, and put the weights and the optimiser where the newest checkpoint left them; checkpoints are written in `turn`."""
        self.plan, self.stage = plan, plan.stages[number]
        self.emit, self.should_stop = emit, should_stop
        self.group = ProcessGroup.current(plan.device, plan.sync_batch_norm)
        self.frames_per_second = 0.0
        seed_generators(plan.seed)
        self.learner = load_learner(plan, number, folder, self.group, lambda message: self._emit("note", message=message))
        self.batches = Batches(plan, self.stage, self.group, self._report_packing)
        self.tensors: dict[str, Tensor] = {}
        self.checkpoints = Checkpoints(folder, turn)
        self.progress = self.checkpoints.restore(self.learner) or Progress()
        if self.group.leads:
            self.checkpoints.sweep()
        self.writer = CheckpointWriter(self.checkpoints, self.learner, plan, self.stage.stage.name, self.group.leads)

    def run(self) -> None:
        """Train to the last epoch. Raises Stopped when asked to stop, VortexError when training cannot go on."""
        self._emit("started", epoch=self.progress.epoch)
        try:
            while self.progress.epoch < self.stage.last_epoch:
                self.train_epoch()
                self.validate_epoch()
        except (MemoryError, RuntimeError) as error:
            if not memory.is_out_of_memory(error):
                raise
            raise memory.too_large(self.plan, self.learner, self.tensors, self.group, error) from error
        finally:
            self.batches.close()
        if not learnt(best := self.progress.best):
            finding = "no epoch had a finite validation RMSE" if best is None else f"the best validation RMSE is {best:.3g} m"
            raise Diverged(
                f"{self.plan.run} diverged: {finding}, so nothing is registered",
                "train again with a lower --lr, and look at the data: vortex validate",
            )

    def train_epoch(self) -> None:
        """Take the steps of the epoch that are left."""
        epoch, first, recipe = self.progress.epoch, self.progress.step, self.plan.recipe
        steps, frames = self.batches.order(epoch).shape
        self.learner.begin_epoch(self.group, frozen=epoch < recipe.optimizer.freeze_encoder_epochs)
        started = time.perf_counter()
        for batch, tensors in self.batches.epoch(epoch, first):
            self.tensors = tensors
            self._stop_if_asked()
            within = self.progress.step / steps if recipe.schedule.per == "step" else 0.0
            set_rates(self.learner.optimizer, epoch + within, self.stage.stage.epochs)
            self._count(train_step(self.learner, tensors, self.group), batch)
            if self.writer.due():
                self.writer.write(self.progress)
            self.frames_per_second = (self.progress.step - first) * frames / (time.perf_counter() - started)
            self._emit("step", epoch=epoch, step=self.progress.step, steps=steps, values=self.progress.means())

    def _count(self, result: StepResult, batch: Batch) -> None:
        """Count a step, and write down whose frames it was when it was skipped."""
        if not result.nonfinite:
            count_step(self.progress, result, (), self.plan.max_bad_batches)
            return
        frames = [name for names in self.group.gather(batch.ids) for name in names]
        epoch, step, fault = self.progress.epoch + 1, self.progress.step + 1, result.nonfinite
        if self.group.leads:
            path = self.checkpoints.folder.parent / NONFINITE
            nonfinite.record(path, frames, stage=self.stage.stage.name, epoch=epoch, step=step, found=fault)
        count_step(self.progress, result, frames, self.plan.max_bad_batches)
        message = f"epoch {epoch}, step {step}: {fault} is not finite, the batch was skipped: frames {', '.join(frames)}"
        self._emit("note", message=message)

    def validate_epoch(self) -> None:
        """Validate what was trained, remember the best, and make the epoch safe."""
        self._stop_if_asked()
        device = str(self.group.device)
        figures = self.group.broadcast(validate(self.plan, self.learner.candidate, device, self.should_stop) if self.group.leads else {})
        if not figures:
            self._stop()
        rmse, epoch, losses = figures["rmse"], self.progress.epoch + 1, self.progress.means()
        is_best = math.isfinite(rmse) and (self.progress.best is None or rmse < self.progress.best)
        self.progress = replace(self.progress, epoch=epoch, step=0, sums={}, validation=figures)
        if is_best:
            self.progress.best, self.progress.best_epoch = rmse, epoch
        self.writer.end_epoch(self.progress, is_best=is_best, is_last=epoch == self.stage.last_epoch)
        values = {f"train/{name}": value for name, value in losses.items()} | {f"val/{name}": value for name, value in figures.items()}
        values |= {f"lr/{name}": rate for name, rate in rates(self.learner.optimizer).items()}
        values |= {"best/rmse": self.progress.best} if self.progress.best is not None else {}
        values |= {"train/skipped_batches": float(self.progress.skipped), "train/checkpoint_seconds": self.writer.total_cost}
        self._emit("epoch", epoch=epoch, values=values)

    def _stop_if_asked(self) -> None:
        if self.group.any(self.should_stop()):
            self._stop()

    def _stop(self) -> NoReturn:
        self.writer.write(self.progress)
        raise Stopped

    def _report_packing(self, done: int, total: int, message: str) -> None:
        if self.should_stop():
            raise Stopped
        self._emit("reading", step=done, steps=total, message=message)

    def _emit(self, kind: EventKind, **fields: Any) -> None:
        if self.group.leads:
            stage, epochs = self.stage.stage.name, self.stage.last_epoch
            self.emit(TrainEvent(kind, stage=stage, epochs=epochs, frames_per_second=self.frames_per_second, **fields))
