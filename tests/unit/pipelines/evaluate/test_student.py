from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.errors import VortexError
from models.metrics import PROTOCOL, frame_errors
from models.student import Prediction, Student, StudentConfig
from pipelines.data.datasets import resolve
from pipelines.evaluate.student import evaluate_predictor, evaluate_student, frames_a_batch, pooled_rmse
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from pipelines.predict.runtimes import of_student
from pipelines.protocol import Crop, Protocol
from pipelines.workspace import Workspace
from tests.unit.pipelines.conftest import SIZE, add_tof, write_frames
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
    oracle: Any = Oracle(2.0, 1)
    (evaluation,) = evaluate_student(oracle, ref, frames, SIZE, packs_folder(workspace), batch=4, on_progress=lambda *at: seen.append(at))
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
    one, many = (evaluate_student(network, ref, frames, SIZE, packs_folder(workspace), batch=batch)[0].values for batch in (1, None))
    assert network.training
    assert one.keys() == many.keys()
    assert all(one[name] == pytest.approx(many[name], rel=1e-4) for name in one)


def test_a_batch_has_about_as_many_pixels_whatever_the_size():
    assert [frames_a_batch(size) for size in ((240, 320), (96, 128), (480, 640), (4000, 6000))] == [16, 100, 4, 1]


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


def measured(ws: Workspace, manifest: Path, network: torch.nn.Module, protocol: Protocol) -> dict[str, float]:
    ref, frames = val(ws, manifest)
    (evaluation,) = evaluate_predictor(of_student(network), ref, frames, SIZE, packs_folder(ws), protocol)  # type: ignore[arg-type]
    return evaluation.values


def test_alignment_crop_clip_and_means_of_images(workspace: Workspace, small_set: Path) -> None:
    ref, frames = val(workspace, small_set)
    truth = np.stack([row["reference"] for row in load_arrays(packs_folder(workspace), ref, frames, SIZE)]).astype(np.float64)
    valid = truth > 0
    for align, factors in (
        ("median", [np.median(t[t > 0]) / 2.0 for t in truth]),
        ("logls", [np.exp(np.mean(np.log(t[t > 0]))) / 2.0 for t in truth]),
    ):
        errors = [(2.0 * factor - t)[t > 0] for factor, t in zip(factors, truth, strict=True)]
        values = measured(workspace, small_set, Oracle(2.0, 1), Protocol(align=align))  # type: ignore[arg-type]
        assert values["rmse"] == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)), rel=1e-5)
    crop = Crop((10, 40), (20, 90))
    inside = np.zeros(truth.shape, bool)
    inside[:, 10:40, 20:90] = True
    values = measured(workspace, small_set, Oracle(12.0, 1), Protocol(crop=crop, clipped=True, per_image=True))
    own = [np.sqrt(np.mean((10.0 - t[i & (t > 0)]) ** 2)) for t, i in zip(truth, inside, strict=True)]
    assert values["rmse"] == pytest.approx(np.mean(own), rel=1e-6) and values["pixels"] == (valid & inside).sum()
    near = [
        np.sqrt(np.mean((10.0 - t[i & (t > 0) & (t <= 1.5)]) ** 2))
        for t, i in zip(truth, inside, strict=True)
        if (i & (t > 0) & (t <= 1.5)).any()
    ]
    assert values.get("rmse_near", 0.0) == pytest.approx(np.mean(near) if near else 0.0, rel=1e-6)


class Mirror(Oracle):
    """Answers with the brightness of each pixel, and a metre more in the left half of whatever it sees."""

    def forward(self, rgb: torch.Tensor) -> Prediction:
        depth = rgb.mean(dim=1, keepdim=True) + 1
        depth[..., : depth.shape[-1] // 2] += 1
        return Prediction(depth, super().forward(rgb).logits)


def test_the_flipped_answer_is_averaged_in(workspace: Workspace, small_set: Path) -> None:
    ref, frames = val(workspace, small_set)
    rows = list(load_arrays(packs_folder(workspace), ref, frames, SIZE))
    expected = np.concatenate([((row["rgb"].mean(axis=2) / 255 + 1.5) - row["reference"])[row["reference"] > 0] for row in rows])
    values = measured(workspace, small_set, Mirror(0.0, 1), Protocol(tta="flip"))
    assert values["rmse"] == pytest.approx(np.sqrt(np.mean(expected**2)), rel=1e-5)


def test_fused_and_jitter_are_what_they_are_defined_as(workspace: Workspace, small_set: Path) -> None:
    add_tof(small_set)
    ref, frames = val(workspace, small_set)
    rows = list(load_arrays(packs_folder(workspace), ref, frames, SIZE))
    errors = []
    for row in rows:
        scale = np.median(row["tof_depth"][:, 8:48] / 2.0)
        fused = np.full(SIZE, 2.0 * scale)
        fused[:, 8:48] = row["tof_depth"][:, 8:48]
        errors.append((fused - row["reference"])[row["reference"] > 0])
    values = measured(workspace, small_set, Oracle(2.0, 1), Protocol())
    assert values["fused_rmse"] == pytest.approx(np.sqrt(np.mean(np.concatenate(errors) ** 2)), rel=1e-5)
    # A constant prediction: its error changes by as much as the truth does.
    steps = [np.abs(after["reference"] - before["reference"])[before["reference"] > 0] for before, after in pairwise(rows)]
    assert values["jitter"] == pytest.approx(np.mean(np.concatenate(steps)), rel=1e-4)
    (evaluation,) = evaluate_student(Oracle(2.0, 1), ref, frames, SIZE, packs_folder(workspace))  # type: ignore[arg-type]
    assert evaluation.errors.sums["jitter_count"][0] == 0 and (evaluation.errors.sums["jitter_count"][1:] > 0).all()


def test_frames_that_do_not_follow_each_other_have_no_jitter_and_a_named_truth_is_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    album = write_frames(tmp_path / "album", sequences=6)
    values = measured(workspace, album, Oracle(2.0, 1), Protocol())
    assert "jitter" not in values and "fused_rmse" not in values
    with pytest.raises(
        VortexError, match="judges by depth of the teacher da3-metric-large, which 6 of 6 frames of outside:album do not have"
    ):
        measured(workspace, album, Oracle(2.0, 1), Protocol("femto459-da3", truth="teacher_depth", teacher="da3-metric-large"))
