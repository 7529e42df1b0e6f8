"""A student as one ONNX file: static input 1×3×H×W in [0, 1], outputs `depth` in metres and `logits`."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import VortexError
from core.files import staged_file
from pipelines.predict.runtimes import DEPTH, INPUT, LOGITS, content_of

if TYPE_CHECKING:
    from models.student import Student

NEWEST_IR: Final = 10
"""The newest that the runtimes on a Jetson read."""
OPSET: Final = 20
"""What the dynamo exporter of the pinned torch writes; a wish for 17 is silently answered with 18, so the file is checked."""


def write_onnx(student: Student, size: tuple[int, int], path: Path, metadata: Mapping[str, str]) -> None:
    """Export `student` at `size` (H, W) to `path`; the file is whole or absent, and holds its weights itself.

    Normalisation is part of the student's forward pass, so what runs the file only divides bytes by 255.
    Raises VortexError when the exporter fails or the file is not what was asked for.
    """
    import onnx

    with staged_file(path) as staging:
        _translate(student.cpu().eval(), size, staging)
        save(onnx.load(str(staging)), size, staging, metadata)


def _translate(student: Student, size: tuple[int, int], path: Path) -> None:
    import torch

    try:
        with quiet():
            torch.onnx.export(
                student,
                (torch.zeros(1, 3, *size),),
                str(path),
                input_names=[INPUT],
                output_names=[DEPTH, LOGITS],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except OSError:
        raise  # a full disk is for who keeps the file to explain
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no message"])[0]
        raise VortexError(
            f"the ONNX exporter could not translate the student: {type(error).__name__}: {first}",
            "run it again with --traceback; a layer without an ONNX form is the usual cause",
        ) from error


def save(model: Any, size: tuple[int, int], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a model to `path` with this metadata and no other. Raises VortexError where it is not what every export is."""
    import onnx

    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path))
    _check(path, size)


def holds(path: Path, metadata: Mapping[str, str]) -> bool:
    """Whether `path` is a whole ONNX file with exactly this metadata, and so need not be written again."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content_of(path))
        onnx.checker.check_model(model)
    except (VortexError, DecodeError, onnx.checker.ValidationError):
        return False
    return {entry.key: entry.value for entry in model.metadata_props} == dict(metadata)


def _check(path: Path, size: tuple[int, int]) -> None:
    """Read the file back and hold it against what was asked. Raises VortexError naming the first difference."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    onnx.checker.check_model(model)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    shape = [dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim]
    outputs = [value.name for value in model.graph.output]
    properties = (
        ("opsets", opsets, {"ai.onnx": OPSET}),
        ("IR version", max(model.ir_version, NEWEST_IR), NEWEST_IR),
        ("input shape", shape, [1, 3, *size]),
        ("outputs", outputs, [DEPTH, LOGITS]),
        ("external weights", sum(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer), 0),
    )
    for name, actual, expected in properties:
        if actual != expected:
            raise VortexError(
                f"the exported ONNX file has {name} {actual}, asked was {expected}",
                "install the torch and onnx that uv.lock names: make setup",
            )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the own talk of exporter and quantizer (prints, warnings, log lines) off the user's screen; errors still raise."""
    # ONNX Runtime's quantizer advises on the root logger, twice, to fuse what the exporter has fused.
    loggers = [logging.getLogger(name) for name in (None, "torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
