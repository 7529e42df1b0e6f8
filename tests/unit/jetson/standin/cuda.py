"""CUDA's driver and runtime of a machine that has neither: memory is the process's own, and an Orin answers."""

from __future__ import annotations

import ctypes
from typing import Any

REAL = ctypes.CDLL
_kept: dict[int, Any] = {}


class Driver:
    def cuInit(self, flags: Any) -> int:
        return 0

    def cuDeviceGet(self, device: Any, number: Any) -> int:
        device._obj.value = number.value
        return 0

    def cuDeviceGetName(self, name: Any, size: Any, device: Any) -> int:
        name.value = b"Orin (stand-in)"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: Any, device: Any) -> int:
        value._obj.value = {75: 8, 76: 7}[attribute.value]
        return 0


class Runtime:
    def cudaRuntimeGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    def cudaMemGetInfo(self, free: Any, total: Any) -> int:
        free._obj.value, total._obj.value = (1 << 30) - sum(map(len, _kept.values())), 1 << 30
        return 0

    def cudaStreamCreate(self, stream: Any) -> int:
        stream._obj.value = 7
        return 0

    def cudaStreamSynchronize(self, stream: Any) -> int:
        return 0 if stream.value == 7 else 400

    def cudaStreamDestroy(self, stream: Any) -> int:
        return 0

    def cudaMalloc(self, pointer: Any, size: Any) -> int:
        memory = ctypes.create_string_buffer(size.value)
        _kept[ctypes.addressof(memory)] = memory
        pointer._obj.value = ctypes.addressof(memory)
        return 0

    def cudaFree(self, pointer: Any) -> int:
        del _kept[pointer.value]
        return 0

    def cudaMemcpyAsync(self, target: Any, source: Any, size: Any, kind: Any, stream: Any) -> int:
        device = (target if kind.value == 1 else source).value
        if len(_kept[device]) != size.value:
            return 1
        ctypes.memmove(target.value, source.value, size.value)
        return 0


def load(name: Any, *arguments: Any, **options: Any) -> Any:
    """In place of ctypes.CDLL."""
    if isinstance(name, str) and name.startswith("libcuda."):
        return Driver()
    if isinstance(name, str) and name.startswith("libcudart."):
        return Runtime()
    return REAL(name, *arguments, **options)
