"""An ablation compares what differs in one thing alone, goes on where it was stopped, finds effects that exist and no others."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from core.errors import GateRefused, Interrupted, UsageError, VortexError
from pipelines import workspace as workspaces
from pipelines.compare.frame_errors import CONFUSION, COUNT, SQUARED, FrameErrors
from pipelines.compare.intervals import level_of_each
from pipelines.compare.verdict import judge_frames, judge_seeds
from pipelines.experiments.ablate.arm_runs import ArmRun, run_name
from pipelines.experiments.ablate.effects import Ablation, effect, judge
from pipelines.experiments.ablate.factor import Factor, arms
from pipelines.experiments.ablate.run import ablate
from pipelines.hub.open import hub
from pipelines.runs.events import Diverged, Journal, TrainEvent, failure, raised
from pipelines.train.plan.options import TrainOptions
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_set import publish, recipe_file
from vortex_cli.app import app


@pytest.fixture
def ws(workspace: Workspace, fresh_store: Path) -> Workspace:
    shutil.copytree(fresh_store, workspace.root / "mlruns", dirs_exist_ok=True)
    publish(workspace, "small")
    recipe_file(workspace.root / "tiny.yaml")
    return workspaces.load(workspace.root)


def tiny(ws: Workspace, **options: Any) -> TrainOptions:
    own = {"recipe": str(ws.root / "tiny.yaml"), "domain": "rooms", "encoder_weights": "none", "epochs": 2, "device": "cpu"}
    return TrainOptions(**own | {"size": (32, 48), "allow_unvalidated": True} | options)


def test_arms_differ_in_the_factor_alone(ws: Workspace) -> None:
    factor, made = arms(ws, tiny(ws), "loss.weighting=kendall,fixed", None)
    assert (factor.key, list(made)) == ("loss.weighting", ["kendall", "fixed"])
    assert [plan.recipe.loss.weighting for plan in made.values()] == ["kendall", "fixed"]
    again, _ = arms(ws, tiny(ws, seed=5), "loss.weighting=kendall,fixed", None)
    other, _ = arms(ws, tiny(ws, epochs=3), "loss.weighting=kendall,fixed", None)
    assert factor.name == again.name != other.name


def test_values_may_hold_commas_in_brackets(ws: Workspace) -> None:
    factor, made = arms(ws, tiny(ws), "loss.kendall.clamp=[-2.0, 2.0],[-5, 5]", None)
    assert [plan.recipe.loss.kendall.clamp for plan in made.values()] == [(-2.0, 2.0), (-5.0, 5.0)]
    assert run_name(factor, "[-5, 5]", 3).endswith("-2-5-5-s3")


def test_values_may_be_blocks_with_lists_in_them(ws: Workspace) -> None:
    values = "{form: both_half, clamp: [-2, 2]}", "{form: regression_half, clamp: [-2, 2]}"
    factor, made = arms(ws, tiny(ws), f"loss.kendall={','.join(values)}", None)
    assert tuple(factor.values) == values
    assert [plan.recipe.loss.kendall.form for plan in made.values()] == ["both_half", "regression_half"]


def test_an_edited_summary_is_the_same_training(ws: Workspace) -> None:
    before, _ = arms(ws, tiny(ws), "loss.weighting=kendall,fixed", None)
    recipe_file(ws.root / "tiny.yaml", summary="Said better.")
    after, _ = arms(ws, tiny(ws), "loss.weighting=kendall,fixed", None)
    assert before.name == after.name


def test_the_same_value_under_two_spellings_is_refused(ws: Workspace) -> None:
    with pytest.raises(UsageError, match=r"optimizer.decoder_lr: 0.001 and 1.0e-3 are one and the same"):
        arms(ws, tiny(ws), "optimizer.decoder_lr=0.001,1.0e-3", None)
    with pytest.raises(UsageError, match="given twice"):
        arms(ws, tiny(ws), "loss.weighting=fixed,fixed", None)


@pytest.mark.parametrize("vary", ["loss.weighting", "loss.weighting=", "loss.weighting=fixed", "=a,b", "loss.weighting=a,,b"])
def test_what_is_no_factor_is_refused(ws: Workspace, vary: str) -> None:
    with pytest.raises(UsageError, match="is not KEY=A,B"):
        arms(ws, tiny(ws), vary, None)
    with pytest.raises(UsageError, match=r"nearest are: loss\.weighting"):
        arms(ws, tiny(ws), "loss.wieghting=kendall,fixed", None)


def test_more_than_the_factor_is_refused_with_what_it_is(ws: Workspace) -> None:
    raw = {"schedule": {"kind": "cosine", "per": "step"}, "codename": "Another"}
    other = recipe_file(ws.root / "other.yaml", **raw)
    factor, made = arms(ws, tiny(ws), "schedule.per", str(other))
    assert factor.values == {"recipe": "epoch", "against": "step"} and len(made) == 2
    both = recipe_file(ws.root / "both.yaml", **raw, augmentation={"hflip": 0.0, "color_jitter": None, "random_crop_resize": None})
    with pytest.raises(
        GateRefused, match=r"differ in more than schedule.per: .* other thing\(s\), the first is augmentation.hflip"
    ) as caught:
        arms(ws, tiny(ws), "schedule.per", str(both))
    assert caught.value.exit_code == 3 and any("color_jitter" in line for line in caught.value.details)
    with pytest.raises(GateRefused, match="size of the frames that are judged: 32x48 against 64x96"):
        arms(ws, tiny(ws, size=None), "student.size=[32, 48],[64, 96]", None)


def test_a_recipe_with_variants_is_its_own_control(ws: Workspace) -> None:
    factor, made = arms(ws, tiny(ws, recipe="v2"), None, None)
    assert factor.values == {"a": "kendall", "b": "fixed"} == {arm: plan.recipe.loss.weighting for arm, plan in made.items()}
    with pytest.raises(UsageError, match=r"tiny has no variants of its own \(v2 has\)"):
        arms(ws, tiny(ws), None, None)


@pytest.mark.endurance
def test_an_effect_that_exists_is_found_and_a_stop_costs_nothing(ws: Workspace) -> None:
    vary = "optimizer.decoder_lr=1.0e-7,1.0e-3"
    publish(ws, "many", val=16)
    options = tiny(ws, domain=None, manifest=("many",))
    begun: list[str] = []

    def interrupt(event: TrainEvent) -> None:
        if len(begun) == 3 and event.kind == "step":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="was stopped with 2 of 6 runs done") as caught:
        ablate(ws, options, vary=vary, on_run=lambda run, number, total: begun.append(run), on_event=interrupt)
    assert caught.value.hint.startswith("run the same command again")
    folder = next((ws.build / "ablations").iterdir())
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert len(kept) == 2
    result = ablate(ws, options, vary=vary)
    assert {name: (folder / name).stat().st_mtime_ns for name in kept} == kept
    assert hub(ws).versions() == []
    assert result.seeds == (0, 1, 2) and len(result.runs) == 6 and result.frames == 16
    found = next(one for one in result.effects if one.metric == "rmse")
    assert found.meaning == "1.0e-3 is better" and found.verdict is not None and found.verdict.interval is not None
    assert found.verdict.word == "better" and found.verdict.interval.high < 0 and found.verdict.method == "seeds"
    by_arm = {arm: [run.metrics["rmse"] for run in result.runs if run.arm == arm] for arm in ("1.0e-7", "1.0e-3")}
    assert found.difference == pytest.approx(np.mean(np.subtract(by_arm["1.0e-3"], by_arm["1.0e-7"])))
    assert len(found.frames) == 3 and all(each.method == "batches" and each.difference < 0 for each in found.frames)
    score = result.scores[0]
    assert score.mean == pytest.approx(np.mean(by_arm[score.arm])) and score.sd == pytest.approx(np.std(by_arm[score.arm], ddof=1))
    assert Ablation.model_validate_json((folder / "result.json").read_text()) == result
    (folder / f"{begun[0]}.json").unlink()  # as if it had been killed between training and measuring
    assert ablate(ws, options, vary=vary) == result


def test_a_factor_that_is_not_used_has_an_effect_of_exactly_0(ws: Workspace) -> None:
    # With mean squared errors nothing reads BerHu's threshold.
    command = ["ablate", str(ws.root / "tiny.yaml"), "--domain", "rooms", "--encoder-weights", "none", "--epochs", "1", "--size", "32x48",
               "--device", "cpu", "--allow-unvalidated", "--set", "loss.depth=mse", "--vary", "loss.berhu_threshold=p80,max20",
               "--seeds", "1", "--workspace", str(ws.root), "--json"]  # fmt: skip
    ran = CliRunner().invoke(app, command)
    assert ran.exit_code == 0, ran.output
    for one in json.loads(ran.stdout)["effects"]:
        assert one["difference"] == 0.0 and one["meaning"] == "too little to say: fewer than 3 seeds"
        assert all(each["difference"] == 0.0 for each in one["frames"])


def test_an_arm_that_diverges_is_a_result_and_the_others_go_on(ws: Workspace) -> None:
    options = tiny(ws, settings=("loss.weighting=fixed",), max_bad_batches=2, epochs=1)
    heard: list[TrainEvent] = []
    # The first arm diverges, so that everything else comes after it.
    result = ablate(ws, options, vary="loss.weights.depth=1e39,1", seeds=1, on_event=heard.append)
    assert [(run.arm, run.diverged is not None, "rmse" in run.metrics) for run in result.runs] == [
        ("1e39", True, False),
        ("1", False, True),
    ]
    assert "2 batches in a row were not finite" in str(result.runs[0].diverged) and result.frames == 4
    assert any("the ablation goes on" in event.message for event in heard)
    for one in result.effects:
        assert (one.difference, one.verdict, one.frames) == (None, None, ()) and one.meaning == "1e39 diverged in 1 of 1 seed(s)"
    heard.clear()
    assert ablate(ws, options, vary="loss.weights.depth=1e39,1", seeds=1, on_event=heard.append) == result
    assert [event.kind for event in heard] == ["note"], "of the few frames; nothing was trained"
    folder = next((ws.build / "ablations").iterdir())
    assert Ablation.model_validate_json((folder / "result.json").read_text()) == result


@pytest.mark.parametrize("kind", [Diverged, VortexError])
def test_a_divergence_in_a_worker_is_one_for_the_driver_and_nothing_else_is(tmp_path: Path, kind: type[VortexError]) -> None:
    Journal(tmp_path / "events.jsonl").write(failure(kind("it went wrong", "look", ("first", "second"))))
    (told,) = Journal(tmp_path / "events.jsonl").read()
    error = raised(told)
    assert type(error) is kind and (error.message, error.hint, error.details) == ("it went wrong", "look", ("first", "second"))


def test_too_few_validation_frames_are_refused_before_anything_is_trained(ws: Workspace) -> None:
    publish(ws, "single", val=1)
    with pytest.raises(VortexError, match=r"single: 1 validation frame\(s\), and an ablation needs at least 2") as caught:
        ablate(ws, tiny(ws, domain=None, manifest=("single",)), vary="loss.weighting=kendall,fixed")
    assert "--manifest" in caught.value.hint and not (ws.build / "runs").exists()


def test_too_few_validation_frames_are_told_of_before_anything_is_trained(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[TrainEvent] = []

    def interrupted(*_: object) -> None:
        raise Interrupted("stopped", "go on")

    monkeypatch.setattr("pipelines.experiments.ablate.run.carry_out", interrupted)
    with pytest.raises(Interrupted):
        ablate(ws, tiny(ws), vary="loss.weighting=kendall,fixed", on_event=heard.append)
    assert [event.message for event in heard] == ["4 validation frames will be too little to say anything: 10 independent ones are needed"]


ENOUGH = judge_frames(
    *(FrameErrors(tuple(f"f{n}" for n in range(40)), {SQUARED: np.full(40, value), COUNT: np.ones(40)}, (4, 4)) for value in (1.0, 2.0))
)
"""Frames that are enough to say something."""


def scored(arm: str, values: list[float], folder: Path, metric: str = "miou", frames: int = 30) -> list[ArmRun]:
    """Runs of an arm that scored these values, one a seed, on frames of the same; NaN is a training that diverged."""
    runs = []
    for seed, value in enumerate(values):
        if not np.isfinite(value):
            runs.append(ArmRun(arm=arm, seed=seed, run="", diverged="far away"))
            continue
        path = folder / f"{arm}{seed}.npz"
        FrameErrors(tuple(f"f{n}" for n in range(frames)), _sums(value, frames), (4, 4)).save(path)
        runs.append(ArmRun(arm=arm, seed=seed, run="", metrics={metric: float(value)}, frames=frames, errors=path))
    return runs


def _sums(value: float, frames: int) -> dict[str, np.ndarray]:
    """Every frame has this RMSE, and two classes of this IoU."""
    hits = 2 * value / (1 + value)
    confusion = np.zeros((frames, 6, 6))
    confusion[:, :2, :2] = 50 * np.array([[hits, 1 - hits], [1 - hits, hits]])
    return {SQUARED: np.full(frames, 16 * value**2), COUNT: np.full(frames, 16.0), CONFUSION: confusion}


def test_frames_that_are_too_few_cost_the_verdict_and_not_the_trainings(tmp_path: Path) -> None:
    factor = Factor("ema", {"a": "a", "b": "b"}, "tiny-ema-1", "tiny")
    values = {"a": [2.0, 2.1, 2.0], "b": [1.0, 1.1, 1.0]}
    for frames, meaning in (
        (30, "b is better"),
        (9, "too little to say: 9 frames are worth 9.0 independent ones, 10 are needed"),
        (2, "too little to say: 2 frames are worth 2.0 independent ones, 10 are needed"),
    ):
        (found,) = judge(factor, [run for arm in "ab" for run in scored(arm, values[arm], tmp_path, "rmse", frames)]).effects
        assert found.meaning == meaning and len(found.frames) == 3 and found.without_frames is None
        assert found.difference == pytest.approx(-1.0) and (found.frames[0].interval is None) == (frames == 2)
    runs = [run.model_copy(update={"errors": None}) for arm in "ab" for run in scored(arm, values[arm], tmp_path, "rmse")]
    (found,) = judge(factor, runs).effects
    assert found.frames == () and found.without_frames == ": its record names no per-frame errors"
    assert found.meaning.startswith("too little to say: there are no errors of single frames")


@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_covers_the_truth_as_often_as_it_says(seeds: int) -> None:
    # Seeds move both arms together, by ten times what is left between them: only pairing can see the effect.
    random, truth, rounds = np.random.default_rng(seeds), 0.02, 2000
    covered = found = 0
    for _ in range(rounds):
        common = random.normal(0.5, 0.1, seeds)
        base, arm = common + random.normal(0, 0.01, seeds), common + truth + random.normal(0, 0.01, seeds)
        verdict = judge_seeds(arm.tolist(), base.tolist(), "miou", ENOUGH)
        assert verdict.interval is not None
        covered += verdict.interval.low <= truth <= verdict.interval.high
        found += verdict.word == "better"
    assert covered / rounds == pytest.approx(0.95, abs=0.02)
    assert found / rounds > 0.2  # unpaired, with an sd of 0.1 a seed, it would be the 2.5 % of chance


@pytest.mark.parametrize("arms", [2, 5])
def test_many_arms_are_not_called_different_more_often_than_two(arms: int) -> None:
    # No arm differs; all share the base, as in an ablation. At 95 % each, five arms of five seeds say so in every seventh ablation.
    random, rounds, seeds = np.random.default_rng(arms), 1000, 5
    wrong = 0
    for _ in range(rounds):
        base, *others = random.normal(0.5, 0.01, (arms, seeds)).tolist()
        verdicts = [judge_seeds(values, base, "miou", ENOUGH, comparisons=arms - 1) for values in others]
        assert all(verdict.interval and verdict.interval.level == level_of_each(arms - 1) for verdict in verdicts)
        wrong += any(verdict.word in ("better", "worse") for verdict in verdicts)
    assert wrong / rounds <= 0.065


def test_the_level_of_an_ablation_counts_its_arms(tmp_path: Path) -> None:
    factor = Factor("ema", {arm: arm for arm in "abc"}, "tiny-ema-1", "tiny")
    made = judge(factor, [run for arm in "abc" for run in scored(arm, [0.5, 0.51, 0.52], tmp_path)])
    assert made.level == pytest.approx(0.975)
    assert [one.verdict.interval.level for one in made.effects if one.verdict and one.verdict.interval] == [made.level, made.level]
    assert [one.meaning for one in made.effects] == [f"{arm} is equivalent within 0.51 %" for arm in "bc"]


def test_an_arm_with_a_seed_that_diverged_has_no_mean_and_no_effect(tmp_path: Path) -> None:
    factor = Factor("ema", {arm: arm for arm in "abc"}, "tiny-ema-1", "tiny")
    values = {"a": [0.5, 0.51, 0.5], "b": [0.9, np.nan, 0.9], "c": [0.6, 0.61, 0.6]}
    made = judge(factor, [run for arm in "abc" for run in scored(arm, values[arm], tmp_path)])
    assert [(one.arm, one.mean is None, one.diverged) for one in made.scores] == [("a", False, 0), ("b", True, 1), ("c", False, 0)]
    assert [one.meaning for one in made.effects] == ["b diverged in 1 of 3 seed(s)", "c is better"]
    assert made.effects[0].difference is None and made.effects[0].verdict is None
    lost = judge(factor, [run for arm in "abc" for run in scored(arm, [np.nan], tmp_path)])
    assert lost.effects[0].meaning == "a diverged in 1 of 1 seed(s) and b diverged in 1 of 1 seed(s)" and lost.frames == 0


def test_one_seed_says_nothing(tmp_path: Path) -> None:
    found = effect("rmse", scored("a", [2.0], tmp_path, "rmse"), scored("b", [1.0], tmp_path, "rmse"))
    assert (found.difference, found.meaning) == (pytest.approx(-1.0), "too little to say: fewer than 3 seeds")
    assert [verdict.word for verdict in found.frames] == ["better"]


def test_runs_have_names_of_their_own() -> None:
    factor = Factor("ema", {"null": "null", "{decay: 0.99}": "{decay: 0.99}"}, "tiny-ema-1", "tiny")
    assert [run_name(factor, arm, 0) for arm in factor.values] == ["tiny-ema-1-1-null-s0", "tiny-ema-1-2-decay-0-99-s0"]
