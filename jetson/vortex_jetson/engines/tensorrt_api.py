"""What the adapter uses of TensorRT's Python interface, in types: the library brings none, and the stubs that others publish for it lack the
mark by which a type checker reads them. A test holds these names against the library where one is installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol


class Layer(Protocol):
    """ILayer."""

    get_output: Callable[[int], Any]


class Network(Protocol):
    """INetworkDefinition."""

    num_layers: int
    add_input: Callable[[str, Any, Sequence[int]], Any]
    add_identity: Callable[[Any], Layer]
    mark_output: Callable[[Any], None]


class ParserError(Protocol):
    """IParserError."""

    desc: Callable[[], str]


class Parser(Protocol):
    """IOnnxParser."""

    parse: Callable[[bytes], bool]
    get_error: Callable[[int], ParserError]


class Config(Protocol):
    """IBuilderConfig."""

    set_memory_pool_limit: Callable[[Any, int], None]


class Builder(Protocol):
    """IBuilder."""

    create_network: Callable[[int], Network]
    create_builder_config: Callable[[], Config]
    build_serialized_network: Callable[[Network, Config], Any]


class Context(Protocol):
    """IExecutionContext."""

    set_tensor_address: Callable[[str, int], bool]
    execute_async_v3: Callable[[int], bool]


class CudaEngine(Protocol):
    """ICudaEngine."""

    num_io_tensors: int
    get_tensor_name: Callable[[int], str]
    get_tensor_shape: Callable[[str], Sequence[int]]
    get_tensor_dtype: Callable[[str], Any]
    create_execution_context: Callable[[], Context | None]


class Runtime(Protocol):
    """IRuntime."""

    deserialize_cuda_engine: Callable[[bytes], CudaEngine | None]


class TensorRT(Protocol):
    """The module."""

    __version__: str
    float32: Any
    ILogger: Any
    MemoryPoolType: Any
    NetworkDefinitionCreationFlag: Any
    Builder: Callable[[Any], Builder]
    OnnxParser: Callable[[Network, Any], Parser]
    Runtime: Callable[[Any], Runtime]
