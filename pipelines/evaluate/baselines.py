"""What knows nothing of a picture and yet answers: one depth everywhere, and the mean depth map of the training frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from models.metrics import CAP_M, DepthMetrics
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.data.datasets import for_domain, resolve
from pipelines.evaluate.student import truth_of, truth_source
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.validate.validation_report import passed
from pipelines.workspace import Workspace
from validation.manifest import load_manifest

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from validation.rows import Frame

CONSTANT: Final = "constant"
MEAN_MAP: Final = "mean_map"
NAMES: Final = {CONSTANT: "one depth everywhere", MEAN_MAP: "the mean depth map"}
MOST_FRAMES: Final = 1000
"""Frames of a set that the mean is made of, evenly spread: more of them move a mean map by less than a millimetre or two."""


def baseline_maps(ws: Workspace, ref: DataRef, frames: Sequence[Frame], size: tuple[int, int]) -> dict[str, NDArray[np.float32]]:
    """Baseline → depth [H,W] in metres, from the training frames of the domain's datasets that passed their gate, at `size`.

    Any other set could be put beside them to make the baselines weak. Where no such frame has truth they are made of `frames` of `ref`,
    the judged ones themselves, which are then harder to beat. Raises VortexError when these have no truth either.
    """
    total, count = np.zeros(size), np.zeros(size)
    for source, of_source in list(_training(ws, ref.domain)) or [(ref, list(frames))]:
        for truth in _truths(ws, source, of_source, size):
            valid = np.isfinite(truth) & (truth > 0) & (truth <= CAP_M)
            total += np.where(valid, truth, 0)
            count += valid
    if not count.any():
        raise VortexError(f"{ref.name}: no frame of it has a pixel of true depth", "measure on a set that has some")
    constant = float(total.sum() / count.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_map = np.where(count > 0, total / count, constant)
    return {CONSTANT: np.full(size, constant, np.float32), MEAN_MAP: mean_map.astype(np.float32)}


def baseline_errors(ws: Workspace, ref: DataRef, frames: Sequence[Frame], size: tuple[int, int]) -> dict[str, FrameErrors]:
    """Baseline → its errors on `frames` of `ref` at `size` (H, W), as a version's are measured."""
    maps = baseline_maps(ws, ref, frames, size)
    metrics = {name: DepthMetrics() for name in maps}
    for truth in _truths(ws, ref, frames, size, limit=None):
        for name, depth in maps.items():
            metrics[name].update(depth, truth)
    ids, sequences = tuple(frame.id for frame in frames), tuple(frame.sequence for frame in frames)
    return {name: FrameErrors(ids, of_depth.frames(), size, sequences) for name, of_depth in metrics.items()}


def baseline_figures(ws: Workspace, ref: DataRef, errors: FrameErrors) -> dict[str, float]:
    """`rmse_constant` and `rmse_mean_map` in metres, on the frames and at the size of `errors`."""
    ids = set(errors.ids)
    frames = [frame for frame in load_manifest(ref.manifest) if frame.id in ids]
    sums = {name: of_name.sums for name, of_name in baseline_errors(ws, ref, frames, errors.size).items()}
    return {f"rmse_{name}": float(np.sqrt(of_name[SQUARED].sum() / of_name[COUNT].sum())) for name, of_name in sums.items()}


def _training(ws: Workspace, domain: str) -> Iterable[tuple[DataRef, list[Frame]]]:
    """The domain's datasets that passed their gate, with their training frames, as far as they have truth."""
    for dataset in for_domain(ws, domain):
        ref = resolve(ws, name_or_manifest=dataset.name)
        if not passed(ws, ref):
            continue
        frames = [frame for frame in load_manifest(dataset.manifest) if frame.split == "train"]
        try:
            truth_source(ref, frames)
        except VortexError:  # frames with labels alone, or none at all
            continue
        yield ref, frames


def _truths(
    ws: Workspace, ref: DataRef, frames: Sequence[Frame], size: tuple[int, int], limit: int | None = MOST_FRAMES
) -> Iterable[NDArray[np.float32]]:
    """True depth [H,W] of frames, 0 where there is none; of more than `limit`, that many, evenly spread."""
    sample = list(frames)
    if limit is not None and len(sample) > limit:
        sample = [frames[index * len(frames) // limit] for index in range(limit)]
    source = truth_source(ref, frames)
    arrays = load_arrays(packs_folder(ws), ref, sample, size)
    for index, frame in enumerate(sample):
        yield truth_of(arrays[index], frame, source, size)
