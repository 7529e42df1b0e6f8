from __future__ import annotations

import struct

import numpy as np
import pytest
from vortex_jetson.perception.pinhole import Pinhole
from vortex_jetson.ros import messages as ros_messages


@pytest.mark.parametrize(
    ("encoding", "pixel"), [("rgb8", [1, 2, 3]), ("bgr8", [3, 2, 1]), ("rgba8", [1, 2, 3, 9]), ("bgra8", [3, 2, 1, 9])]
)
def test_colour_is_red_green_blue_whatever_the_camera_sends(encoding: str, pixel: list[int]) -> None:
    row = pixel * 2 + [0, 0, 0]  # rows may be padded
    rgb = ros_messages.colour(encoding, (2, 2), len(row), bytes(row * 2))
    assert rgb.tolist() == [[[1, 2, 3]] * 2] * 2


def test_grey_is_all_three() -> None:
    assert ros_messages.colour("mono8", (1, 2), 2, bytes([5, 6])).tolist() == [[[5, 5, 5], [6, 6, 6]]]


def test_depth_is_metres_and_says_0_where_it_says_nothing() -> None:
    words = struct.pack("<4H", 2500, 0, 1, 65535)
    assert ros_messages.depth("16UC1", (2, 2), 4, words, False).tolist() == [[2.5, 0.0], [np.float32(0.001), np.float32(65.535)]]
    assert ros_messages.depth("16UC1", (1, 1), 2, struct.pack(">H", 2500), True).tolist() == [[2.5]]
    floats = struct.pack("<5f", 1.25, float("nan"), float("inf"), float("-inf"), -1.0)
    assert ros_messages.depth("32FC1", (1, 5), 20, floats, False).tolist() == [[1.25, 0, 0, 0, 0]]


def test_confidence_is_a_share() -> None:
    assert ros_messages.confidence("mono8", (1, 3), 3, bytes([0, 51, 255]), False).tolist() == [[0.0, np.float32(0.2), 1.0]]
    assert ros_messages.confidence("16UC1", (1, 1), 2, b"\xff\xff", False).tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("size", "step", "data"), [((2, 2), 6, b"x" * 11), ((2, 2), 5, b"x" * 10), ((0, 2), 6, b""), ((2, 2), 6, b"x" * 13)]
)
def test_data_that_is_no_picture_is_refused(size: tuple[int, int], step: int, data: bytes) -> None:
    with pytest.raises(ValueError, match=f"{size[0]}x{size[1]} pixels of 3 bytes do not fit {len(data)} bytes in rows of {step}"):
        ros_messages.colour("rgb8", size, step, data)
    with pytest.raises(ValueError, match="colour is 'yuv422', allowed: rgb8"):
        ros_messages.colour("yuv422", (1, 1), 2, b"xx")
    with pytest.raises(ValueError, match="depth is 'rgb8', allowed: 16UC1"):
        ros_messages.depth("rgb8", (1, 1), 3, b"xxx", False)


def test_points_stand_in_the_pictures_order_and_unknown_ones_are_nan() -> None:
    camera = Pinhole(2.0, 4.0, 1.0, 0.0, (2, 3))
    metres = np.array([[2.0, 1.0, 4.0], [0.0, 2.0, 0.0]], np.float32)
    data = ros_messages.points(metres, camera.rays())
    assert len(data) == 2 * 3 * ros_messages.POINT_STEP
    values = [struct.unpack_from("<3f", data, place * ros_messages.POINT_STEP) for place in range(6)]
    assert values[:3] == [(-1.0, 0.0, 2.0), (0.0, 0.0, 1.0), (2.0, 0.0, 4.0)] and values[4] == (0.0, 0.5, 2.0)
    assert np.isnan([values[3], values[5]]).all()
    assert np.isnan(ros_messages.unknown_is_nan(metres)[1, 0]) and ros_messages.unknown_is_nan(metres)[0, 2] == 4.0
