"""The one pinhole: what it becomes on a resized and on a cropped picture."""

from __future__ import annotations

import numpy as np
import pytest

from core.pinhole import Pinhole
from pipelines.ingest.register import Lens

KINECT = Pinhole(585.0, 590.0, 320.0, 230.0, (480, 640))


def pixel(camera: Pinhole, point: tuple[float, float, float]) -> tuple[float, float]:
    """(row, column) at which the camera sees a point; whole numbers are the centres of pixels."""
    return camera.fy * point[1] / point[2] + camera.cy, camera.fx * point[0] / point[2] + camera.cx


@pytest.mark.parametrize("size", [(240, 320), (960, 1280), (96, 256)])
def test_a_resized_picture_shows_a_point_at_the_same_share_of_its_sides(size: tuple[int, int]) -> None:
    point = (0.3, -0.2, 2.0)
    row, column = pixel(KINECT, point)
    smaller = KINECT.scaled(size)
    assert smaller.size == size
    assert np.allclose(pixel(smaller, point), ((row + 0.5) * size[0] / 480 - 0.5, (column + 0.5) * size[1] / 640 - 0.5))
    assert np.allclose(numbers(smaller.scaled((480, 640))), numbers(KINECT))


def numbers(camera: Pinhole) -> list[float]:
    return [camera.fx, camera.fy, camera.cx, camera.cy]


def test_a_crop_shows_a_point_where_it_was_less_the_crops_corner() -> None:
    point = (0.3, -0.2, 2.0)
    row, column = pixel(KINECT, point)
    crop = KINECT.cropped(40, 60, (301, 400), step=3)
    assert crop.size == (101, 134)
    assert np.allclose(pixel(crop, point), ((row - 40) / 3, (column - 60) / 3))


def test_a_lens_keeps_its_distortion_when_its_picture_is_resized() -> None:
    lens = Lens(100.0, 100.0, 31.5, 23.5, (48, 64), (-0.1, 0.02, 0.0, 0.0, 0.0))
    assert lens.scaled((96, 128)) == Lens(200.0, 200.0, 63.5, 47.5, (96, 128), lens.distortion)
