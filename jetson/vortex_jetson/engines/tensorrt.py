"""TensorRT as an engine: a strongly typed network from the ONNX file, built once, and run frame by frame.

**Not run on a Jetson**: written against TensorRT's documented interface and its type stubs. What was run is NVIDIA's parser and builder
(TensorRT-RTX, on a machine without a GPU) on the same files, by the same flags.

The precision of every layer stands in the file, so one path serves TensorRT 10.3, 10.16 and 11: no builder flag for FP16 or INT8, which the
last of them no longer has, and no calibrator.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.engines.onnx_file import is_whole

if TYPE_CHECKING:
    import tensorrt

INPUT, DEPTH, LOGITS = "rgb", "depth", "logits"
TO_DEVICE, TO_HOST = 1, 2
"""cudaMemcpyKind of the CUDA runtime."""
DEVICES: Final = ("/dev/nvhost-gpu", "/dev/nvhost-ctrl-gpu", "/dev/nvidia0")
"""What a driver makes: a Jetson's, and a graphics card's."""


class TensorRTMissing(RuntimeError):
    """TensorRT, CUDA or a GPU is not here; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class TensorRTFailed(RuntimeError):
    """TensorRT or CUDA is here and did not do what was asked."""


def require_device() -> None:
    """Raise TensorRTMissing unless there is a GPU and its driver: without one TensorRT does not fail but ends the process."""
    if ctypes.util.find_library("cuda") is None or not any(Path(device).exists() for device in DEVICES):
        raise TensorRTMissing(
            "TensorRT needs a GPU and its driver, and this machine has none", "run it on the robot, or take another runtime here"
        )


def _library() -> Any:
    """The module. Raises TensorRTMissing; type stubs alone, which lie under the same name, are none."""
    hint = "on a Jetson it comes with JetPack (never from pip, whose build lacks its GPU); elsewhere: pip install tensorrt"
    try:
        import tensorrt as trt
    except ImportError as error:
        raise TensorRTMissing("TensorRT is not installed here", hint) from error
    if not hasattr(trt, "Builder"):
        raise TensorRTMissing("TensorRT is not installed here, only its type stubs are", hint)
    return trt


def build_engine(onnx: bytes) -> bytes:
    """An engine for this very GPU and library, of an ONNX file's content. Takes minutes on a robot: keep it.

    Raises TensorRTMissing where there is no TensorRT, TensorRTFailed with the parser's words for a file that it does not take, and for one
    that is not all of its model.
    """
    if not is_whole(onnx):
        raise TensorRTFailed("the file names others, which nobody has verified; no engine was built of it")
    trt = _library()
    logger = trt.Logger(trt.Logger.ERROR)
    builder: tensorrt.Builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser: tensorrt.OnnxParser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        raise TensorRTFailed(f"TensorRT {trt.__version__} does not parse the file: {parser.get_error(0).desc()}")
    engine = builder.build_serialized_network(network, builder.create_builder_config())
    if engine is None:
        raise TensorRTFailed(f"TensorRT {trt.__version__} builds no engine of the file's {network.num_layers} layers")
    return bytes(engine)


class TensorRTEngine:
    """A built engine on the GPU, one frame at a time."""

    def __init__(self, engine: bytes) -> None:
        trt = _library()
        self.library: str = trt.__version__
        self._cuda = _cuda_runtime()
        self._runtime: tensorrt.Runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))  # outlives the engine that it made
        self._engine: tensorrt.ICudaEngine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise TensorRTFailed(f"TensorRT {self.library} does not take the engine: it was built by another version or for another GPU")
        self._context: tensorrt.IExecutionContext = self._engine.create_execution_context()
        shape = tuple(self._engine.get_tensor_shape(INPUT))
        self.size = (int(shape[2]), int(shape[3]))
        self._stream = ctypes.c_void_p()
        self._call("cudaStreamCreate", ctypes.byref(self._stream))
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._device: dict[str, ctypes.c_void_p] = {}
        for name in (INPUT, DEPTH, LOGITS):
            self._arrays[name] = np.empty(tuple(self._engine.get_tensor_shape(name)), np.float32)
            self._device[name] = ctypes.c_void_p()
            self._call("cudaMalloc", ctypes.byref(self._device[name]), ctypes.c_size_t(self._arrays[name].nbytes))
            self._context.set_tensor_address(name, self._device[name].value or 0)

    def run(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Depth [H,W] in metres and logits [C,H,W] of a picture [H,W,3], RGB bytes at the engine's size.

        Raises ValueError for a picture of another size, TensorRTFailed when the GPU does not answer.
        """
        if rgb.shape != (*self.size, 3):
            raise ValueError(f"the engine takes pictures of {(*self.size, 3)}, this one is {rgb.shape}")
        np.divide(rgb.transpose(2, 0, 1)[None], np.float32(255), out=self._arrays[INPUT])
        self._copy(INPUT, TO_DEVICE)
        if not self._context.execute_async_v3(self._stream.value or 0):
            raise TensorRTFailed("TensorRT did not run the frame")
        for name in (DEPTH, LOGITS):
            self._copy(name, TO_HOST)
        self._call("cudaStreamSynchronize", self._stream)
        return self._arrays[DEPTH][0, 0].copy(), self._arrays[LOGITS][0].copy()

    def close(self) -> None:
        """Give the GPU's memory back; the engine is of no use after it."""
        for pointer in self._device.values():
            self._call("cudaFree", pointer)
        self._device.clear()
        self._call("cudaStreamDestroy", self._stream)

    def _copy(self, name: str, kind: int) -> None:
        array, device = ctypes.c_void_p(self._arrays[name].ctypes.data), self._device[name]
        target, source = (device, array) if kind == TO_DEVICE else (array, device)
        self._call("cudaMemcpyAsync", target, source, ctypes.c_size_t(self._arrays[name].nbytes), ctypes.c_int(kind), self._stream)

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status != 0:
            raise TensorRTFailed(f"{name} answers {status}: see cudaError_t of the CUDA runtime")


def _cuda_runtime() -> ctypes.CDLL:
    """CUDA's runtime library, of the major version that is here."""
    for name in ("libcudart.so", "libcudart.so.13", "libcudart.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise TensorRTMissing("the CUDA runtime (libcudart) is not here", "on a Jetson it comes with JetPack")
