"""One scale factor for a camera and a student, from a wall and a tape measure: what a robot without ground truth has.

The tape measures the shortest way from the camera to the wall, whatever the camera's angle to it. In a pinhole's picture the inverse depth of a
plane is linear in the pixel, 1/z = a·x + b·y + c with x, y one metre down the ray, and that way is 1/√(a² + b² + c²). So the plane that
fits the student's depth in the middle of the picture gives the student's own distance to the wall, and the tape's over it is the scale.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.errors import BadDocument, RobotError
from vortex_jetson.perception.pinhole import Pinhole

FORMAT: Final = 1
FILE: Final = "calibration.json"
MOST: Final = 100
"""Calibrations kept; the oldest go."""


@dataclass(frozen=True)
class Bounds:
    """What a calibration must keep to. Measured on a tape a centimetre is nothing, and a scale is worth little that is not known to 2 %."""

    least_frames: int = 5
    nearest_m: float = 0.3
    farthest_m: float = 8.0
    patch: float = 1 / 3
    """Of the picture's height and width, about its centre."""
    least_valid: float = 0.9
    """Of the patch's pixels, those with depth."""
    roughness: float = 0.03
    """Of the depth in the patch about its plane, RMS: more is no wall."""
    spread: float = 0.02
    """Of the distance from frame to frame, standard deviation over mean."""
    slant_deg: float = 40.0
    """Between the wall and the picture."""
    scales: tuple[float, float] = (0.2, 5.0)


USUAL: Final = Bounds()


@dataclass(frozen=True)
class Calibration:
    """A scale and how good it is."""

    version: str
    scale: float
    distance_m: float
    """What the tape said."""
    frames: int
    residual_m: float
    """RMS over the frames of scale · the student's distance minus the tape's."""
    roughness_m: float
    """RMS of the scaled depth about the wall's plane, the worst frame's."""
    slant_deg: float
    at: str


class NoScale(RobotError):
    """The frames do not say one scale; nothing was changed."""

    exit_code = 3


def measure(
    version: str, depths: Sequence[NDArray[np.float32]], distance_m: float, camera: Pinhole, at: str, bounds: Bounds = USUAL
) -> Calibration:
    """The scale that brings the student's depths [H,W] of one wall to `distance_m`. Raises NoScale, which says what to do."""
    if not bounds.nearest_m <= distance_m <= bounds.farthest_m:
        raise NoScale(
            f"a distance of {distance_m:g} m, allowed: {bounds.nearest_m:g} to {bounds.farthest_m:g} m", "stand the robot nearer to a wall"
        )
    if len(depths) < bounds.least_frames:
        raise NoScale(
            f"{len(depths)} frames, {bounds.least_frames} are needed", "record some more of the same wall, the robot standing still"
        )
    if all(np.array_equal(depth, depths[0]) for depth in depths[1:]):
        raise NoScale(f"all {len(depths)} frames are one and the same picture", "see whether the camera hangs, and record the wall anew")
    walls = [_wall(depth, camera, number, bounds) for number, depth in enumerate(depths, 1)]
    distances = [wall.distance for wall in walls]
    mean = statistics.fmean(distances)
    spread = statistics.pstdev(distances) / mean
    if spread > bounds.spread:
        raise NoScale(
            f"the student's distance changes by {100 * spread:.1f} % from frame to frame, allowed: {100 * bounds.spread:g} %",
            "let the robot and everything before it stand still, in steady light",
        )
    slant = statistics.fmean(wall.slant_deg for wall in walls)
    if slant > bounds.slant_deg:
        raise NoScale(f"the wall stands {slant:.0f}° to the picture, allowed: {bounds.slant_deg:g}°", "turn the robot to the wall")
    scale = distance_m / statistics.median(distances)
    low, high = bounds.scales
    if not low <= scale <= high:
        raise NoScale(
            f"the student sees the wall at {mean:.2f} m, the tape says {distance_m:g} m: a scale of {scale:.3g}, allowed: {low:g} to {high:g}",
            "check the tape's number (metres) and the camera's matrix; if both are right, the student is of no use here",
        )
    residual = math.sqrt(statistics.fmean((scale * distance - distance_m) ** 2 for distance in distances))
    return Calibration(version, scale, distance_m, len(depths), residual, scale * max(wall.roughness_m for wall in walls), slant, at)


@dataclass(frozen=True)
class _Wall:
    distance: float
    roughness_m: float
    slant_deg: float


def _wall(depth: NDArray[np.float32], camera: Pinhole, number: int, bounds: Bounds) -> _Wall:
    """The plane in the middle of one frame. Raises NoScale, ValueError when the sizes differ."""
    if depth.shape != camera.size:
        raise ValueError(f"frame {number} is {depth.shape}, the camera's picture {camera.size}")
    rows, columns = (slice(int(side * (1 - bounds.patch) / 2), math.ceil(side * (1 + bounds.patch) / 2)) for side in depth.shape)
    patch, rays = depth[rows, columns].astype(np.float64), camera.rays()[rows, columns].astype(np.float64)
    valid = np.isfinite(patch) & (patch > 0)
    if (share := float(valid.mean())) < bounds.least_valid:
        raise NoScale(
            f"frame {number}: {100 * share:.0f} % of the middle has depth, {100 * bounds.least_valid:g} % are needed",
            "let a plain wall fill the middle third of the picture",
        )
    metres, inverse = patch[valid], 1 / patch[valid]
    plane = np.linalg.lstsq(rays[valid], inverse, rcond=None)[0]
    fitted = rays[valid] @ plane
    if not (fitted > 0).all():
        raise NoScale(f"frame {number}: no wall faces the camera", "let a plain wall fill the middle third of the picture")
    roughness = float(np.sqrt(np.mean((metres - 1 / fitted) ** 2)))
    if roughness > bounds.roughness * float(metres.mean()):
        raise NoScale(
            f"frame {number}: depth lies {100 * roughness / metres.mean():.1f} % about a plane, allowed: {100 * bounds.roughness:g} %",
            "let a plain wall fill the middle third of the picture, with nothing before it",
        )
    length = float(np.linalg.norm(plane))
    return _Wall(1 / length, roughness, math.degrees(math.acos(min(1.0, float(plane[2]) / length))))


def read(content: bytes) -> list[Calibration]:
    """The calibrations of a file, oldest first. Raises BadDocument."""
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']}")
        calibrations = [Calibration(**entry) for entry in document["calibrations"]]
        if not all(isinstance(entry.version, str) and math.isfinite(entry.scale) and entry.scale > 0 for entry in calibrations):
            raise ValueError("a scale is a number above 0")
    except (ValueError, KeyError, TypeError) as error:
        raise BadDocument(f"{FILE}: is no file of calibrations ({error})", f"remove {FILE}, and calibrate again") from error
    return calibrations


def dump(calibrations: Sequence[Calibration]) -> bytes:
    """The file of calibrations."""
    document = {"format": FORMAT, "calibrations": [asdict(entry) for entry in calibrations[-MOST:]]}
    return json.dumps(document, indent=1).encode() + b"\n"


def scale_of(calibrations: Sequence[Calibration], version: str) -> float:
    """The newest scale of a version; 1 for one that was never calibrated: a scale belongs to one student and one camera."""
    return next((entry.scale for entry in reversed(calibrations) if entry.version == version), 1.0)


def undone(calibrations: Sequence[Calibration], version: str) -> list[Calibration]:
    """Without the newest of a version, so that the one before it counts again. Raises RobotError where there is none."""
    places = [place for place, entry in enumerate(calibrations) if entry.version == version]
    if not places:
        raise RobotError(
            f"{version} was not calibrated on this device: there is nothing to undo", "vortex-jetson calibrate --distance METRES"
        )
    return [entry for place, entry in enumerate(calibrations) if place != places[-1]]
