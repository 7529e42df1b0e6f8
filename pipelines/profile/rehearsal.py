"""A training loop that is timed instead of carried out: its own loader, its own step, and both as it runs them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import torch
from torch import Tensor

from models import checkpoint
from pipelines.pack.loader import Batch
from pipelines.pack.sampler import SamplerState, loader_processes
from pipelines.profile.timing import TIMED, Enough, Timings, Turn
from pipelines.runs.events import TrainEvent
from pipelines.runs.folder import START
from pipelines.train.plan.sources import Start
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker import memory
from pipelines.train.worker.anchor import lay_anchor
from pipelines.train.worker.checkpoints import Progress
from pipelines.train.worker.loop import StageLoop
from pipelines.train.worker.optimizer import starting_student
from pipelines.train.worker.step import device_batches
from pipelines.train.worker.validation import evaluations, judged_by

ROUNDS: Final = 5
FEWEST_ROUNDS: Final = 3
"""As many are taken however slow a step is; more only while there is time."""
CHECKPOINTS: Final = 3

Mode = Literal["trained", "frozen"]


class Rehearsal(StageLoop):
    """One stage of a plan, rehearsed from random weights in a folder that is thrown away. Use it in a `with`.

    With workers it rehearses what one of them does: its share of each batch.
    """

    def __init__(self, plan: TrainPlan, stage: int, folder: Path, say: Callable[[str], None]) -> None:
        self._report = say
        self._turn: Turn | None = None
        self._packing = 0.0
        recipe = plan.recipe
        share = recipe.optimizer.model_copy(update={"batch_size": recipe.optimizer.batch_size // max(1, plan.workers)})
        alone = plan.model_copy(update={"workers": 0, "recipe": recipe.model_copy(update={"optimizer": share})})
        # Which weights it starts from changes no cost, and ImageNet's may have to be fetched.
        student = starting_student(alone.recipe, Start(kind="none"), alone.seed)
        checkpoint.save(folder / START, student, {"run": plan.run})
        self._opened = time.perf_counter()
        lay_anchor(alone, stage, folder, folder / START, say)
        super().__init__(alone, stage, folder, self._hear, lambda: False)
        self._began = time.perf_counter() - self._opened
        self._places: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self._resident: tuple[Batch, dict[str, Tensor]] | None = None

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(self, *_: object) -> None:
        self.data.close()

    def measure(self, seconds: float) -> Timings:
        """Time everything: `seconds` for each part, in turns, so that a drift of the machine meets all of them.

        Raises VortexError where training itself would: for losses that are not finite, and for a batch that does not fit.
        """
        try:
            return self._measure(seconds)
        except (MemoryError, RuntimeError) as error:
            if not memory.is_out_of_memory(error):
                raise
            raise self._too_large(error) from error

    def _measure(self, seconds: float) -> Timings:
        self.sampler.restore(SamplerState(self.plan.seed, 0, 0))
        timings = Timings(self.sampler.order().shape[1], processes=loader_processes(self.plan.device))
        parts: dict[str, Callable[[float], float]] = {"loader": self.loader, "step": self.step, "together": self.together}
        if self.recipe.optimizer.freeze_encoder_epochs:
            parts["frozen"] = lambda turn: self.together(turn, "frozen")
        if self.team.device.type == "cuda" and self.twice(0.0):
            parts["doubled"] = self.twice
        self._report("warming up")
        for part in parts.values():
            part(0.0)
        began = time.perf_counter()
        for number in range(ROUNDS):
            if number >= FEWEST_ROUNDS and time.perf_counter() - began > 2 * seconds * len(parts):
                break
            self._report(f"round {number + 1} of {FEWEST_ROUNDS} to {ROUNDS}")
            for name, part in parts.items():
                getattr(timings, name).append(part(seconds / ROUNDS))
        self._report("validation and checkpoint")
        self._time_validation(timings, seconds)
        self._time_checkpoints(timings)
        timings.start = self._began - self._packing
        return timings

    def loader(self, seconds: float) -> float:
        """Seconds a batch until it is on the device, with nobody there to use it."""
        turn = self._begin(seconds)
        try:
            while True:
                epoch, first = self._places["loader"]
                self.sampler.restore(SamplerState(self.plan.seed, epoch, first))
                read = self.data.batches(self.sampler.order(), epoch, first)
                batches = device_batches(read, self.team.device, self.plan.step, self.augment)
                for number, (batch, tensors) in enumerate(batches, first + 1):
                    self._resident, self._places["loader"] = (batch, tensors), (epoch, number)
                    turn.tick()
                self._places["loader"] = (epoch + 1, 0)
        except Enough:
            return turn.each

    def step(self, seconds: float) -> float:
        """Seconds a step on one batch that stays on the device."""
        batch, tensors = self._batch()
        return self._steps(seconds, batch, tensors)

    def twice(self, seconds: float) -> float:
        """As `step`, with twice the batch; 0 when that does not fit on the device."""
        batch, tensors = self._batch()
        try:
            return self._steps(seconds, batch, {name: torch.cat([tensor, tensor]) for name, tensor in tensors.items()})
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return 0.0

    def together(self, seconds: float, mode: Mode = "trained") -> float:
        """Seconds a step of the training loop itself. Each mode goes on where its last turn ended, in the epochs that are its own."""
        frozen = self.recipe.optimizer.freeze_encoder_epochs
        epochs = range(frozen) if mode == "frozen" else range(frozen, max(frozen + 1, self.stage.last_epoch))
        turn = self._turn = self._begin(seconds)
        try:
            while True:
                lap, first = self._places[mode]
                self.progress = Progress(epoch=epochs[lap % len(epochs)], step=first)
                self._train_epoch()
                self._places[mode] = (lap + 1, 0)
        except Enough:
            self._places[mode] = (self._places[mode][0], self.progress.step)
            return turn.each
        finally:
            self._turn = None

    def _begin(self, seconds: float) -> Turn:
        # A checkpoint that is due by the clock has its own place in the prediction.
        self.saved = time.monotonic()
        ahead = (loader_processes(self.plan.device) or 1) + self.plan.step.prefetch
        return Turn(seconds, ahead, self.team.device)

    def _batch(self) -> tuple[Batch, dict[str, Tensor]]:
        if self._resident is None:
            self.loader(0.0)
        assert self._resident is not None, "the loader leaves its last batch"
        return self._resident

    def _steps(self, seconds: float, batch: Batch, tensors: dict[str, Tensor]) -> float:
        self.student.train()
        self.student.freeze_encoder(False)
        self.tensors = tensors
        turn = Turn(seconds, 1, self.team.device)
        try:
            while True:
                self._step(self.task, batch)
                turn.tick()
        except Enough:
            return turn.each

    def _hear(self, event: TrainEvent) -> None:
        if event.kind == "step" and self._turn:
            self._turn.tick()
        elif event.kind == "reading" and not event.message:
            self._packing = time.perf_counter() - self._opened
        elif event.message:
            self._report(event.message)

    def _time_validation(self, timings: Timings, seconds: float) -> None:
        """Judge the largest set of the target domain for a while, once to warm up and once to be timed."""
        largest = max(judged_by(self.plan), key=lambda data: data.frames["val"])
        for _ in range(2):
            began, ticks = time.perf_counter(), [(0, 0.0)]

            def look_up(done: int, total: int, began: float = began, ticks: list[tuple[int, float]] = ticks) -> None:
                ticks.append((done, time.perf_counter() - began))
                if ticks[-1][1] > seconds and len(ticks) > TIMED:
                    raise Enough

            with suppress(Enough):
                evaluations(self.plan, [largest], self.learner.judged, str(self.team.device), look_up)
        timings.validation_batch, timings.validation_start = ticks[1]
        timings.validation_frames = [(after - before) / (b - a) for (a, before), (b, after) in pairwise(ticks[1:])]
        timings.forward = self._forward() / timings.batch

    def _forward(self) -> float:
        """Seconds to predict the resident batch; the student goes back to training."""
        rgb = self._batch()[1]["rgb"]
        self.student.eval()
        turn = Turn(0.0, 1, self.team.device)
        try:
            while True:
                with torch.inference_mode():
                    self.student(rgb)
                turn.tick()
        except Enough:
            return turn.each
        finally:
            self.student.train()

    def _time_checkpoints(self, timings: Timings) -> None:
        for epoch in range(CHECKPOINTS):
            self.progress, self.unsaved_best = Progress(epoch=epoch + 1), self.learner.judged
            began = time.perf_counter()
            self._save()
            timings.checkpoint.append(time.perf_counter() - began)
