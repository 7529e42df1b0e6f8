"""Depth and segmentation metrics of one protocol: sums a frame in float64, from which every figure and every test is computed.

Protocol `val-pooled-10m/1`: a reference pixel counts when it is finite and 0 < d ≤ 10 m; figures pool the pixels of all frames.
Predictions are taken as they are for RMSE and MAE (V1's 75 m must show), and raised to 1 mm where a logarithm or ratio needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES, IGNORE
from core.depth import RANGES_M

PROTOCOL: Final = "val-pooled-10m/1"
CAP_M: Final = 10.0
FLOOR_M: Final = 1e-3

Alignment = Literal["raw", "median", "logls"]
"""How a prediction is fitted to its truth before it is judged: not at all, by the ratio of the medians, or by the factor that fits it best in
logarithms."""
Floats = NDArray[np.float64]
_ERRORS: Final = ("squared", "absolute", "abs_rel", "log10", "log", "log_squared", "delta1", "delta2", "delta3")
_SCALED: Final = "_median_scaled"
FRAME_KEYS: Final = (
    "count",
    *_ERRORS,
    *(f"{name}{_SCALED}" for name in _ERRORS),
    *(f"{part}_{name}" for name in RANGES_M for part in ("count", "squared")),
)
"""Columns of `frame_errors`: `count` valid pixels, then sums over them."""


def frame_errors(prediction: Any, reference: Any) -> dict[str, Floats]:
    """Sum the errors of each frame: `prediction` and `reference` are [H,W], [B,H,W] or [B,1,H,W], in metres, tensors or arrays.

    Gives one float64 array [B] for each of `FRAME_KEYS`. A frame without valid pixels has count 0 and sums 0; a non-finite
    prediction on a valid pixel makes that frame's sums non-finite.
    """
    predicted, truth = _frames(prediction), _frames(reference)
    if predicted.shape != truth.shape:
        raise ValueError(f"prediction {predicted.shape} and reference {truth.shape} differ in shape")
    rows = [_one_frame(p, t) for p, t in zip(predicted, truth, strict=True)]
    return {key: np.array([row[key] for row in rows], np.float64) for key in FRAME_KEYS}


def _one_frame(predicted: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    valid = np.isfinite(truth) & (truth > 0) & (truth <= CAP_M)
    d, p = truth[valid].astype(np.float64), predicted[valid].astype(np.float64)
    if d.size == 0:
        return dict.fromkeys(FRAME_KEYS, 0.0)
    with np.errstate(all="ignore"):
        log_d = np.log(d)
        # A shut ReLU predicts 0 everywhere; max() with NaN first keeps NaN.
        scaled = p * (_median(d) / max(_median(p), FLOOR_M))
        row = {"count": float(d.size), **_sums(p, d, log_d)}
        row |= {f"{name}{_SCALED}": value for name, value in _sums(scaled, d, log_d).items()}
        squared = np.square(p - d)
        for name, (low, high) in RANGES_M.items():
            stratum = (d > low) & (d <= high)
            row |= {f"count_{name}": float(np.count_nonzero(stratum)), f"squared_{name}": float(squared.sum(where=stratum))}
    return row


def _sums(p: Floats, d: Floats, log_d: Floats) -> dict[str, float]:
    error = np.abs(p - d)
    # np.maximum keeps NaN, so a non-finite prediction is never mended here.
    log = np.log(np.maximum(p, FLOOR_M)) - log_d
    distance = np.abs(log)
    return {
        "squared": float(np.dot(error, error)),
        "absolute": float(error.sum()),
        "abs_rel": float((error / d).sum()),
        "log10": float(distance.sum() / np.log(10.0)),
        "log": float(log.sum()),
        "log_squared": float(np.dot(log, log)),
        # max(p/d, d/p) < 1.25^k, in logarithms.
        **{f"delta{k}": float(np.count_nonzero(distance < k * np.log(1.25))) for k in (1, 2, 3)},
    }


def aligned(prediction: NDArray[Any], reference: NDArray[Any], how: Alignment) -> NDArray[Any]:
    """A prediction times the factor that fits it to its reference, both [H,W] in metres.

    `median` is median(d)/median(p) over valid pixels. `logls` is exp(mean(ln d − ln p)), the factor of least squares in logarithms; pixels
    predicted below 1 mm say nothing about it. Others fit a slope in logarithms too: their figures are no match for these.
    """
    valid = np.isfinite(reference) & (reference > 0) & (reference <= CAP_M)
    if how == "raw" or not valid.any():
        return prediction
    d, p = reference[valid].astype(np.float64), prediction[valid].astype(np.float64)
    if how == "median":
        return np.asarray(prediction * (_median(d) / max(_median(p), FLOOR_M)))
    positive = ~(p < FLOOR_M)  # keeps NaN, which is never mended
    return np.asarray(prediction * np.exp(np.mean(np.log(d[positive]) - np.log(p[positive])))) if positive.any() else prediction


class DepthMetrics:
    """Accumulates frames and states their metrics."""

    def __init__(self, frames: Mapping[str, Floats] | None = None) -> None:
        """Start empty, or from the columns that `frames()` gave (another process's, or an artifact's)."""
        self._parts: list[Mapping[str, Floats]] = [] if frames is None else [frames]

    def update(self, prediction: Any, reference: Any) -> dict[str, Floats]:
        """Add a batch (see `frame_errors`) and return its per-frame sums."""
        errors = frame_errors(prediction, reference)
        self._parts.append(errors)
        return errors

    def frames(self) -> dict[str, Floats]:
        """One row a frame, in the order they were added: what a paired bootstrap resamples."""
        return {key: np.concatenate([np.asarray(part[key], np.float64) for part in self._parts] or [np.empty(0)]) for key in FRAME_KEYS}

    def compute(self, per_image: bool = False) -> dict[str, float]:
        """State the metrics; a figure without any valid pixel behind it is NaN.

        `silog` is 100·sqrt(mean(e²) − mean(e)²) of e = ln p − ln d. `*_median_scaled` are after scaling each frame by
        median(d)/median(p). `rmse_per_image` and `delta1_per_image` average the frames' own figures; with `per_image` every figure does.
        """
        frames = self.frames()
        figures = _all_figures({key: float(column.sum()) for key, column in frames.items()})
        seen = frames["count"] > 0
        count = frames["count"][seen]
        figures["rmse_per_image"] = _mean(np.sqrt(frames["squared"][seen] / count))
        figures["delta1_per_image"] = _mean(frames["delta1"][seen] / count)
        figures["pixels"] = float(frames["count"].sum())
        return figures | (_means_of_images(frames) if per_image else {})


def _means_of_images(frames: Mapping[str, Floats]) -> dict[str, float]:
    """Every figure as the mean of the frames' own, over the frames that have a pixel behind it."""
    own = [_all_figures({key: float(column[row]) for key, column in frames.items()}) for row in range(len(frames["count"]))]
    behind = {f"rmse_{name}": f"count_{name}" for name in RANGES_M}
    names = own[0] if own else ()
    return {
        name: _mean(np.array([of_frame[name] for of_frame, pixels in zip(own, frames[behind.get(name, "count")], strict=True) if pixels]))
        for name in names
    }


def _all_figures(total: Mapping[str, float]) -> dict[str, float]:
    figures = _figures(total, "") | _figures(total, _SCALED)
    return figures | {f"rmse_{name}": _ratio(total[f"squared_{name}"], total[f"count_{name}"]) ** 0.5 for name in RANGES_M}


def _figures(total: Mapping[str, float], suffix: str) -> dict[str, float]:
    mean = {name: _ratio(total[f"{name}{suffix}"], total["count"]) for name in _ERRORS}
    figures = {"rmse": mean["squared"] ** 0.5, "mae": mean["absolute"], "abs_rel": mean["abs_rel"], "log10": mean["log10"]}
    # The variance of equal logarithms may round to just below 0; max() with NaN first keeps NaN.
    figures["silog"] = 100.0 * max(mean["log_squared"] - mean["log"] ** 2, 0.0) ** 0.5
    figures |= {name: mean[name] for name in ("delta1", "delta2", "delta3")}
    return {f"{name}{suffix}": value for name, value in figures.items()}


class SegmentationMetrics:
    """Accumulates confusion matrices, one a frame (truth in rows, prediction in columns)."""

    def __init__(self, confusion: NDArray[np.int64] | None = None, classes: Sequence[str] = CLASSES) -> None:
        """Start empty, or from the [N,C,C] matrices that `frames()` gave."""
        self.classes = tuple(classes)
        self._parts: list[NDArray[np.int64]] = [] if confusion is None else [confusion]

    def update(self, prediction: Any, truth: Any) -> NDArray[np.int64]:
        """Add a batch: `prediction` are logits [B,C,H,W] or classes [B,H,W], `truth` [B,H,W] with 255 ignored."""
        predicted, labels = _numpy(prediction), _numpy(truth)
        if predicted.ndim == labels.ndim + 1:
            predicted = predicted.argmax(axis=-3)
        n = len(self.classes)
        size = labels.shape[-2] * labels.shape[-1]
        predicted, labels = predicted.reshape(-1, size).astype(np.int64), labels.reshape(-1, size).astype(np.int64)
        labelled = labels != IGNORE
        if np.any(labelled & ((labels < 0) | (labels >= n))):
            raise ValueError(f"labels must be 0..{n - 1} or {IGNORE}, found {sorted(set(np.unique(labels[labelled])) - set(range(n)))}")
        matrices = np.stack(
            [np.bincount(t[k] * n + p[k], minlength=n * n).reshape(n, n) for p, t, k in zip(predicted, labels, labelled, strict=True)]
        )
        self._parts.append(matrices)
        return matrices

    def frames(self) -> NDArray[np.int64]:
        """Matrices [N,C,C], one a frame."""
        n = len(self.classes)
        return np.concatenate(self._parts) if self._parts else np.empty((0, n, n), np.int64)

    def compute(self) -> dict[str, float]:
        """State IoU per class (NaN for a class that neither occurs nor is predicted), mIoU over the others, and pixel accuracy."""
        confusion = self.frames().sum(axis=0)
        hit = np.diag(confusion)
        union = confusion.sum(axis=0) + confusion.sum(axis=1) - hit
        iou = [_ratio(float(h), float(u)) for h, u in zip(hit, union, strict=True)]
        figures = {"miou": _mean(np.array([value for value in iou if not np.isnan(value)]))}
        figures |= {f"iou_{name}": value for name, value in zip(self.classes, iou, strict=True)}
        figures["pixel_accuracy"] = _ratio(float(hit.sum()), float(confusion.sum()))
        figures["labelled_pixels"] = float(confusion.sum())
        return figures


def _median(values: Floats) -> float:
    """As `np.median` on finite values, with one partition instead of its three (0.3 against 1.3 ms for a 240×320 map)."""
    half = values.size // 2
    parts = np.partition(values, half)
    return float(parts[half] if values.size % 2 else (parts[:half].max() + parts[half]) / 2)


def _numpy(values: Any) -> NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach()
        # numpy has no bfloat16.
        values = values.float() if values.is_floating_point() else values
        values = values.cpu().numpy()
    return np.asarray(values)


def _frames(values: Any) -> NDArray[Any]:
    array = _numpy(values)
    return array.reshape(-1, *array.shape[-2:])


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")
