"""NVIDIA's own parser is asked where it is installed: it takes our 8 bits, and refuses ONNX Runtime's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

from models.student import Prediction
from pipelines.ship.export import tensorrt_check
from pipelines.ship.export.onnx import quiet, write_onnx
from pipelines.ship.export.parity import noise
from pipelines.ship.export.quantized import Frames, write_int8

SIZE = (32, 32)
needs_parser = pytest.mark.skipif(not tensorrt_check.installed(), reason=f"TensorRT-RTX is not installed: {tensorrt_check.INSTALL}")


class Two(torch.nn.Module):
    """Two convolutions, so that one of them has 8-bit tensors on both sides."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 7, 1))

    def forward(self, rgb: torch.Tensor) -> Prediction:
        both = self.layers(rgb)
        return Prediction(both[:, :1], both[:, 1:])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("two") / "fp32.onnx"
    write_onnx(Two(), SIZE, path, {})  # type: ignore[arg-type]
    return path


@needs_parser
@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ({}, "input has type Int32"),
        ({"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}, "input has type Int32"),
        ({"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "extra_options": {"QuantizeBias": False}}, "zero point"),
    ],
    ids=["its own defaults", "U8S8", "U8S8, biases in fp32"],
)
def test_what_onnx_runtime_quantises_by_itself_is_refused_in_words(source: Path, tmp_path: Path, recipe: dict[str, Any], words: str):
    path = tmp_path / "default.onnx"
    with quiet():
        quantize_static(str(source), str(path), Frames(list(noise(SIZE, 2))), quant_format=QuantFormat.QDQ, **recipe)
    builds = tensorrt_check.build(path)
    assert not builds.passed and builds.text.startswith("TensorRT-RTX ") and "does not parse it" in builds.text and words in builds.text


@needs_parser
def test_what_we_quantise_for_a_jetson_builds(source: Path, tmp_path: Path):
    write_int8(source, tmp_path / "int8.onnx", "jetson", list(noise(SIZE, 2)))
    builds = tensorrt_check.build(tmp_path / "int8.onnx")
    assert builds.passed and "an engine of" in builds.text
