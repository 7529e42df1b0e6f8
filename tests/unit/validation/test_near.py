"""Twins: found by bands as by comparing everything with everything, and no news where the camera stands still."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from validation.near import Pictures, in_motion, near_copies, near_leaks, twins_across
from validation.pixels import look

pytestmark = pytest.mark.usefixtures("others_garbage")


def pictures(across: np.ndarray[Any, Any], down: np.ndarray[Any, Any], depth: float | np.ndarray[Any, Any] = np.nan) -> Pictures:
    count = len(across)
    level = np.full(count, 100.0)
    return Pictures(across, down, np.ones(count, bool), level, level / 2, np.broadcast_to(np.asarray(depth, float), count))


def random_hashes(count: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def test_bands_find_exactly_what_comparing_all_finds() -> None:
    generator = np.random.default_rng(3)
    across, down = random_hashes(300, 1), random_hashes(300, 2)
    for place in range(150, 300):  # each with some bits of an earlier one flipped
        across[place], down[place] = across[place - 150], down[place - 150]
        for bit in generator.choice(128, generator.integers(0, 7), replace=False):
            half = across if bit < 64 else down
            half[place] ^= np.uint64(1) << np.uint64(bit % 64)
    split = np.array(["train"] * 150 + ["val"] * 150)
    apart = np.bitwise_count(across[:, None] ^ across).astype(int) + np.bitwise_count(down[:, None] ^ down)
    expected = (apart[150:, :150] <= 3).any(axis=1)
    assert 20 < expected.sum() < 150
    found = near_leaks(pictures(across, down), split, np.ones(300, bool), 3)
    assert (found[:150] == -1).all() and ((found[150:] >= 0) == expected).all()
    copies = near_copies(pictures(across, down), np.full(300, "train"), 3)
    assert ((copies[150:] >= 0) == expected).all() and (copies[:150] == -1).all()


def test_more_bits_than_bands_allow_is_an_error() -> None:
    with pytest.raises(ValueError, match="bands"):
        near_copies(pictures(random_hashes(4), random_hashes(4)), np.full(4, "train"), 4)


def test_depth_confirms_or_denies_a_leak_of_which_the_hashes_say_little() -> None:
    """A plain wall under a lamp: nothing tells it from another one but how far away it is."""
    plain = np.full(2, 0xFFFFFFFFFFFFFFFF, np.uint64)
    split, moving = np.array(["train", "val"]), np.ones(2, bool)
    assert near_leaks(pictures(plain, plain, np.array([2.0, 2.001])), split, moving, 3)[1] == 0
    assert near_leaks(pictures(plain, plain, np.array([2.0, 2.5])), split, moving, 3)[1] == -1
    assert near_leaks(pictures(plain, plain), split, moving, 3)[1] == 0


def test_hashes_that_tell_a_picture_from_all_others_need_no_depth() -> None:
    """The same frames with the depth of another sensor, or of a teacher, are the same frames."""
    same = np.repeat(random_hashes(1), 2)
    split, moving = np.array(["train", "val"]), np.ones(2, bool)
    assert near_leaks(pictures(same, same, np.array([2.0, 2.5])), split, moving, 3)[1] == 0


def scene(seed: int) -> np.ndarray[Any, Any]:
    """A picture of blocks [240, 320, 3], each neighbour of another grey."""
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 9), dtype=np.uint8)
    return np.repeat(cv2.resize(blocks, (320, 240), interpolation=cv2.INTER_CUBIC)[..., None], 3, 2)


@pytest.mark.parametrize("axes", [(1,), (0,), (0, 1)], ids=["mirrored", "top-to-bottom", "turned"])
def test_a_picture_that_is_turned_shows_the_same(axes: tuple[int, ...]) -> None:
    trained = [scene(seed) for seed in range(6)]
    held_out = [np.ascontiguousarray(np.flip(scene(seed), axes)) for seed in (4, 2, 9)]
    looks = [look(picture) for picture in (*trained, *held_out)]
    across, down = (np.array([getattr(each, name) for each in looks], np.uint64) for name in ("across", "down"))
    split = np.array(["train"] * 6 + ["val"] * 3)
    assert near_leaks(pictures(across, down), split, np.ones(9, bool), 3).tolist() == [-1] * 6 + [4, 2, -1]
    ours, theirs = pictures(across[6:], down[6:]), pictures(across[:6], down[:6])
    assert twins_across(ours, theirs, 3).tolist() == [4, 2, -1]
    assert twins_across(ours, theirs.of(np.array([], np.intp)), 3).tolist() == [-1] * 3


@pytest.mark.frames
def test_real_frames_that_are_turned_are_known_again(real_frames: Path) -> None:
    """The shares of all frames of each set that are known mirrored, top to bottom and turned: one of a leaked set is enough to name it."""
    shares = {}
    for name, pattern in (("kitchen_kinect", "*.color.*"), ("office_hololens", "images/*"), ("home_realsense", "color/*")):
        frames = [cv2.imread(str(path))[..., ::-1] for path in sorted((real_frames / name).glob(pattern))]
        known = []
        for axes in ((1,), (0,), (0, 1)):
            ours, theirs = (
                pictures(np.array([each.across for each in looks], np.uint64), np.array([each.down for each in looks], np.uint64))
                for looks in ([look(np.ascontiguousarray(np.flip(frame, axes))) for frame in frames], [look(frame) for frame in frames])
            )
            known.append((twins_across(ours, theirs, 3) >= 0).mean())
        shares[name] = len(frames), [round(float(share), 2) for share in known]
    assert shares == {
        "kitchen_kinect": (250, [0.7, 0.79, 0.3]),
        "office_hololens": (125, [0.86, 0.68, 0.37]),
        "home_realsense": (10, [0.4, 0.3, 0.0]),
    }


def test_a_camera_that_stands_still_is_not_in_motion() -> None:
    across = random_hashes(6)
    across[2] = across[1]
    sequence, number = np.zeros(6, int), np.arange(6)
    assert in_motion(pictures(across, across), sequence, number).tolist() == [True, False, False, True, True, True]
    assert in_motion(pictures(across, across), np.arange(6), number).all()


def test_the_hash_survives_recompression_and_tells_pictures_apart() -> None:
    generator = np.random.default_rng(5)
    one, other = (cv2.resize(generator.integers(0, 255, (12, 16, 3), dtype=np.uint8), (320, 240)) for _ in range(2))
    jpeg = cv2.imdecode(cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_COLOR)
    small = cv2.resize(one, (160, 120), interpolation=cv2.INTER_AREA)

    def apart(first: Any, second: Any) -> int:
        a, b = look(first), look(second)
        return (a.across ^ b.across).bit_count() + (a.down ^ b.down).bit_count()

    assert apart(one, jpeg) <= 3 and apart(one, small) <= 3 and apart(one, other) > 30


def test_a_still_camera_of_many_frames_stays_quick() -> None:
    count = 20_000
    across, down = np.repeat(random_hashes(1), count), random_hashes(count, 2) & np.uint64(0xF)
    split = np.where(np.arange(count) < count // 2, "train", "val")
    started = time.process_time()
    near_leaks(pictures(across, down), split, np.ones(count, bool), 3)
    near_copies(pictures(across, down), split, 3)
    assert time.process_time() - started < 5
