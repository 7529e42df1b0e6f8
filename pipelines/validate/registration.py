"""How the depth of a dataset lies on its colour pictures, measured on a few frames of each camera and kept until the set changes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from core.files import write_atomic
from pipelines.validate.cached import statistics_path
from pipelines.validate.validation_report import seal
from validation.decode import read_depth, read_rgb
from validation.manifest import file, read_manifest
from validation.registration import FRAMES, VERSION, Registration, measure
from validation.rows import Frame

if TYPE_CHECKING:
    from pipelines.data.datasets import DataRef
    from pipelines.workspace import Workspace

CAMERAS: Final = 8
"""Cameras that are looked at: where every frame names its own, the set must not be read whole."""


def registration_of(ws: Workspace, ref: DataRef) -> dict[str, Registration]:
    """The registration of each camera that has depth; frames that cannot be read are left to the checks that name them."""
    path = statistics_path(ws, ref).with_suffix(".registration.json")
    measurement = f"{VERSION} {ref.digest}"
    if (kept := _kept(path, measurement)) is not None:
        return kept
    cameras = by_camera(ref.root, read_manifest(ref.manifest))
    payload = json.loads(json.dumps({"of": measurement, "cameras": {camera: asdict(each) for camera, each in cameras.items()}}))
    with suppress(VortexError):  # a read-only workspace, a full disk: the next run measures again
        write_atomic(path, json.dumps({**payload, "seal": seal(payload)}, indent=1) + "\n")
    return cameras


def by_camera(root: Path, frames: Iterable[Frame]) -> dict[str, Registration]:
    """The registration of each camera, measured on frames that are spread over its own."""
    members: defaultdict[str, _Spread] = defaultdict(_Spread)
    for frame in frames:
        with_depth = (frame.depth and frame.depth_unit) or (frame.tof and frame.tof_unit)
        if with_depth and (frame.camera in members or len(members) < CAMERAS):
            members[frame.camera].add(frame)
    return {camera: measure(_read(root, spread.frames())) for camera, spread in members.items()}


def _kept(path: Path, measurement: str) -> dict[str, Registration] | None:
    try:
        payload = json.loads(path.read_text(encoding="utf-8"))
        if payload.pop("seal") != seal(payload) or payload["of"] != measurement:
            return None
        return {camera: Registration(**{**values, "examples": tuple(values["examples"])}) for camera, values in payload["cameras"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # none, or not what this wrote: then it is measured


class _Spread:
    """Frames evenly over a stream of any length, in bounded memory: each n-th is taken, and n is doubled when there are too many."""

    def __init__(self) -> None:
        self.taken: list[Frame] = []
        self.count, self.step = 0, 1

    def add(self, frame: Frame) -> None:
        if self.count % self.step == 0:
            self.taken.append(frame)
        self.count += 1
        if len(self.taken) > 8 * FRAMES:
            del self.taken[1::2]
            self.step *= 2

    def frames(self) -> list[Frame]:
        """At most `FRAMES` of them, the first among them."""
        places = np.linspace(0, len(self.taken) - 1, min(FRAMES, len(self.taken))).round().astype(int)
        return [self.taken[place] for place in places]


def _read(root: Path, frames: list[Frame]) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.float32]]]:
    """(id, colour, depth) of the frames that can be read: the reference, or the robot's own sensor where there is none."""
    for frame in frames:
        relative, unit = (frame.depth, frame.depth_unit) if frame.depth else (frame.tof, frame.tof_unit)
        if relative is None or unit is None:
            continue
        try:
            rgb, depth = read_rgb(file(root, frame.rgb)), read_depth(file(root, relative), unit)
        except (VortexError, OSError, ValueError):
            continue  # `files-readable` names it
        yield frame.id, rgb, np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0))
