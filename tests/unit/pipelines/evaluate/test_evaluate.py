from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from core.errors import GateRefused, VortexError
from models.metrics import PROTOCOL, frame_errors
from models.student import Prediction, Student, StudentConfig
from pipelines.compare import bootstrap
from pipelines.compare.bootstrap import FrameErrors
from pipelines.data.datasets import resolve
from pipelines.evaluate import student as evaluate
from pipelines.frames import load_arrays
from pipelines.hub.open import hub
from pipelines.pack import packs_folder
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
    (found,) = evaluate.evaluate_student(
        Oracle(2.0, 1), ref, frames, SIZE, packs_folder(workspace), batch=4, on_progress=lambda *at: seen.append(at)
    )  # type: ignore[arg-type]
    truth = np.stack([row["reference"] for row in load_arrays(packs_folder(workspace), ref, frames, SIZE)])
    valid = truth > 0
    assert found.values["rmse"] == pytest.approx(np.sqrt(np.mean((truth[valid] - 2) ** 2)), rel=1e-6)
    near = valid & (truth <= 1.5)
    assert found.values["rmse_near"] == pytest.approx(np.sqrt(np.mean((truth[near] - 2) ** 2)), rel=1e-6)
    labels = np.stack([row["segmentation"] for row in load_arrays(packs_folder(workspace), ref, frames, SIZE)])
    assert found.values["iou_wall"] == pytest.approx((labels == 1).sum() / (labels != 255).sum()) and found.values["iou_floor"] == 0
    assert "iou_person" not in found.values
    assert (found.domain, found.camera, found.protocol, found.frames) == ("rooms", "kinect", PROTOCOL, 6)
    assert seen == [(4, 6), (6, 6)]
    assert evaluate.pooled_rmse([found]) == pytest.approx(found.values["rmse"])
    expected = frame_errors(np.full((1, *SIZE), 2.0), truth[3])
    assert found.errors.ids[3] == frames[3].id and found.errors.sums["squared"][3] == pytest.approx(expected["squared"][0])


def test_batches_and_mode_do_not_matter(workspace: Workspace, small_set: Path):
    ref, frames = val(workspace, small_set)
    network = student().train()
    one, many = (evaluate.evaluate_student(network, ref, frames, SIZE, packs_folder(workspace), batch=batch)[0].values for batch in (1, 4))
    assert network.training
    assert one.keys() == many.keys()
    assert all(one[name] == pytest.approx(many[name], rel=1e-4) for name in one)


def test_each_camera_is_measured_by_itself(workspace: Workspace, tmp_path: Path):
    ref, frames = val(workspace, write_frames(tmp_path / "two", cameras=("kinect", "femto")))
    found = evaluate.evaluate_student(student(), ref, frames, SIZE, packs_folder(workspace))
    assert [(one.camera, one.frames) for one in found] == [("femto", 3), ("kinect", 3)]
    assert evaluate.pooled_rmse(found) == pytest.approx(evaluate.pooled_rmse(reversed(found)))


def test_unlabelled_frames_have_no_class_metrics(workspace: Workspace, small_set: Path):
    import dataclasses

    bare = [dataclasses.replace(frame, segmentation=None, supervision="none") for frame in load_manifest(small_set)]
    write_manifest(small_set, bare)
    ref, frames = val(workspace, small_set)
    (found,) = evaluate.evaluate_student(student(), ref, frames, SIZE, packs_folder(workspace))
    assert "rmse" in found.values and not any(name.startswith(("iou", "miou")) for name in found.values)


def test_tof_stands_in_for_truth_and_says_so(workspace: Workspace, small_set: Path):
    import dataclasses

    robot = [dataclasses.replace(frame, depth=None, depth_unit=None, tof=frame.depth, tof_unit="mm") for frame in load_manifest(small_set)]
    write_manifest(small_set, robot)
    ref, frames = val(workspace, small_set)
    (found,) = evaluate.evaluate_student(Oracle(2.0, 1), ref, frames, SIZE, packs_folder(workspace))  # type: ignore[arg-type]
    assert found.protocol == f"{PROTOCOL}+tof" and np.isfinite(found.values["rmse"])
    nothing = [dataclasses.replace(frame, tof=None, tof_unit=None) for frame in robot]
    with pytest.raises(VortexError, match="none of the 9 frames has reference depth"):
        evaluate.evaluate_student(student(), ref, nothing, SIZE, packs_folder(workspace))


def test_a_broken_prediction_stays_visible(workspace: Workspace, small_set: Path):
    ref, frames = val(workspace, small_set)
    (found,) = evaluate.evaluate_student(Oracle(float("nan"), 1), ref, frames, SIZE, packs_folder(workspace))  # type: ignore[arg-type]
    assert np.isnan(found.values["rmse"])


def test_evaluate_records_metrics_and_errors(workspace: Workspace, small_set: Path, make_version: Callable[..., str]):
    name = make_version()
    with pytest.raises(GateRefused, match="'small' was never validated"):
        evaluate.evaluate(workspace, name, data=str(small_set))
    assert hub(workspace).get(name).metrics == ()
    (recorded,) = evaluate.evaluate(workspace, name, data=str(small_set), allow_unvalidated=True, device="cpu")
    (kept,) = hub(workspace).get(name).metrics
    assert kept == recorded and kept.digest == resolve(workspace, name_or_manifest=str(small_set)).digest
    errors = FrameErrors.load(hub(workspace).artifact_path(kept.errors))
    assert len(errors.ids) == 6 and errors.size == SIZE
    assert np.sqrt(errors.sums["squared"].sum() / errors.sums["count"].sum()) == pytest.approx(kept.values["rmse"], rel=1e-5)
    json.dumps(kept.values, allow_nan=False)


def test_evaluate_names_what_is_wrong(workspace: Workspace, small_set: Path, make_version: Callable[..., str]):
    name = make_version()
    for options, message in (
        ({"domain": "attic"}, "unknown domain 'attic'"),
        ({"domain": "corridor"}, "domain 'corridor' has no dataset"),
        ({"data": "kitchen"}, "unknown dataset 'kitchen'"),
        ({"data": str(small_set), "domain": "corridor"}, "small has no frames of the domain 'corridor', they are of: rooms"),
        ({"data": str(small_set), "split": "test"}, "no 'test' frames to measure on: small has 1 gap, 2 train, 6 val"),
    ):
        with pytest.raises(VortexError, match=message):
            evaluate.evaluate(workspace, name, allow_unvalidated=True, **options)  # type: ignore[arg-type]
    with pytest.raises(VortexError, match="'v99' is not registered"):
        evaluate.evaluate(workspace, "v99", data=str(small_set))
    registry = hub(workspace)
    path = registry.artifact_path(registry.get(name).checkpoint)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(VortexError, match="not what was registered"):
        evaluate.evaluate(workspace, name, data=str(small_set), allow_unvalidated=True)


def test_compare_pairs_the_same_frames_only(workspace: Workspace, small_set: Path, make_version: Callable[..., str], tmp_path: Path):
    good, bad = make_version(), make_version(shift=3.0)
    with pytest.raises(VortexError, match=f"{good} was not measured on rooms"):
        evaluate.compare(workspace, good, bad, domain="rooms")
    for name, manifest in ((good, small_set), (bad, write_frames(tmp_path / "other", val=5))):
        evaluate.evaluate(workspace, name, data=str(manifest), allow_unvalidated=True)
    with pytest.raises(VortexError, match=r"cannot be compared on rooms: data differs \(small@.* against other@"):
        evaluate.compare(workspace, good, bad, domain="rooms")
    evaluate.evaluate(workspace, bad, data=str(small_set), allow_unvalidated=True)
    found = evaluate.compare(workspace, good, bad, domain="rooms")
    assert found.high < 0 and found.frames == 6
    assert found == bootstrap.compare_errors(hub(workspace), good, bad, "rooms")


def test_picture_shows_the_frames_and_their_true_classes(
    workspace: Workspace, small_set: Path, make_version: Callable[..., str], tmp_path: Path
):
    import cv2

    from core.classes import PALETTE
    from pipelines.report.predictions import draw

    name, seen = make_version(), []
    path = draw(workspace, name, None, tmp_path / "grid.png", data=str(small_set), frames=3, on_progress=lambda *at: seen.append(at))
    grid = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    assert seen == [(1, 3), (2, 3), (3, 3)] and grid.shape[1] > 6 * 240 and grid.shape[0] > 3 * 160
    true_classes = grid[100:, -24 - 240 : -24].reshape(-1, 3)
    for label in (0, 1):
        assert (true_classes == PALETTE[label]).all(axis=1).mean() > 0.05
