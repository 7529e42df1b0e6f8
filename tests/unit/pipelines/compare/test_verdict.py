"""One verdict: what is better is called better, noise is too little to say, and intervals hold where frames are not independent."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import coverage
from core.errors import VortexError
from pipelines.compare.frame_errors import CONFUSION, COUNT, SQUARED, FrameErrors
from pipelines.compare.intervals import Interval
from pipelines.compare.verdict import Verdict, judge_frames, judge_seeds, not_worse


def errors(squares: np.ndarray, counts: np.ndarray | None = None, sequences: tuple[str, ...] = ()) -> FrameErrors:
    counts = np.full(len(squares), 100.0) if counts is None else counts
    return FrameErrors(tuple(f"f{row:03d}" for row in range(len(squares))), {SQUARED: squares, COUNT: counts}, (48, 64), sequences)


def test_a_difference_that_every_frame_shows_is_found() -> None:
    base = np.random.default_rng(1).uniform(20, 60, 80)
    verdict = judge_frames(errors(base * 0.8), errors(base))
    assert (verdict.word, verdict.method, verdict.sequences, verdict.frames) == ("better", "batches", 1, 80)
    assert verdict.difference == pytest.approx(np.sqrt((base * 0.8).sum() / 8000) - np.sqrt(base.sum() / 8000))
    assert verdict.interval is not None and verdict.interval.low < verdict.difference < verdict.interval.high < 0
    assert judge_frames(errors(base), errors(base * 0.8)).word == "worse"
    assert verdict.sentence("v10", "v6").startswith("v10 against v6: better; RMSE 0.5")


def test_noise_is_too_little_to_say() -> None:
    a, b = np.random.default_rng(2).uniform(20, 60, (2, 80))
    verdict = judge_frames(errors(a), errors(b))
    assert verdict.word == "open" and verdict.words == "too little to say"
    assert "the interval holds 0 and reaches beyond the margin of 0.0063 m" in verdict.sentence("v10", "v6")


def test_equivalence_is_shown_within_a_stated_margin_and_not_by_want_of_frames() -> None:
    base = np.random.default_rng(3).uniform(20, 60, 400)
    almost = base * np.random.default_rng(4).uniform(0.99, 1.01, 400)
    verdict = judge_frames(errors(almost), errors(base))
    assert verdict.word == "equivalent" and verdict.margin == pytest.approx(0.01 * verdict.b)
    assert verdict.words == f"equivalent within {verdict.margin:.4f} m"
    assert judge_frames(errors(almost), errors(base), margin=1e-5).word == "open"
    few = judge_frames(errors(almost[:8]), errors(base[:8]))
    assert few.interval is not None and few.word == "open", "eight frames show nothing, however alike the two are on them"
    assert "8 frames are worth" in few.reason


def test_a_version_is_equivalent_to_itself() -> None:
    base = errors(np.random.default_rng(5).uniform(20, 60, 60))
    verdict = judge_frames(base, base, margin=0.0)
    assert verdict.word == "equivalent" and verdict.difference == 0 and verdict.effective_frames == 60


def test_a_difference_within_the_margin_is_equivalence_even_where_every_frame_shows_it() -> None:
    base = np.random.default_rng(6).uniform(20, 60, 200)
    assert judge_frames(errors(base * 0.995), errors(base)).word == "equivalent"
    assert judge_frames(errors(base * 0.995), errors(base), margin=0.001).word == "better"


def test_a_stream_of_few_independent_frames_says_nothing() -> None:
    # 250 frames whose errors drift slowly, as on a robot that passes a kitchen: every single frame shows a's advantage.
    base = 40 + 10 * np.sin(np.linspace(0, 2 * np.pi, 250))
    verdict = judge_frames(errors(base * (0.9 + 0.05 * np.cos(np.linspace(0, 3, 250)))), errors(base))
    assert verdict.effective_frames is not None and verdict.effective_frames < 10
    assert verdict.word == "open" and "250 frames are worth" in verdict.reason and "10 are needed" in verdict.reason
    assert not_worse(verdict) == "needs override"


@pytest.mark.parametrize("correlation", coverage.CORRELATIONS)
def test_the_interval_covers_the_truth_as_often_as_it_says(correlation: float) -> None:
    # 200 streams: at a coverage of 95 % fewer than 178 are seen once in 2,000 times; frames as if independent reach 98 at ρ 0.8.
    single, covered, middle, _ = coverage.coverage(correlation, 200, 459)
    assert covered >= 0.89
    assert (single > 0.9) == (correlation == 0.0)
    assert middle.interval is not None and middle.interval.n == 5


def test_a_version_that_is_better_is_found_in_a_stream() -> None:
    assert coverage.power(0.0, 50, 459) == 1.0 and coverage.power(0.8, 50, 459) > 0.4


def test_sequences_are_resampled_whole_where_there_are_eight() -> None:
    assert coverage.coverage_of_sequences(8, 100) >= 0.87
    pair = coverage.cut_stream(np.random.default_rng(8), 0.8, 12)
    verdict = judge_frames(pair.a, pair.b)
    assert (verdict.method, verdict.sequences) == ("sequences", 12) and verdict.interval is not None and verdict.interval.n == 12
    low, high = coverage.scipy_over_sequences(pair, 0)
    width = verdict.interval.high - verdict.interval.low
    assert (verdict.interval.low, verdict.interval.high) == pytest.approx((low, high), abs=0.05 * width)
    assert judge_frames(pair.a, pair.b) == verdict != judge_frames(pair.a, pair.b, seed=1)
    seven = coverage.cut_stream(np.random.default_rng(8), 0.8, 7)
    assert judge_frames(seven.a, seven.b).method == "batches"


def test_many_sequences_are_drawn_in_parts_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = coverage.cut_stream(np.random.default_rng(9), 0.5, 20)
    whole = judge_frames(pair.a, pair.b)
    monkeypatch.setattr("pipelines.compare.verdict._CHUNK", 700)
    assert judge_frames(pair.a, pair.b) == whole


def test_batches_are_the_jackknife_of_the_pooled_difference() -> None:
    random = np.random.default_rng(10)
    a, b, count = random.uniform(20, 60, 33), random.uniform(20, 60, 33), random.integers(5, 300, 33).astype(float)
    verdict = judge_frames(errors(a, count), errors(b, count))
    without = []
    for batch in np.array_split(np.arange(33), 5):
        rest = np.setdiff1d(np.arange(33), batch)
        without.append(np.sqrt(a[rest].sum() / count[rest].sum()) - np.sqrt(b[rest].sum() / count[rest].sum()))
    scale = np.sqrt(4 / 5 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert verdict.interval is not None
    assert (verdict.interval.low, verdict.interval.high) == pytest.approx(stats.t.interval(0.95, 4, loc=verdict.difference, scale=scale))


def test_the_mean_iou_is_judged_by_confusion_matrices() -> None:
    random = np.random.default_rng(11)

    def confusion(hit: float) -> FrameErrors:
        matrices = np.zeros((60, 6, 6))
        for matrix in matrices:
            pixels = random.multinomial(500, [0.5, 0.3, 0.2])
            for label, count in enumerate(pixels):
                hits = random.binomial(count, hit)
                matrix[label, label], matrix[label, (label + 1) % 3] = hits, count - hits
        return FrameErrors(tuple(f"f{row}" for row in range(60)), {CONFUSION: matrices}, (20, 25))

    good, bad = confusion(0.9), confusion(0.8)
    verdict = judge_frames(good, bad, "miou")
    total = good.sums[CONFUSION].sum(axis=0)
    iou = np.diag(total)[:3] / (total.sum(axis=0) + total.sum(axis=1) - np.diag(total))[:3]
    assert verdict.a == pytest.approx(iou.mean()) and (verdict.word, verdict.direction) == ("better", "higher")
    assert judge_frames(bad, good, "miou").word == "worse" and verdict.text(verdict.a).endswith(" %")
    assert judge_frames(good, bad, "iou_floor").word == "better"
    with pytest.raises(VortexError, match="no frame has anything to judge IoU other by"):
        judge_frames(good, bad, "iou_other")


def test_several_metrics_are_judged_at_a_level_of_each() -> None:
    a, b = np.random.default_rng(12).uniform(20, 60, (2, 80))
    single, family = judge_frames(errors(a), errors(b)), judge_frames(errors(a), errors(b), comparisons=2)
    assert single.interval is not None and family.interval is not None and family.interval.level == pytest.approx(0.975)
    # t₄ at 98.75 % is 3.4954, at 97.5 % 2.7764.
    widths = [interval.high - interval.low for interval in (single.interval, family.interval)]
    assert widths[1] / widths[0] == pytest.approx(3.4954 / 2.7764, rel=1e-3)
    assert "interval of 97.5 % each, so that all 2 hold at once with 95 %" in family.basis


def test_frames_without_a_valid_pixel_are_left_out() -> None:
    values, counts = np.array([4.0] * 5 + [0.0]), np.array([1.0] * 5 + [0.0])
    verdict = judge_frames(errors(values, counts), errors(values * 4, counts))
    assert (verdict.frames, verdict.a, verdict.b) == (5, 2.0, 4.0) and verdict.interval is not None
    four = judge_frames(errors(values[1:], counts[1:]), errors(values[1:] * 4, counts[1:]))
    assert (four.interval, four.word, four.reason) == (None, "open", "4 frame(s) with something to judge by, 5 are needed")
    with pytest.raises(VortexError, match="no frame has anything to judge RMSE by"):
        judge_frames(errors(np.zeros(3), np.zeros(3)), errors(np.zeros(3), np.zeros(3)))


def test_a_class_that_one_frame_of_ten_shows_has_no_interval_and_the_reason_is_not_a_lack_of_frames() -> None:
    matrices = np.zeros((10, 6, 6))
    matrices[:, 0, 0], matrices[0, 3, 3] = 100, 50
    frames = FrameErrors(tuple(f"f{row}" for row in range(10)), {CONFUSION: matrices}, (10, 15))
    verdict = judge_frames(frames, frames, "iou_person")
    assert (verdict.interval, verdict.word, verdict.frames) == (None, "open", 10)
    assert verdict.reason == "so few of the 10 frames show what it judges by that an interval without some of them has no value"


def test_what_a_gate_makes_of_a_verdict() -> None:
    base = np.random.default_rng(13).uniform(20, 60, 200)
    noise = np.random.default_rng(14).uniform(20, 60, 200)
    answers = [not_worse(judge_frames(errors(squares), errors(base))) for squares in (base * 0.8, base, base * 1.2, noise)]
    assert answers == ["passes", "passes", "refuses", "needs override"]


def over_frames(effective: float) -> Verdict:
    interval = Interval(estimate=-0.1, low=-0.2, high=-0.05, n=5)
    return Verdict(
        metric="rmse", direction="lower", word="better", a=0.5, b=0.6, difference=-0.1, interval=interval, margin=0.006,
        margin_share=0.01, frames=100, effective_frames=effective, sequences=1, method="batches",
    )  # fmt: skip


def test_seeds_are_judged_by_the_same_words() -> None:
    frames = over_frames(40.0)
    assert judge_seeds([0.5, 0.51, 0.5], [0.6, 0.61, 0.6], "rmse", frames).word == "better"
    assert judge_seeds([0.5, 0.51, 0.5], [0.6, 0.61, 0.6], "miou", frames).word == "worse"
    assert judge_seeds([0.6, 0.601, 0.6], [0.6, 0.6005, 0.6], "rmse", frames).word == "equivalent"
    few = judge_seeds([0.5, 0.5], [0.6, 0.6], "rmse", frames)
    assert (few.word, few.reason) == ("open", "fewer than 3 seeds")
    stuck = judge_seeds([0.5, 0.51, 0.5], [0.6, 0.61, 0.6], "rmse", over_frames(4.0))
    assert (stuck.word, stuck.reason) == ("open", "100 frames are worth 4.0 independent ones, 10 are needed")
    assert judge_seeds([0.5, 0.51, 0.5], [0.6, 0.61, 0.6], "rmse", None).word == "open"
