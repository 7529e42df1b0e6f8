"""Files of named tensors: safetensors in and out, and old .pt files in, without ever running what a pickle asks for."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from core.errors import VortexError
from core.files import open_regular, staged_file

if TYPE_CHECKING:
    from torch import Tensor

HEADER_CAP: Final = 100 * 1024 * 1024
"""Largest header that the safetensors format allows, in bytes."""


class CheckpointError(VortexError):
    """A weights file is missing, damaged, or not of the network that was asked for."""


def read_metadata(path: Path) -> dict[str, str]:
    """Read a safetensors file's metadata without torch and without its tensors. Raises CheckpointError."""
    header = _read_header(path)
    metadata = header.get("__metadata__", {}) if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise damaged(path, "its header has no metadata")
    return metadata


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name → shape of every tensor in a safetensors file, without torch and without the tensors. Raises CheckpointError."""
    header = _read_header(path)
    try:
        return {name: tuple(map(int, tensor["shape"])) for name, tensor in header.items() if name != "__metadata__"}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise damaged(path, "its header names no shapes") from error


def _read_header(path: Path) -> Any:
    try:
        size = path.stat().st_size
        with open_regular(path) as stream:
            prefix = stream.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else HEADER_CAP + 1
            if length > min(HEADER_CAP, size - 8):
                raise damaged(path, f"its header claims {length} of {size} bytes" if len(prefix) == 8 else f"it has {size} bytes")
            return json.loads(stream.read(length))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, "its header is not JSON") from error


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names and bytes."""
    import torch

    sha256 = hashlib.sha256()
    for name in sorted(tensors):
        sha256.update(f"{name}\0".encode() + tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha256.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and metadata as one safetensors file, whole or not at all. Raises VortexError when the disk is full."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    whole = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    with staged_file(path) as staging:
        try:
            save_file(whole, staging, dict(metadata))
        except SafetensorError as error:  # it wraps the system's error in its own; unwrapped, staged_file explains it
            match = re.search(r"os error (\d+)", str(error))
            number = int(match[1]) if match else errno.EIO
            raise OSError(number, os.strerror(number)) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file, or a .pt/.pth/.bin/.tar file of tensors. Gives the tensors and the metadata.

    Raises CheckpointError when the file is missing, damaged, or a pickle that holds more than tensors and plain values.
    """
    if path.suffix.lower() in (".pt", ".pth", ".bin", ".tar"):
        return state_dict_of(read_pickle(path), path), {}
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    try:
        return load_file(path), metadata
    except OSError as error:
        raise _unreadable(path, error) from error
    except SafetensorError as error:
        raise damaged(path, str(error)) from error


def read_pickle(path: Path) -> Any:
    """Unpickle a torch file of tensors and plain values; nothing else is allowed. Raises CheckpointError."""
    with explained(path), open_regular(path) as stream:
        return unpickle(stream)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Around what reads a torch file: whatever a damaged one makes the libraries raise says that it is damaged."""
    try:
        yield
    except CheckpointError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    except (
        *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError, AttributeError, TypeError, ImportError),
        *(ArithmeticError, AssertionError, MemoryError, struct.error, zipfile.BadZipFile),
    ) as error:
        if "unsupported" in str(error).lower():
            raise CheckpointError(
                f"{path}: it holds objects other than tensors and plain values, which may run code; nothing of it was run",
                "save the network's state_dict() alone, where it was trained, and take that file",
            ) from error
        raise damaged(path, "it is not a torch file") from error


def unpickle(stream: IO[bytes]) -> Any:
    """What a torch file holds, when that is tensors and plain values (numpy scalars, as saved metrics are, included). To be `explained`."""
    import numpy as np
    import torch
    from torch.serialization import safe_globals

    # numpy's scalars pickle as a call of numpy._core.multiarray.scalar (numpy.core before 2.0); neither can run code.
    scalar: Any = np.float64(0).__reduce__()[0]
    numbers = [type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")]
    with warnings.catch_warnings(), safe_globals([scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *numbers]):
        warnings.simplefilter("ignore")  # remarks on the pickle's protocol: what matters is said by the errors
        return torch.load(stream, map_location="cpu", weights_only=True)


def state_dict_of(content: Any, path: Path) -> dict[str, Tensor]:
    """Find the network's state dict in a loaded .pt: the content itself, or the largest one in the wrapper around it."""
    import torch

    def is_state(value: Any) -> bool:
        return isinstance(value, Mapping) and bool(value) and all(isinstance(tensor, torch.Tensor) for tensor in value.values())

    if is_state(content):
        return dict(content)
    states = {key: value for key, value in content.items() if is_state(value)} if isinstance(content, Mapping) else {}
    largest = [key for key in states if len(states[key]) == max(map(len, states.values()))]
    if len(largest) != 1:
        candidates = f"{len(largest)} alike: {', '.join(map(repr, largest))}" if largest else "none"
        raise CheckpointError(f"{path}: one state dict of tensors is wanted, found {candidates}", "save the network's state_dict() alone")
    return dict(states[largest[0]])


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    if isinstance(error, FileNotFoundError):
        return CheckpointError(f"{path}: no such weights file", "check the path, or train or import the version that should have it")
    return CheckpointError(f"{path}: cannot be read ({error.strerror or error})", "check the path and its permissions")


def damaged(path: Path, fault: str) -> CheckpointError:
    """The error for a file that is not whole, or not what it should be."""
    return CheckpointError(
        f"{path}: not a whole weights file: {fault}", "restore the file from its artifact or a backup, or train the version again"
    )
