"""How fast the version that runs is on this device, how much memory it takes, and how it does its task on the very engine that was timed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vortex_jetson import release
from vortex_jetson.engines import builds, machine
from vortex_jetson.engines.engine import model_for
from vortex_jetson.engines.tensorrt import TensorRTEngine
from vortex_jetson.engines.timing import Memory, percentiles, timed
from vortex_jetson.errors import HealthFailed, UsageError
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.update import agent, candidate, delivery, health, task
from vortex_jetson.update.device import Device
from vortex_jetson.update.health import Measured


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one frame: median, and the slowest of ten and of a hundred."""

    p50: float
    p90: float
    p99: float


@dataclass(frozen=True)
class Bench:
    """What was measured. `compute` is from a picture in memory to depth and logits in memory; `end_to_end` is that with reading and checking the
    frame's file before. `memory_bytes` is what loading and running the engine added at most, on a GPU what it took there with it; None where the
    system does not tell. `measured` is of the bundle's health frames."""

    version: str
    checkpoint_sha256: str
    export_sha256: str
    precision: str
    library: str
    engine: str | None
    """Name of the engine that was built of the file; None where the library needs none."""
    computer: str
    power_mode: str | None
    size: tuple[int, int]
    frames: int
    compute: Latency
    frames_per_second: float
    end_to_end: Latency
    memory_bytes: int | None
    measured: Measured

    def report(self, device: str) -> dict[str, Any]:
        """The evidence, as the workspace reads it (`kind` device-bench)."""
        task = {
            "rmse": self.measured.rmse_m,
            "worst frame rmse": self.measured.worst_rmse_m,
            "right classes": self.measured.class_agreement,
        }
        return {
            "format": 1,
            "kind": "device-bench",
            "checkpoint_sha256": self.checkpoint_sha256,
            "export_sha256": self.export_sha256,
            "made_at": datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "made_by": f"vortex-jetson {release.version()}",
            "remarks": f"engine {self.engine}" if self.engine else None,
            "device": f"{device} ({self.computer})",
            "runtime": self.library,
            "precision": self.precision,
            "input_size": list(self.size),
            "power_mode": self.power_mode,
            "frames": self.frames,
            "latency_ms": asdict(self.compute),
            "throughput_fps": self.frames_per_second,
            "end_to_end_ms": asdict(self.end_to_end),
            "memory_bytes": self.memory_bytes,
            "task": {"health frames": {name: value for name, value in task.items() if value is not None}},
        }


def bench(device: Device, frames: int, shadow: bool = False) -> Bench:
    """Time what runs on this device, or its `shadow`, over so many frames, one at a time, after a warm-up: the bundle's health frames take turns.

    Raises UsageError where there is none, HealthFailed where the engine does not do the bundle's task, for then its speed is that of nothing,
    and RobotError where it cannot be loaded.
    """
    slot, bundle = _shadow(device) if shadow else _running(device)
    folder = slot / "bundle"
    runtime, here = task.library(device)
    built = None if here is None else builds.proven(device.engines, bundle, here)
    pictures = [health.load(folder, frame, device.limits) for frame in bundle.health.frames]
    taken = Memory()
    engine = task.load(device, slot, bundle)
    measured = health.measure(engine, pictures)
    reason = health.verdict(measured, bundle.health.bounds)
    if reason is not None:
        raise HealthFailed(f"{bundle.version} does not do its task on {engine.library}: {reason}", "it was not timed: vortex-jetson health")
    compute = timed(frames, lambda place: engine.run(pictures[place % len(pictures)].rgb))
    memory = taken.added()
    files = bundle.health.frames
    whole = timed(frames, lambda place: engine.run(health.load(folder, files[place % len(files)], device.limits).rgb))
    if memory is not None and isinstance(engine, TensorRTEngine):
        memory += engine.device_bytes()
    model = model_for(runtime, bundle)
    mode = machine.power_mode()
    return Bench(
        bundle.version,
        bundle.checkpoint_sha256,
        bundle.files[model.file].sha256,
        model.precision,
        engine.library,
        None if built is None else builds.name(built),
        machine.computer(),
        None if mode == machine.NO_MODE else mode,
        bundle.size,
        frames,
        Latency(**percentiles(compute)),
        float(1000 * len(compute) / compute.sum()),
        Latency(**percentiles(whole)),
        memory,
        measured,
    )


def _running(device: Device) -> tuple[Path, Bundle]:
    slots = device.slots()
    bundle = agent.running(device, slots)
    assert slots.running is not None  # else nothing runs, which was said
    return device.slot_folder(slots.running), bundle


def _shadow(device: Device) -> tuple[Path, Bundle]:
    folder = candidate.proven(device)
    if folder is None:
        raise UsageError(
            "no candidate lies on this device", "write shadow = true into device.toml, and pull while the channel has one in staging"
        )
    return folder, delivery.verified(folder, folder.name, device.limits)
