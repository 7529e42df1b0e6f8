"""The order of an epoch is a function of seed and epoch: not of threads, workers or where a run was interrupted."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipelines.pack.sampler import Mixing, Sampler, epoch_order, frames_drawn, with_labels
from pipelines.train.plan.sources import pick
from validation.rows import Frame


def test_every_frame_is_drawn_once_and_each_epoch_in_a_new_order() -> None:
    first, again, second = (epoch_order([20], [None], 4, "within_batch", seed=1, epoch=epoch) for epoch in (0, 0, 1))
    assert first.shape == (5, 4)
    assert sorted(first.ravel()) == list(range(20))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)


def test_fewer_frames_than_a_batch_make_one_small_one() -> None:
    assert epoch_order([3], [None], 16, "within_batch", seed=0, epoch=0).shape == (1, 3)


def test_datasets_without_shares_are_concatenated() -> None:
    order = epoch_order([10, 30], [None, None], 8, "within_batch", seed=0, epoch=0)
    assert sorted(order.ravel()) == list(range(40))


def test_within_batch_mixing_keeps_the_share_and_repeats_the_smaller_set() -> None:
    order = epoch_order([10, 40], [0.5, 0.5], 8, "within_batch", seed=0, epoch=0)
    assert order.shape == (10, 8)
    assert all(sum(index < 10 for index in row) == 4 for row in order)
    counts = Counter(order.ravel().tolist())
    assert all(counts[index] == 4 for index in range(10))
    assert all(counts[index] == 1 for index in range(10, 50))


def test_alternating_mixing_gives_whole_batches_by_share() -> None:
    order = epoch_order([10, 40], [0.25, 0.75], 4, "alternating", seed=0, epoch=0)
    sources = [{index < 10 for index in row} for row in order]
    assert all(len(source) == 1 for source in sources)
    assert sum(source == {True} for source in sources) == pytest.approx(len(order) / 4, abs=1)


def test_alternating_without_shares_goes_by_size_and_draws_every_frame_once() -> None:
    order = epoch_order([8, 24, 0], [None, None, None], 4, "alternating", seed=0, epoch=0)
    assert all(len({index < 8 for index in row}) == 1 for row in order.tolist())
    assert sorted(order.ravel()) == list(range(32))


@pytest.mark.parametrize(
    ("counts", "shares", "batch", "mixing"),
    [
        ([10, 40], [0.25, 0.75], 4, "alternating"),
        ([10, 40], [None, None], 5, "alternating"),
        ([60, 4], [None, None], 16, "alternating"),
        ([10, 40, 7], [0.5, 0.3, 0.2], 8, "within_batch"),
        ([8, 8, 8], [0.8375, 0.08125, 0.08125], 8, "within_batch"),
    ],
)
def test_what_is_drawn_of_each_dataset_is_known_beforehand(
    counts: list[int], shares: list[float | None], batch: int, mixing: Mixing
) -> None:
    order = epoch_order(counts, shares, batch, mixing, seed=0, epoch=0)
    drawn = np.bincount(np.searchsorted(np.cumsum(counts), order.ravel(), side="right"), minlength=len(counts))
    assert frames_drawn(counts, shares, batch, mixing) == drawn.tolist()
    assert frames_drawn(counts, [None] * len(counts), batch, "within_batch") == counts


def test_labels_do_not_mix_batches_that_alternate() -> None:
    labelled = np.concatenate([np.arange(10) < 3, np.arange(40) < 4])
    order = Sampler([10, 40], [None, None], 5, "alternating", 0, labelled=labelled, labelled_per_batch=1).order(0)
    assert labelled[order].sum(axis=1).min() >= 1
    assert all(len({index < 10 for index in row}) == 1 for row in order.tolist())


@pytest.mark.parametrize("least", [1, 2])
def test_every_batch_has_its_labelled_frames_and_every_frame_is_still_drawn_once(least: int) -> None:
    labelled = np.arange(160) < 32
    plain = epoch_order([160], [None], 8, "within_batch", seed=3, epoch=1)
    assert (labelled[plain].sum(axis=1) < least).any()
    order = with_labels(plain, labelled, least, [160], seed=3, epoch=1)
    assert labelled[order].sum(axis=1).min() >= least
    # 32 labelled frames are enough for 20 batches of one, not of two: then they are repeated, and as few as can be.
    counts = np.bincount(order.ravel(), minlength=160)
    if least == 1:
        assert (counts == 1).all()
    else:
        assert counts[labelled].min() >= 1 and counts[labelled].sum() == 40 and counts[~labelled].max() == 1


def test_labels_do_not_change_the_shares() -> None:
    labelled = np.concatenate([np.arange(10) < 3, np.zeros(40, bool)])
    sampler = Sampler([10, 40], [0.5, 0.5], 8, "within_batch", 0, labelled=labelled, labelled_per_batch=2)
    order = sampler.order(0)
    assert ((order < 10).sum(axis=1) == 4).all()
    assert labelled[order].sum(axis=1).min() >= 2
    assert np.bincount(order.ravel(), minlength=50)[10:].tolist() == [1] * 40


def test_enough_labels_leave_the_order_alone() -> None:
    plain = epoch_order([40], [None], 8, "within_batch", seed=0, epoch=0)
    assert np.array_equal(with_labels(plain, np.ones(40, bool), 3, [40], 0, 0), plain)


def test_an_epochs_order_does_not_depend_on_those_asked_for_before() -> None:
    def sampler() -> Sampler:
        return Sampler([25], [None], 4, "within_batch", 7, labelled=np.arange(25) < 3, labelled_per_batch=1)

    uninterrupted = sampler()
    orders = [uninterrupted.order(epoch) for epoch in range(3)]
    assert [order.shape for order in orders] == [(6, 4)] * 3
    assert not np.array_equal(orders[1], orders[2])
    resumed = sampler()
    for epoch in (2, 0, 1):
        assert np.array_equal(resumed.order(epoch), orders[epoch])


def test_a_limit_spreads_over_the_stream() -> None:
    frames = [
        Frame(id=str(number), domain="d", split="train", sequence="s", camera="c", rgb="a.png", depth="b.png", depth_unit="mm")
        for number in range(100)
    ]
    assert [frame.id for frame in pick(frames, "train", 4)] == ["0", "25", "50", "75"]
    assert pick(frames, "train", None) == frames and pick(frames, "val", 4) == []
