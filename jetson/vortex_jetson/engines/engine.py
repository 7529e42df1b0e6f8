"""A model as a function from a picture to depth and classes, whatever library runs it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.engines.onnx_file import require_whole
from vortex_jetson.engines.tensorrt import TensorRTEngine
from vortex_jetson.errors import EngineFailed, LibraryMissing, Untrusted, UsageError
from vortex_jetson.formats.bundle import Bundle, Model

RUNTIMES: Final = {"onnxruntime": "host", "tensorrt": "jetson"}
"""The libraries, and the target whose files each of them takes."""
SETTINGS: Final = (*RUNTIMES, "auto")
"""What a device may be set to: a library, or `auto` for TensorRT where it starts and else ONNX Runtime."""


class Engine(Protocol):
    """One loaded model."""

    library: str
    """What runs it, with its version."""

    def run(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth [H,W] in metres and logits [C,H,W] of a picture [H,W,3], uint8 RGB, of the model's size. Raises EngineFailed."""


class OnnxEngine:
    """ONNX Runtime on the processor."""

    def __init__(self, content: bytes, name: str, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise LibraryMissing(f"ONNX Runtime cannot be loaded ({error})", "install it: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4  # errors are raised anyway
        require_whole(content, name)
        try:
            self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library's errors are of its own classes, without a common one
            raise EngineFailed(f"{name}: ONNX Runtime does not load it ({_first_line(error)})", "the bundle is of no use here") from error
        self.name, self.library = name, f"onnxruntime {onnxruntime.__version__}"
        shape = [node.shape for node in self.session.get_inputs() if node.name == "rgb"]
        outputs = {node.name for node in self.session.get_outputs()}
        if not shape or not {"depth", "logits"} <= outputs or shape[0][:2] != [1, 3] or not all(isinstance(side, int) for side in shape[0]):
            raise EngineFailed(f"{name}: has no input rgb of 1x3xHxW, or no outputs depth and logits", "export the version with Vortex")
        self.size = (int(shape[0][2]), int(shape[0][3]))

    def run(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine`."""
        if rgb.shape != (*self.size, 3) or rgb.dtype != np.uint8:
            height, width = self.size
            raise EngineFailed(
                f"{self.name}: a picture is {rgb.dtype} {rgb.shape}, allowed: uint8 ({height}, {width}, 3)", "resize it first"
            )
        batch = np.ascontiguousarray(rgb.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
        try:
            depth, logits = self.session.run(["depth", "logits"], {"rgb": batch})
        except Exception as error:
            raise EngineFailed(f"{self.name}: ONNX Runtime fails ({_first_line(error)})", "the bundle is of no use here") from error
        return _plane(depth, self.size, self.name), _planes(logits, self.size, self.name)


def open_engine(runtime: str, folder: Path, bundle: Bundle, built: bytes | None = None, threads: int = 0) -> Engine:
    """Load the model of a bundle that a library takes; for TensorRT that is the content of the engine that was `built` of it.

    `threads` of the processor run it where ONNX Runtime does, 0: as many as it has cores.

    Raises UsageError for an unknown library or a bundle without a file for it, LibraryMissing, Untrusted for other bytes, EngineFailed.
    """
    model = model_for(runtime, bundle)
    if runtime == "onnxruntime":
        return OnnxEngine(read_model(folder, bundle, model), model.file, threads)
    if built is None:
        raise EngineFailed(f"{bundle.version} has no engine for this machine", "build it: vortex-jetson build")
    return TensorRTEngine(built, model.file)


def read_model(folder: Path, bundle: Bundle, model: Model) -> bytes:
    """A model of a bundle, from bytes whose digest was taken after they were read. Raises EngineFailed, and Untrusted for other bytes."""
    try:
        content = (folder / model.file).read_bytes()
    except OSError as error:
        raise EngineFailed(f"{folder / model.file}: cannot be read ({error.strerror})", "pull again") from error
    if hashlib.sha256(content).hexdigest() != bundle.files[model.file].sha256:
        raise Untrusted(f"{folder / model.file}: is not the file of {bundle.version} any more; it was not loaded", "pull again")
    require_whole(content, model.file)
    return content


def model_for(runtime: str, bundle: Bundle) -> Model:
    """The model of a bundle that a library takes: ONNX Runtime runs one that was made for a Jetson too. Raises UsageError."""
    if runtime not in RUNTIMES:
        raise UsageError(f"runtime is {runtime!r:.40}, allowed: {', '.join(RUNTIMES)}", "correct it in device.toml")
    model = bundle.model_for(RUNTIMES[runtime])
    if model is None and runtime == "onnxruntime":
        model = bundle.model_for("jetson")
    if model is None:
        targets = ", ".join(sorted({model.target for model in bundle.models}))
        raise UsageError(f"{bundle.version} has no model for {runtime}, it has: {targets}", "export it for this device, and promote again")
    return model


def _plane(depth: Any, size: tuple[int, int], name: str) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.asarray(depth, np.float32)
    if array.size != size[0] * size[1]:
        raise EngineFailed(
            f"{name}: depth has the shape {array.shape} for a picture of {size[0]}x{size[1]}", "export the version with Vortex"
        )
    return array.reshape(size)


def _planes(logits: Any, size: tuple[int, int], name: str) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.asarray(logits, np.float32)
    if array.ndim != 4 or array.shape[0] != 1 or array.shape[2:] != size:
        raise EngineFailed(
            f"{name}: logits have the shape {array.shape} for a picture of {size[0]}x{size[1]}", "export the version with Vortex"
        )
    return array.reshape(array.shape[1:])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
