"""The metrics that are judged are those of `models.metrics`, made of the same sums."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import UsageError
from models.metrics import DepthMetrics, SegmentationMetrics
from pipelines.compare.frame_errors import CONFUSION
from pipelines.compare.pooled import METRICS, metric_named
from pipelines.evaluate.fused import FusedMetrics
from pipelines.evaluate.jitter import Jitter
from validation.rows import Frame

FRAME = Frame(id="f", domain="rooms", split="val", sequence="one", camera="kinect", rgb="f.png")


def test_pooled_metrics_are_those_of_the_models() -> None:
    random = np.random.default_rng(0)
    depth, classes, fused, jitter = DepthMetrics(), SegmentationMetrics(), FusedMetrics(), Jitter()
    for _ in range(4):
        truth = random.uniform(0.3, 8, (1, 12, 16))
        depth.update(truth * random.uniform(0.8, 1.3, truth.shape), truth)
        classes.update(random.integers(0, 4, (1, 12, 16)), random.integers(0, 5, (1, 12, 16)))
        fused.update(truth[0], truth[0] + 0.2, {"tof_depth": truth[0], "tof_confidence": np.full(truth[0].shape, 0.4)})
        jitter.update(FRAME, truth[0], np.full(truth[0].shape, 2.0))
    expected = depth.compute() | classes.compute() | fused.compute() | jitter.compute()
    sums = {**depth.frames(), **fused.frames(), **jitter.frames(), CONFUSION: classes.frames()}
    totals = {name: values.sum(axis=0) for name, values in sums.items()}
    for name, metric in METRICS.items():
        assert float(metric.pool(totals)) == pytest.approx(expected[name], nan_ok=True), name
    assert np.isnan(expected["iou_other"]) and np.isfinite(expected["miou"])


def test_several_totals_are_pooled_at_once() -> None:
    totals = {"squared": np.array([4.0, 9.0, 0.0]), "count": np.array([1.0, 1.0, 0.0])}
    assert METRICS["rmse"].pool(totals).tolist() == pytest.approx([2.0, 3.0, np.nan], nan_ok=True)
    confusion = np.stack([np.diag([3.0, 1, 0, 0, 0, 0]), np.zeros((6, 6))])
    confusion[0, 0, 1] = 1
    assert METRICS["miou"].pool({CONFUSION: confusion}).tolist() == pytest.approx([(3 / 4 + 1 / 2) / 2, np.nan], nan_ok=True)


def test_figures_are_written_for_people() -> None:
    assert METRICS["rmse"].text(-0.01234, "+") == "-0.0123 m" and METRICS["miou"].text(0.4567) == "45.67 %"
    assert METRICS["rmse"].text(-1e-9, "+") == "+0.0000 m"


def test_what_cannot_be_judged_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'silog' cannot be judged frame by frame, allowed: rmse, mae"):
        metric_named("silog")
