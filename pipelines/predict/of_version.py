"""A registered version as a predictor: through its recorded export where that is whole and answers alike, else through its network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from core.errors import UsageError, VortexError
from core.machine import cores
from models import checkpoint
from pipelines.device import choose_device
from pipelines.hub.exports import answers_alike, newest
from pipelines.predict.runtimes import Predictor, of_file, of_student
from pipelines.protocol import Runtime
from registry.records import Version
from registry.versions import Hub

WISHES: Final = ("auto", "torch", "onnx")


@dataclass(frozen=True)
class VersionPredictor:
    """How a version answers; `remark` says why its export does not, where that was looked for."""

    predict: Predictor
    runtime: Runtime
    device: str
    remark: str = ""


def predictor_of(registry: Hub, version: Version, wish: str = "auto", device: str = "auto") -> VersionPredictor:
    """The predictor of a version; every file of it is hashed again before it is run.

    `auto` takes the export where there is one that answers as the network does, unless the device is a GPU; `onnx` insists on it, and torch
    is then never imported. Raises VortexError where what is asked for is not recorded, gone or changed, UsageError for another wish.
    """
    if wish not in WISHES:
        raise UsageError(f"unknown runtime {wish!r}, allowed: {', '.join(WISHES)}", "leave --runtime out")
    if wish == "torch" or (wish == "auto" and device == "cuda"):
        return _of_network(registry, version, device)
    try:
        return _of_export(registry, version)
    except VortexError as error:
        if wish == "onnx":
            raise
        return _of_network(registry, version, device, error.message)


def _of_network(registry: Hub, version: Version, device: str, remark: str = "") -> VersionPredictor:
    place = choose_device(device)
    student, _ = checkpoint.load(registry.artifacts.path(version.checkpoint))
    return VersionPredictor(of_student(student.to(place), place), "torch", place, remark)


def _of_export(registry: Hub, version: Version) -> VersionPredictor:
    exported = newest(version)
    if exported is None:
        raise VortexError(f"{version.name} has no ONNX export at its own size", f"vortex export {version.name}")
    if not answers_alike(exported):
        raise VortexError(
            f"the ONNX export of {version.name} is not known to answer as its network: {exported.parity_m} m apart on {exported.parity_on or 'nothing'}",
            f"vortex export {version.name}, and look at what it says",
        )
    return VersionPredictor(of_file(registry.artifacts.path(exported.artifact), cores()), "onnx", "cpu")
