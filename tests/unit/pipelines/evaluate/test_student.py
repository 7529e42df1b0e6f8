from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import VortexError
from models.metrics import PROTOCOL, frame_errors
from models.student import Prediction, Student, StudentConfig
from pipelines.data.datasets import resolve
from pipelines.evaluate.student import evaluate_student, pooled_rmse
from pipelines.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.workspace import Workspace
from tests.unit.pipelines.conftest import SIZE, write_frames
from validation.manifest import load_manifest, write_manifest


def student() -> Student:
    torch.manual_seed(0)
    return Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE))


class Oracle(torch.nn.Module):
    """Answers every frame with fixed depth and one class."""

    def __init__(self, depth: float, label: int) -> None:
        super().__init__()
        self.depth, self.label = depth, label

    def forward(self, rgb: torch.Tensor) -> Prediction:
        logits = torch.zeros(len(rgb), 6, *rgb.shape[-2:])
        logits[:, self.label] = 1
        return Prediction(torch.full((len(rgb), 1, *rgb.shape[-2:]), self.depth), logits)


def val(ws: Workspace, manifest: Path):
    ref = resolve(ws, name_or_manifest=str(manifest))
    return ref, [frame for frame in load_manifest(manifest) if frame.split == "val"]


def test_metrics_are_those_of_the_frames(workspace: Workspace, small_set: Path):
    ref, frames = val(workspace, small_set)
    seen: list[tuple[int, int]] = []
    (evaluation,) = evaluate_student(
        Oracle(2.0, 1), ref, frames, SIZE, packs_folder(workspace), batch=4, on_progress=lambda *at: seen.append(at)
    )  # type: ignore[arg-type]
    truth = np.stack([row["reference"] for row in load_arrays(packs_folder(workspace), ref, frames, SIZE)])
    valid = truth > 0
    assert evaluation.values["rmse"] == pytest.approx(np.sqrt(np.mean((truth[valid] - 2) ** 2)), rel=1e-6)
    near = valid & (truth <= 1.5)
    assert evaluation.values["rmse_near"] == pytest.approx(np.sqrt(np.mean((truth[near] - 2) ** 2)), rel=1e-6)
    labels = np.stack([row["segmentation"] for row in load_arrays(packs_folder(workspace), ref, frames, SIZE)])
    assert (
        evaluation.values["iou_wall"] == pytest.approx((labels == 1).sum() / (labels != 255).sum()) and evaluation.values["iou_floor"] == 0
    )
    assert "iou_person" not in evaluation.values
    assert (evaluation.domain, evaluation.camera, evaluation.protocol, evaluation.frames) == ("rooms", "kinect", PROTOCOL, 6)
    assert seen == [(4, 6), (6, 6)]
    assert pooled_rmse([evaluation]) == pytest.approx(evaluation.values["rmse"])
    expected = frame_errors(np.full((1, *SIZE), 2.0), truth[3])
    assert evaluation.errors.ids[3] == frames[3].id and evaluation.errors.sums["squared"][3] == pytest.approx(expected["squared"][0])


def test_batches_and_mode_do_not_matter(workspace: Workspace, small_set: Path):
    ref, frames = val(workspace, small_set)
    network = student().train()
    one, many = (evaluate_student(network, ref, frames, SIZE, packs_folder(workspace), batch=batch)[0].values for batch in (1, 4))
    assert network.training
    assert one.keys() == many.keys()
    assert all(one[name] == pytest.approx(many[name], rel=1e-4) for name in one)


def test_each_camera_is_measured_by_itself(workspace: Workspace, tmp_path: Path):
    ref, frames = val(workspace, write_frames(tmp_path / "two", cameras=("kinect", "femto")))
    evaluations = evaluate_student(student(), ref, frames, SIZE, packs_folder(workspace))
    assert [(one.camera, one.frames) for one in evaluations] == [("femto", 3), ("kinect", 3)]
    assert pooled_rmse(evaluations) == pytest.approx(pooled_rmse(reversed(evaluations)))


def test_unlabelled_frames_have_no_class_metrics(workspace: Workspace, small_set: Path):
    import dataclasses

    bare = [dataclasses.replace(frame, segmentation=None, supervision="none") for frame in load_manifest(small_set)]
    write_manifest(small_set, bare)
    ref, frames = val(workspace, small_set)
    (evaluation,) = evaluate_student(student(), ref, frames, SIZE, packs_folder(workspace))
    assert "rmse" in evaluation.values and not any(name.startswith(("iou", "miou")) for name in evaluation.values)


def test_tof_stands_in_for_truth_and_says_so(workspace: Workspace, small_set: Path):
    import dataclasses

    robot = [dataclasses.replace(frame, depth=None, depth_unit=None, tof=frame.depth, tof_unit="mm") for frame in load_manifest(small_set)]
    write_manifest(small_set, robot)
    ref, frames = val(workspace, small_set)
    (evaluation,) = evaluate_student(Oracle(2.0, 1), ref, frames, SIZE, packs_folder(workspace))  # type: ignore[arg-type]
    assert evaluation.protocol == f"{PROTOCOL}+tof" and np.isfinite(evaluation.values["rmse"])
    nothing = [dataclasses.replace(frame, tof=None, tof_unit=None) for frame in robot]
    with pytest.raises(VortexError, match="none of the 9 frames has reference depth"):
        evaluate_student(student(), ref, nothing, SIZE, packs_folder(workspace))


def test_a_broken_prediction_stays_visible(workspace: Workspace, small_set: Path):
    ref, frames = val(workspace, small_set)
    (evaluation,) = evaluate_student(Oracle(float("nan"), 1), ref, frames, SIZE, packs_folder(workspace))  # type: ignore[arg-type]
    assert np.isnan(evaluation.values["rmse"])
