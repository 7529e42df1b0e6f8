"""A stage's training that is timed instead of carried out: its own loader, its own step, and both together."""

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
from pipelines.pack.sampler import loader_processes
from pipelines.profile.timing import TIMED, Enough, Timings, Turn
from pipelines.runs.folder import START
from pipelines.train.plan.sources import Start
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker import memory
from pipelines.train.worker.anchor import lay_anchor
from pipelines.train.worker.batches import Batches
from pipelines.train.worker.checkpoints import Checkpoints, Progress
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.learner import load_learner
from pipelines.train.worker.loop import count_step, train_step
from pipelines.train.worker.optimizer import set_rates, starting_student
from pipelines.train.worker.validation import evaluations, validation_data

ROUNDS: Final = 5
FEWEST_ROUNDS: Final = 3
"""As many are taken however slow a step is; more only while there is time."""
CHECKPOINTS: Final = 3

Mode = Literal["trained", "frozen"]


class Rehearsal:
    """One stage of a plan, rehearsed from random weights in a folder that is thrown away. Use it in a `with`.

    With workers it rehearses what one of them does: its share of each batch.
    """

    def __init__(self, plan: TrainPlan, number: int, folder: Path, report: Callable[[str], None]) -> None:
        recipe = plan.recipe
        share = recipe.optimizer.model_copy(update={"batch_size": recipe.optimizer.batch_size // max(1, plan.workers)})
        self.plan = plan.model_copy(update={"workers": 0, "recipe": recipe.model_copy(update={"optimizer": share})})
        self.stage, self.report = plan.stages[number], report
        self.group = ProcessGroup.current(plan.device)
        # Which weights it starts from changes no cost, and ImageNet's may have to be fetched.
        student = starting_student(self.plan.recipe, Start(kind="none"), plan.seed)
        checkpoint.save(folder / START, student, {"run": plan.run})
        started = self._packed = time.perf_counter()
        lay_anchor(self.plan, number, folder, folder / START, report)
        self.learner = load_learner(self.plan, number, folder, self.group, report)
        loaded = time.perf_counter()
        self.batches = Batches(self.plan, self.stage, self.group, self._hear_packing)
        self._start_seconds = time.perf_counter() - max(self._packed, loaded) + loaded - started
        self.checkpoints, self.progress = Checkpoints(folder), Progress()
        self._places: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self._resident: tuple[Batch, dict[str, Tensor]] | None = None
        self._tensors: dict[str, Tensor] = {}

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(self, *_: object) -> None:
        self.batches.close()

    def measure(self, seconds: float) -> Timings:
        """Time everything: `seconds` for each part, in turns, so that a drift of the machine meets all of them.

        Raises VortexError where training itself would: for losses that are not finite, and for a batch that does not fit.
        """
        try:
            return self._measure(seconds)
        except (MemoryError, RuntimeError) as error:
            if not memory.is_out_of_memory(error):
                raise
            raise memory.too_large(self.plan, self.learner, self._tensors, self.group, error) from error

    def _measure(self, seconds: float) -> Timings:
        timings = Timings(self.batches.order(0).shape[1], processes=loader_processes(self.plan.device))
        parts: dict[str, Callable[[float], float]] = {"loader": self.loader, "step": self.step, "together": self.together}
        if self.plan.recipe.optimizer.freeze_encoder_epochs:
            parts["frozen"] = lambda turn: self.together(turn, "frozen")
        if self.group.device.type == "cuda" and self.twice(0.0):
            parts["doubled"] = self.twice
        self.report("warming up")
        for part in parts.values():
            part(0.0)
        began = time.perf_counter()
        for number in range(ROUNDS):
            if number >= FEWEST_ROUNDS and time.perf_counter() - began > 2 * seconds * len(parts):
                break
            self.report(f"round {number + 1} of {FEWEST_ROUNDS} to {ROUNDS}")
            for name, part in parts.items():
                getattr(timings, name).append(part(seconds / ROUNDS))
        self.report("validation and checkpoint")
        self._time_validation(timings, seconds)
        self._time_checkpoints(timings)
        timings.start = self._start_seconds
        return timings

    def loader(self, seconds: float) -> float:
        """Seconds a batch until it is on the device, with nobody there to use it."""
        turn = self._turn(seconds)
        try:
            while True:
                epoch, first = self._places["loader"]
                for step, (batch, tensors) in enumerate(self.batches.epoch(epoch, first), first + 1):
                    self._resident, self._places["loader"] = (batch, tensors), (epoch, step)
                    turn.tick()
                self._places["loader"] = (epoch + 1, 0)
        except Enough:
            return turn.each

    def step(self, seconds: float) -> float:
        """Seconds a step on one batch that stays on the device."""
        batch, tensors = self._resident_batch()
        return self._steps(seconds, batch, tensors)

    def twice(self, seconds: float) -> float:
        """As `step`, with twice the batch; 0 when that does not fit on the device."""
        batch, tensors = self._resident_batch()
        try:
            return self._steps(seconds, batch, {name: torch.cat([tensor, tensor]) for name, tensor in tensors.items()})
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return 0.0

    def together(self, seconds: float, mode: Mode = "trained") -> float:
        """Seconds a step on the loader's batches. Each mode goes on where its last turn ended, in the epochs that are its own."""
        frozen = self.plan.recipe.optimizer.freeze_encoder_epochs
        epochs = range(frozen) if mode == "frozen" else range(frozen, max(frozen + 1, self.stage.last_epoch))
        turn = self._turn(seconds)
        while True:
            lap, first = self._places[mode]
            epoch = epochs[lap % len(epochs)]
            self.progress.epoch, self.progress.step = epoch, first
            self.learner.begin_epoch(self.group, frozen=epoch < frozen)
            try:
                for batch, tensors in self.batches.epoch(epoch, first):
                    set_rates(self.learner.optimizer, epoch, self.stage.stage.epochs)
                    self._step(batch, tensors)
                    turn.tick()
            except Enough:
                self._places[mode] = (lap, self.progress.step)
                return turn.each
            self._places[mode] = (lap + 1, 0)

    def _turn(self, seconds: float) -> Turn:
        """A stopwatch for steps on the loader's batches, of which some were prepared while others took their turns."""
        ahead = (loader_processes(self.plan.device) or 1) + self.plan.step.prefetch
        return Turn(seconds, ahead, self.group.device)

    def _resident_batch(self) -> tuple[Batch, dict[str, Tensor]]:
        if self._resident is None:
            self.loader(0.0)
        assert self._resident is not None, "the loader leaves its last batch"
        return self._resident

    def _steps(self, seconds: float, batch: Batch, tensors: dict[str, Tensor]) -> float:
        self.learner.begin_epoch(self.group)
        turn = Turn(seconds, 1, self.group.device)
        try:
            while True:
                self._step(batch, tensors)
                turn.tick()
        except Enough:
            return turn.each

    def _step(self, batch: Batch, tensors: dict[str, Tensor]) -> None:
        """One step as the training takes it. Raises Diverged as the training does."""
        self._tensors = tensors
        result = train_step(self.learner, tensors, self.group)
        count_step(self.progress, result, batch.ids if result.nonfinite else (), self.plan.max_bad_batches)

    def _hear_packing(self, _done: int, _total: int, message: str) -> None:
        if message:
            self.report(message)
        else:
            self._packed = time.perf_counter()

    def _time_validation(self, timings: Timings, seconds: float) -> None:
        """Validate on the largest set of the target domain for a while, once to warm up and once to be timed."""
        largest = max(validation_data(self.plan), key=lambda data: data.frames["val"])
        for _ in range(2):
            began, ticks = time.perf_counter(), [(0, 0.0)]

            def tick(done: int, total: int, began: float = began, ticks: list[tuple[int, float]] = ticks) -> None:
                ticks.append((done, time.perf_counter() - began))
                if ticks[-1][1] > seconds and len(ticks) > TIMED:
                    raise Enough

            with suppress(Enough):
                evaluations(self.plan, [largest], self.learner.candidate, str(self.group.device), tick)
        timings.validation_batch, timings.validation_start = ticks[1]
        timings.validation_frames = [(after - before) / (b - a) for (a, before), (b, after) in pairwise(ticks[1:])]
        timings.forward = self._forward() / timings.batch

    def _forward(self) -> float:
        """Seconds to predict the resident batch; the student goes back to training."""
        rgb, student = self._resident_batch()[1]["rgb"], self.learner.student
        student.eval()
        turn = Turn(0.0, 1, self.group.device)
        try:
            while True:
                with torch.inference_mode():
                    student(rgb)
                turn.tick()
        except Enough:
            return turn.each
        finally:
            student.train()

    def _time_checkpoints(self, timings: Timings) -> None:
        for epoch in range(1, CHECKPOINTS + 1):
            began = time.perf_counter()
            self.checkpoints.save(self.learner, Progress(epoch=epoch), {"run": self.plan.run}, self.learner.candidate)
            timings.checkpoint.append(time.perf_counter() - began)
