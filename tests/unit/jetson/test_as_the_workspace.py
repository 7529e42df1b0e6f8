"""The robot has its own numpy for what the workspace has cv2 and pydantic for; here the two are held to be one."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from vortex_jetson.live.comparison import Comparison, compare
from vortex_jetson.perception import pinhole
from vortex_jetson.perception.resize import pick, shrink

from core.pinhole import Pinhole
from pipelines.pack.decoding import nearest, resized
from tests.unit.jetson.models import picture
from tests.unit.jetson.versions import perception
from validation.evidence.shadow import Shadow as Evidence

SIZES = [((720, 1280), (240, 320)), ((480, 640), (240, 320)), ((96, 131), (48, 64)), ((48, 64), (48, 64)), ((100, 64), (48, 64))]


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_pictures_are_resized_as_students_were_trained(before: tuple[int, int], after: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    rgb = random.integers(0, 256, (*before, 3), np.uint8)
    difference = np.abs(shrink(rgb, after).astype(int) - resized(rgb, after).astype(int))
    assert difference.max() <= 1 and (difference > 0).mean() < 0.02  # halves are rounded either way
    depth = random.random(before, np.float32)
    np.testing.assert_array_equal(pick(depth, after), nearest(depth, after))


def test_a_picture_is_never_enlarged() -> None:
    with pytest.raises(ValueError, match="a picture of 48x64 is smaller than the student's 240x320"):
        shrink(np.zeros((48, 64, 3), np.uint8), (240, 320))
    with pytest.raises(ValueError, match="a picture of 240x64 is smaller than the student's 240x320"):
        pick(np.zeros((240, 64), np.float32), (240, 320))


def test_a_camera_is_scaled_alike() -> None:
    ours = pinhole.of_matrix([910.0, 0, 641.5, 0, 905.0, 360.25, 0, 0, 1], (720, 1280))
    theirs = Pinhole(fx=910.0, fy=905.0, cx=641.5, cy=360.25, size=(720, 1280))
    for size in ((240, 320), (360, 640), (123, 77)):
        small, reference = ours.scaled(size), theirs.scaled(size)
        assert (small.fx, small.fy, small.cx, small.cy) == pytest.approx((reference.fx, reference.fy, reference.cx, reference.cy))
        k = pinhole.scaled_matrix([910.0, 0, 641.5, 0, 905.0, 360.25, 0, 0, 1], (720, 1280), size)
        assert k == pytest.approx([small.fx, 0, small.cx, 0, small.fy, small.cy, 0, 0, 1])
        p = pinhole.scaled_matrix([910.0, 0, 641.5, -45.5, 0, 905.0, 360.25, 0, 0, 0, 1, 0], (720, 1280), size)
        assert p == pytest.approx([small.fx, 0, small.cx, -45.5 * size[1] / 1280, 0, small.fy, small.cy, 0, 0, 0, 1, 0])


def test_a_point_stays_where_it_is_when_the_picture_is_resized() -> None:
    camera = pinhole.of_matrix([910.0, 0, 641.5, 0, 905.0, 360.25, 0, 0, 1], (720, 1280))
    corner = camera.scaled((240, 320)).rays()[0, 0]  # its centre is that of the 3x4 pixels that it stands for
    np.testing.assert_allclose(corner, camera.rays()[:3, :4].mean(axis=(0, 1)), rtol=1e-6)


@pytest.mark.parametrize(
    ("k", "words"),
    [
        ([1.0] * 8, "nine finite numbers"),
        ([float("nan")] * 9, "nine finite numbers"),
        ([0.0] * 9, "fx and fy above 0"),
        ([100.0, 1, 32, 0, 100, 24, 0, 0, 1], "a pinhole's matrix"),
        ([910.0, 0, 641.5, 0, 905, 360, 0, 0, 1], r"principal point \(641.5, 360\) lies outside of 48x64"),
    ],
)
def test_a_matrix_of_another_camera_is_refused(k: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pinhole.of_matrix(k, (48, 64))


def test_a_shadows_report_is_evidence_that_the_workspace_reads() -> None:
    live, candidate = perception("v9"), perception("v10", "half")
    comparison = Comparison("v10", "v9", skipped=4)
    for number in range(3):
        comparison.add(compare(live.see(picture(number)), candidate.see(picture(number)), glass=2), seconds=0.01 * (1 + number))
    words = {
        "device": "robot-7",
        "checkpoint_sha256": "1" * 64,
        "export_sha256": "2" * 64,
        "made_by": "vortex-jetson 0.2",
        "source": "a camera",
    }
    evidence = Evidence.model_validate_json(json.dumps(comparison.report(**words)))
    assert (evidence.frames, evidence.dropped_frames, evidence.depth_within_10_percent, evidence.glass_iou) == (3, 4, 0.0, 1.0)
    assert evidence.latency_ms is not None and evidence.latency_ms.p50 == pytest.approx(20) and evidence.crashes == 0
    text = "depth within 10 % on 0.0 % of the pixels, [0-9]+ mm apart up to 1.5 m, the same class on 100.0 %, glass IoU 1.00$"
    assert re.search(text, evidence.summary())
    comparison.failure = "its process died of SIGSEGV"
    evidence = Evidence.model_validate_json(json.dumps(comparison.report(**words)))
    assert evidence.crashes == 1 and evidence.remarks == "frames of a camera; it ended: its process died of SIGSEGV"
    assert evidence.summary().endswith("; it crashed")
