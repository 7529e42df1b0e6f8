"""The version that runs on a device, as frames meet it: loaded, calibrated, swapped when the device swaps, and with the candidate beside it."""

from __future__ import annotations

from typing import Final

from vortex_jetson import release
from vortex_jetson.engines import builds
from vortex_jetson.engines.engine import Engine, model_for
from vortex_jetson.errors import RobotError
from vortex_jetson.files import read_plain, reading, write_whole
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.live.comparison import Comparison
from vortex_jetson.live.runtime import Current, Follower
from vortex_jetson.live.shadow import Candidate
from vortex_jetson.perception import calibrate
from vortex_jetson.perception.fusion import Thresholds
from vortex_jetson.perception.perception import Perception
from vortex_jetson.update import agent, candidate, delivery, outbox, task
from vortex_jetson.update.device import Device

LARGEST_CALIBRATIONS: Final = 100_000


def running(here: Device) -> Bundle:
    """The manifest of the version that runs. Raises RobotError where none does."""
    return agent.running(here, here.slots())


def opened(here: Device) -> tuple[Bundle, Engine]:
    """The bundle that runs and its engine, both of one slot, whatever a pull does meanwhile."""
    slots = here.slots()
    bundle = agent.running(here, slots)
    assert slots.running is not None  # else nothing runs, which was said
    return bundle, task.load(here, here.slot_folder(slots.running), bundle)


def perception(here: Device) -> Perception:
    """The version that runs on a device, verified, loaded and calibrated. Raises RobotError."""
    bundle, engine = opened(here)
    fusion = bundle.fusion
    thresholds = Thresholds(fusion.confident, fusion.nearest_m, fusion.farthest_m)
    scale = calibrate.scale_of(calibrations(here), bundle.version)
    return Perception(bundle.version, engine, bundle.size, bundle.classes, bundle.classes_trained, thresholds, scale)


def calibrations(here: Device) -> list[calibrate.Calibration]:
    """Those of a device, oldest first. Raises RobotError."""
    path = here.folder / calibrate.FILE
    try:
        with reading(path, "remove it, and calibrate again"):
            return calibrate.read(read_plain(path, LARGEST_CALIBRATIONS))
    except FileNotFoundError:
        return []


def keep_calibrations(here: Device, of_device: list[calibrate.Calibration]) -> None:
    """Write them in place of those of before. The caller holds the device's lock. Raises DiskFull."""
    write_whole(here.folder / calibrate.FILE, calibrate.dump(of_device))


def follower(here: Device, current: Current) -> Follower:
    """Swaps the version of `current` for another bundle that runs on the device, or another calibration of it."""
    return Follower(current, lambda: key(here), lambda: perception(here), lambda words: here.journal("run", words=words))


def key(here: Device) -> str:
    """What runs and how it is calibrated, cheaply: another key, another `perception`."""
    path = here.folder / calibrate.FILE
    return f"{here.slots().current.bundle} {path.stat().st_mtime_ns if path.exists() else 0}"


class DeviceShadows:
    """The surroundings of the shadows of a run: its device, and the candidate there."""

    def __init__(self, here: Device, source: str) -> None:
        """`source` is the kind of it, as a report names it."""
        self._here, self._source = here, source

    def key(self) -> str:
        """See `Surroundings`."""
        folder = candidate.proven(self._here)
        return f"{key(self._here)} {folder.name if folder else None}"

    def candidate(self) -> tuple[Candidate, str] | None:
        """See `Surroundings`."""
        here, slots, folder = self._here, self._here.slots(), candidate.proven(self._here)
        if folder is None or slots.running is None or slots.current.bundle in (None, folder.name):
            return None
        bundle = delivery.read_manifest(folder, folder.name)
        running = delivery.read_manifest(here.slot_folder(slots.running), str(slots.current.bundle))
        difference = candidate.unlike(bundle, running)
        if difference is not None:
            raise RobotError(difference, "a shadow is of the size and the classes of the version at work")
        runtime, machine = task.library(here)
        model = model_for(runtime, bundle)
        engine = builds.proven(here.engines, bundle, machine) if machine else None
        scale = calibrate.scale_of(calibrations(here), bundle.version)
        checkpoint, export = bundle.checkpoint_sha256, bundle.files[model.file].sha256
        shadow = Candidate(bundle.version, folder.absolute(), folder.name, runtime, scale, checkpoint, export, engine)
        return shadow, running.version

    def deliver(self, shadow: Candidate, comparison: Comparison) -> None:
        """See `Surroundings`. The agent sends it with its own reports."""
        evidence = comparison.report(
            device=self._here.settings.device,
            checkpoint_sha256=shadow.checkpoint_sha256,
            export_sha256=shadow.export_sha256,
            made_by=f"vortex-jetson {release.version()}",
            source=self._source,
        )
        with self._here.locked():
            outbox.add_evidence(self._here, evidence)

    def tell(self, words: str) -> None:
        """See `Surroundings`."""
        self._here.journal("run", words=words)
