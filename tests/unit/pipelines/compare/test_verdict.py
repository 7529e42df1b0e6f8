from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import VortexError
from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
from pipelines.compare.verdict import paired_bootstrap


def errors(squares: np.ndarray, counts: np.ndarray | None = None, ids: list[str] | None = None) -> FrameErrors:
    counts = np.full(len(squares), 100.0) if counts is None else counts
    names = ids or [f"f{row:03d}" for row in range(len(squares))]
    return FrameErrors(tuple(names), {SQUARED: squares.astype(np.float32), COUNT: counts.astype(np.float32)}, (48, 64))


def test_finds_a_difference_that_every_frame_shows():
    random = np.random.default_rng(1)
    base = random.uniform(20, 60, 80)
    found = paired_bootstrap(errors(base * 0.8), errors(base), resamples=2000)
    assert found.shown and found.high < 0 and found.p <= 0.001
    assert found.difference == pytest.approx(np.sqrt((base * 0.8).sum() / 8000) - np.sqrt(base.sum() / 8000), rel=1e-5)
    assert found.low < found.difference < found.high
    assert found.verdict("v10", "v6") == "v10 is better" and found.verdict("v6", "v10") == "v6 is better"


def test_says_nothing_about_noise():
    random = np.random.default_rng(2)
    a, b = random.uniform(20, 60, (2, 80))
    found = paired_bootstrap(errors(a), errors(b), resamples=2000)
    assert not found.shown and found.low < 0 < found.high and found.p > 0.05
    assert found.sentence("v10", "v6").startswith("v10 and v6: no difference shown (RMSE ")


def test_interval_agrees_with_a_plain_loop_and_with_the_seed():
    random = np.random.default_rng(3)
    a, b, count = random.uniform(20, 60, 30), random.uniform(20, 60, 30), random.integers(5, 300, 30)
    found = paired_bootstrap(errors(a, count), errors(b, count), resamples=4000, seed=5)
    assert found == paired_bootstrap(errors(a, count), errors(b, count), resamples=4000, seed=5)
    naive = []
    for _ in range(4000):
        draw = random.integers(0, 30, 30)
        naive.append(np.sqrt(a[draw].sum() / count[draw].sum()) - np.sqrt(b[draw].sum() / count[draw].sum()))
    width = found.high - found.low
    assert found.low == pytest.approx(np.quantile(naive, 0.025), abs=0.1 * width)
    assert found.high == pytest.approx(np.quantile(naive, 0.975), abs=0.1 * width)


def test_interval_covers_the_truth_as_often_as_it_says():
    # 200 draws of 40 frames from two versions that are equally good: about 5 % of the intervals may leave 0 out.
    random = np.random.default_rng(4)
    outside = sum(
        paired_bootstrap(errors(common + random.exponential(10, 40)), errors(common + random.exponential(10, 40)), resamples=400).shown
        for common in random.uniform(5, 50, (200, 40))
    )
    assert outside <= 24  # P(more than 24 | 7 %) < 0.5 %: the percentile interval is a little narrow at 40 frames


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    random = np.random.default_rng(5)
    a, b = errors(random.uniform(1, 2, 50)), errors(random.uniform(1, 2, 50))
    whole = paired_bootstrap(a, b, resamples=500)
    monkeypatch.setattr("pipelines.compare.verdict._CHUNK", 1000)
    assert paired_bootstrap(a, b, resamples=500) == whole


def test_pairs_by_id_not_by_position():
    values = np.arange(1.0, 21.0)
    order = np.random.default_rng(6).permutation(20)
    shuffled = errors(values[order], ids=[f"f{row:03d}" for row in order])
    found = paired_bootstrap(errors(values), shuffled, resamples=200)
    assert found.difference == 0 and found.low == found.high == 0 and found.p == 1 and not found.shown


def test_frames_without_a_valid_pixel_are_left_out():
    values, counts = np.array([4.0, 4.0, 0.0]), np.array([1.0, 1.0, 0.0])
    found = paired_bootstrap(errors(values, counts), errors(values * 4, counts), resamples=50)
    assert (found.frames, found.rmse_a, found.rmse_b) == (2, 2.0, 4.0)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (errors(np.ones(3)), errors(np.ones(3), ids=["f000", "f001", "x"]), "2 frame.s. were evaluated for only one"),
        (errors(np.ones(1)), errors(np.ones(1)), "too few to resample"),
        (errors(np.array([1, np.nan, 1])), errors(np.ones(3)), "not finite, for example 'f001'"),
    ],
)
def test_refuses(a: FrameErrors, b: FrameErrors, message: str):
    with pytest.raises(VortexError, match=message):
        paired_bootstrap(a, b)


def test_errors_survive_the_disk_and_hash_alike(tmp_path: Path):
    written = FrameErrors(("a", "ü/2"), {SQUARED: np.array([1.5, 2], np.float32), "confusion": np.ones((2, 6, 6), np.float32)}, (48, 64))
    written.save(tmp_path / "one.npz")
    written.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    read = FrameErrors.load(tmp_path / "one.npz")
    assert read.ids == written.ids and read.size == (48, 64)
    assert all(np.array_equal(read.sums[name], written.sums[name]) for name in written.sums)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "errors.npz"
    path.write_bytes(content)
    with pytest.raises(VortexError, match=r"errors\.npz: not readable as per-frame errors"):
        FrameErrors.load(path)
