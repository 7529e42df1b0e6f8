"""Checkpoints that are whole or absent: a folder each, staged, flushed and renamed, then `latest` is pointed at it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from core.errors import VortexError
from core.files import flush, sha256_file, staged_directory
from models import checkpoint
from models.ema import Ema
from models.losses import MultiTaskLoss
from models.student import Student
from models.tensors import CheckpointError, read_tensors, write_tensors
from pipelines.train.worker import rng as randomness

LATEST = "latest"
STUDENT, BEST, STATE, PROGRESS = "student.safetensors", "best.safetensors", "state.safetensors", "progress.json"
FORMAT = "2"
"""Of the state: 2 holds every random generator and the average of the weights."""
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


_PROGRESS = TypeAdapter(Progress)


@dataclass(frozen=True)
class Learner:
    """All that a training changes, besides its progress and the random generators."""

    student: Student
    loss: MultiTaskLoss
    optimizer: torch.optim.Optimizer
    ema: Ema | None = None

    @property
    def judged(self) -> Student:
        """The student that is validated and kept: the average where there is one."""
        return self.ema.student if self.ema else self.student

    def state(self) -> dict[str, Tensor]:
        """Everything but the student's own weights, as tensors for a file."""
        moments = self.optimizer.state_dict()["state"].items()
        kept = {f"optimizer.{index}.{key}": torch.as_tensor(value) for index, part in moments for key, value in part.items()}
        kept |= {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        return kept | ({f"ema.{name}": value for name, value in self.ema.state_dict().items()} if self.ema else {})

    def restore(self, student: Student, state: dict[str, Tensor]) -> None:
        """Become what was saved."""
        self.student.load_state_dict(student.state_dict())
        self.loss.load_state_dict(_part(state, "loss."))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": _moments(self.optimizer, state)})
        if self.ema:
            self.ema.load_state_dict(_part(state, "ema."))


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
            before, final = self.latest, self.folder / f"epoch-{progress.epoch:04d}-step-{progress.step:06d}"
            if final == before:
                return
            # A folder of that name that is not the latest was left by a crash before its pointer was set.
            shutil.rmtree(final, ignore_errors=True)
            with staged_directory(final) as staging:
                checkpoint.save(staging / STUDENT, learner.student, meta)
                write_tensors(staging / STATE, learner.state() | randomness.state(), {"format": FORMAT})
                if best is learner.student:
                    _link(staging / STUDENT, staging / BEST)
                elif best is not None:
                    checkpoint.save(staging / BEST, best, meta | {"epoch": progress.best_epoch})
                elif before and (before / BEST).is_file():
                    _link(before / BEST, staging / BEST)
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
        saved, _ = checkpoint.load(self.latest / STUDENT, encoder=learner.student.config.encoder)
        state, meta = read_tensors(self.latest / STATE)
        if meta.get("format") != FORMAT:
            found = f"{self.latest / STATE}: written in format {meta.get('format')}, allowed: {FORMAT}"
            raise CheckpointError(found, "finish the run with the Vortex that began it, or start it anew")
        learner.restore(saved, state)
        randomness.restore(state)
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
        asked = _read(path.parent / PROGRESS)[1].get(path.name)
        if not path.is_file() or sha256_file(path) != asked:
            found = "it is damaged: its bytes are not those that were saved" if path.is_file() else "it is gone"
            raise CheckpointError(f"{path}: {found}", "start the training anew")

    def _point_at(self, final: Path) -> None:
        pointer = self.folder / f".{LATEST}.{os.getpid()}"
        pointer.unlink(missing_ok=True)
        pointer.symlink_to(final.name)
        if not (self.folder / LATEST).is_symlink():
            shutil.rmtree(self.folder / LATEST, ignore_errors=True)  # a link that a copy made a folder of
        os.replace(pointer, self.folder / LATEST)
        flush(self.folder)


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


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _moments(optimizer: torch.optim.Optimizer, state: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """The optimiser's state from a checkpoint, each moment laid out in memory as its parameter is.

    A file holds tensors row by row; the fused AdamW walks parameter and moments side by side in memory, so with a parameter that is
    channels-last it would silently pair each weight with another one's moments.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            like = parameters[int(number)]
            same = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape and tensor.ndim else tensor
            moments.setdefault(int(number), {})[key] = same.detach()
    return moments


def _link(source: Path, target: Path) -> None:
    """The same bytes under a second name; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
