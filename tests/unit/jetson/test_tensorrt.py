"""What of TensorRT's adapter can be run without TensorRT: how it says that there is none."""

from __future__ import annotations

import pytest
from vortex_jetson.engines import tensorrt
from vortex_jetson.engines.tensorrt import TensorRTMissing, build_engine, require_device


def test_a_machine_without_a_gpu_is_told_so_before_the_library_is_loaded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tensorrt, "DEVICES", ("/dev/none-of-these",))
    with pytest.raises(TensorRTMissing, match="this machine has none") as caught:
        require_device()
    assert caught.value.hint == "run it on the robot, or take another runtime here"


def test_stubs_are_no_library():
    with pytest.raises(TensorRTMissing, match="TensorRT is not installed here") as caught:
        build_engine(b"")
    assert "JetPack" in caught.value.hint
