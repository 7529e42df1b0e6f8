"""Depth's units: what 16-bit millimetres hold, and that every room reads them the same."""

from __future__ import annotations

import numpy as np
import pytest

from core.depth import FARTHEST_M, FARTHEST_MM, INVALID_STEP, RANGES_M, millimetres
from validation.decode import metres


def test_sixteen_bits_of_millimetres_reach_65_metres() -> None:
    assert (FARTHEST_MM, FARTHEST_M, INVALID_STEP) == (65534, 65.534, 2**16 - 1)


def test_what_millimetres_cannot_hold_becomes_invalid() -> None:
    depth = np.array([0.0004, 0.0006, 1.2344, FARTHEST_M, 65.5346, -1.0, np.nan, np.inf, 1e20])
    assert millimetres(depth).tolist() == [0, 1, 1234, 65534, 0, 0, 0, 0, 0]


def test_stored_millimetres_are_read_as_the_metres_that_were_written() -> None:
    steps = np.arange(0, INVALID_STEP, 7, dtype=np.uint16)
    assert (millimetres(metres(steps, "mm")) == steps).all()
    assert metres(np.array([INVALID_STEP], np.uint16), "mm").tolist() == [0.0]


def test_near_mid_and_far_share_their_borders() -> None:
    (near, mid), (mid_low, mid_high), (far_low, far) = RANGES_M["near"], RANGES_M["mid"], RANGES_M["far"]
    assert (near, mid, mid_high, far) == pytest.approx((0, 1.5, 3, 6)) and (mid, mid_high) == (mid_low, far_low)
