"""Depth Anything 3 metric (ByteDance Seed 2025): metres from one picture and the camera's focal length, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.files import LARGEST_TEXT, read_regular
from core.pinhole import Pinhole
from models.teachers.contract import DepthMap, TeacherError, View
from models.teachers.isolated import Isolated
from models.teachers.loading import Device, checked_depth, file_hash, find_weights

PROJECT: Final = Path(__file__).with_name("da3_process")
PYTHON_VARIABLE: Final = "VORTEX_DA3_PYTHON"
CANONICAL_FOCAL: Final = 300.0
"""The network is trained as if every camera had this focal length, in pixels of the picture that it sees."""
METHOD: Final = "upper_bound_resize"
VERSIONS: Final = (
    "from importlib.metadata import version as v, PackageNotFoundError\n"
    "def of(p):\n"
    "    try: return f'{p} {v(p)}'\n"
    "    except PackageNotFoundError: return ''\n"
    "print(of('depth-anything-3')); print(of('torch'))"
)


@dataclass(frozen=True)
class DepthAnything3Settings:
    """[teachers.da3] of vortex.toml.

    `python` is the interpreter of the teacher's own environment (else VORTEX_DA3_PYTHON, else models/teachers/da3_process/.venv);
    `process_res` the longer side in pixels that the network sees; `start_seconds` and `answer_seconds` how long is waited.
    """

    weights: str = "depth-anything/DA3METRIC-LARGE"
    download: bool = False
    device: Device = "auto"
    python: str = ""
    process_res: int = 504
    seed: int = 0
    start_seconds: float = 600.0
    answer_seconds: float = 120.0
    restarts: int = 3

    def __post_init__(self) -> None:
        faults = []
        if not 14 <= self.process_res <= 4032 or self.process_res % 14:
            faults.append(f"process_res = {self.process_res} is not a multiple of 14 from 14 to 4032")
        if not 0 <= self.seed < 2**32:
            faults.append(f"seed = {self.seed} is not in 0..{2**32 - 1}")
        if not (0 < self.start_seconds <= 86400 and 0 < self.answer_seconds <= 86400):
            faults.append("start_seconds and answer_seconds must be in 0..86400")
        if not 0 <= self.restarts <= 100:
            faults.append(f"restarts = {self.restarts} is not in 0..100")
        if faults:
            raise TeacherError(f"teacher da3: {faults[0]}", "mend [teachers.da3] in vortex.toml, or what --set says", faults[1:])


class DepthAnything3:
    """A depth teacher in metres. Its package needs numpy 1, so it lives in an environment of its own and is asked over a pipe.

    One picture a question, because the library pools the pictures of a call, with its random numbers seeded before each.
    """

    def __init__(self, settings: DepthAnything3Settings, loader: str = "") -> None:
        """`loader`, "FILE.py:FUNCTION", replaces how the process loads its model; the class and protocol stay the same."""
        self.name = "da3"
        self.settings = settings
        self.python = find_python(settings.python)
        self.weights = find_weights("da3", settings.weights, settings.download)
        _check_metric(self.weights.folder)
        self.loader = loader
        command = [str(self.python), str(PROJECT / "worker.py"), "--weights", str(self.weights.folder), "--device", settings.device]
        self.process = Isolated(
            "da3",
            [*command, *(["--loader", loader] if loader else [])],
            # The weights are already here; the library's remarks about every picture are not wanted.
            {"HF_HUB_OFFLINE": "1", "DA3_LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore", "PYTHONNOUSERSITE": "1"},
            start_seconds=settings.start_seconds,
            answer_seconds=settings.answer_seconds,
            restarts=settings.restarts,
        )

    def describe(self) -> dict[str, object]:
        """What decides the output. The device is not part of it: devices agree up to rounding."""
        library = library_of(str(self.python))
        if self.loader:
            library = f"{Path(self.loader).name} {file_hash(Path(self.loader.rpartition(':')[0]))}; {library}"
        elif "depth-anything-3" not in library:
            raise _no_environment(f"{self.python} does not have the package depth-anything-3")
        return {
            "teacher": "da3",
            "model": "DepthAnything3",
            "weights_sha256": self.weights.sha256,
            "library": library,
            "parameters": {
                "process_res": self.settings.process_res,
                "process_res_method": METHOD,
                "seed": self.settings.seed,
                "scale": f"raw * mean(fx, fy) at the processed size / {CANONICAL_FOCAL:g}",
                "resize": "bilinear",
            },
            "unit": "m",
        }

    def depth(self, view: View) -> DepthMap:
        """Metres [H,W] at the picture's size. Raises TeacherError without a camera: the scale hangs on its focal length."""
        if view.camera is None:
            raise TeacherError(f"teacher da3, frame {view.id}: no camera, and without its focal length there are no metres")
        if view.rgb.dtype != np.uint8 or view.rgb.ndim != 3 or view.rgb.shape[2] != 3 or view.rgb.size == 0:
            raise TeacherError(f"teacher da3, frame {view.id}: picture is {view.rgb.dtype} {view.rgb.shape}; wanted uint8 (H, W, 3)")
        settings = self.settings
        question = {"shape": list(view.rgb.shape), "process_res": settings.process_res, "method": METHOD, "seed": settings.seed}
        shape, data = self.process.ask(f"frame {view.id}", question, np.ascontiguousarray(view.rgb).tobytes())
        raw = np.frombuffer(data, "<f4").reshape(shape).astype(np.float32)
        metres = metric(checked_depth("da3", view.id, raw), view.camera)

        import cv2

        resized = cv2.resize(metres, (view.size[1], view.size[0]), interpolation=cv2.INTER_LINEAR)
        return DepthMap(np.asarray(resized, np.float32), "m")

    def close(self) -> None:
        """End the process."""
        self.process.close()


def metric(raw: NDArray[np.float32], camera: Pinhole) -> NDArray[np.float32]:
    """Metres from the network's raw depth [h,w]: raw * mean(fx, fy) / 300, with the focal lengths *of the picture the network saw*.

    The camera's own focal lengths would be too large by the factor of the resize: 27 % for 640 pixels shown as 504.
    """
    resized = camera.scaled((raw.shape[0], raw.shape[1]))
    return (raw * np.float32((resized.fx + resized.fy) / 2 / CANONICAL_FOCAL)).astype(np.float32)


def find_python(setting: str) -> Path:
    """The interpreter of the teacher's environment. Raises TeacherError that says how to make the environment."""
    text = setting or os.environ.get(PYTHON_VARIABLE, "")
    path = Path(text).expanduser() if text else PROJECT / ".venv" / "bin" / "python"
    if not os.access(path, os.X_OK) or path.is_dir():
        raise _no_environment(f"{path} is not there" if not text else f"{path} is not an interpreter that can be run")
    return path.absolute()  # not resolved: a virtual environment is known by the link


@lru_cache(maxsize=16)
def library_of(python: str) -> str:
    """Names and versions of depth-anything-3 and torch in an interpreter's environment, without importing either."""
    try:
        process = subprocess.run([python, "-I", "-c", VERSIONS], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise _no_environment(f"{python} does not run ({error})") from error
    return ", ".join(line for line in process.stdout.splitlines() if line)


def _no_environment(fault: str) -> TeacherError:
    return TeacherError(
        f"teacher da3 has no environment: {fault}",
        f"make it: uv sync --project {PROJECT} (6 GB with CUDA); or set [teachers.da3] python, or {PYTHON_VARIABLE}, to its interpreter",
    )


def _check_metric(folder: Path) -> None:
    """Refuse Depth Anything 3 checkpoints other than the metric ones: their depth has no unit, and no field of the output says so."""
    try:
        name = json.loads(read_regular(folder / "config.json", LARGEST_TEXT)).get("model_name", "")
    except (ValueError, AttributeError) as error:
        raise TeacherError(
            f"teacher da3: {folder}/config.json is not a model's configuration ({error})", "fetch the weights again"
        ) from error
    if not str(name).startswith("da3metric"):
        raise TeacherError(
            f"teacher da3: {folder} holds the model {name!r}, whose depth is not in metres; wanted: da3metric-large",
            'set [teachers.da3] weights = "depth-anything/DA3METRIC-LARGE", or a folder of it',
        )
