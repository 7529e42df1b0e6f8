"""The judges of F1 to F9 on made-up numbers: every verdict of every finding, intervals, and what decides nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest

from core.errors import VortexError
from pipelines.compare.frame_errors import FrameErrors
from pipelines.compare.intervals import mean_interval
from pipelines.experiments.replay.claims import FAILS, HOLDS, OPEN, Finding, Measured, judge, over_frames
from pipelines.experiments.replay.findings import CORRIDOR, FINDINGS, LAST, NYU, SECOND, judge_all
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
    """The lineage's numbers with some changed, `seeds` repetitions that scatter by `spread` around them, and frames that say the same."""
    random = np.random.default_rng(0)
    lineage = LINEAGE | dict(changes or {})
    figures = {key: {seed: value * math.exp(spread * random.standard_normal()) for seed in range(seeds)} for key, value in lineage.items()}
    errors = {
        (version, dataset): dict.fromkeys(range(seeds), _errors(value, miou=lineage.get((version, dataset, "miou"), 0.5)))
        for (version, dataset, metric), value in lineage.items()
        if metric == "rmse"
    }
    return Measured(figures, errors, constants={NYU: 1.6})


def _errors(rmse: float, frames: int = 40, spread: float = 0.0, seed: int = 0, name: str = "f", miou: float = 0.5) -> FrameErrors:
    """Frames that all have this RMSE, or scatter around it; two classes, each of this IoU."""
    scatter = np.exp(spread * np.random.default_rng(seed).standard_normal(frames))
    hits = 2 * miou / (1 + miou)  # IoU = h / (2 − h) where both classes are hit in this share
    confusion = np.zeros((frames, 6, 6))
    confusion[:, :2, :2] = 50 * np.array([[hits, 1 - hits], [1 - hits, hits]])
    return FrameErrors(
        tuple(f"{name}{n}" for n in range(frames)),
        {"squared": 100 * np.square(rmse * scatter), "count": np.full(frames, 100.0), "confusion": confusion},
        (32, 48),
    )


def test_the_lineages_own_numbers_would_hold_with_little_scatter() -> None:
    verdicts = {found.key: found.verdict for found in judge_all(measured(spread=0.001))}
    assert verdicts == dict.fromkeys((f"F{number}" for number in range(1, 10)), HOLDS)


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
    assert JUDGES[name](measured(OPPOSITE[name])).verdict == FAILS


@pytest.mark.parametrize("name", JUDGES)
def test_scatter_decides_nothing(name: str) -> None:
    found = JUDGES[name](measured(spread=2.0))
    assert found.verdict == OPEN
    assert all(part.seeds is None or part.seeds.n == 3 for part in found.parts)


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("seeds", [0, 1, 2])
def test_fewer_than_three_seeds_decide_nothing(name: str, seeds: int) -> None:
    assert JUDGES[name](measured(seeds=seeds, spread=1e-6)).verdict == OPEN
    assert JUDGES[name](measured(OPPOSITE[name], seeds=seeds, spread=1e-6)).verdict == OPEN


def test_a_rescaled_prediction_is_not_metric() -> None:
    found = JUDGES["f3"](measured({("v3", NYU, "rmse_median_scaled"): 0.5}))
    assert [part.verdict for part in found.parts] == [HOLDS, FAILS] and found.verdict == FAILS


def test_without_the_constant_guess_f3_is_open() -> None:
    found = JUDGES["f3"](Measured(measured().figures))
    assert found.verdict == OPEN and found.parts[0].seeds is None


def test_only_seeds_that_both_have_are_paired_and_a_lost_one_leaves_it_open() -> None:
    figures = {key: dict(values) for key, values in measured(seeds=5).figures.items()}
    del figures["v4", NYU, "rmse"][1], figures["v3", NYU, "rmse"][3]
    part = JUDGES["f4"](Measured(figures, measured(seeds=5).errors)).parts[0]
    assert sorted(part.values) == [0, 2, 4] and part.verdict == OPEN


def test_a_seed_lost_on_both_sides_leaves_it_open_too() -> None:
    figures = {key: dict(values) for key, values in measured(seeds=5).figures.items()}
    assert JUDGES["f4"](Measured(figures, measured(seeds=5).errors)).verdict == HOLDS
    del figures["v4", NYU, "rmse"][2], figures["v3", NYU, "rmse"][2]
    assert JUDGES["f4"](Measured(figures, measured(seeds=5).errors)).verdict == OPEN


def test_too_few_frames_confirm_nothing() -> None:
    errors = {(version, NYU): {seed: _errors(rmse, frames=9) for seed in range(3)} for version, rmse in (("v4", 0.774), ("v3", 1.16))}
    (part,) = JUDGES["f4"](Measured(measured().figures, errors)).parts
    assert (
        part.verdict == OPEN and part.frames is not None and part.frames.reason == "9 frames are worth 9.0 independent ones, 10 are needed"
    )


def test_without_the_errors_of_frames_nothing_is_called_better() -> None:
    findings = {finding.key: finding for finding in judge_all(Measured(measured(spread=0.001).figures, constants={NYU: 1.6}))}
    assert [key for key, finding in findings.items() if finding.verdict == HOLDS] == ["F1", "F2", "F3"]
    assert all(part.verdict == OPEN and part.frames is None for part in findings["F6"].parts)


def test_a_figure_that_is_not_finite_decides_nothing() -> None:
    figures = {key: dict(values) for key, values in measured().figures.items()}
    figures["v4", NYU, "rmse"][0] = math.nan
    assert JUDGES["f4"](Measured(figures, measured(seeds=5).errors)).verdict == OPEN


def _with_frames(better: float, spread: float) -> Finding:
    errors = {
        ("v4", NYU): {seed: _errors(better, spread=spread, seed=1) for seed in range(3)},
        ("v3", NYU): {seed: _errors(1.16, spread=spread, seed=2) for seed in range(3)},
    }
    return JUDGES["f4"](Measured(measured().figures, errors))


def test_what_the_seeds_say_is_confirmed_by_the_frames_or_open() -> None:
    sure, unsure, against, alike = _with_frames(0.774, 0.02), _with_frames(1.1, 1.0), _with_frames(1.4, 0.02), _with_frames(1.16, 0.0)
    assert sure.verdict == HOLDS
    frames = sure.parts[0].frames
    assert frames is not None and (frames.word, frames.frames) == ("better", 40)
    assert unsure.verdict == OPEN and against.verdict == OPEN and alike.verdict == OPEN


def test_frames_confirm_a_failure_too() -> None:
    figures = measured({("v7", NYU, "rmse"): 0.50}).figures
    errors = {("v7", NYU): {seed: _errors(0.5) for seed in range(3)}, ("v5", NYU): {seed: _errors(0.572) for seed in range(3)}}
    assert JUDGES["f7"](Measured(figures, errors)).verdict == FAILS
    swapped = {("v7", NYU): errors["v5", NYU], ("v5", NYU): errors["v7", NYU]}
    assert JUDGES["f7"](Measured(figures, swapped)).verdict == OPEN
    alike = {("v7", NYU): errors["v5", NYU], ("v5", NYU): errors["v5", NYU]}
    assert JUDGES["f7"](Measured(figures, alike)).verdict == FAILS, "frames that show no difference do not save a claim of one"


def test_seeds_of_other_frames_are_refused() -> None:
    with pytest.raises(VortexError, match="different frames"):
        over_frames({0: _errors(1.0), 1: _errors(1.0, name="g")}, {0: _errors(2.0), 1: _errors(2.0)}, "rmse")


def test_an_interval_that_ends_on_the_bound_is_not_inside() -> None:
    found = mean_interval([1.0, 1.0, 1.0])
    assert judge(found, None, 1.0) == FAILS and judge(found, None, 1.0001) == HOLDS and judge(found, 0.5, None) == HOLDS


def test_v2s_control_is_v1_to_the_letter() -> None:
    """F2 pairs V2 with V1's runs: the control, run b, must not differ from V1 in anything that trains."""
    v1, v2 = recipes.load("v1"), recipes.load("v2")
    control = next(variant for variant in v2.variants if variant.weighting == "fixed")
    told = {"name", "codename", "summary", "lesson", "status", "parents", "published", "variants", "assumed", "history"}
    differing = {key for key, *_ in recipes.differences(v1, v2) if key.split(".")[0] not in told}
    assert control.name == "b" and differing == {"loss.weighting"} and v1.loss.weighting == "fixed" and v2.loss.weighting == "kendall"
