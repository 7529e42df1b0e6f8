"""What a version sees: input, truth, prediction, error and classes side by side, on frames that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from core.classes import IGNORE
from core.progress import Progress
from pipelines.evaluate.student import truth_of, truth_source
from pipelines.evaluate.version import data_to_measure
from pipelines.hub.classes import class_pixels, untaught
from pipelines.hub.open import hub
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.predict.of_version import predictor_of
from pipelines.report.pictures import Tile, class_colours, depth_range, error_colours, save_grid, turbo
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from validation.rows import Frame

_CELL_WIDTH: Final = 240
_ERROR_STEPS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
_TRUTHS: Final = {"reference": "true depth", "tof_depth": "ToF depth (no truth)", "teacher_depth": "teacher depth (no truth)"}


def draw(
    ws: Workspace,
    version: str,
    domain: str | None,
    path: Path,
    *,
    data: str | None = None,
    split: str = "val",
    frames: int = 6,
    runtime: str = "torch",
    ids: Sequence[str] = (),
    on_progress: Progress | None = None,
) -> Path:
    """Write the grid of `frames` frames, evenly spread over the `split` frames of a domain's datasets (or of `data`), as PNG.

    With `ids`, of the frames of these ids instead, in their order.

    All depth shares one scale and all errors another, both drawn below. Raises VortexError as `evaluate` does.
    """
    registry = hub(ws)
    record = registry.get(version)
    sets = data_to_measure(ws, data=data, domain=domain, own=record.domain, split=split)
    predictor = predictor_of(registry, record, runtime, "cpu")
    sources = {ref.digest: truth_source(ref, of_set) for ref, of_set in sets}
    everything = [(ref, frame) for ref, of_set in sets for frame in of_set]
    selection = _selection(everything, frames, ids)
    samples: list[dict[str, Any]] = []
    for number, (ref, frame) in enumerate(selection, 1):
        arrays = load_arrays(packs_folder(ws), ref, [frame], record.size)[0]
        answers = predictor.predict(arrays["rgb"][None])
        samples.append(
            {
                "rgb": arrays["rgb"],
                "truth": truth_of(arrays, frame, sources[ref.digest], record.size),
                "depth": answers.depth[0],
                "classes": answers.logits[0].argmax(0).astype(np.uint8),
                "labels": arrays.get("segmentation"),
            }
        )
        if on_progress:
            on_progress(number, len(selection))
    low, high = depth_range([sample["truth"] for sample in samples])
    worst = _error_scale(samples)
    labelled = any(sample["labels"] is not None for sample in samples)
    # A class output that nothing ever trained is noise, and is not drawn.
    taught = not untaught(class_pixels(registry, record))
    heads = ["input", _TRUTHS[sources[selection[0][0].digest]], "predicted depth", "error of depth"]
    heads += ["predicted classes"] if taught else []
    names = ", ".join(dict.fromkeys(ref.name for ref, _ in selection))
    cameras = ", ".join(dict.fromkeys(frame.camera for _, frame in selection))
    height, width = record.size
    return save_grid(
        path,
        [_row(frame, sample, (low, high), worst, labelled, taught) for (_, frame), sample in zip(selection, samples, strict=True)],
        columns=[*heads, *(["true classes"] if labelled else [])],
        cell=(round(_CELL_WIDTH * height / width), _CELL_WIDTH),
        title=f"{record.name} on {selection[0][0].domain}",
        subtitle=f"{len(selection)} {split} frames of {names}   ·   camera {cameras}   ·   input {height}×{width} (H×W)",
        depth=(low, high),
        error=worst,
        classes=taught or labelled,
    )


def _selection(everything: list[tuple[DataRef, Frame]], count: int, ids: Sequence[str]) -> list[tuple[DataRef, Frame]]:
    if not ids:
        return [everything[at] for at in np.linspace(0, len(everything) - 1, min(count, len(everything))).round().astype(int)]
    by_id = {frame.id: (ref, frame) for ref, frame in everything}
    return [by_id[name] for name in ids if name in by_id]


def _row(frame: Frame, sample: dict[str, Any], depths: tuple[float, float], worst: float, labelled: bool, taught: bool) -> list[Tile]:
    truth, depth, labels = sample["truth"], sample["depth"], sample["labels"]
    valid = (truth > 0) & np.isfinite(truth)
    difference = np.where(valid, np.abs(depth - truth), np.nan)
    row = [
        Tile(sample["rgb"], frame.id if len(frame.id) <= 34 else f"…{frame.id[-33:]}"),
        Tile(turbo(truth, *depths), f"{_median(truth[valid])}, {valid.mean():.0%} valid"),
        # Depth is never negative; a prediction of exactly 0 is drawn as near, not as missing.
        Tile(turbo(np.maximum(depth, 1e-6), *depths), _median(depth[valid] if valid.any() else depth)),
        Tile(error_colours(difference, worst), f"RMSE {np.sqrt(np.mean(difference[valid] ** 2)):.2f} m" if valid.any() else "no truth"),
    ]
    labelled_pixels = labels != IGNORE if labels is not None else np.zeros(0, bool)
    right = (
        f"{(sample['classes'] == labels)[labelled_pixels].mean():.0%} of labelled pixels right"
        if labelled_pixels.any()
        else "no labels to judge by"
    )
    if taught:
        row.append(Tile(class_colours(sample["classes"]), right))
    if labelled:
        row.append(Tile(None, "no labels") if labels is None else Tile(class_colours(labels), f"{labelled_pixels.mean():.0%} labelled"))
    return row


def _median(depth: npt.NDArray[Any]) -> str:
    return f"median {np.median(depth):.2f} m" if depth.size else "no depth"


def _error_scale(samples: Sequence[dict[str, Any]]) -> float:
    """A round number of metres that holds 98 % of the errors, so that neither one bad pixel nor a good student blanks the pictures."""
    errors = [np.abs(sample["depth"] - sample["truth"])[sample["truth"] > 0] for sample in samples]
    values = np.concatenate(errors)
    values = values[np.isfinite(values)]
    high = float(np.percentile(values, 98)) if values.size else 1.0
    return next((step for step in _ERROR_STEPS if high <= step), float(np.ceil(high)))
