"""What teachers with weights share: finding weights without a network, hashing them, choosing a device, reporting a missing package."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.files import LARGEST_TEXT, read_regular, sha256_file, state_of
from models.teachers.contract import TeacherError

if TYPE_CHECKING:
    import torch

Device: TypeAlias = Literal["auto", "cpu", "cuda"]

MODEL_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
WANTED: Final = ("*.json", "*.safetensors")
"""Files of a model folder that are fetched and hashed. Pickled weights are never among them."""


@dataclass(frozen=True)
class Weights:
    """A model's files on this disk: a folder, and those files in it that decide what the model computes."""

    folder: Path
    files: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """One hash over the names and the bytes of all files; read once per process and per state of the files."""
        parts = [f"{path.relative_to(self.folder).as_posix()}\0{file_hash(path)}\n" for path in self.files]
        return hashlib.sha256("".join(parts).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file, remembered as long as its state stays. Weights of 1.4 GB take seconds to hash."""
    return _file_hash(path.resolve(), state_of(path.stat()))


@lru_cache(maxsize=256)
def _file_hash(path: Path, _state: tuple[int, int, int]) -> str:
    return sha256_file(path)


def find_weights(teacher: str, weights: str, download: bool) -> Weights:
    """Find a model's folder: `weights` is a local folder, or a model id that is looked up in the model hub's local cache.

    Nothing is fetched unless `download` is true. Raises TeacherError that says how to get the weights and what to write.
    """
    local = Path(weights).expanduser()
    if local.is_dir():
        folder = local.resolve()
    elif MODEL_ID.fullmatch(weights) and not local.exists():
        folder = _hub_folder(teacher, weights, download)
    else:
        raise TeacherError(
            f"teacher {teacher}: weights {weights!r}: there is no such folder, and this is not a model id such as 'owner/model'",
            f'write the folder that holds config.json and *.safetensors into vortex.toml: [teachers.{teacher}] weights = "FOLDER"',
        )
    files = tuple(sorted({path for pattern in WANTED for path in folder.glob(pattern)}))
    if not (folder / "config.json").is_file() or not any(path.suffix == ".safetensors" for path in files):
        raise TeacherError(
            f"teacher {teacher}: {folder} does not hold config.json and *.safetensors",
            "give the folder of a downloaded model; pickled weights (.bin, .pth) are not read, because loading them runs their code",
        )
    return Weights(folder, files)


def _hub_folder(teacher: str, weights: str, download: bool) -> Path:
    import huggingface_hub

    try:
        folder = huggingface_hub.snapshot_download(weights, allow_patterns=list(WANTED), local_files_only=not download)
    except Exception as error:  # any failure of a foreign network client has the same meaning and remedy here
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TeacherError(
            f"teacher {teacher}: the weights {weights} "
            + (f"cannot be fetched: {reason}" if download else "are not on this machine, and nothing is downloaded unasked"),
            f"with a network: [teachers.{teacher}] download = true in vortex.toml. Without one: `hf download {weights} --local-dir FOLDER` "
            f'on another machine, copy FOLDER here, and set weights = "FOLDER"',
        ) from error
    return Path(folder)


def read_config(teacher: str, folder: Path, model_types: tuple[str, ...]) -> Mapping[str, Any]:
    """The model's config.json. Raises TeacherError when it is damaged, or is of a model of another kind than `model_types`."""
    path = folder / "config.json"
    try:
        config = json.loads(read_regular(path, LARGEST_TEXT))
        model_type = config.get("model_type")
    except (ValueError, AttributeError) as error:
        raise TeacherError(f"teacher {teacher}: {path} is not a model's configuration ({error})", "fetch the weights again") from error
    if model_type not in model_types:
        raise TeacherError(
            f"teacher {teacher}: {folder} holds a model of type {model_type!r}; wanted: {' or '.join(model_types)}",
            f"point [teachers.{teacher}] weights at the right folder",
        )
    return config if isinstance(config, dict) else {}


def need(teacher: str, package: str, extra: str, remark: str = "") -> str:
    """The version of an optional package, as "package 1.2.3". Raises TeacherError that names the extra when it is not installed."""
    if importlib.util.find_spec(package) is None:
        raise TeacherError(
            f"teacher {teacher} needs the package {package}, which is not installed", f"install the extra: uv sync --extra {extra}{remark}"
        )
    return f"{package} {version(package)}"


def pick_device(teacher: str, device: Device) -> torch.device:
    """The torch device a setting stands for. Raises TeacherError for "cuda" where there is no GPU."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise TeacherError(
            f'teacher {teacher}: device = "cuda", but torch sees no GPU here', 'check the driver, or set device = "auto" or "cpu"'
        )
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def checked_depth(teacher: str, frame: str, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """`depth` as it is, when every pixel is a finite number. Raises TeacherError otherwise, so that no frame is spoiled silently."""
    bad = int(depth.size - np.isfinite(depth).sum())
    if bad:
        raise TeacherError(f"teacher {teacher}, frame {frame}: {bad} of {depth.size} pixels are not finite numbers")
    return depth


def failed(teacher: str, frame: str, error: Exception) -> TeacherError:
    """The error of a foreign library on one frame, as one line that names the frame."""
    if isinstance(error, VortexError):
        return TeacherError(error.message, error.hint, error.details)
    reason = (str(error).strip() or "no message").splitlines()[0]
    return TeacherError(f"teacher {teacher}, frame {frame}: {type(error).__name__}: {reason}")


def load_transformers(teacher: str, processor: str, model: str, weights: Weights, device: Device) -> tuple[Any, Any]:
    """A processor and a model of the library Transformers, by class name, from local safetensors and ready to run.

    Raises TeacherError when they cannot be loaded, and when a tensor of the model is not in the file: the library would fill it with
    random numbers and go on.
    """
    library = importlib.import_module("transformers")
    library.utils.logging.disable_progress_bar()
    folder = str(weights.folder)
    try:
        prepare = getattr(library, processor).from_pretrained(folder, local_files_only=True)
        network, info = getattr(library, model).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except Exception as error:  # a damaged or half-copied model, in whatever words the library has for it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TeacherError(f"teacher {teacher}: {folder} cannot be loaded: {reason}", "fetch the weights again") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise TeacherError(
            f"teacher {teacher}: {len(missing)} of the network's tensors are not in {folder}, such as {missing[0]}",
            "fetch the weights again",
        )
    return prepare, network.to(pick_device(teacher, device)).eval()
