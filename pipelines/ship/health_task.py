"""The task by which a device judges a bundle before it relies on it: frames of the exam with truth, and how far the very file is off on them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from vortex_jetson.formats.bundle import Bounds, Health, HealthFrame

from core.classes import IGNORE
from core.errors import VortexError
from models.metrics import CAP_M
from pipelines.exam.sets import exam_sets
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.predict.runtimes import of_file
from pipelines.workspace import Workspace

FRAMES: Final = 4
LEAST_VALID: Final = 0.1
"""Share of a frame's pixels that must have truth for it to say anything."""
SLACK, SLACK_M = 0.05, 0.01
"""A device may be worse than the file was here by this share and these metres: another runtime rounds otherwise, by a millimetre or two."""
SLACK_CLASSES: Final = 0.02


@dataclass(frozen=True)
class HealthTask:
    """Files by their path in the bundle, what the manifest says of them, and `blind`: why the task would not see a broken model; else empty."""

    files: dict[str, bytes]
    health: Health
    blind: str


@dataclass(frozen=True)
class _Truth:
    """Of one frame: RGB [H,W,3], depth in mm [H,W] (0 unknown), classes [H,W] or None."""

    rgb: NDArray[np.uint8]
    depth_mm: NDArray[np.uint16]
    classes: NDArray[np.uint8] | None


def health_task(ws: Workspace, domain: str, size: tuple[int, int], model: Path, *, classes: bool) -> HealthTask:
    """The task for a model of this input size (H, W), from the exam of `domain`; `classes` says whether its classes mean anything.

    Raises VortexError for a domain without an exam, or without a frame that has depth of a sensor or exact depth.
    """
    truths = list(_truths(ws, domain, size))[:FRAMES]
    if not truths:
        raise VortexError(
            f"no frame of the exam of {domain} has depth on {LEAST_VALID:.0%} of its pixels, and a device would have nothing to judge by",
            f"add frames with depth that are held out: vortex data add NAME PATH --domain {domain}",
        )
    files: dict[str, bytes] = {}
    frames, squares, right = [], [], []
    predict = of_file(model)
    for number, truth in enumerate(truths):
        answers = predict(truth.rgb[None])
        valid = truth.depth_mm > 0
        squares.append((answers.depth[0][valid] - truth.depth_mm[valid].astype(np.float64) / 1000) ** 2)
        labels = truth.classes if classes else None
        if labels is not None:
            labelled = labels != IGNORE
            right.append(answers.logits[0].argmax(axis=0)[labelled] == labels[labelled])
        paths = {part: f"health/{number:03d}.{part}.npy" for part in ("rgb", "depth", "classes")}
        files[paths["rgb"]], files[paths["depth"]] = _npy(truth.rgb), _npy(truth.depth_mm)
        if labels is not None:
            files[paths["classes"]] = _npy(labels)
        frames.append(HealthFrame(paths["rgb"], paths["depth"], paths["classes"] if labels is not None else None))
    every = np.concatenate(squares)
    agreement = np.concatenate(right) if right else np.array([])
    bounds = Bounds(
        _above(math.sqrt(every.mean())),
        _above(max(math.sqrt(frame.mean()) for frame in squares)),
        max(0.0, round(float(agreement.mean()) - SLACK_CLASSES, 4)) if agreement.size else None,
    )
    return HealthTask(files, Health(tuple(frames), bounds), _blind(bounds, truths))


def _truths(ws: Workspace, domain: str, size: tuple[int, int]) -> Iterator[_Truth]:
    """Frames evenly spread over the exam that have enough truth; twice as many are looked at as are needed."""
    candidates = [(exam_set.ref, frame) for exam_set in exam_sets(ws, domain) for frame in exam_set.frames if frame.depth or frame.tof]
    places = np.unique(np.linspace(0, len(candidates) - 1, 2 * FRAMES).astype(int)) if candidates else ()
    # Every second one first, so that those that are taken lie apart.
    for place in [*places[::2], *places[1::2]]:
        ref, frame = candidates[place]
        (row,) = load_arrays(packs_folder(ws), ref, [frame], size)
        depth = row["reference"] if "reference" in row else row["tof_depth"]
        depth_mm = np.where((depth > 0) & (depth <= CAP_M), np.rint(depth * 1000), 0).astype(np.uint16)
        labels = row.get("segmentation")
        if (depth_mm > 0).mean() >= LEAST_VALID:
            labelled = labels is not None and bool((labels != IGNORE).any())
            yield _Truth(np.asarray(row["rgb"], np.uint8), depth_mm, np.asarray(labels, np.uint8) if labelled else None)


def _above(measured: float) -> float:
    return math.ceil((measured * (1 + SLACK) + SLACK_M) * 1e4) / 1e4


def _blind(bounds: Bounds, truths: list[_Truth]) -> str:
    """Why a model that sees no better than one depth everywhere would pass; empty where it would not."""
    depths_m = np.concatenate([truth.depth_mm[truth.depth_mm > 0] for truth in truths]).astype(np.float64) / 1000
    constant = float(np.sqrt(np.mean((depths_m - depths_m.mean()) ** 2)))
    if bounds.rmse_m < constant:
        return ""
    return f"its health frames allow {bounds.rmse_m:.2f} m, and one depth everywhere is off by {constant:.2f} m: what sees no better than that would pass"


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
