"""Checkpoints of before Vortex: `best_depth_v{5_vivek,6,7,8,9}.pt`, a bare state dict or one wrapped with its optimiser's."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.classes import CLASSES
from core.files import read_regular
from models.checkpoint import fill
from models.student import Student, StudentConfig
from models.tensors import CheckpointError, damaged, explained, state_dict_of, unpickle

if TYPE_CHECKING:
    from torch import Tensor

CLASS_ORDER: Final = ("floor", "wall", "person", "furniture", "glass", "other")
"""Order of the logits in these files."""
KEYS: Final = ("model", "state_dict", "model_state_dict")
"""Where a file that holds more than the network has it."""
PREFIXES: Final = ("module.", "_orig_mod.")
"""What DataParallel and `torch.compile` put before every name."""
SUFFIXES: Final = (".pt", ".pth", ".bin", ".tar")
LARGEST: Final = 2 << 30
"""Bytes of a file that is read: a student with its optimiser's state has 61 MB."""
LONGEST_NAME: Final = 200


@dataclass(frozen=True)
class LegacyCheckpoint:
    """A network out of such a file: `sha256` is that of the file's bytes, `key` the entry that held the weights, empty for the file itself."""

    student: Student
    sha256: str
    key: str


def load(path: Path, config: StudentConfig, class_order: Sequence[str] = CLASS_ORDER) -> LegacyCheckpoint:
    """Read a legacy file into a student of `config` that gives the same depth, and the same logits in Vortex's class order.

    Only tensors and plain values are unpickled, and an archive that unpacks to more than it has bytes is not unpacked. Raises
    CheckpointError, naming every tensor that is missing, unknown, of another shape or not finite.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise CheckpointError(
            f"{path}: is no {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file", "give a checkpoint as torch.save wrote it"
        )
    with explained(path):
        content = read_regular(path, LARGEST)
        _require_plain_archive(content, path)
        raw = unpickle(io.BytesIO(content))
    key, tensors = _network(raw, path)
    for name in ("seg_head.weight", "seg_head.bias"):
        if name in tensors and tensors[name].shape[:1] == (len(CLASSES),):
            tensors[name] = tensors[name][[class_order.index(class_name) for class_name in CLASSES]]
    return LegacyCheckpoint(fill(config, tensors, path), hashlib.sha256(content).hexdigest(), key)


def _require_plain_archive(content: bytes, path: Path) -> None:
    """Raise CheckpointError for a zip archive that torch did not write: it stores every part as it is, once."""
    if not content.startswith(b"PK"):
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or sum(part.file_size for part in parts) > len(content):
        raise damaged(path, "its parts are compressed or overlap, which those of torch.save are not")


def _network(raw: Any, path: Path) -> tuple[str, dict[str, Tensor]]:
    """The entry that holds the network, and its tensors by the names of its layers."""
    named = [key for key in KEYS if isinstance(raw, Mapping) and isinstance(raw.get(key), Mapping)]
    if len(named) > 1:
        raise CheckpointError(f"{path}: has {' and '.join(named)}, allowed: one of them", "save the network's state_dict() alone")
    key = named[0] if named else ""
    tensors = state_dict_of(raw[key] if key else raw, path)
    strange = [name for name in tensors if not isinstance(name, str) or len(name) > LONGEST_NAME]
    if strange:
        raise CheckpointError(f"{path}: {str(strange[0])[:60]!r} is no layer's name", "save the network's state_dict() alone")
    while prefix := next((prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in tensors)), None):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return key, tensors
