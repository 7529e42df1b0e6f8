"""Checkpoints that are whole or absent: a folder each, staged, flushed and renamed, then `latest` is pointed at it.

They hold all that decides what comes next: weights, moments, average, progress, and the state of every random generator.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor

from core.errors import VortexError
from core.files import flush, sha256_file, staged_directory
from models import checkpoint
from models.student import Student
from models.tensors import CheckpointError, read_tensors, write_tensors
from pipelines.train.plan.train_plan import STALL, TrainPlan
from pipelines.train.worker.learner import Learner
from pipelines.train.worker.nonfinite import TERMS

LATEST = "latest"
STUDENT, BEST, STATE, PROGRESS = "student.safetensors", "best.safetensors", "state.safetensors", "progress.json"
_RANDOM: Final = "random."
FORMAT = "3"
"""Of the state: 3 names the optimiser's moments by their parameters."""
READABLE = ("2", FORMAT)
"""2 names them by their position."""
DIGESTS = "sha256"
"""Key of the file digests beside the progress: a flipped bit in a weight leaves a file that reads well and trains on as another."""


@dataclass
class Progress:
    """How far a stage is: the next step is `step` of `epoch` (both from 0); everything that follows is a function of this and the weights.

    `sums` adds up the epoch's losses so far, `bad_streak` counts batches in a row that were not finite, and
    `bad_frames` are theirs.
    """

    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_epoch: int = 0
    bad_streak: int = 0
    bad_frames: list[str] = field(default_factory=list)
    skipped: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)

    def add(self, losses: Mapping[str, float], valid_pixels: int, labelled_pixels: int) -> None:
        """Add a batch's losses up, each over the batches that it was supervised in."""
        self.bad_streak, self.bad_frames = 0, []
        supervision = (1, valid_pixels, labelled_pixels, valid_pixels)
        for (name, value), pixels in zip(losses.items(), supervision, strict=True):
            if pixels:
                self.sums[name] = self.sums.get(name, 0.0) + value
                self.sums[f"{name}.batches"] = self.sums.get(f"{name}.batches", 0.0) + 1

    def skip(self, frames: Sequence[str]) -> None:
        """Remember a batch of these frames that was not finite."""
        self.bad_streak += 1
        self.skipped += 1
        self.bad_frames += frames

    def means(self) -> dict[str, float]:
        """The mean losses of the epoch so far, by name."""
        return {name: self.sums[name] / self.sums[f"{name}.batches"] for name in TERMS if name in self.sums}


_PROGRESS = TypeAdapter(Progress)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one stage. `latest` can be read at any moment, also after a power cut.

    `turn` is what a writer holds while it writes, so that there is one at a time, and none that has been superseded.
    """

    folder: Path
    turn: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def latest(self) -> Path | None:
        """The newest whole checkpoint.

        Where no link names it, because the run was copied without links or killed before it had one, it is the last by its name.
        """
        pointer = self.folder / LATEST
        # Not resolved: it is compared with what the folder lists, and the folder may lie behind a link.
        if pointer.is_symlink():
            return self.folder / os.readlink(pointer) if (pointer / PROGRESS).is_file() else None
        return max((path.parent for path in self.folder.glob(f"epoch-*/{PROGRESS}")), default=None)

    @property
    def best(self) -> Path:
        """The best student so far. Raises VortexError when there is none."""
        path = self.latest and self.latest / BEST
        if path is None or not path.is_file():
            raise VortexError(f"{self.folder}: holds no best student", "no epoch was validated with a finite RMSE; train again")
        self.verify(path)
        return path

    def progress(self) -> Progress | None:
        """How far the newest checkpoint is. Raises VortexError when it is damaged, or gone although there was one."""
        pointer = self.folder / LATEST
        if self.latest is None and pointer.is_symlink():
            raise CheckpointError(f"{pointer}: leads to no whole checkpoint", "restore that folder, or start the training anew")
        return None if self.latest is None else _read(self.latest / PROGRESS)[0]

    def save(self, learner: Learner, progress: Progress, meta: dict[str, Any], best: Student | None = None) -> None:
        """Write everything that the rest of the run depends on, then make it the latest and drop older ones.

        The best student travels inside, so that it always belongs to the progress beside it: `best` where there has been a new one
        since the last checkpoint, otherwise the one that is in there. Raises Superseded when the folder has another writer by now.
        """
        with self.turn():
            previous, final = self.latest, self.folder / f"epoch-{progress.epoch:04d}-step-{progress.step:06d}"
            if final == previous:
                return
            # A folder of that name that is not the latest was left by a crash before its pointer was set.
            shutil.rmtree(final, ignore_errors=True)
            with staged_directory(final) as staging:
                checkpoint.save(staging / STUDENT, learner.student, meta)
                write_tensors(staging / STATE, learner.state() | generator_states(), {"format": FORMAT})
                if best is learner.student:
                    _link(staging / STUDENT, staging / BEST)
                elif best is not None:
                    checkpoint.save(staging / BEST, best, meta | {"epoch": progress.best_epoch})
                elif previous and (previous / BEST).is_file():
                    _link(previous / BEST, staging / BEST)
                digests = {path.name: sha256_file(path) for path in sorted(staging.iterdir())} | {PROGRESS: _digest(asdict(progress))}
                (staging / PROGRESS).write_text(json.dumps({**asdict(progress), DIGESTS: digests}))
            self._point_at(final)
            self.sweep()

    def restore(self, learner: Learner) -> Progress | None:
        """Put the newest checkpoint back; None when there is none.

        Raises CheckpointError for a file that is damaged, of another architecture or of another class order.
        """
        progress = self.progress()
        if self.latest is None or progress is None:
            return None
        for name in (STUDENT, STATE):
            self.verify(self.latest / name)
        student, _ = checkpoint.load(self.latest / STUDENT, encoder=learner.student.config.encoder)
        state, meta = read_tensors(self.latest / STATE)
        if meta.get("format") not in READABLE:
            message = f"{self.latest / STATE}: written in format {meta.get('format')}, allowed: {', '.join(READABLE)}"
            raise CheckpointError(message, "finish the run with the Vortex that began it, or start it anew")
        learner.restore(student, state)
        restore_generators(state)
        return progress

    def sweep(self) -> None:
        """Remove what a killed process left: checkpoints it was still writing, and whole ones that it had not yet made the latest."""
        if self.latest and not (self.folder / LATEST).is_symlink():
            self._point_at(self.latest)
        left_over = [*self.folder.glob(".epoch-*.staging"), *(path for path in self.folder.glob("epoch-*") if path != self.latest)]
        for folder in left_over:
            shutil.rmtree(folder, ignore_errors=True)
        for pointer in self.folder.glob(f".{LATEST}.*"):
            pointer.unlink(missing_ok=True)

    def verify(self, path: Path) -> None:
        """Raise CheckpointError unless the file is the one that was saved."""
        expected = _read(path.parent / PROGRESS)[1].get(path.name)
        if not path.is_file() or sha256_file(path) != expected:
            fault = "it is damaged: its bytes are not those that were saved" if path.is_file() else "it is gone"
            raise CheckpointError(f"{path}: {fault}", "start the training anew")

    def _point_at(self, final: Path) -> None:
        pointer = self.folder / f".{LATEST}.{os.getpid()}"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(final.name)
        if not (self.folder / LATEST).is_symlink():
            shutil.rmtree(self.folder / LATEST, ignore_errors=True)  # a link that a copy made a folder of
        os.replace(pointer, self.folder / LATEST)
        flush(self.folder)


class CheckpointWriter:
    """Writes a stage's checkpoints when they are due, from the process that leads; the others write nothing.

    `written` is when the newest one was (monotonic seconds), `cost` what it took, `total_cost` what all have taken, in seconds.
    """

    def __init__(self, checkpoints: Checkpoints, learner: Learner, plan: TrainPlan, stage: str, leads: bool) -> None:
        self._checkpoints, self._learner, self._plan, self._stage, self._leads = checkpoints, learner, plan, stage, leads
        self._best: Student | None = None
        self.written, self.cost, self.total_cost = time.monotonic(), 0.0, 0.0

    def due(self) -> bool:
        """Whether a checkpoint within an epoch is due by the clock."""
        return time.monotonic() - self.written > 60 * self._plan.checkpoint_minutes

    def end_epoch(self, progress: Progress, *, is_best: bool, is_last: bool) -> None:
        """Make a validated epoch safe: the last one, and others whenever that is worth what it costs."""
        if is_best:
            self._best = self._learner.candidate
        if is_last or self.cost <= STALL * (time.monotonic() - self.written):
            self.write(progress)
        elif is_best and self._leads:
            # It waits for the next checkpoint, while training goes on with these very weights.
            self._best = copy.deepcopy(self._best)

    def write(self, progress: Progress) -> None:
        """Write a checkpoint now. Raises VortexError when that cannot be; the one before it is kept."""
        if not self._leads:
            return
        started, plan = time.monotonic(), self._plan
        meta = {"run": plan.run, "recipe": plan.recipe.name, "stage": self._stage, "epoch": progress.epoch}
        try:
            self._checkpoints.save(self._learner, progress, meta, self._best)
        except VortexError as error:
            message = f"{plan.run}: its checkpoint cannot be written, the one before it is kept ({error.message})"
            raise VortexError(message, f"{error.hint}: vortex train --resume {plan.run}", error.details) from error
        self.written, self._best = time.monotonic(), None
        self.cost = self.written - started
        self.total_cost += self.cost


def seed_generators(seed: int) -> None:
    """Start every random generator of this process from a number."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def generator_states() -> dict[str, Tensor]:
    """What every generator gives next, as tensors for a file. Words of 32 bits are exact in float64."""
    version, words, gauss = random.getstate()
    _, keys, position, has_cached, cached = np.random.get_state(legacy=True)
    states = {
        f"{_RANDOM}cpu": torch.get_rng_state(),
        f"{_RANDOM}python": torch.tensor([version, gauss is not None, gauss or 0.0, *words], dtype=torch.float64),
        f"{_RANDOM}numpy": torch.tensor([position, has_cached, cached, *keys], dtype=torch.float64),
    }
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # a training on the CPU leaves somebody's GPU alone
        states[f"{_RANDOM}cuda"] = torch.cuda.get_rng_state()
    return states


def restore_generators(states: dict[str, Tensor]) -> None:
    """Put the generators where `generator_states` was taken. That of a GPU is left alone where there is none.

    In a team every process gets the leader's, as all were seeded alike. That is no loss while nothing draws from them: order and
    augmentation of a frame follow from (seed, epoch, position), and no encoder has dropout or stochastic depth. One that had would
    drop the same in every process: seed by rank then, and keep the state of each.
    """
    torch.set_rng_state(states[f"{_RANDOM}cpu"])
    version, has_gauss, gauss, *words = states[f"{_RANDOM}python"].tolist()
    random.setstate((int(version), tuple(map(int, words)), gauss if has_gauss else None))
    position, has_cached, cached, *keys = states[f"{_RANDOM}numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, dtype=np.uint32), int(position), int(has_cached), cached))
    if torch.cuda.is_available() and f"{_RANDOM}cuda" in states:
        torch.cuda.set_rng_state(states[f"{_RANDOM}cuda"])


def _read(path: Path) -> tuple[Progress, dict[str, str]]:
    """A checkpoint's progress, and the digests of the files beside it."""
    try:
        raw = json.loads(path.read_text())
        digests = dict(raw.pop(DIGESTS))
        if _digest(raw) != digests[PROGRESS]:
            raise ValueError("its digest is another")
        return _PROGRESS.validate_python(raw), digests
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise VortexError(f"{path}: not readable as a run's progress", "start the training anew") from error


def _digest(progress: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(progress, sort_keys=True).encode()).hexdigest()


def _link(source: Path, target: Path) -> None:
    """The same bytes under a second name; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
