"""fp16 and int8: what is written, that it is judged by its task, and that a fault of half precision is seen, named and worked round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from core.errors import UsageError, VortexError
from models.checkpoint import save
from models.student import Student, StudentConfig
from pipelines.hub.exports import FP32_PARTS, HOST, TASK, Form, TaskResult, file_checks, newest
from pipelines.hub.open import hub
from pipelines.predict.runtimes import of_file
from pipelines.ship.export import CALIBRATION, export, export_path
from pipelines.ship.export.half import half_model, rounded
from pipelines.ship.export.layers import find_layers
from pipelines.ship.export.onnx import write_onnx
from pipelines.ship.export.parity import noise, predictor_of_form
from tests.unit.pipelines.ship.conftest import SIZE, Arena, failed

FP16, INT8 = Form("fp16", "jetson"), Form("int8", "jetson")


def overflowing(checkpoint: Path) -> None:
    """A student of which one block passes on what FP16 cannot hold, and the next one takes it back (TensorRT#4723)."""
    torch.manual_seed(0)
    student = Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)).eval()
    norm = student.depth_d1.fuse[1]
    with torch.no_grad():
        norm.weight.mul_(1e5)
        norm.bias.add_(1).mul_(1e5)
        student.depth_d2.up.weight.div_(1e5)
    save(checkpoint, student, {})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fp32 file of a student with random weights."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("forms") / "student.onnx"
    write_onnx(Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)).eval(), SIZE, path, {})
    return path


def test_half_precision_is_said_aloud_where_the_cpu_would_hide_it(source: Path, tmp_path: Path):
    half = half_model(source)
    kinds = {weights.data_type for weights in half.graph.initializer}
    assert TensorProto.FLOAT16 in kinds and half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(half, tmp_path / "half.onnx")
    frames = noise(SIZE, 1)
    exact = of_file(source)(frames).depth
    hidden = np.abs(of_file(tmp_path / "half.onnx")(frames).depth - exact).max()
    with predictor_of_form(tmp_path / "half.onnx", FP16) as runtime:
        seen = np.abs(runtime(frames).depth - exact).max()
    assert 0 < hidden < seen < 0.05
    assert all(weights.data_type != TensorProto.FLOAT16 for weights in rounded(half).graph.initializer)
    with pytest.raises(UsageError, match="the network has no part 'nose', allowed: "):
        half_model(source, ["nose"])


def test_an_overflow_is_refused_named_and_worked_round(arena: Arena):
    overflowing(arena.checkpoint)
    arena.configure('[devices.arm]\nprecision = "fp16"\n')
    name, form = arena.register(), Form("fp16", "host")
    report = arena.promote(name, "staging", device="arm")
    assert {check.name for check in report.stages[-1].checks if check.name.startswith("task")} >= {
        "task-parity-rmse",
        "task-parity-rmse_near",
    }
    assert "task-parity-rmse" in failed(report), report
    plain = newest(hub(arena.ws).get(name), form)
    assert plain is not None and not TaskResult.from_json(plain.detail[TASK]).passed
    assert any("not finite" in check.found for check in file_checks(plain) if not check.passed)

    layers = find_layers(arena.ws, name)
    assert layers.fp32_parts == ("depth_d1", "depth_d2") and layers.damage == float("inf")
    assert [(each.part, each.overflows) for each in layers.ranges[:3]] == [
        ("depth_d1", True),
        ("depth_d1", True),
        (layers.ranges[2].part, False),
    ]
    assert layers.trials[0].damage < 0.05 and not layers.steps[0].task.passed and layers.steps[-1].task.passed
    mixed = export(arena.ws, name, form, fp32_parts=layers.fp32_parts)
    assert mixed.detail[FP32_PARTS] == ["depth_d1", "depth_d2"] and all(check.passed for check in file_checks(mixed))
    properties = {entry.key: entry.value for entry in onnx.load(hub(arena.ws).artifact_path(mixed.artifact)).metadata_props}
    assert properties["vortex.fp32_parts"] == "depth_d1,depth_d2" and properties["vortex.precision"] == "fp16"
    again = arena.promote(name, "staging", device="arm")
    assert failed(again) == [] and again.passed
    assert newest(hub(arena.ws).get(name), form) == mixed, "the recorded file ships: nothing was exported again"


def test_8_bits_are_calibrated_on_training_frames_or_not_at_all(arena: Arena, capsys: pytest.CaptureFixture[str]):
    name = arena.register()
    exported = export(arena.ws, name, INT8)
    assert capsys.readouterr() == ("", ""), "ONNX Runtime's quantizer prints a line a frame"
    (ids,) = exported.detail[CALIBRATION].values()
    held_out = {frame.id for exam_set in arena.sets for frame in exam_set.frames}
    assert len(ids) == 40 and not held_out & set(ids)
    model = onnx.load(export_path(arena.ws, hub(arena.ws).get(name), INT8))
    quantised = {node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    points = {node.input[2] for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    values = {weights.name: onnx.numpy_helper.to_array(weights) for weights in model.graph.initializer}
    assert quantised and all(values[point].dtype == np.int8 and not values[point].any() for point in points), "signed and symmetric"
    assert not any(weights.dtype == np.int32 for weights in values.values()), "no bias in 32 bits"
    assert any(values[point].size > 1 for point in points), "by channel"
    assert TASK in exported.detail and newest(hub(arena.ws).get(name), HOST) is not None
    arena.export(name)
    with pytest.raises(VortexError, match=rf"{arena.register(data=())} has no training frames of rooms here: its data names none"):
        export(arena.ws, f"v{int(name[1:]) + 1}", INT8)
