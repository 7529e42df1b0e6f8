"""The judges of F1 to F9 on made-up numbers: every verdict of every finding, intervals, and what decides nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors
from pipelines.compare.intervals import mean_interval, ratio_interval
from pipelines.experiments.replay.findings import CORRIDOR, FINDINGS, LAST, NYU, SECOND, judge_all
from pipelines.experiments.replay.judging import Finding, Measured, frames_interval, judge
from pipelines.recipes import recipe as recipes

JUDGES = {judge.__name__: judge for judge in FINDINGS}
LINEAGE = {
    ("v1", NYU, LAST): 75.0, ("v2", NYU, LAST): 70.0, ("v3", NYU, LAST): 1.16,
    ("v3", NYU, "rmse"): 1.16, ("v3", NYU, "rmse_median_scaled"): 1.05,
    ("v4", NYU, "rmse"): 0.774, ("v4", SECOND, "rmse"): 1.373,
    ("v5", NYU, "rmse"): 0.572, ("v5", NYU, "miou"): 0.637, ("v5", SECOND, "rmse"): 2.186,
    ("v6", NYU, "rmse"): 0.519, ("v6", NYU, "miou"): 0.485,
    ("v7", NYU, "rmse"): 1.315, ("v7", CORRIDOR, "rmse"): 0.445,
    ("v8", NYU, "rmse"): 0.592, ("v8", NYU, "miou"): 0.629, ("v8", SECOND, "rmse"): 2.266,
    ("v9", CORRIDOR, "rmse"): 0.382,
}  # fmt: skip
"""What the lineage published, rounded where it says "tens of metres"."""


def measured(changes: Mapping[tuple[str, str, str], float] | None = None, *, seeds: int = 3, spread: float = 0.004) -> Measured:
    """The lineage's numbers with some changed, `seeds` repetitions that scatter by `spread` around them."""
    random = np.random.default_rng(0)
    figures = {
        key: {seed: value * math.exp(spread * random.standard_normal()) for seed in range(seeds)}
        for key, value in (LINEAGE | dict(changes or {})).items()
    }
    return Measured(figures, constants={NYU: 1.6})


def test_the_lineages_own_numbers_would_hold_with_little_scatter() -> None:
    verdicts = {found.key: found.verdict for found in judge_all(measured(spread=0.001))}
    assert verdicts == dict.fromkeys((f"F{number}" for number in range(1, 10)), "holds")


OPPOSITE = {
    "f1": {("v1", NYU, LAST): 4.0},
    "f2": {("v2", NYU, LAST): 30.0},
    "f3": {("v3", NYU, "rmse"): 2.0, ("v3", NYU, "rmse_median_scaled"): 1.9},
    "f4": {("v4", NYU, "rmse"): 1.3},
    "f5": {("v5", SECOND, "rmse"): 1.1},
    "f6": {("v6", NYU, "miou"): 0.70},
    "f7": {("v7", NYU, "rmse"): 0.50},
    "f8": {("v8", SECOND, "rmse"): 1.9},
    "f9": {("v9", CORRIDOR, "rmse"): 0.50},
}


@pytest.mark.parametrize("name", JUDGES)
def test_the_opposite_is_called_so(name: str) -> None:
    assert JUDGES[name](measured(OPPOSITE[name])).verdict == "does not hold"


@pytest.mark.parametrize("name", JUDGES)
def test_scatter_decides_nothing(name: str) -> None:
    found = JUDGES[name](measured(spread=2.0))
    assert found.verdict == "not decidable"
    assert all(part.seeds is None or part.seeds.n == 3 for part in found.parts)


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_fewer_than_three_seeds_decide_nothing(name: str, seeds: int) -> None:
    assert JUDGES[name](measured(seeds=seeds, spread=1e-6)).verdict == "not decidable"
    assert JUDGES[name](measured(OPPOSITE[name], seeds=seeds, spread=1e-6)).verdict == "not decidable"


def test_a_rescaled_prediction_is_not_metric() -> None:
    found = JUDGES["f3"](measured({("v3", NYU, "rmse_median_scaled"): 0.5}))
    assert [part.verdict for part in found.parts] == ["holds", "does not hold"] and found.verdict == "does not hold"


def test_without_the_constant_guess_f3_is_open() -> None:
    found = JUDGES["f3"](Measured(measured().figures))
    assert found.verdict == "not decidable" and found.parts[0].seeds is None


def test_only_seeds_that_both_have_are_paired_and_a_lost_one_leaves_it_open() -> None:
    figures = {key: dict(values) for key, values in measured(seeds=5).figures.items()}
    del figures["v4", NYU, "rmse"][1], figures["v3", NYU, "rmse"][3]
    part = JUDGES["f4"](Measured(figures)).parts[0]
    assert sorted(part.values) == [0, 2, 4] and part.verdict == "not decidable"


def test_a_seed_lost_on_both_sides_leaves_it_open_too() -> None:
    figures = {key: dict(values) for key, values in measured(seeds=5).figures.items()}
    assert JUDGES["f4"](Measured(figures)).verdict == "holds"
    del figures["v4", NYU, "rmse"][2], figures["v3", NYU, "rmse"][2]
    assert JUDGES["f4"](Measured(figures)).verdict == "not decidable"


def test_one_frame_has_no_interval() -> None:
    single = {0: _errors(0.5, frames=1)}
    assert frames_interval(single, single) is None


def test_a_figure_that_is_not_finite_decides_nothing() -> None:
    figures = {key: dict(values) for key, values in measured().figures.items()}
    figures["v4", NYU, "rmse"][0] = math.nan
    assert JUDGES["f4"](Measured(figures)).verdict == "not decidable"


def _errors(rmse: float, frames: int = 40, spread: float = 0.0, seed: int = 0, name: str = "f") -> FrameErrors:
    scatter = np.exp(spread * np.random.default_rng(seed).standard_normal(frames))
    return FrameErrors(
        tuple(f"{name}{n}" for n in range(frames)),
        {"squared": 100 * np.square(rmse * scatter), "count": np.full(frames, 100.0)},
        (32, 48),
    )


def _with_frames(better: float, spread: float) -> Finding:
    base = measured()
    errors = {
        ("v4", NYU): {seed: _errors(better, spread=spread, seed=1) for seed in range(3)},
        ("v3", NYU): {seed: _errors(1.16, spread=spread, seed=2) for seed in range(3)},
    }
    return JUDGES["f4"](Measured(base.figures, errors))


def test_what_the_seeds_say_is_confirmed_by_the_frames_or_open() -> None:
    sure, unsure, against = _with_frames(0.774, 0.02), _with_frames(1.1, 1.0), _with_frames(1.4, 0.02)
    assert sure.verdict == "holds"
    frames = sure.parts[0].frames
    assert frames is not None and frames.high < 0 and frames.n == 40
    assert unsure.verdict == "not decidable" and against.verdict == "not decidable"


def test_frames_confirm_a_failure_too() -> None:
    figures = measured({("v7", NYU, "rmse"): 0.50}).figures
    errors = {("v7", NYU): {seed: _errors(0.5) for seed in range(3)}, ("v5", NYU): {seed: _errors(0.572) for seed in range(3)}}
    assert JUDGES["f7"](Measured(figures, errors)).verdict == "does not hold"
    swapped = {("v7", NYU): errors["v5", NYU], ("v5", NYU): errors["v7", NYU]}
    assert JUDGES["f7"](Measured(figures, swapped)).verdict == "not decidable"


def test_seeds_of_other_frames_are_refused() -> None:
    with pytest.raises(VortexError, match="different frames"):
        frames_interval({0: _errors(1.0), 1: _errors(1.0, name="g")}, {0: _errors(2.0), 1: _errors(2.0)})


def test_the_interval_is_students() -> None:
    # Values 1, 2, 3: mean 2, standard error 1/√3, quantile 4.302653 with two degrees of freedom.
    found = mean_interval([1.0, 2.0, 3.0])
    assert found is not None and found.estimate == 2.0
    assert (found.low, found.high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), rel=1e-6)
    assert mean_interval([1.0]) is None and mean_interval([1.0, math.inf, 2.0]) is None


def test_a_ratio_and_its_inverse_have_inverse_intervals() -> None:
    found, inverse = ratio_interval([0.5, 0.7, 0.6]), ratio_interval([1 / 0.5, 1 / 0.7, 1 / 0.6])
    assert found is not None and inverse is not None
    assert (found.low, found.high) == pytest.approx((1 / inverse.high, 1 / inverse.low))
    assert ratio_interval([0.5, 0.0, 1.0]) is None


def test_an_interval_that_ends_on_the_bound_is_not_inside() -> None:
    found = mean_interval([1.0, 1.0, 1.0])
    assert judge(found, None, 1.0) == "does not hold" and judge(found, None, 1.0001) == "holds" and judge(found, 0.5, None) == "holds"


def test_v2s_control_is_v1_to_the_letter() -> None:
    """F2 pairs V2 with V1's runs: the control, run b, must not differ from V1 in anything that trains."""
    v1, v2 = recipes.load("v1"), recipes.load("v2")
    control = next(variant for variant in v2.variants if variant.weighting == "fixed")
    told = {"name", "codename", "summary", "lesson", "status", "parents", "published", "variants", "assumed", "history"}
    differing = {key for key, *_ in recipes.differences(v1, v2) if key.split(".")[0] not in told}
    assert control.name == "b" and differing == {"loss.weighting"} and v1.loss.weighting == "fixed" and v2.loss.weighting == "kendall"
