"""The loop of one stage: the same in this process and in every Ray worker, and stoppable between any two steps."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor, nn

from core.errors import VortexError
from models import augment_device, checkpoint
from models.ema import Ema
from models.losses import LossTerms, by_itself
from models.student import Student
from pipelines.pack.loader import Batch
from pipelines.pack.sampler import SamplerState
from pipelines.runs.events import Diverged, Emit, EventKind, TrainEvent
from pipelines.runs.folder import START
from pipelines.runs.state import NONFINITE, learnt
from pipelines.runs.stop import Stopped
from pipelines.train.plan.train_plan import STALL, TrainPlan
from pipelines.train.worker import memory, nonfinite
from pipelines.train.worker import rng as randomness
from pipelines.train.worker.anchor import read_anchor
from pipelines.train.worker.batches import make_sampler, open_loader
from pipelines.train.worker.checkpoints import Checkpoints, Learner, Progress
from pipelines.train.worker.distributed import Team
from pipelines.train.worker.nonfinite import TERMS
from pipelines.train.worker.optimizer import make_loss, make_optimizer, rates, set_rates
from pipelines.train.worker.step import Task, device_batches
from pipelines.train.worker.step import prepare as lay_out_weights
from pipelines.train.worker.validation import evaluations, headline, judged_by


class StageLoop:
    """One stage of a plan, from its starting weights or its newest checkpoint to its last epoch."""

    def __init__(
        self,
        plan: TrainPlan,
        stage: int,
        folder: Path,
        emit: Emit,
        should_stop: Callable[[], bool],
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Read the frames, and put the weights and the optimiser where the newest checkpoint left them; checkpoints are written in `turn`."""
        self.plan, self.recipe, self.stage = plan, plan.recipe, plan.stages[stage]
        self.team = Team.here(plan.device, plan.sync_batch_norm)
        self.checkpoints = Checkpoints(folder, turn)
        self.emit, self.should_stop = emit, should_stop
        self.speed, self.saved, self.stalled, self.save_cost = 0.0, time.monotonic(), 0.0, 0.0
        self.unsaved_best: Student | None = None
        randomness.seed(plan.seed)
        self.student, _ = checkpoint.load(folder / START, encoder=self.recipe.student.encoder)
        lay_out_weights(self.student.to(self.team.device), plan.step)
        self.loss = make_loss(self.recipe).to(self.team.device)
        self.loss.totals = self.team.pixels
        self.task = Task(self.student, self.loss, plan.step, lambda message: self._say("note", message=message))
        self.optimizer = make_optimizer(self.recipe, self.student, self.loss, fused=plan.step.fused)
        self.ema = Ema(self.student, self.recipe.ema.decay) if self.recipe.ema else None
        self.anchor = read_anchor(plan, stage, folder, self.student)
        self.guard = nonfinite.Guard(self.student)
        augmentation = self.recipe.augmentation.model_dump()
        self.augment = augment_device.build(augmentation) if plan.step.augment_on_device else None
        self.data = open_loader(plan, self.stage, {} if self.augment else augmentation, self.team.local, self._tell)
        self.sampler = make_sampler(plan, self.stage, self.data)
        self.learner = Learner(self.student, self.loss, self.optimizer, self.ema)
        self.progress = self.checkpoints.restore(self.learner) or Progress()
        if self.team.leads:
            self.checkpoints.sweep()
        self.tensors: dict[str, Tensor] = {}

    def run(self) -> None:
        """Train to the last epoch. Raises Stopped when asked to stop, VortexError when training cannot go on."""
        self._say("started", epoch=self.progress.epoch)
        try:
            while self.progress.epoch < self.stage.last_epoch:
                self._train_epoch()
                self._judge_epoch()
        except (MemoryError, RuntimeError) as error:
            if not memory.is_out_of_memory(error):
                raise
            raise self._too_large(error) from error
        finally:
            self.data.close()
        if not learnt(best := self.progress.best):
            found = "no epoch had a finite validation RMSE" if best is None else f"the best validation RMSE is {best:.3g} m"
            raise Diverged(
                f"{self.plan.run} diverged: {found}, so nothing is registered",
                "train again with a lower --lr, and look at the data: vortex validate",
            )

    def _train_epoch(self) -> None:
        epoch, first = self.progress.epoch, self.progress.step
        self.sampler.restore(SamplerState(self.plan.seed, epoch, first))
        order = self.sampler.order()
        self.student.train()
        self.student.freeze_encoder(epoch < self.recipe.optimizer.freeze_encoder_epochs)
        task = self.team.join(self.task)
        started = time.perf_counter()
        batches = self.data.batches(order, epoch, first, self.team.rank, self.team.size)
        for batch, tensors in device_batches(batches, self.team.device, self.plan.step, self.augment):
            self.tensors = tensors
            self._stop_if_asked()
            within = self.progress.step / len(order) if self.recipe.schedule.per == "step" else 0.0
            set_rates(self.optimizer, epoch + within, self.stage.stage.epochs)
            self._step(task, batch)
            self.progress.step += 1
            if self._since_saved() > 60 * self.plan.checkpoint_minutes:
                self._save()
            self.speed = (self.progress.step - first) * order.shape[1] / (time.perf_counter() - started)
            self._say("step", epoch=epoch, step=self.progress.step, steps=len(order), values=self._means())

    def _step(self, task: nn.Module, batch: Batch) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.guard.keep()
        terms: LossTerms = task(self.tensors)
        if self.anchor:
            terms = terms._replace(total=terms.total + self.anchor.penalty(self.student))
        terms.total.backward()  # type: ignore[no-untyped-call]
        # A loss that is not finite leaves gradients that are not, and in a team everybody has them: one look suffices for both.
        norm = nonfinite.gradient_norm(weight for group in self.optimizer.param_groups for weight in group["params"])
        *values, gradient, statistics = nonfinite.scalars(terms, norm, self.guard.norm())
        finite = math.isfinite(values[0] + gradient + statistics)
        broken, *told = self.team.sum(not finite, *values)
        if broken:
            self.guard.undo()
            self._skip(batch, nonfinite.broken(values, gradient, statistics))
            return
        self.loss.after_backward(self.student, terms.labelled_pixels, terms.valid_pixels)
        self.optimizer.step()
        self.loss.project()
        if self.ema:
            self.ema.update(self.student)
        self._count(terms, [value / self.team.size for value in told])

    def _skip(self, batch: Batch, found: str) -> None:
        """Write down whose frames it was, and give up when it keeps happening."""
        self.progress.bad_streak += 1
        self.progress.skipped += 1
        frames = [name for names in self.team.gather(batch.ids) for name in names]
        epoch, step, most = self.progress.epoch + 1, self.progress.step + 1, self.plan.max_bad_batches
        where = f"epoch {epoch}, step {step}"
        if self.team.leads:
            path = self.checkpoints.folder.parent / NONFINITE
            nonfinite.record(path, frames, stage=self.stage.stage.name, epoch=epoch, step=step, found=found)
        self.progress.bad_frames += frames
        if self.progress.bad_streak >= most:
            raise Diverged(
                f"{most} batches in a row were not finite ({found}), the last at {where}: frames {', '.join(frames)}",
                "look at these frames, lower --lr, or start from other weights; the last good checkpoint is kept",
                (f"frames of all {most}: {', '.join(dict.fromkeys(self.progress.bad_frames))}",),
            )
        self._say("note", message=f"{where}: {found} is not finite, the batch was skipped: frames {', '.join(frames)}")

    def _too_large(self, error: BaseException) -> VortexError:
        """What to say of a batch that does not fit into the memory."""
        (height, width), batch = self.plan.size, self.recipe.optimizer.batch_size
        # Synchronised normalisation would wait for the others, of whom not all have run out of memory.
        alone = self.tensors and not self.plan.sync_batch_norm
        self.loss.totals = by_itself
        fitting = memory.batch_that_fits(self.task, self.tensors, self.optimizer, error) * self.team.size if alone else 0
        hint = f"about {fitting} frames would fit: train again with --batch-size {fitting}" if fitting else ""
        return VortexError(
            f"{self.plan.run}: a batch of {batch} frames of {height}x{width} does not fit into the memory",
            hint or "train again with a smaller --batch-size or --size",
        )

    def _judge_epoch(self) -> None:
        """Validate, remember the best, and make the epoch safe: at the end of the stage, and whenever that is worth what it costs."""
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
            self.unsaved_best = self.learner.judged
        if epoch == self.stage.last_epoch or self.save_cost <= STALL * self._since_saved():
            self._save()
        elif is_best and self.team.leads:
            # It waits for the next checkpoint, while training goes on with these very weights.
            self.unsaved_best = copy.deepcopy(self.unsaved_best)
        counts = {"train/skipped_batches": float(self.progress.skipped), "train/checkpoint_seconds": self.stalled}
        annealed = {f"lr/{name}": rate for name, rate in rates(self.optimizer).items()}
        report = {f"train/{name}": value for name, value in losses.items()} | {f"val/{name}": value for name, value in values.items()}
        best = {"best/rmse": self.progress.best} if self.progress.best is not None else {}
        self._say("epoch", epoch=epoch, values=report | annealed | best | counts)

    def _validate(self) -> dict[str, float]:
        """Metrics of the student as it is, or of its average; nothing when a stop was asked for meanwhile."""

        def look_up(done: int, total: int) -> None:
            if self.should_stop():
                raise Stopped

        try:
            return headline(evaluations(self.plan, judged_by(self.plan), self.learner.judged, str(self.team.device), look_up))
        except Stopped:
            return {}

    def _stop_if_asked(self) -> None:
        if self.team.any(self.should_stop()):
            self._stop()

    def _stop(self) -> NoReturn:
        self._save()
        raise Stopped

    def _since_saved(self) -> float:
        return time.monotonic() - self.saved

    def _save(self) -> None:
        if not self.team.leads:
            return
        started = time.monotonic()
        meta = {"run": self.plan.run, "recipe": self.recipe.name, "stage": self.stage.stage.name, "epoch": self.progress.epoch}
        try:
            self.checkpoints.save(self.learner, self.progress, meta, self.unsaved_best)
        except VortexError as error:
            message = f"{self.plan.run}: its checkpoint cannot be written, the one before it is kept ({error.message})"
            raise VortexError(message, f"{error.hint}: vortex train --resume {self.plan.run}", error.details) from error
        self.saved, self.unsaved_best = time.monotonic(), None
        self.save_cost = self.saved - started
        self.stalled += self.save_cost

    def _tell(self, done: int, total: int, said: str) -> None:
        if self.should_stop():
            raise Stopped
        self._say("reading", step=done, steps=total, message=said)

    def _count(self, terms: LossTerms, values: list[float]) -> None:
        """Add a batch's losses up, each over the batches that it was supervised in."""
        self.progress.bad_streak, self.progress.bad_frames = 0, []
        counted = (1, terms.valid_pixels, terms.labelled_pixels, terms.valid_pixels)
        sums = self.progress.sums
        for name, value, pixels in zip(TERMS, values, counted, strict=True):
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
