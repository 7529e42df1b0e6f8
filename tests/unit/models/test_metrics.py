from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.classes import CLASSES
from models.metrics import FRAME_KEYS, DepthMetrics, SegmentationMetrics, frame_errors

H, W = 13, 17


def depth_frames(n: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    g = np.random.default_rng(seed)
    truth = g.uniform(0.3, 11.0, (n, 1, H, W)).astype(np.float32)
    predicted = (truth * g.lognormal(0.1, 0.3, truth.shape)).astype(np.float32)
    truth[g.random(truth.shape) < 0.2] = 0.0
    truth[0, 0, 0, :3] = np.nan, np.inf, -1.0
    predicted[1, 0, 2, 2] = 0.0
    return predicted, truth


def naive(predicted: np.ndarray, truth: np.ndarray, scale: bool, low: float = 0.0, high: float = 10.0) -> dict[str, float]:
    """Every metric from its textbook formula, pixel by pixel in plain Python."""
    pairs: list[tuple[float, float]] = []
    per_image = []
    for frame_p, frame_t in zip(predicted, truth, strict=True):
        frame = [(float(p), float(t)) for p, t in zip(frame_p.ravel(), frame_t.ravel(), strict=True) if math.isfinite(t) and 0 < t <= 10]
        if not frame:
            continue
        if scale:

            def middle(values: list[float]) -> float:
                ordered = sorted(values)
                k = len(ordered)
                return ordered[k // 2] if k % 2 else (ordered[k // 2 - 1] + ordered[k // 2]) / 2

            s = middle([t for _, t in frame]) / middle([p for p, _ in frame])
            frame = [(p * s, t) for p, t in frame]
        per_image.append(math.sqrt(sum((p - t) ** 2 for p, t in frame) / len(frame)))
        pairs += [(p, t) for p, t in frame if low < t <= high]
    n = len(pairs)
    logs = [math.log(max(p, 1e-3) / t) for p, t in pairs]
    ratios = [max(max(p, 1e-3) / t, t / max(p, 1e-3)) for p, t in pairs]
    return {
        "rmse": math.sqrt(sum((p - t) ** 2 for p, t in pairs) / n),
        "mae": sum(abs(p - t) for p, t in pairs) / n,
        "abs_rel": sum(abs(p - t) / t for p, t in pairs) / n,
        "log10": sum(abs(math.log10(max(p, 1e-3)) - math.log10(t)) for p, t in pairs) / n,
        "silog": 100 * math.sqrt(sum(e * e for e in logs) / n - (sum(logs) / n) ** 2),
        **{f"delta{k}": sum(r < 1.25**k for r in ratios) / n for k in (1, 2, 3)},
        "rmse_per_image": sum(per_image) / len(per_image),
    }


def test_depth_metrics_agree_with_a_naive_implementation_to_1e_6() -> None:
    predicted, truth = depth_frames()
    metrics = DepthMetrics()
    metrics.update(torch.from_numpy(predicted[:1]), torch.from_numpy(truth[:1]))
    metrics.update(predicted[1:], truth[1:])
    figures = metrics.compute()
    for name, value in naive(predicted, truth, scale=False).items():
        assert figures[name] == pytest.approx(value, abs=1e-6), name
    scaled = naive(predicted, truth, scale=True)
    for name in ("rmse", "mae", "abs_rel", "log10", "silog", "delta1", "delta2", "delta3"):
        assert figures[f"{name}_median_scaled"] == pytest.approx(scaled[name], abs=1e-6), name
    for name, (low, high) in {"near": (0, 1.5), "mid": (1.5, 3), "far": (3, 6)}.items():
        assert figures[f"rmse_{name}"] == pytest.approx(naive(predicted, truth, False, low, high)["rmse"], abs=1e-6)


def test_a_constant_offset_on_many_pixels_keeps_its_sixth_digit() -> None:
    truth = np.full((1, 480, 640), 4.0, np.float32)
    metrics = DepthMetrics()
    for _ in range(8):
        metrics.update(truth + np.float32(0.125), truth)
    assert metrics.compute()["rmse"] == 0.125
    assert metrics.compute()["pixels"] == 8 * 480 * 640


def test_median_scaling_forgives_a_wrong_unit_and_raw_figures_do_not() -> None:
    _, truth = depth_frames()
    figures = DepthMetrics(frame_errors(truth * 1000, truth)).compute()
    assert figures["rmse"] > 1000 and figures["rmse_median_scaled"] < 1e-5
    assert figures["silog"] < 1e-3 and figures["delta1_median_scaled"] == 1.0


def test_a_frame_that_is_predicted_zero_everywhere_has_figures() -> None:
    errors = frame_errors(np.zeros((4, 4)), np.full((4, 4), 2.0))
    assert errors["squared"] == pytest.approx([64.0]) and errors["squared_median_scaled"] == pytest.approx([64.0])


def test_nothing_valid_gives_nan_and_never_zero() -> None:
    for metrics in (DepthMetrics(), DepthMetrics(frame_errors(np.ones((2, H, W)), np.zeros((2, H, W))))):
        figures = metrics.compute()
        assert figures.pop("pixels") == 0
        assert all(math.isnan(value) for value in figures.values())
    near_only = DepthMetrics(frame_errors(np.ones((1, H, W)), np.ones((1, H, W)))).compute()
    assert near_only["rmse_near"] == 0 and math.isnan(near_only["rmse_mid"]) and math.isnan(near_only["rmse_far"])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_non_finite_prediction_on_a_valid_pixel_shows(bad: float) -> None:
    predicted, truth = np.ones((1, H, W)), np.ones((1, H, W))
    predicted[0, 3, 3] = bad
    figures = DepthMetrics(frame_errors(predicted, truth)).compute()
    assert not math.isfinite(figures["rmse"])
    assert figures["delta1"] == pytest.approx(1 - 1 / (H * W))
    truth[0, 3, 3] = 0
    assert DepthMetrics(frame_errors(predicted, truth)).compute()["rmse"] == 0


def test_figures_do_not_depend_on_how_frames_are_cut_into_batches() -> None:
    predicted, truth = depth_frames(5)
    whole, in_batches = DepthMetrics(), DepthMetrics()
    whole.update(predicted, truth)
    in_batches.update(predicted[:2], truth[:2])
    in_batches.update(predicted[2:], truth[2:])
    assert in_batches.compute() == whole.compute() == DepthMetrics(in_batches.frames()).compute()
    frames = in_batches.frames()
    assert set(frames) == set(FRAME_KEYS) and all(column.shape == (5,) and column.dtype == np.float64 for column in frames.values())


def test_bfloat16_predictions_are_taken() -> None:
    assert frame_errors(torch.ones(1, 1, H, W, dtype=torch.bfloat16), torch.ones(1, 1, H, W))["squared"].tolist() == [0.0]


@pytest.mark.parametrize("seed", [0, 1])
def test_iou_agrees_with_torchmetrics_to_1e_6(seed: int) -> None:
    from torchmetrics.classification import MulticlassJaccardIndex  # loads transformers, which takes seconds

    g = torch.Generator().manual_seed(seed)
    present = 6 if seed == 0 else 4
    logits = torch.randn(3, 6, H, W, generator=g)
    logits[:, present:] = -9.0
    truth = torch.randint(0, present, (3, H, W), generator=g)
    truth[torch.rand(3, H, W, generator=g) < 0.3] = 255
    ours = SegmentationMetrics()
    ours.update(logits[:1], truth[:1])
    ours.update(logits[1:].argmax(1), truth[1:])
    figures = ours.compute()
    per_class = MulticlassJaccardIndex(6, average=None, ignore_index=255)(logits, truth)
    macro = MulticlassJaccardIndex(6, average="macro", ignore_index=255)(logits, truth)
    assert figures["miou"] == pytest.approx(macro.item(), abs=1e-6)
    for index, name in enumerate(CLASSES):
        if index < present:
            assert figures[f"iou_{name}"] == pytest.approx(per_class[index].item(), abs=1e-6)
        else:
            assert math.isnan(figures[f"iou_{name}"])


def test_segmentation_without_labels_is_nan_and_later_frames_add_up() -> None:
    metrics = SegmentationMetrics()
    metrics.update(torch.zeros(2, 6, H, W), torch.full((2, H, W), 255))
    figures = metrics.compute()
    assert figures.pop("labelled_pixels") == 0
    assert all(math.isnan(value) for value in figures.values())
    metrics.update(torch.zeros(1, H, W, dtype=torch.long), torch.zeros(1, H, W, dtype=torch.long))
    assert metrics.compute()["miou"] == 1.0 and metrics.frames().shape == (3, 6, 6)


def test_a_label_outside_the_classes_is_named() -> None:
    with pytest.raises(ValueError, match="17"):
        SegmentationMetrics().update(torch.zeros(1, 6, 2, 2), torch.full((1, 2, 2), 17))
