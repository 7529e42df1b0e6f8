"""TensorRT as an engine: a strongly typed network from the ONNX file, built once, and run frame by frame.

**Not run on a Jetson**: written against TensorRT's documented interface. What was run is NVIDIA's parser and builder (TensorRT-RTX, on a machine
without a GPU) through `build_engine`, and everything else on a stand-in that computes by ONNX Runtime.

The precision of every layer stands in the file, so one path serves TensorRT 10.3, 10.16 and 11: no builder flag for FP16 or INT8, which the
last of them no longer has, and no calibrator.
"""

from __future__ import annotations

import ctypes
import re
import weakref
from typing import Any, Final, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.engines.onnx_file import require_whole
from vortex_jetson.engines.tensorrt_api import Builder, CudaEngine, TensorRT
from vortex_jetson.errors import EngineFailed, LibraryMissing, MemoryShort

INPUT, DEPTH, LOGITS = "rgb", "depth", "logits"
TO_DEVICE, TO_HOST = 1, 2
"""cudaMemcpyKind of the CUDA runtime."""
OUT_OF_MEMORY: Final = 2
"""cudaError_t."""
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""CUdevice_attribute of the CUDA driver."""
DRIVER: Final = "libcuda.so.1"
RUNTIMES: Final = ("libcudart.so", "libcudart.so.13", "libcudart.so.12")
ELSEWHERE: Final = "run it on the robot, or take another runtime here"


class Gpu(NamedTuple):
    """The first GPU: what it is called, and its streaming multiprocessors' version, as 87 for an Orin."""

    name: str
    sm: int


def gpu() -> Gpu:
    """The GPU, as its driver tells it. Raises LibraryMissing without one: TensorRT does not fail then but ends the process."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError as error:
        raise LibraryMissing("TensorRT needs a GPU and its driver, and this machine has none", ELSEWHERE) from error

    def call(name: str, *arguments: Any) -> None:
        status = getattr(driver, name)(*arguments)
        if status != 0:
            raise LibraryMissing(f"the GPU's driver does not serve this process: {name} answers {status}", ELSEWHERE)

    device, major, minor, name = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(100)
    call("cuInit", ctypes.c_uint(0))
    call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
    call("cuDeviceGetName", name, ctypes.c_int(len(name)), device)
    call("cuDeviceGetAttribute", ctypes.byref(major), ctypes.c_int(CAPABILITY_MAJOR), device)
    call("cuDeviceGetAttribute", ctypes.byref(minor), ctypes.c_int(CAPABILITY_MINOR), device)
    return Gpu(name.value.decode("utf-8", "replace"), 10 * major.value + minor.value)


def library() -> TensorRT:
    """The module. Raises LibraryMissing; type stubs alone, which lie under the same name, are none."""
    hint = "on a Jetson it comes with JetPack (never from pip, whose build lacks its GPU); elsewhere: pip install tensorrt"
    try:
        import tensorrt
    except ImportError as error:
        raise LibraryMissing(f"TensorRT is not installed here ({error})", hint) from error
    if not hasattr(tensorrt, "Builder"):
        raise LibraryMissing("TensorRT is not installed here, only its type stubs are", hint)
    return cast(TensorRT, tensorrt)


def cuda_version() -> str:
    """Of CUDA's runtime library, as 12.6. Raises LibraryMissing."""
    number = ctypes.c_int()
    status = _cuda_runtime().cudaRuntimeGetVersion(ctypes.byref(number))
    if status != 0:
        raise LibraryMissing(f"the CUDA runtime does not say its version: cudaRuntimeGetVersion answers {status}", "install it again")
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def build_engine(onnx: bytes, name: str, workspace_bytes: int | None = None) -> bytes:
    """An engine for this very GPU and library, of an ONNX file's content. Takes minutes on a robot: keep it.

    Raises LibraryMissing where there is no TensorRT, or one that builds nothing for this GPU; MemoryShort; EngineFailed with TensorRT's words
    for a file that it does not take, and for one that is not all of its model.
    """
    require_whole(onnx, name)
    trt = library()
    words: list[str] = []
    logger = _logger(trt, words)
    builder = _builder(trt, logger, words)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        words.append(" ".join(parser.get_error(0).desc().split()))
        _ask_for_memory(name, words)
        raise EngineFailed(f"{name}: TensorRT {trt.__version__} does not parse it: {words[-1]}", "export it for a Jetson")
    config = builder.create_builder_config()
    if workspace_bytes is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
    engine = builder.build_serialized_network(network, config)
    if engine is not None:
        return bytes(engine)
    _ask_for_memory(name, words)
    raise EngineFailed(
        f"{name}: TensorRT {trt.__version__} builds no engine of its {network.num_layers} layers{_because(words)}", "export it for a Jetson"
    )


def _ask_for_memory(name: str, words: list[str]) -> None:
    """Raise MemoryShort where TensorRT's words say that it got no more."""
    for word in words:
        if re.search(r"bad_alloc|out ?of ?memory", word, re.IGNORECASE):
            raise MemoryShort(f"{name}: memory ran out while TensorRT built it ({word[:200]})", "end other programs, and pull again")


def _builder(trt: TensorRT, logger: Any, words: list[str]) -> Builder:
    """A builder that was seen to build. A library without code for this GPU says so only then (NVIDIA-ISAAC-ROS/isaac-ros-cli#22), and the
    names of its files do not tell (OE4T/meta-tegra#2240): so a network of one layer tells its fault from that of a model."""
    try:
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        network.mark_output(network.add_identity(network.add_input("x", trt.float32, (1, 4))).get_output(0))
        built = builder.build_serialized_network(network, builder.create_builder_config())
    except (TypeError, RuntimeError, AttributeError) as error:  # what pybind11 makes of a null pointer
        raise LibraryMissing(f"TensorRT {trt.__version__} does not start{_because([*words, str(error)])}", ELSEWHERE) from error
    if built is None:
        _ask_for_memory("a network of one layer", words)
        raise LibraryMissing(
            f"TensorRT {trt.__version__} builds nothing for this GPU{_because(words)}",
            "install the TensorRT of this JetPack; what runs goes on",
        )
    words.clear()
    return builder


def _logger(trt: TensorRT, words: list[str]) -> Any:
    """A logger that keeps what went wrong, and prints nothing."""

    def log(self: object, severity: object, message: str) -> None:
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
            words.append(" ".join(message.split()))

    return type("Recorder", (trt.ILogger,), {"__init__": lambda self: trt.ILogger.__init__(self), "log": log})()


def _because(words: list[str]) -> str:
    return f": {words[0][:200]}" if words else ""


class TensorRTEngine:
    """A built engine on the GPU, one frame at a time. Its memory there is given back by `close`, or when nobody has it any more."""

    def __init__(self, content: bytes, name: str) -> None:
        trt = library()
        self.name = name
        self.library = f"tensorrt {trt.__version__}"
        self._cuda = _cuda_runtime()
        self._free_before = self._free()
        words: list[str] = []
        self._runtime = trt.Runtime(_logger(trt, words))  # outlives the engine that it made
        engine = self._runtime.deserialize_cuda_engine(content)
        if engine is None:  # the library that built it does not take it: no fault of the model
            raise LibraryMissing(f"{name}: TensorRT {trt.__version__} does not take the engine that was built{_because(words)}", ELSEWHERE)
        self._engine: CudaEngine = engine
        shapes = self._shapes(trt)
        self.size = (shapes[INPUT][2], shapes[INPUT][3])
        context = engine.create_execution_context()
        if context is None:
            raise MemoryShort(f"{name}: TensorRT gives the engine no memory to run in{_because(words)}", "end other programs")
        self._context = context
        self._stream = ctypes.c_void_p()
        _begin(self._cuda, "cudaStreamCreate", ctypes.byref(self._stream))
        self._arrays: dict[str, NDArray[np.float32]] = {}
        self._device: dict[str, ctypes.c_void_p] = {}
        self.close = weakref.finalize(self, _release, self._cuda, self._device, self._stream)
        for tensor, shape in shapes.items():
            self._arrays[tensor] = np.empty(shape, np.float32)
            pointer = ctypes.c_void_p()
            _begin(self._cuda, "cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(self._arrays[tensor].nbytes))
            self._device[tensor] = pointer
            self._context.set_tensor_address(tensor, pointer.value or 0)

    def run(self, rgb: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `Engine`."""
        if rgb.shape != (*self.size, 3) or rgb.dtype != np.uint8:
            height, width = self.size
            raise EngineFailed(
                f"{self.name}: a picture is {rgb.dtype} {rgb.shape}, allowed: uint8 ({height}, {width}, 3)", "resize it first"
            )
        np.divide(rgb.transpose(2, 0, 1)[None], np.float32(255), out=self._arrays[INPUT])
        self._copy(INPUT, TO_DEVICE)
        if not self._context.execute_async_v3(self._stream.value or 0):
            raise EngineFailed(f"{self.name}: TensorRT did not run the frame", "look at the system's log")
        for name in (DEPTH, LOGITS):
            self._copy(name, TO_HOST)
        _call(self._cuda, "cudaStreamSynchronize", self._stream)
        return self._arrays[DEPTH][0, 0].copy(), self._arrays[LOGITS][0].copy()

    def device_bytes(self) -> int:
        """How much less of the GPU's memory is free than before the engine was loaded; on a Jetson all programs share it."""
        return max(self._free_before - self._free(), 0)

    def _shapes(self, trt: TensorRT) -> dict[str, tuple[int, ...]]:
        """Of the three tensors. Raises EngineFailed where they are others."""
        names = {self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)}
        shapes = {name: tuple(map(int, self._engine.get_tensor_shape(name))) for name in (INPUT, DEPTH, LOGITS) if name in names}
        height, width = shapes.get(INPUT, (1, 3, 0, 0))[2:]
        expected = {
            INPUT: (1, 3, height, width),
            DEPTH: (1, 1, height, width),
            LOGITS: (1, *shapes.get(LOGITS, (1, 0))[1:2], height, width),
        }
        if names != set(expected) or shapes != expected or any(self._engine.get_tensor_dtype(name) != trt.float32 for name in names):
            raise EngineFailed(
                f"{self.name}: its tensors are {', '.join(f'{name} {shape}' for name, shape in sorted(shapes.items())) or 'others'}, allowed:"
                " rgb 1x3xHxW, depth 1x1xHxW and logits 1xCxHxW of float32",
                "export the version with Vortex",
            )
        return shapes

    def _free(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        _begin(self._cuda, "cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def _copy(self, name: str, kind: int) -> None:
        array, device = ctypes.c_void_p(self._arrays[name].ctypes.data), self._device[name]
        target, source = (device, array) if kind == TO_DEVICE else (array, device)
        size = ctypes.c_size_t(self._arrays[name].nbytes)
        _call(self._cuda, "cudaMemcpyAsync", target, source, size, ctypes.c_int(kind), self._stream)


def _release(cuda: ctypes.CDLL, device: dict[str, ctypes.c_void_p], stream: ctypes.c_void_p) -> None:
    for pointer in device.values():
        cuda.cudaFree(pointer)
    device.clear()
    cuda.cudaStreamDestroy(stream)


def _begin(cuda: ctypes.CDLL, name: str, *arguments: Any) -> None:
    """Call CUDA before any frame runs, when no fault can be the model's. Raises MemoryShort and LibraryMissing."""
    status = getattr(cuda, name)(*arguments)
    if status == OUT_OF_MEMORY:
        raise MemoryShort(f"{name}: the GPU has no memory left", "end other programs")
    if status != 0:
        raise LibraryMissing(f"CUDA does not start: {name} answers {status}, see cudaError_t of the CUDA runtime", ELSEWHERE)


def _call(cuda: ctypes.CDLL, name: str, *arguments: Any) -> None:
    status = getattr(cuda, name)(*arguments)
    if status != 0:
        raise EngineFailed(f"{name} answers {status}: see cudaError_t of the CUDA runtime", "look at the system's log")


def _cuda_runtime() -> ctypes.CDLL:
    """CUDA's runtime library, of the major version that is here. Raises LibraryMissing."""
    for name in RUNTIMES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise LibraryMissing("the CUDA runtime (libcudart) is not here", "on a Jetson it comes with JetPack")
