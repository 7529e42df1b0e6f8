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
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.exam.results import Result
from pipelines.hub.exports import FP32_PARTS, HOST, TASK, Form, Target, TaskResult, file_checks, newest
from pipelines.hub.open import hub
from pipelines.predict.runtimes import of_file, scaled, session
from pipelines.ship.export import parity
from pipelines.ship.export.half import half_model, rounded
from pipelines.ship.export.layers import find_layers
from pipelines.ship.export.onnx import write_onnx
from pipelines.ship.export.parity import noise, predictor_of_form
from pipelines.ship.export.parts import OTHER
from pipelines.ship.export.quantized import dense_convolutions, write_int8
from pipelines.ship.export.ranges import TensorRange, modules_in_fp32
from pipelines.ship.export.run import CALIBRATION, export, export_path
from tests.unit.pipelines.ship.conftest import SIZE, Arena, failed
from validation.promotion.gates.task_parity import TaskParity

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


@pytest.mark.parametrize(("factor", "modules"), [("weights", ()), ("pixels", (OTHER,))])
def test_a_product_of_activations_stays_in_fp32_whatever_its_range(tmp_path: Path, factor: str, modules: tuple[str, ...]) -> None:
    node = onnx.helper.make_node("MatMul", ["pixels", factor], ["product"])
    pixels, product = (onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 2]) for name in ("pixels", "product"))
    weights = onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32), "weights")
    path = tmp_path / "product.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "product", [pixels], [product], [weights])), str(path))

    def reaching(largest: float) -> list[TensorRange]:
        return [TensorRange("product", OTHER, "MatMul", largest, 0.0)]

    assert modules_in_fp32(path, reaching(1.0)) == modules_in_fp32(path, reaching(16376.0)) == modules
    assert modules_in_fp32(path, reaching(16377.0)) == (OTHER,), "a quarter of 65504 is left for other frames"


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


@pytest.mark.endurance
def test_an_overflow_is_refused_named_and_worked_round(arena: Arena):
    overflowing(arena.checkpoint)
    arena.configure('[devices.arm]\nprecision = "fp16"\n')
    name, form = arena.register(), Form("fp16", "host")
    with pytest.raises(UsageError, match="refuses 8 bits as they are made for the host"):
        export(arena.ws, name, Form("int8", "host"), check=True)
    plain = export(arena.ws, name, form, fp32_parts=(), record=False)
    assert not TaskResult.from_json(plain.detail[TASK]).passed
    refused = {check.name: check.found for check in file_checks(plain) if not check.passed}
    assert "not finite" in refused["task-parity-rmse"] and "task-parity-rmse_near" in refused

    modules = ("depth_d1.fuse.1", "depth_d1.fuse.2", "depth_d2.bn")
    layers = find_layers(arena.ws, name)
    assert layers.fp32_parts == modules and layers.damage == float("inf")
    assert [(each.part, each.overflows) for each in layers.ranges[:3]] == [
        ("depth_d1", True),
        ("depth_d1", True),
        (layers.ranges[2].part, False),
    ]
    assert layers.trials[0].damage < 0.05
    words = [[comparison.word for _, _, comparison in step.task.judgements] for step in (layers.steps[0], layers.steps[-1])]
    assert "worse" in words[0] and "worse" not in words[1]
    # Nobody has to look for what the ranges say: a promotion makes the mixed file by itself.
    report = arena.promote(name, "staging", device="arm")
    mixed = newest(hub(arena.ws).get(name), form)
    assert mixed is not None and mixed.detail[FP32_PARTS] == list(modules)
    properties = {entry.key: entry.value for entry in onnx.load(hub(arena.ws).artifacts.path(mixed.artifact)).metadata_props}
    assert properties["vortex.fp32_parts"] == ",".join(modules) and properties["vortex.precision"] == "fp16"
    # Few of the ten frames show something near, or a person, on pixels that are many: too little to say, and somebody's decision.
    assert failed(report) == ["task-parity-rmse_near", "task-parity-iou_person"] and report.undecided
    near = next(check for check in file_checks(mixed) if not check.passed)
    assert near.found.startswith("too little to say (6 frames are worth 6.0 independent ones, 10 are needed): 0.8")
    again = arena.promote(name, "staging", device="arm", override=True, reason="the frames there are agree")
    assert again.passed
    assert newest(hub(arena.ws).get(name), form) == mixed, "the recorded file ships: nothing was exported again"


@pytest.mark.parametrize(
    ("near", "file_m", "word", "text"),
    [
        (40, 0.1005, "equivalent", "equal by its value alone, of 0.40% of the exam's pixels with truth (5 frames"),
        (40, 0.1011, "open", "too little to say (5 frames"),
        (50, 0.1005, "open", "too little to say (5 frames"),
    ],
)
def test_a_value_alone_is_enough_for_what_hardly_a_pixel_shows(near: int, file_m: float, word: str, text: str):
    def result(metres: float) -> Result:
        counts = np.array([near * 8.0] * 5 + [0.0] * 35)
        sums = {COUNT: np.full(40, 10_000.0), f"{COUNT}_near": counts, f"{SQUARED}_near": counts * metres**2}
        return Result("val", {"rmse_near": metres}, FrameErrors(tuple(map(str, range(40))), sums, SIZE))

    rule = TaskParity(check="task-parity", margin=0.01, iou=0.005, least=0.005)
    judged = parity._judged(result(file_m), result(0.1), "rmse_near", rule, 1)
    assert (judged.word, judged.text[: len(text)]) == (word, text)


@pytest.mark.parametrize("target", ["host", "jetson"])
def test_dense_convolutions_are_in_8_bits_and_no_sum_of_theirs_saturates(tmp_path: Path, target: Target):
    def convolution(name: str, value: float, shape: tuple[int, ...], given: str, **attributes: int) -> onnx.NodeProto:
        weights.append(onnx.numpy_helper.from_array(np.full(shape, value, np.float32), f"{name}_weights"))
        return onnx.helper.make_node("Conv", [given, f"{name}_weights"], [name], name, **attributes)

    weights: list[onnx.TensorProto] = []
    nodes = [
        convolution("thin", 1 / 3, (128, 3, 1, 1), "rgb"),
        convolution("dense", 0.01, (128, 128, 1, 1), "thin"),  # 64 multiplications for each value that is read or written
        convolution("depthwise", 1.0, (128, 1, 1, 1), "dense", group=128),
    ]
    given, answer = (
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, count, 4, 4]) for name, count in (("rgb", 3), ("depthwise", 128))
    )
    model = onnx.helper.make_model(
        onnx.helper.make_graph(nodes, "three", [given], [answer], weights), ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 20)]
    )
    source, path = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    onnx.save(model, source)
    assert dense_convolutions(source) == ["dense"]
    white = np.full((4, 4, 3), 255, np.uint8)
    write_int8(source, path, target, [white, np.zeros_like(white)])
    graph = onnx.load(path).graph
    readers = {node.name: node.input[0] for node in graph.node if node.op_type == "Conv"}
    made = {output for node in graph.node if node.op_type == "DequantizeLinear" for output in node.output}
    assert readers["thin"] == "rgb" and readers["dense"] in made
    (values,) = session(path).run(["depthwise"], {"rgb": scaled(white)})
    assert np.allclose(values, 1.28, rtol=0.01), "full weights give 0.65 and 0.01 on a processor with AVX2 and without VNNI"


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
    weights = [values[node.input[0]] for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in values]
    assert all(each.min() >= -64 and each.max() <= 64 for each in weights), "two products of 8 by 7 bits fit into 16"
    assert TASK in exported.detail and newest(hub(arena.ws).get(name), HOST) is not None
    arena.export(name)
    with pytest.raises(VortexError, match=rf"{arena.register(data=())} has no training frames of rooms here: its data names none"):
        export(arena.ws, f"v{int(name[1:]) + 1}", INT8)
