"""A version on a library of one's choice, with a stated number of threads: what a bench times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from vortex_jetson.engines.tensorrt import TensorRTEngine, build_engine, gpu
from vortex_jetson.errors import RobotError

from core.errors import UsageError, VortexError
from models import checkpoint
from pipelines.hub.exports import Form, newest
from pipelines.predict.runtimes import DEPTH, INPUT, LOGITS, Answers, Predictor, content_of, of_file, of_student, scaled
from registry.records import Version
from registry.versions import Hub

RUNTIMES: Final = ("torch", "onnx", "openvino", "tensorrt")


@dataclass(frozen=True)
class OpenedEngine:
    """A predictor, the library that runs it with its version, and what has to be known of its figures."""

    predict: Predictor
    library: str
    remark: str = ""


@contextmanager
def opened(registry: Hub, version: Version, runtime: str, form: Form, threads: int) -> Iterator[OpenedEngine]:
    """The version on this runtime, on the CPU but for TensorRT; the number of torch's threads is put back at the end.

    Raises UsageError for an unknown runtime, VortexError for one that is not installed or cannot run here, and for an export that is not
    recorded, gone or changed.
    """
    if runtime not in RUNTIMES:
        raise UsageError(f"unknown runtime {runtime!r}, allowed: {', '.join(RUNTIMES)}", "leave --runtime out for onnx")
    if runtime == "torch":
        with _of_torch(registry, version, threads) as engine:
            yield engine
        return
    path = _file(registry, version, form)
    if runtime == "onnx":
        import onnxruntime

        yield OpenedEngine(of_file(path, threads), f"onnxruntime {onnxruntime.__version__}", _remark(form))
    elif runtime == "openvino":
        yield _of_openvino(path, form, threads)
    else:
        yield _of_tensorrt(path)


@contextmanager
def _of_torch(registry: Hub, version: Version, threads: int) -> Iterator[OpenedEngine]:
    import torch

    student, _ = checkpoint.load(registry.artifacts.path(version.checkpoint))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield OpenedEngine(of_student(student.cpu().eval()), f"torch {torch.__version__}")
    finally:
        torch.set_num_threads(before)


def _file(registry: Hub, version: Version, form: Form) -> Path:
    exported = newest(version, form)
    if exported is None:
        raise VortexError(
            f"{version.name} has no ONNX export of the form {form}",
            f"vortex export {version.name} --precision {form.precision} --target {form.target}",
        )
    return registry.artifacts.path(exported.artifact)


def _remark(form: Form) -> str:
    """On a CPU, what looks like FP16 is computed in fp32."""
    return "on a CPU an fp16 file is computed in fp32: these are no figures of FP16" if form.precision == "fp16" else ""


def _of_openvino(path: Path, form: Form, threads: int) -> OpenedEngine:
    try:
        import openvino
    except ImportError as error:
        raise VortexError("OpenVINO is not installed here", "uv sync --extra openvino, or pip install openvino") from error
    content, core = content_of(path), openvino.Core()
    try:
        model = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"})
    except RuntimeError as error:
        raise VortexError(f"{path}: OpenVINO cannot run it", "export the version again") from error

    def predict(rgb: NDArray[np.uint8]) -> Answers:
        answers = [model({INPUT: scaled(picture)}) for picture in rgb]
        depths = [np.asarray(answer[DEPTH])[:, 0] for answer in answers]
        return Answers(np.concatenate(depths), np.concatenate([np.asarray(answer[LOGITS]) for answer in answers]))

    return OpenedEngine(predict, f"openvino {openvino.__version__.partition('-')[0]}", _remark(form))


def _of_tensorrt(path: Path) -> OpenedEngine:
    content = content_of(path)
    try:
        gpu()
        engine = TensorRTEngine(build_engine(content, path.name), path.name)
    except RobotError as error:
        raise VortexError(error.message, error.hint) from error

    def predict(rgb: NDArray[np.uint8]) -> Answers:
        answers = [engine.run(picture) for picture in rgb]
        return Answers(np.stack([depth for depth, _ in answers]), np.stack([logits for _, logits in answers]))

    return OpenedEngine(predict, engine.library)
