"""The order of a stream by the names of its frames: people count, cameras tick."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from core.stream_order import natural, seconds, stream_key, stream_numbers

STREAMS = {
    "whole numbers": ["2", "9", "10", "100"],
    "padded and not": ["frame-008", "frame-9", "frame-10", "frame-0011"],
    "decimals without trailing zeros": [f"{round(1551915398 + step * 0.05, 4)}" for step in range(60)],
    "decimals of the first second alone": ["1551915398.05", "1551915398.1", "1551915398.15", "1551915398.2"],
    "decimals and wholes": [f"{step / 4:g}" for step in range(50)],
    "six in a second": ["7.166667", "7.333333", "7.5", "7.666667", "7.833333", "8.0", "8.166667"],
    "eight in a second": ["0.125", "0.25", "0.375", "0.5", "0.625", "0.75", "0.875", "1.0"],
    "nanoseconds": ["999999999", "1000000000", "1403636579763555584", "1403636579813555456"],
    "nanoseconds behind the point, not padded": [f"{1690000000 + step // 15}.{step % 15 * 66666667}" for step in range(45)],
    "a pause of a minute": [f"{100 + step // 15 + (60 if step > 20 else 0)}.{step % 15 * 66666667}" for step in range(45)],
    "frames of sequences": [f"{sequence}.{frame}" for sequence in (1, 2) for frame in range(1, 13)],
    "padded to two digits, and beyond": [f"3.{frame:02d}" for frame in range(97, 104)],
    "before and after the start": ["-10", "-2.5", "-0.5", "0.5", "2"],
    "the same as ids": ["_-10", "_-2.5", "_-0.5", "0.5", "2"],
    "behind a name": [f"seq-{step / 20:g}" for step in range(-30, 30)],
    "exponents": ["5.0e-01", "9.5e-01", "1.0e+00", "1.55e+09", "1.56e+09"],
    "behind the number": ["t398.05_left", "t398.1_left", "t398.15_left", "t398.2_left"],
    "days": ["2019-03-06-9", "2019-03-06-10", "2019-03-11-1", "2019-12-01-1"],
    "versions": ["1.2.9", "1.2.10", "1.10.1"],
}


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_names_follow_time(stream: list[str]) -> None:
    for seed in range(5):
        names = random.Random(seed).sample(stream, len(stream))
        assert sorted(names, key=stream_key(names)) == stream


def test_people_count() -> None:
    assert natural("a²") == [(1, 0, "a²")], "a digit of Unicode is no number that int() reads"
    assert sorted(["frame10", "frame2", "a1b", "1", "01.5"], key=natural) == ["1", "01.5", "a1b", "frame2", "frame10"]
    assert natural("3e5") == [(0, 3, ""), (1, 0, "e"), (0, 5, "")], "an exponent has a sign"


def test_the_number_of_a_name_is_its_last() -> None:
    numbers = stream_numbers(["kitchen", "seq2-frame-010", "1551915398.05", "1551915398.1", "-3"])
    assert numbers[:2] == [None, 10] and numbers[4] == -3
    assert [float(number or 0) for number in numbers[2:4]] == [1551915398.05, 1551915398.1]
    steps = stream_numbers([f"1.{frame}" for frame in range(1, 12)])
    assert [after - before for before, after in pairwise(steps) if before and after] == [1] * 10


def test_seconds_of_either_recorder() -> None:
    assert seconds(["17.05", "17.1", "17.15"]) == [17.05, 17.1, 17.15]
    unpadded = seconds([f"17.{step * 33333333}" for step in range(30)])
    assert unpadded == pytest.approx([17 + step * 0.033333333 for step in range(30)])
    assert seconds(["17", "18"]) == [17, 18] and seconds([]) == []
