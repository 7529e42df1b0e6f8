"""A student on disk: one safetensors file that names its architecture and class order, so that it cannot be mistaken for another."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.classes import CLASSES
from models.encoders import ENCODERS
from models.tensors import CheckpointError, read_metadata, read_shapes, read_tensors, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from models.student import Student, StudentConfig

FORMAT: Final = 1
"""Version of the header's layout; a higher one comes from a newer Vortex and is refused."""
FAULTS_SHOWN: Final = 15
"""Of each kind, when tensors do not fit."""
_KEY: Final = "vortex"
CLASS_HEAD: Final = "seg_head."
BUFFERS: Final = ("running_mean", "running_var", "num_batches_tracked")
"""Tensors of a batch normalisation that are no parameters."""


def save(path: Path, student: Student, meta: Mapping[str, Any]) -> None:
    """Write the student's weights with its encoder, size, classes and `meta` (JSON) in the header, whole or not at all."""
    config = student.config
    header = {"format": FORMAT, "encoder": config.encoder, "size": list(config.size), "classes": list(config.classes), "meta": dict(meta)}
    write_tensors(path, student.state_dict(), {_KEY: json.dumps(header)})


def holds(path: Path, student: Student) -> bool:
    """Whether a checkpoint has the very weights of `student`, whatever the order of its classes. Raises CheckpointError for a damaged file."""
    import torch
    from safetensors import SafetensorError, safe_open

    weights = {name: tensor for name, tensor in student.state_dict().items() if not name.startswith(CLASS_HEAD)}
    try:
        with safe_open(path, "pt") as file:
            if weights.keys() - set(file.keys()):
                return False
            # The smallest first: they differ where anything was trained, so that little is read of other weights.
            return all(
                torch.equal(file.get_tensor(name), weights[name]) for name in sorted(weights, key=lambda name: weights[name].numel())
            )
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not readable ({error})", "restore the file from its artifact or a backup") from error


def read_header(path: Path) -> dict[str, Any]:
    """Read format, encoder, size, classes and meta without torch. Raises CheckpointError."""
    text = read_metadata(Path(path)).get(_KEY)
    if text is None:
        raise CheckpointError(
            f"{path}: a safetensors file, but not a Vortex checkpoint",
            "give a file that vortex train wrote, or use it as --encoder-weights",
        )
    try:
        header = json.loads(text)
        well_formed = (
            isinstance(header["format"], int)
            and isinstance(header["encoder"], str)
            and isinstance(header["meta"], dict)
            and len(header["size"]) == 2
            and all(isinstance(side, int) and side > 0 for side in header["size"])
            and all(isinstance(name, str) for name in header["classes"])
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        well_formed = False
    if not well_formed:
        raise CheckpointError(f"{path}: damaged Vortex header {text[:80]!r}", "restore the file from its artifact or a backup")
    if header["format"] > FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {header['format']}, this Vortex reads up to {FORMAT}", "update Vortex")
    return dict(header)


def parameter_count(path: Path) -> int:
    """How many parameters the student in `path` has, read from the shapes in its header; what normalisation counts itself is none.

    Raises CheckpointError.
    """
    shapes = read_shapes(Path(path))
    return sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(BUFFERS))


def load(path: Path, encoder: str | None = None) -> tuple[Student, dict[str, Any]]:
    """Rebuild the student that `path` holds, in evaluation mode, and its meta. `encoder` names the one wanted, if it matters.

    Raises CheckpointError for a file that is missing, damaged, not finite, of another architecture or of another class order.
    """
    from models.student import StudentConfig

    header = read_header(path)
    allowed = (encoder,) if encoder else tuple(ENCODERS)
    if header["encoder"] not in allowed:
        raise CheckpointError(
            f"{path}: holds a student with encoder {header['encoder']!r}, wanted {' or '.join(allowed)}",
            "start from a version with that encoder, or use a recipe with the checkpoint's",
        )
    if tuple(header["classes"]) != CLASSES:
        raise CheckpointError(
            f"{path}: its classes are {', '.join(header['classes'])}; Vortex's are {', '.join(CLASSES)}",
            "train it again, or import it with its class order stated",
        )
    tensors, _ = read_tensors(path)
    config = StudentConfig(encoder=header["encoder"], size=(header["size"][0], header["size"][1]))
    return fill(config, tensors, path), header["meta"]


def fill(config: StudentConfig, tensors: Mapping[str, Tensor], path: Path) -> Student:
    """Build a student of `config` and give it all of `tensors`; every name and shape must fit. Raises CheckpointError."""
    import torch

    from models.student import Student

    student = Student(config)
    weights = student.state_dict()
    missing = [f"{name} is missing" for name in weights if name not in tensors]
    unknown = [f"{name} is not part of the student" for name in tensors if name not in weights]
    misshapen = [
        f"{name} has shape {tuple(tensors[name].shape)}, wanted {tuple(value.shape)}"
        if tensors[name].shape != value.shape
        else f"{name} is no plain tensor of {value.dtype}"
        for name, value in weights.items()
        if name in tensors and not _fits(tensors[name], value)
    ]
    if faults := [*missing, *unknown, *misshapen]:
        counts = ((missing, "missing"), (unknown, "unknown"), (misshapen, "of another shape or kind"))
        counted = [f"{len(names)} {'are' if len(names) > 1 else 'is'} {what}" for names, what in counts if names]
        raise CheckpointError(
            f"{path}: does not fit a student with encoder {config.encoder}: of its tensors {', '.join(counted)}: {faults[0]}",
            _right_encoder(student, tensors),
            [fault for faults in (missing, unknown, misshapen) for fault in faults[:FAULTS_SHOWN]],
        )
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not bool(torch.isfinite(value).all())]
    if broken:
        raise CheckpointError(
            f"{path}: non-finite weights in {broken[0]} ({len(broken)} tensors)", "use an earlier checkpoint", broken[:50]
        )
    student.load_state_dict(dict(tensors))
    return student.eval()


def _right_encoder(student: Student, tensors: Mapping[str, Tensor]) -> str:
    """What to do with tensors that do not fit `student`: where they are those of another encoder, that one is named."""
    for encoder in ENCODERS:
        other = replace(student.config, encoder=encoder)
        if other != student.config and type(student)(other).state_dict().keys() == tensors.keys():
            return f"its layers are those of encoder {encoder}: name a recipe of that one"
    return f"give a checkpoint of this architecture, allowed encoders: {', '.join(ENCODERS)}"


def _fits(tensor: Tensor, weight: Tensor) -> bool:
    """Whether a tensor can be copied to a weight: of its shape, each number in memory by itself, fractions only where the weight has them."""
    import torch

    plain = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    kind = tensor.is_floating_point() == weight.is_floating_point() and not tensor.is_complex()
    return plain and kind and tensor.shape == weight.shape
