"""Measure a student of the replay on every set, and what costs nothing beside it: the best constant guess."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.errors import VortexError
from models import checkpoint
from models.metrics import CAP_M
from pipelines.data.datasets import DataRef, resolve
from pipelines.evaluate.student import Evaluation, evaluate_student, truth_of, truth_source
from pipelines.experiments.replay.sets import judged_frames
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.train.worker.checkpoints import STUDENT, Checkpoints
from pipelines.workspace import Workspace

Judged = dict[str, tuple[DataRef, Evaluation]]
"""Set → its content and what was measured on it."""


def measure(ws: Workspace, student: Path, size: tuple[int, int], device: str, names: tuple[str, ...]) -> Judged:
    """Run the student of a safetensors file over the judged frames of each set, at `size` (H, W)."""

    trained, _ = checkpoint.load(student)
    trained.to(device)
    scores: Judged = {}
    for name in names:
        ref = resolve(ws, name_or_manifest=name)
        # One camera films each of these sets; a real one with several is judged by its first.
        scores[name] = ref, evaluate_student(trained, ref, judged_frames(name, ref.manifest), size, packs_folder(ws), device)[0]
    return scores


def last_rmse(ws: Workspace, stage: Path, name: str, size: tuple[int, int], device: str) -> float:
    """RMSE in metres of a finished stage's last epoch, where a version is its best one.

    Best is judged against truth. Of a student that is taught something else, that is the epoch which has learnt least of it.
    """

    latest = Checkpoints(stage).latest
    if latest is None:
        raise VortexError(f"{stage}: holds no checkpoint to measure the last epoch of", "remove the run's folder; it is then trained again")
    return measure(ws, latest / STUDENT, size, device, (name,))[name][1].values["rmse"]


def constant_guess(ws: Workspace, name: str, size: tuple[int, int]) -> float:
    """RMSE in metres of the one depth that fits the judged frames of a set best: their own mean, which no one could know beforehand."""
    ref = resolve(ws, name_or_manifest=name)
    frames = judged_frames(name, ref.manifest)
    source, arrays = truth_source(ref, frames), load_arrays(packs_folder(ws), ref, frames, size)
    truth = np.stack([truth_of(arrays[index], frame, source, size) for index, frame in enumerate(frames)])
    valid = truth[np.isfinite(truth) & (truth > 0) & (truth <= CAP_M)].astype(np.float64)
    return float(valid.std())
