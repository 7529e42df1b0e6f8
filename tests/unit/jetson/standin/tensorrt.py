"""A stand-in for TensorRT, whose engines are ONNX files that ONNX Runtime computes. The variable STANDIN says what is wrong with it."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

import numpy as np
import onnxruntime

__version__ = "10.3.0"
MAGIC = f"engine of {__version__}\n".encode()
float32 = "float32"


def fault() -> str:
    return os.environ.get("STANDIN", "")


if fault() == "no driver":
    os.kill(os.getpid(), signal.SIGSEGV)


def session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING = 0, 1, 2


class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = 1


class MemoryPoolType:
    WORKSPACE = 0


class Network:
    num_layers = 0
    onnx = b""

    def add_input(self, name: str, dtype: str, shape: tuple[int, ...]) -> str:
        return name

    def add_identity(self, tensor: str) -> Network:
        self.num_layers += 1
        return self

    def get_output(self, index: int) -> str:
        return "y"

    def mark_output(self, tensor: str) -> None:
        self.output = tensor


class Config:
    def set_memory_pool_limit(self, pool: int, size: int) -> None:
        assert pool == MemoryPoolType.WORKSPACE and size > 0


class Builder:
    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def create_network(self, flags: int) -> Network:
        assert flags == 2, "strongly typed"
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        if fault() == "no sm":
            self.logger.log(ILogger.WARNING, "not an error")
            self.logger.log(ILogger.ERROR, "Error Code 9: API Usage Error (Target GPU SM 87 is not supported by this TensorRT release.)")
            return None
        if network.onnx and fault() == "crash":
            os.abort()
        if network.onnx and fault() == "ended by the system":
            os.kill(os.getpid(), signal.SIGKILL)
        if network.onnx and fault() == "greedy":
            bytearray(1 << 40)
        if network.onnx and fault() == "no tactic":
            self.logger.log(ILogger.ERROR, "Error Code 10: Could not find any implementation for node conv1.")
            return None
        return MAGIC + network.onnx


class ParserError:
    def desc(self) -> str:
        return "it is no model"


class OnnxParser:
    def __init__(self, network: Network, logger: Any) -> None:
        self.network = network

    def parse(self, content: bytes) -> bool:
        try:
            session(content)
        except Exception:
            return False
        self.network.onnx, self.network.num_layers = content, 5
        return True

    def get_error(self, index: int) -> ParserError:
        return ParserError()


class Context:
    def __init__(self, session: Any) -> None:
        self.session, self.addresses = session, dict[str, int]()

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def execute_async_v3(self, stream: int) -> bool:
        shape = self.session.get_inputs()[0].shape
        rgb = np.ctypeslib.as_array((ctypes.c_float * int(np.prod(shape))).from_address(self.addresses["rgb"])).reshape(shape)
        for name, value in zip(("depth", "logits"), self.session.run(["depth", "logits"], {"rgb": rgb}), strict=True):
            value = np.full_like(value, 2) if fault() == "blind" else np.ascontiguousarray(value)
            ctypes.memmove(self.addresses[name], value.ctypes.data, value.nbytes)
        return stream == 7


class CudaEngine:
    def __init__(self, session: Any) -> None:
        self.session = session
        self.nodes = [*session.get_inputs(), *session.get_outputs()]
        self.num_io_tensors = len(self.nodes)

    def get_tensor_name(self, index: int) -> str:
        return self.nodes[index].name

    def get_tensor_shape(self, name: str) -> list[int]:
        return next(node.shape for node in self.nodes if node.name == name)

    def get_tensor_dtype(self, name: str) -> str:
        return float32

    def create_execution_context(self) -> Context:
        return Context(self.session)


class Runtime:
    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, content: bytes) -> CudaEngine | None:
        if not content.startswith(MAGIC):
            self.logger.log(ILogger.ERROR, "Error Code 1: Serialization (Serialization assertion failed: version tag does not match)")
            return None
        return CudaEngine(session(content[len(MAGIC) :]))
