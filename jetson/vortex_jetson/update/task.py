"""Which library runs models on a device, and whether a bundle does its task on it: on an engine that is built first, where the library needs one."""

from __future__ import annotations

from pathlib import Path

from vortex_jetson import child
from vortex_jetson.engines import builds, machine
from vortex_jetson.engines.engine import Engine, open_engine
from vortex_jetson.engines.machine import Machine
from vortex_jetson.errors import EngineFailed
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.update import health
from vortex_jetson.update.device import Device


def library(device: Device) -> tuple[str, Machine | None]:
    """Which library runs models here, and for TensorRT the machine that engines are built for. Raises LibraryMissing where it does not start."""
    here = machine.choose(device.settings.runtime, device.limits)
    return ("onnxruntime", None) if here is None else ("tensorrt", here)


def tried(device: Device, folder: Path, bundle: Bundle) -> health.Result:
    """How a bundle does its task that was filled into `folder` and verified; an engine on which it does is kept.

    Raises LibraryMissing, DiskFull, MemoryShort and Interrupted, which say nothing about the bundle.
    """
    runtime, here = library(device)
    try:
        engine = None if here is None else builds.built(device.engines, folder, bundle, here, device.limits)
    except EngineFailed as error:
        return health.Result(error.message)
    except child.Died as death:
        return health.Result(f"while its engine was built {death.reason}", crashed=True)
    result = health.check(folder, bundle, runtime, device.limits, engine)
    if engine is not None and engine.suffix == builds.CANDIDATE and not result.crashed:
        builds.keep(engine) if result.reason is None else builds.refuse(engine)
    return result


def is_ready(device: Device, bundle: Bundle) -> bool:
    """Whether a bundle that did its task can be loaded: not after TensorRT was changed under its engine. Raises LibraryMissing."""
    _, here = library(device)
    return here is None or builds.proven(device.engines, bundle, here) is not None


def load(device: Device, folder: Path, bundle: Bundle) -> Engine:
    """The model of a bundle that was filled into `folder` and verified, on the library of this device. Raises RobotError."""
    runtime, here = library(device)
    engine = None if here is None else builds.proven(device.engines, bundle, here)
    return open_engine(runtime, folder / "bundle", bundle, None if engine is None else builds.read(engine, bundle, device.limits))
