from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray
from vortex_jetson.perception import fusion
from vortex_jetson.perception.fusion import fuse, median

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


def plain(
    student: NDArray[np.float32], tof: NDArray[np.float32], confidence: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float, int]:
    """The fusion as its definition reads, without a thought for speed."""
    with np.errstate(all="ignore"):
        ratio = tof[confidence >= 0.5].astype(np.float64) / student[confidence >= 0.5].astype(np.float64)
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        scale = float(np.median(ratio))
        depth = np.where((confidence >= 0.5) & (tof > 0.05) & (tof < 10), tof, np.float32(scale) * student)
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(0)), scale, ratio.size


@pytest.mark.parametrize("shape", [(3, 5), (48, 64), (121, 161), (240, 320)])
def test_every_bit_is_that_of_the_plain_definition(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(shape[0])
    for holes in (0.0, 0.3, 0.9):
        student = random.uniform(0.3, 9, shape).astype(np.float32)
        tof = (student * random.uniform(0.5, 2, shape)).astype(np.float32)
        tof[random.random(shape) < holes / 2] = 0
        tof[random.random(shape) < holes / 9] = np.nan
        student[random.random(shape) < holes / 9] = np.inf
        confidence = random.uniform(0.4 - holes / 2, 1, shape).astype(np.float32)
        fused = fuse(student, tof, confidence)
        depth, scale, pixels = plain(student, tof, confidence)
        assert (fused.scale, fused.scale_pixels, fused.reason) == (scale, pixels, "")
        np.testing.assert_array_equal(fused.depth.view(np.uint32), depth.view(np.uint32))


def test_the_fast_median_is_numpys_to_the_last_bit() -> None:
    random = np.random.default_rng(0)
    for size in (1, 2, 4095, 4096, 4097, 50_000, 50_001):
        waves = 1 + np.tile([0.0, 1.0, 2.0, 3.0], size)[:size] * 1e-3  # what a sample of every 12th value sees one of
        for values in (
            random.lognormal(size=size),
            np.full(size, 1.5),
            np.sort(random.random(size)),
            waves,
            random.integers(1, 4, size) / 3,
        ):
            values = values.astype(np.float64)
            before = values.copy()
            assert median(values) == np.median(values)
            np.testing.assert_array_equal(values, before)


SHAPE = (48, 64)
ROOM = np.linspace(0.5, 4.0, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)
SURE = np.ones(SHAPE, np.float32)


@pytest.mark.parametrize(
    ("tof", "confidence", "words"),
    [
        (np.zeros(SHAPE), SURE, "none of 3072 confident ToF pixels has a depth beside one of the student"),
        (np.full(SHAPE, np.nan), SURE, "none of 3072 confident ToF pixels"),
        (ROOM, np.zeros(SHAPE), "no ToF pixel has confidence 0.5 or more"),
        (np.full(SHAPE, 6.0), SURE, "all 3072 confident ToF pixels say 6.000 m, so the ToF camera is not used"),
        (ROOM * 40, SURE, "ToF says 40 times the student's depth, 0.22 to 5.5 is plausible"),
        (ROOM / 100, SURE, "ToF says 0.01 times"),
    ],
)
def test_a_tof_camera_that_says_nothing_leaves_the_assumed_scale_and_a_reason(
    tof: NDArray[np.float32], confidence: NDArray[np.float32], words: str
) -> None:
    fused = fuse(ROOM, tof, confidence, assumed_scale=1.1)
    assert words in fused.reason and fused.reason.endswith("the student's scale is assumed to be 1.1")
    assert (fused.scale, fused.scale_pixels) == (1.1, 0)
    of_the_student = fused.depth == ROOM * np.float32(1.1)
    usable = (tof > 0.05) & (tof < 10) & (confidence >= 0.5) & (len(np.unique(tof)) > 1)
    assert (of_the_student | usable).all() and (fused.depth[usable] == tof[usable].astype(np.float32)).all()


def test_a_handful_of_tof_pixels_sets_no_scale_but_is_depth_where_it_is() -> None:
    tof = np.zeros(SHAPE, np.float32)
    tof[0, :15] = ROOM[0, :15] * 3  # 0.5 % of 3072 are 15.36 pixels
    fused = fuse(ROOM, tof, SURE)
    assert fused.reason.startswith("only 15 of 3072 pixels have ToF depth beside the student's, 16 are needed")
    assert fused.scale == 1.0
    np.testing.assert_array_equal(fused.depth[0, :15], tof[0, :15])
    np.testing.assert_array_equal(fused.depth[1:], ROOM[1:])
    tof[0, 15] = ROOM[0, 15] * 3
    assert fuse(ROOM, tof, SURE)[1:4] == (pytest.approx(3.0), 16, "")


def test_confidence_is_high_only_where_the_tof_camera_measured() -> None:
    student, tof = np.array([[1.0, 2.0, 3.0, 0.0]]), np.array([[2.0, 0.0, 6.1, 0.0]])
    certain = np.array([[1.0, 1.0, 0.5, 1.0]])
    fused = fuse(student, tof, np.array([[0.5, 1.0, 0.4, 1.0]]), certain)
    assert fused.confidence is not None
    assert np.rint(fused.confidence * 255).tolist() == [[128, 127, 64, 0]]  # ToF, a sure guess in a hole, a half sure one, nothing
    assert fuse(student, tof, certain).confidence is None
    with pytest.raises(ValueError, match=r"student \(1, 4\), its confidence \(1, 3\)"):
        fuse(student, tof, certain, certain[:, :3])


def test_the_robot_part_imports_numpy_alone() -> None:
    code = (
        "import sys, vortex_jetson.perception.fusion; "
        "print([m for m in ('torch','mlflow','core','models','pipelines','registry','validation','cv2','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
