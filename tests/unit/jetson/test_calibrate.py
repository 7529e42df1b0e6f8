from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from vortex_jetson.errors import RobotError
from vortex_jetson.perception.calibrate import Calibration, NoScale, dump, measure, read, scale_of, undone
from vortex_jetson.perception.pinhole import Pinhole

CAMERA = Pinhole(60.0, 60.0, 31.5, 23.5, (48, 64))
AT = "2026-11-28T12:00:00Z"


def wall(distance: float, turned_deg: float = 0.0, frames: int = 8, noise: float = 0.005, seed: int = 0) -> list[NDArray[np.float32]]:
    """Depth of a wall whose shortest way from the camera is `distance`, turned about the vertical."""
    random = np.random.default_rng(seed)
    normal = np.array([math.sin(math.radians(turned_deg)), 0.0, math.cos(math.radians(turned_deg))])
    exact = distance / (CAMERA.rays().astype(np.float64) @ normal)
    return [(exact * (1 + noise * random.standard_normal(exact.shape))).astype(np.float32) for _ in range(frames)]


@pytest.mark.parametrize("turned_deg", [0.0, 15.0, -30.0])
@pytest.mark.parametrize("scale", [0.7, 1.0, 1.35])
def test_the_scale_is_found_whichever_way_the_wall_faces(scale: float, turned_deg: float) -> None:
    calibration = measure("v9", wall(2.0 / scale, turned_deg), 2.0, CAMERA, AT)
    assert calibration.scale == pytest.approx(scale, rel=1e-3)
    assert calibration.slant_deg == pytest.approx(abs(turned_deg), abs=0.3)
    assert 0 < calibration.residual_m < 0.005 and calibration.roughness_m == pytest.approx(0.01, rel=0.4)
    assert (calibration.frames, calibration.distance_m, calibration.at) == (8, 2.0, AT)


def holes(depths: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    depths[3][16:32, 21:28] = 0
    return depths


def chair(depths: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    for depth in depths:
        depth[24:, 20:40] = 1.2
    return depths


@pytest.mark.parametrize(
    ("depths", "distance", "words"),
    [
        (wall(2.0, frames=4), 2.0, "4 frames, 5 are needed"),
        ([], 2.0, "0 frames"),
        (wall(2.0), 0.1, "a distance of 0.1 m, allowed: 0.3 to 8 m"),
        (wall(2.0), float("nan"), "a distance of nan m"),
        (wall(2.0), 200.0, "a distance of 200 m"),
        (wall(2.0, noise=0.0), 2.0, "all 8 frames are one and the same picture"),
        (holes(wall(2.0)), 2.0, "frame 4: 6.* % of the middle has depth, 90 % are needed"),
        (chair(wall(2.0)), 2.0, r"frame 1: depth lies \d+\.\d % about a plane, allowed: 3 %"),
        ([depth * np.float32(1 + 0.05 * place) for place, depth in enumerate(wall(2.0))], 2.0, "changes by .* % from frame to frame"),
        (wall(2.0, turned_deg=50), 2.0, "the wall stands 50° to the picture, allowed: 40°"),
        (wall(0.02), 2.0, "sees the wall at 0.02 m, the tape says 2 m: a scale of 100"),
        ([np.full((48, 64), np.nan, np.float32)] * 4 + wall(2.0), 2.0, "frame 1: 0 % of the middle has depth"),
    ],
)
def test_frames_that_say_no_scale_are_refused_with_what_to_do(depths: list[NDArray[np.float32]], distance: float, words: str) -> None:
    with pytest.raises(NoScale, match=words) as refusal:
        measure("v9", depths, distance, CAMERA, AT)
    assert refusal.value.hint


def test_frames_of_another_size_are_named() -> None:
    with pytest.raises(ValueError, match=r"frame 2 is \(24, 32\), the camera's picture \(48, 64\)"):
        measure("v9", [wall(2.0)[0], *[np.ones((24, 32), np.float32)] * 5], 2.0, CAMERA, AT)


def test_a_scale_belongs_to_its_version_and_can_be_undone() -> None:
    first = Calibration("v9", 1.1, 2.0, 8, 0.01, 0.02, 3.0, AT)
    second, other = replace(first, scale=1.2), replace(first, version="v10", scale=0.9)
    calibrations = read(dump([first, other, second]))
    assert calibrations == [first, other, second]
    assert (scale_of(calibrations, "v9"), scale_of(calibrations, "v10"), scale_of(calibrations, "v8")) == (1.2, 0.9, 1.0)
    once = undone(calibrations, "v9")
    assert (scale_of(once, "v9"), scale_of(once, "v10")) == (1.1, 0.9)
    assert scale_of(undone(once, "v9"), "v9") == 1.0
    with pytest.raises(RobotError, match="v8 was not calibrated on this device"):
        undone(once, "v8")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"format": 2, "calibrations": []}', b'{"format": 1, "calibrations": [{"scale": 1}]}', b"\xff"]
)
def test_a_broken_file_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(RobotError, match=r"calibration\.json: is no file of calibrations"):
        read(content)
    entry = {"version": "v9", "distance_m": 2, "frames": 8, "residual_m": 0, "roughness_m": 0, "slant_deg": 0, "at": AT}
    for scale in ("1", 0, -1, float("nan"), None):
        with pytest.raises(RobotError):
            read(json.dumps({"format": 1, "calibrations": [entry | {"scale": scale}]}).encode())
