"""A publisher, and a device that trusts it, for the tests of the robot."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from vortex_jetson import child
from vortex_jetson.limits import LIMITS
from vortex_jetson.update import agent
from vortex_jetson.update import device as devices
from vortex_jetson.update.device import Device, Settings

from tests.unit.jetson import forks
from tests.unit.jetson.publisher import CHANNEL, Publisher
from tests.unit.jetson.standin import cuda

HASTY = replace(LIMITS, back_off_s=0.01, back_off_longest_s=0.02, connect_s=2.0, read_s=0.5, health_s=20.0)
"""The bounds of a device that has no time."""


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path / "publish")


@pytest.fixture
def device(publisher: Publisher, tmp_path: Path) -> Device:
    """A device that pulls from the publisher's folder."""
    (tmp_path / "root.json").write_bytes(publisher.root)
    settings = Settings("robot-7", CHANNEL, str(publisher.folder))
    return replace(devices.init(tmp_path / "device", settings, tmp_path / "root.json"), limits=HASTY)


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in for TensorRT and CUDA, here and in children."""
    folder = Path(__file__).with_name("standin")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(ctypes, "CDLL", cuda.load)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")])))


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's children as forks."""
    monkeypatch.setattr(child, "run", forks.run)


@pytest.fixture
def jetson(device: Device, standin: None) -> Device:
    """A device that runs TensorRT."""
    limits = replace(device.limits, build_memory_bytes=1 << 30, build_workspace_bytes=1 << 20, build_s=30.0)
    return replace(device, settings=replace(device.settings, runtime="tensorrt"), limits=limits)


@pytest.fixture(scope="session")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a device that runs v8, whose depth is the picture's brightness. Who changes it works on a copy."""
    folder = tmp_path_factory.mktemp("pulled")
    publisher = Publisher(folder / "publish")
    publisher.publish(publisher.bundle("v8"))
    (folder / "root.json").write_bytes(publisher.root)
    settings = Settings("robot-7", CHANNEL, str(publisher.folder))
    agent.pull(devices.init(folder / "device", settings, folder / "root.json"))
    return folder / "device"
