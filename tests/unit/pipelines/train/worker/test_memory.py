"""How many frames would fit: the arithmetic, and the search over sizes."""

from __future__ import annotations

import pytest
import torch

from pipelines.train.worker.memory import frames_that_fit, is_out_of_memory, measure


@pytest.mark.parametrize(
    ("points", "room", "failed", "fitting"),
    [
        (((8, 1000), (16, 1800)), 2000.0, 64, 18),  # 200 bytes fixed, 100 a frame
        (((8, 1000), (16, 1800)), 20000.0, 64, 63),  # never the size that has failed
        (((1, 300),), 2000.0, 2, 1),
        (((8, 1000), (16, 1000)), 2000.0, 32, 16),  # no slope: what was measured
        (((1, 1900), (2, 3700)), 1000.0, 4, 1),
        ((), 2000.0, 64, 0),
    ],
)
def test_the_largest_batch_is_on_the_line_through_two_measurements(
    points: tuple[tuple[int, int], ...], room: float, failed: int, fitting: int
) -> None:
    assert frames_that_fit(points, room, failed) == fitting


def test_a_failed_batch_is_halved_until_one_fits() -> None:
    tried = []

    def peak(frames: int) -> int | None:
        tried.append(frames)
        return 200 + 100 * frames if frames <= 20 else None

    assert measure(peak, 100) == ((6, 800), (12, 1400))
    assert tried == [50, 25, 12, 6]
    assert frames_that_fit(measure(peak, 100), 2200, 100) == 20
    assert measure(lambda frames: None, 8) == ()
    assert measure(lambda frames: 7, 2) == ((1, 7),)


def test_running_out_of_memory_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55)
    assert is_out_of_memory(caught.value) and is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes differ")) and not is_out_of_memory(ValueError("allocate memory"))
