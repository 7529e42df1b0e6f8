"""The adapters' real code on tiny random models of the same classes."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.classes import CLASSES
from models.teachers import make
from models.teachers.contract import Boxes, TeacherError, View
from tests.unit.models.tiny_teachers import picture, tiny_da2, tiny_sam2, tiny_yolo

SIZE = (96, 128)
PERSON, FURNITURE = CLASSES.index("person"), CLASSES.index("furniture")
VIEW, OTHER_VIEW = View("f1", picture(SIZE)), View("f2", picture((60, 100), seed=5))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Weights of every kind, written once."""
    folder = tmp_path_factory.mktemp("teachers")
    return SimpleNamespace(
        relative=tiny_da2(folder / "relative"),
        metric=tiny_da2(folder / "metric", "metric"),
        unsaid=tiny_da2(folder / "unsaid", None),
        sam2=tiny_sam2(folder / "sam2"),
        yolo=tiny_yolo(folder / "yolo"),
    )


def cpu(name: str, weights: Path, **settings: object) -> Any:
    return make(name, {"weights": str(weights), "device": "cpu", **settings})


def test_metric_depth_is_metres_and_relative_depth_is_raw(tiny: SimpleNamespace) -> None:
    metres = cpu("da2-metric", tiny.metric).depth(VIEW)
    assert metres.unit == "m" and metres.depth.shape == SIZE and metres.depth.dtype == np.float32
    assert 0 < metres.depth.min() < metres.depth.max() < 20
    relative = cpu("da2", tiny.relative).depth(VIEW)
    assert relative.unit == "relative" and relative.depth.max() > 20 and np.ptp(relative.depth) > 0


@pytest.mark.parametrize(("name", "weights"), [("da2", "metric"), ("da2-metric", "relative"), ("da2-metric", "unsaid")])
def test_a_checkpoint_of_the_other_unit_is_refused(tiny: SimpleNamespace, name: str, weights: str) -> None:
    with pytest.raises(TeacherError, match="is a checkpoint of type") as caught:
        cpu(name, getattr(tiny, weights))
    assert "use the teacher da2" in caught.value.hint


def test_a_configuration_that_does_not_say_is_relative(tiny: SimpleNamespace) -> None:
    assert "depth_estimation_type" not in (tiny.unsaid / "config.json").read_text()
    assert cpu("da2", tiny.unsaid).describe()["unit"] == "relative"


def test_da2_is_the_library_resized_to_the_frame(tiny: SimpleNamespace) -> None:
    import torch
    from transformers import AutoImageProcessor, DepthAnythingForDepthEstimation

    model = DepthAnythingForDepthEstimation.from_pretrained(tiny.relative).eval()
    with torch.no_grad():
        raw = model(**AutoImageProcessor.from_pretrained(tiny.relative)(images=VIEW.rgb, return_tensors="pt")).predicted_depth
    assert tuple(raw.shape[1:]) != SIZE
    wanted = torch.nn.functional.interpolate(raw[None], SIZE, mode="bilinear", align_corners=False)[0, 0]
    np.testing.assert_array_equal(cpu("da2", tiny.relative).depth(VIEW).depth, wanted.numpy())


def test_numbers_that_are_not_finite_are_an_error_that_names_the_frame(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    spoiled = tmp_path / "spoiled"
    shutil.copytree(tiny.metric, spoiled)
    tensors = load_file(spoiled / "model.safetensors")
    tensors["head.conv3.bias"][:] = np.nan
    save_file(tensors, spoiled / "model.safetensors", {"format": "pt"})
    with pytest.raises(TeacherError, match="teacher da2-metric, frame f1: 12288 of 12288 pixels are not finite"):
        cpu("da2-metric", spoiled).depth(VIEW)
    assert cpu("da2-metric", spoiled).describe() != cpu("da2-metric", tiny.metric).describe()


@pytest.mark.parametrize("name", ["da2", "sam2"])
def test_damaged_weights_are_one_line(tiny: SimpleNamespace, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny.relative if name == "da2" else tiny.sam2, folder)
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    teacher = cpu(name, folder)
    with pytest.raises(TeacherError, match="cannot be loaded") as caught:
        teacher.depth(VIEW) if name == "da2" else teacher.masks(VIEW, some_boxes(1))
    assert "\n" not in caught.value.message
    (folder / "config.json").write_text("{")
    with pytest.raises(TeacherError, match="not a model's configuration"):
        cpu(name, folder)


@pytest.mark.parametrize(("name", "tensor"), [("da2", "head.conv3.bias"), ("sam2", "no_memory_embedding")])
def test_a_tensor_missing_from_the_file_is_not_made_up(tiny: SimpleNamespace, tmp_path: Path, name: str, tensor: str) -> None:
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "cut"
    shutil.copytree(tiny.relative if name == "da2" else tiny.sam2, folder)
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(tensor)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    teacher = cpu(name, folder)
    with pytest.raises(TeacherError, match=f"1 of the network's tensors are not in .*, such as {tensor}"):
        teacher.depth(VIEW) if name == "da2" else teacher.masks(VIEW, some_boxes(1))


def test_the_published_video_checkpoints_of_sam2_are_read_too(tiny: SimpleNamespace, tmp_path: Path) -> None:
    folder = tmp_path / "video"
    shutil.copytree(tiny.sam2, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "sam2_video"}))
    wanted, masks = (cpu("sam2", where).masks(VIEW, some_boxes(2)) for where in (tiny.sam2, folder))
    assert (masks.masks == wanted.masks).all() and (masks.scores == wanted.scores).all()


def test_a_model_of_another_kind_is_refused(tiny: SimpleNamespace) -> None:
    for name, weights in (("da2", tiny.sam2), ("sam2", tiny.relative)):
        with pytest.raises(TeacherError, match="holds a model of type"):
            cpu(name, weights)


def some_boxes(number: int, seed: int = 0) -> Boxes:
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 60, (number, 2))
    xyxy = np.concatenate([corner, corner + random.uniform(10, 30, (number, 2))], 1).astype(np.float32)
    return Boxes(xyxy, random.choice([PERSON, FURNITURE], number).astype(np.uint8), random.uniform(0.3, 1, number).astype(np.float32))


def test_sam2_gives_a_mask_a_box_scored_by_box_and_overlap(tiny: SimpleNamespace) -> None:
    boxes = some_boxes(3)
    masks = cpu("sam2", tiny.sam2).masks(VIEW, boxes)
    assert masks.masks.shape == (3, *SIZE) and masks.masks.dtype == np.bool_ and 0 < masks.masks.mean() < 1
    assert (masks.classes == boxes.classes).all() and (masks.scores <= boxes.scores).all() and (masks.scores > 0).all()
    # Twice as sure a box, twice as sure a mask: the predicted overlap is the other factor.
    halved = cpu("sam2", tiny.sam2).masks(VIEW, Boxes(boxes.xyxy, boxes.classes, boxes.scores / 2))
    np.testing.assert_allclose(halved.scores * 2, masks.scores, rtol=1e-6)


def test_sam2_is_the_library_asked_once(tiny: SimpleNamespace) -> None:
    import torch
    from transformers import Sam2Model, Sam2Processor

    processor, model = Sam2Processor.from_pretrained(tiny.sam2), Sam2Model.from_pretrained(tiny.sam2).eval()
    boxes = some_boxes(4)
    inputs = processor(images=VIEW.rgb, input_boxes=[boxes.xyxy.tolist()], return_tensors="pt")
    with torch.no_grad():
        out = model(**inputs, multimask_output=False)
    wanted = processor.post_process_masks(out.pred_masks, inputs["original_sizes"])[0][:, 0].numpy()
    masks = cpu("sam2", tiny.sam2).masks(VIEW, boxes)
    assert (masks.masks != wanted).mean() < 1e-4
    np.testing.assert_allclose(masks.scores, boxes.scores * out.iou_scores[0, :, 0].numpy(), rtol=1e-5)


def test_a_mask_does_not_depend_on_the_other_boxes(tiny: SimpleNamespace) -> None:
    teacher, boxes = cpu("sam2", tiny.sam2), some_boxes(40)
    together = teacher.masks(VIEW, boxes)
    assert together.masks.shape == (40, *SIZE)
    for index in (0, 31, 32, 39):
        alone = teacher.masks(VIEW, Boxes(*(part[index : index + 1] for part in (boxes.xyxy, boxes.classes, boxes.scores))))
        assert (alone.masks[0] != together.masks[index]).mean() < 1e-3
        assert alone.scores[0] == pytest.approx(together.scores[index], rel=1e-4)


def test_without_boxes_the_mask_model_is_not_even_loaded(tiny: SimpleNamespace) -> None:
    teacher = cpu("sam2", tiny.sam2)
    empty = teacher.masks(VIEW, some_boxes(0))
    assert empty.masks.shape == (0, *SIZE) and empty.masks.dtype == np.bool_ and len(empty.classes) == len(empty.scores) == 0
    assert teacher._loaded is None


def test_yolo_finds_people_and_furniture_in_bgr(tiny: SimpleNamespace) -> None:
    teacher = cpu("yolo", tiny.yolo, conf=0.3)
    boxes = teacher.boxes(VIEW)
    assert 0 < len(boxes.scores) <= 300 and set(boxes.classes) == {PERSON, FURNITURE}
    assert boxes.xyxy.dtype == np.float32 and boxes.classes.dtype == np.uint8 and (np.diff(boxes.scores) <= 0).all()
    assert (boxes.xyxy >= 0).all() and (boxes.xyxy[:, 2] <= SIZE[1]).all() and (boxes.xyxy[:, 3] <= SIZE[0]).all()

    library = sys.modules["ultralytics"].YOLO(str(tiny.yolo))  # type: ignore[attr-defined]

    def raw(pixels: np.ndarray) -> Any:
        asked = [0, 13, 56, 57, 59, 60]
        return library.predict(pixels, classes=asked, conf=0.3, iou=0.7, imgsz=640, verbose=False, device="cpu", max_det=300)[0].boxes

    bgr, rgb = raw(np.ascontiguousarray(VIEW.rgb[..., ::-1])), raw(VIEW.rgb)
    np.testing.assert_array_equal(np.sort(bgr.conf.numpy()), np.sort(boxes.scores))
    assert len(rgb.conf) != len(bgr.conf) or (rgb.conf.numpy() != bgr.conf.numpy()).any()
    assert (bgr.cls.numpy() == 0).sum() == (boxes.classes == PERSON).sum()


def test_yolo_without_a_find_gives_no_boxes(tiny: SimpleNamespace) -> None:
    boxes = cpu("yolo", tiny.yolo, conf=1.0, max_boxes=5).boxes(OTHER_VIEW)
    assert boxes.xyxy.shape == (len(boxes.scores), 4) and len(boxes.scores) <= 5


def test_yolo_settings_decide_the_output_and_stand_in_its_description(tiny: SimpleNamespace) -> None:
    few, more = cpu("yolo", tiny.yolo, max_boxes=3), cpu("yolo", tiny.yolo, max_boxes=3, more_furniture=True)
    assert len(few.boxes(VIEW).scores) == 3
    assert more.classes.keys() - few.classes.keys() == {58, 61, 62, 68, 69, 70, 71, 72} and more.describe() != few.describe()
    with pytest.raises(TeacherError, match=r"conf = 2\.0 is not in 0\.\.1") as caught:
        cpu("yolo", tiny.yolo, conf=2, imgsz=100)
    assert "imgsz = 100" in caught.value.details[0]


def test_yolo_says_where_its_weights_come_from(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="nothing is downloaded unasked") as caught:
        make("yolo", {"weights": str(tmp_path / "yolov8l.pt")})
    assert "[teachers.yolo] weights" in caught.value.hint


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(__file__).with_name("exploded"),)


def test_a_checkpoint_that_would_run_code_is_refused(tiny: SimpleNamespace, tmp_path: Path) -> None:
    import torch

    torch.save({"model": Bomb()}, tmp_path / "bomb.pt")
    (tmp_path / "pickle.pt").write_bytes(pickle.dumps(Bomb()))
    (tmp_path / "noise.pt").write_bytes(b"no weights at all")
    try:
        for name in ("bomb", "pickle", "noise"):
            with pytest.raises(TeacherError, match="cannot be loaded"):
                cpu("yolo", tmp_path / f"{name}.pt").boxes(VIEW)
        assert not Path(__file__).with_name("exploded").exists()
    finally:
        Path(__file__).with_name("exploded").unlink(missing_ok=True)


def test_a_detector_of_other_classes_is_refused(tiny: SimpleNamespace, tmp_path: Path) -> None:
    library = sys.modules["ultralytics"].YOLO(str(tiny.yolo))  # type: ignore[attr-defined]
    library.model.names = {**library.model.names, 56: "unicorn"}
    library.save(tmp_path / "other.pt")
    with pytest.raises(TeacherError, match="class 56 is 'unicorn', wanted 'chair'"):
        cpu("yolo", tmp_path / "other.pt").boxes(VIEW)


def test_yolo_keeps_to_itself(tiny: SimpleNamespace, tmp_path: Path) -> None:
    """In a fresh process: no network, no file in the home or working folder, and torch and OpenCV as they were."""
    script = f"""
import sys
def watch(event, args):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        print("NETWORK", event, args, file=sys.stderr)
sys.addaudithook(watch)
import cv2, torch
from models.teachers import make
from tests.unit.models.tiny_teachers import picture
from models.teachers.contract import View
save, threads = torch.save, cv2.getNumThreads()
boxes = make("yolo", {{"weights": {str(tiny.yolo)!r}, "device": "cpu", "conf": 0.3}}).boxes(View("f", picture((96, 128))))
print(len(boxes.scores) > 0, torch.save is save, cv2.getNumThreads() == threads)
"""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=here, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "True"] and "NETWORK" not in done.stderr, done.stdout + done.stderr
    assert not list(here.iterdir()) and not list(home.rglob("*ltralytics*"))


@pytest.mark.parametrize(("name", "weights"), [("da2", "relative"), ("da2-metric", "metric"), ("yolo", "yolo"), ("sam2", "sam2")])
def test_the_same_frame_gives_the_same_bytes_whatever_came_before(tiny: SimpleNamespace, name: str, weights: str) -> None:
    def labels(teacher: Any, view: View) -> bytes:
        if name == "yolo":
            boxes = teacher.boxes(view)
            return boxes.xyxy.tobytes() + boxes.classes.tobytes() + boxes.scores.tobytes()
        if name == "sam2":
            masks = teacher.masks(view, some_boxes(3))
            return masks.masks.tobytes() + masks.scores.tobytes()
        return teacher.depth(view).depth.tobytes()

    teacher = cpu(name, getattr(tiny, weights))
    first = labels(teacher, VIEW)
    other = labels(teacher, OTHER_VIEW)
    assert labels(teacher, VIEW) == first
    teacher.close()
    teacher.close()
    assert labels(teacher, OTHER_VIEW) == other and labels(cpu(name, getattr(tiny, weights)), VIEW) == first


def test_descriptions_are_json_and_hold_the_weights_hash(tiny: SimpleNamespace) -> None:
    for name, weights in (("da2", tiny.relative), ("da2-metric", tiny.metric), ("yolo", tiny.yolo), ("sam2", tiny.sam2)):
        described = cpu(name, weights).describe()
        assert json.loads(json.dumps(described)) == described and described["teacher"] == name
        assert len(str(described["weights_sha256"])) == 64 and str(weights.parent) not in json.dumps(described)
    assert cpu("sam2", tiny.sam2, threshold=0.5).describe() != cpu("sam2", tiny.sam2).describe()


def test_a_frame_that_the_library_cannot_do_is_one_error(tiny: SimpleNamespace) -> None:
    empty = View("empty", np.zeros((0, 0, 3), np.uint8))
    for call in (cpu("da2", tiny.relative).depth, cpu("yolo", tiny.yolo).boxes):
        with pytest.raises(TeacherError, match="frame empty"):
            call(empty)
    with pytest.raises(TeacherError, match="frame empty"):
        cpu("sam2", tiny.sam2).masks(empty, some_boxes(1))


def test_a_gpu_that_is_not_there_is_said(tiny: SimpleNamespace) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(TeacherError, match="torch sees no GPU here"):
        cpu("da2", tiny.relative, device="cuda").depth(VIEW)


@pytest.mark.parametrize(("package", "name"), [("transformers", "da2"), ("transformers", "sam2"), ("ultralytics", "yolo")])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, package: str, name: str) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted, *rest: None if wanted == package else found(wanted, *rest))
    with pytest.raises(TeacherError, match=f"needs the package {package}, which is not installed") as caught:
        make(name)
    assert f"uv sync --extra {'yolo' if name == 'yolo' else 'teachers'}" in caught.value.hint
    assert ("AGPL" in caught.value.hint) == (name == "yolo")
