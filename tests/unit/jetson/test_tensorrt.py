"""TensorRT's adapter where there is no TensorRT: what it says then, and all else on a stand-in that computes by ONNX Runtime."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from vortex_jetson.engines import machine, tensorrt, tensorrt_api
from vortex_jetson.engines.engine import OnnxEngine
from vortex_jetson.engines.tensorrt import TensorRTEngine, build_engine, gpu
from vortex_jetson.errors import EngineFailed, LibraryMissing, MemoryShort, RobotError

from tests.unit.jetson.models import HEIGHT, WIDTH, model, picture
from tests.unit.jetson.standin import cuda


def test_a_machine_without_a_gpu_is_told_so_before_the_library_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "DRIVER", "libcuda-of-nobody.so.1")
    with pytest.raises(LibraryMissing, match="this machine has none") as caught:
        gpu()
    assert caught.value.hint == "run it on the robot, or take another runtime here"


def test_stubs_are_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", type(sys)("tensorrt"))
    with pytest.raises(LibraryMissing, match="only its type stubs are") as caught:
        build_engine(b"", "v9.onnx")
    assert "JetPack" in caught.value.hint


@pytest.mark.usefixtures("standin")
def test_an_engine_answers_as_its_file_and_gives_its_memory_back() -> None:
    assert (gpu(), tensorrt.cuda_version()) == (("Orin (stand-in)", 87), "12.6")
    engine = TensorRTEngine(build_engine(model("good"), "v9.onnx", 1 << 20), "v9.onnx")
    assert (engine.size, engine.library) == ((HEIGHT, WIDTH), "tensorrt 10.3.0")
    assert engine.device_bytes() == 4 * (3 + 1 + 6) * HEIGHT * WIDTH
    for seed in range(2):
        for ours, theirs in zip(engine.run(picture(seed)), OnnxEngine(model("good"), "v9.onnx").run(picture(seed)), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(EngineFailed, match=r"allowed: uint8 \(12, 16, 3\)"):
        engine.run(np.zeros((HEIGHT, WIDTH, 3), np.float32))
    close = engine.close
    del engine
    assert not close.alive and not cuda._kept


@pytest.mark.usefixtures("standin")
def test_what_is_no_model_and_no_engine_is_refused_in_the_librarys_words() -> None:
    with pytest.raises(EngineFailed, match=r"v9\.onnx: TensorRT 10\.3\.0 does not parse it: it is no model"):
        build_engine(b"", "v9.onnx")
    with pytest.raises(LibraryMissing, match="does not take the engine that was built: Error Code 1: Serialization"):
        TensorRTEngine(b"no engine", "v9.onnx")


@pytest.mark.usefixtures("standin")
@pytest.mark.parametrize(("call", "status", "error"), [("cudaMalloc", 2, MemoryShort), ("cudaStreamCreate", 35, LibraryMissing)])
def test_a_gpu_that_does_not_start_is_no_fault_of_a_model(
    call: str, status: int, error: type[RobotError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda.Runtime, call, lambda *_: status)
    with pytest.raises(error, match=call):
        TensorRTEngine(build_engine(model("good"), "v9.onnx"), "v9.onnx")


def test_the_machine_is_named_by_what_its_engines_depend_on(tmp_path: Path) -> None:
    status, modes, tree = tmp_path / "status", tmp_path / "nvpmodel.conf", tmp_path / "compatible"
    assert (machine.power_mode(status, modes), machine.soc("NVIDIA H200", tree)) == ("none", "nvidia_h200")
    tree.write_bytes(b"nvidia,p3768-0000+p3767-0005-super\0nvidia,p3767-0005\0nvidia,tegra234\0")
    status.write_text("pmode:0002\n")
    assert (machine.power_mode(status, modes), machine.soc("Orin", tree)) == ("mode2", "tegra234")
    modes.write_text("< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=0 >\n")
    here = machine.Machine("tegra234", "sm87", "10.3.0", "12.6", machine.power_mode(status, modes))
    assert here.key == "tegra234-sm87-trt10.3.0-cuda12.6-maxn_super" and here.library == here.key.removesuffix("-maxn_super")


def test_the_names_that_the_adapter_uses_are_nvidias() -> None:
    rtx = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: uv sync --group tensorrt-rtx")
    module = tensorrt_api.TensorRT.__annotations__
    theirs = {"Network": "INetworkDefinition", "Layer": "ILayer", "Config": "IBuilderConfig", "Parser": "OnnxParser"}
    theirs |= {"Context": "IExecutionContext", "CudaEngine": "ICudaEngine"}
    missing = [name for name in module if not hasattr(rtx, name)]
    for name, protocol in vars(tensorrt_api).items():
        if isinstance(protocol, type) and protocol.__module__ == tensorrt_api.__name__ and name != "TensorRT":
            missing += [
                f"{name}.{member}" for member in protocol.__annotations__ if not hasattr(getattr(rtx, theirs.get(name, name)), member)
            ]
    assert module and missing == []
