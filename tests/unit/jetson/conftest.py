"""A publisher, and a device that trusts it, for the tests of the robot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from vortex_jetson.limits import LIMITS
from vortex_jetson.update import agent
from vortex_jetson.update import device as devices
from vortex_jetson.update.device import Device, Settings

from tests.unit.jetson.publisher import CHANNEL, Publisher

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
