from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from vortex_jetson import fusion
from vortex_jetson.fusion import fuse

from core.depth import TOF_CONFIDENT


def test_tof_where_confident_and_in_range_else_scaled_student() -> None:
    student = np.array([[1.0, 2.0, 3.0, 4.0, 1.0, 2.0]], np.float32)
    tof = np.array([[2.0, 4.0, 9.0, 0.0, 0.04, 12.0]], np.float32)
    confidence = np.array([[1.0, 0.5, 0.49, 1.0, 1.0, 0.9]], np.float32)
    fused = fuse(student, tof, confidence)
    # Ratios of the confident pixels with a positive ToF: 2, 2, 0.04 and 6; their median is 2.
    assert fused.scale == pytest.approx(2.0)
    assert fused.scale_pixels == 4
    np.testing.assert_allclose(fused.depth, [[2.0, 4.0, 6.0, 8.0, 2.0, 4.0]], rtol=1e-6)
    assert fused.depth.dtype == np.float32


def test_the_robot_trusts_the_tof_camera_from_the_same_confidence() -> None:
    assert fusion.CONFIDENT == TOF_CONFIDENT
    below = np.nextafter(np.float32(TOF_CONFIDENT), np.float32(0))
    fused = fuse(np.full((1, 2), 3.0), np.full((1, 2), 6.0), np.array([[TOF_CONFIDENT, below]]))
    assert fused.scale_pixels == 1


def test_range_limits_are_exclusive() -> None:
    student = np.full((1, 4), 3.0, np.float32)
    tof = np.array([[0.05, 10.0, 3.0, 3.0]], np.float32)
    assert fuse(student, tof, np.ones((1, 4))).depth.tolist() == [[3.0, 3.0, 3.0, 3.0]]


def test_no_confident_pixel_keeps_the_student_and_says_so() -> None:
    student = np.array([[1.5, 2.5]], np.float32)
    for confidence in (np.zeros((1, 2)), np.full((1, 2), np.nan)):
        fused = fuse(student, np.full((1, 2), 9.0), confidence)
        assert (fused.scale, fused.scale_pixels) == (1.0, 0)
        np.testing.assert_array_equal(fused.depth, student)


def test_confident_but_empty_tof_gives_no_scale() -> None:
    fused = fuse(np.ones((1, 3), np.float32), np.array([[0.0, np.nan, np.inf]]), np.ones((1, 3)))
    assert (fused.scale, fused.scale_pixels) == (1.0, 0)
    np.testing.assert_array_equal(fused.depth, np.ones((1, 3)))


def test_broken_student_pixels_become_holes_and_do_not_move_the_scale() -> None:
    student = np.array([[np.nan, np.inf, 0.0, -1.0, 1.0, np.nan]], np.float32)
    tof = np.array([[3.0, 3.0, 3.0, 3.0, 3.0, 3.0]], np.float32)
    confidence = np.array([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    fused = fuse(student, tof, confidence)
    assert (fused.scale, fused.scale_pixels) == (3.0, 1)
    np.testing.assert_array_equal(fused.depth, [[3.0, 0.0, 0.0, 0.0, 3.0, 0.0]])


def test_inputs_are_left_alone_and_shapes_must_agree() -> None:
    student, tof, confidence = np.ones((2, 2)), np.full((2, 2), 2.0), np.ones((2, 2))
    fuse(student, tof, confidence)
    assert (student == 1).all() and (tof == 2).all()
    with pytest.raises(ValueError, match="shapes differ"):
        fuse(np.ones((2, 2)), np.ones((2, 3)), np.ones((2, 2)))


def test_the_robot_part_imports_numpy_alone() -> None:
    code = (
        "import sys, vortex_jetson.fusion; "
        "print([m for m in ('torch','mlflow','core','models','pipelines','registry','validation','cv2','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
