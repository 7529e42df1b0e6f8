"""The promotion gates' judgement, the probability of an all-ignore batch, and the policy file that both are read from."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import VortexError
from tests.unit.validation.frame_sets import FrameSet
from validation.gates import PromotionEvidence, all_ignore_probability, data_checks, judge_promotion
from validation.manifest import Frame
from validation.policies import FILE, STAGES, Policies, load_policies
from validation.questions import limits, number

POLICIES = load_policies()
METRICS = {"rmse": 0.4, "mae": 0.3, "abs_rel": 0.1, "delta1": 0.9}
GOOD = PromotionEvidence(
    data_validated=True,
    metrics=METRICS,
    measured_on="corridor/d455",
    incumbent={"rmse": 0.5},
    incumbent_version="v9",
    onnx_parity_m=1.5e-5,
    class_agreement=1.0,
    size=(240, 320),
)


def refused(stage: str, evidence: PromotionEvidence, policies: Policies = POLICIES) -> list[str]:
    return [check.name for check in judge_promotion(stage, evidence, policies) if not check.passed]


@pytest.mark.parametrize("stage", STAGES)
def test_good_evidence_passes_every_stage(stage: str) -> None:
    assert refused(stage, GOOD) == []


@pytest.mark.parametrize(
    ("change", "candidate", "staging", "production"),
    [
        ({"data_validated": False}, ["data-passed"], ["data-passed"], ["data-passed"]),
        ({"data_validated": None}, ["data-passed"], ["data-passed"], ["data-passed"]),
        ({"allowed_unvalidated": True}, ["data-passed"], ["data-passed"], ["data-passed"]),
        ({"metrics": None}, ["metrics-present"], ["metrics-present"], ["metrics-present", "not-worse-rmse"]),
        ({"metrics": {"rmse": 0.4}}, ["metrics-present"], ["metrics-present"], ["metrics-present"]),
        ({"metrics": METRICS | {"mae": math.inf}}, ["metrics-present"], ["metrics-present"], ["metrics-present"]),
        ({"metrics": METRICS | {"rmse": math.nan}}, ["metrics-present"], ["metrics-present"], ["metrics-present", "not-worse-rmse"]),
        ({"onnx_parity_m": None}, [], ["onnx-parity"], ["onnx-parity"]),
        ({"onnx_parity_m": 2e-4}, [], ["onnx-parity"], ["onnx-parity"]),
        ({"onnx_parity_m": math.nan}, [], ["onnx-parity"], ["onnx-parity"]),
        ({"class_agreement": 0.9}, [], ["onnx-parity"], ["onnx-parity"]),
        ({"device_runtime": "tensorrt", "size": (120, 160)}, [], ["device-size"], ["device-size"]),
        ({"device_runtime": "onnxruntime", "size": (120, 160)}, [], [], []),
        ({"incumbent": {"rmse": 0.39}}, [], [], ["not-worse-rmse"]),
        ({"incumbent": {"rmse": 0.4}}, [], [], []),
        ({"incumbent": None}, [], [], ["not-worse-rmse"]),
        ({"incumbent": {"rmse": math.nan}}, [], [], ["not-worse-rmse"]),
        ({"incumbent": None, "incumbent_version": None}, [], [], []),
    ],
)
def test_each_shortfall_is_refused_where_it_is_asked_for(
    change: dict[str, object], candidate: list[str], staging: list[str], production: list[str]
) -> None:
    evidence = replace(GOOD, **change)  # type: ignore[arg-type]
    assert [refused(stage, evidence) for stage in STAGES] == [candidate, staging, production]


def policies(tmp_path: Path, old: str, new: str) -> Path:
    path = tmp_path / "policies.yaml"
    text = FILE.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("rule", "ours", "theirs", "passes"),
    [
        ("metric: rmse, direction: lower, tolerance: 0.1", 0.54, 0.5, True),
        ("metric: rmse, direction: lower, tolerance: 0.1", 0.56, 0.5, False),
        ("metric: rmse, direction: higher, tolerance: 0.0", 0.7, 0.6, True),
        ("metric: rmse, direction: higher, tolerance: 0.0", 0.5, 0.6, False),
        ("metric: rmse, direction: higher, tolerance: 0.2", 0.5, 0.6, True),
    ],
)
def test_direction_and_tolerance(tmp_path: Path, rule: str, ours: float, theirs: float, passes: bool) -> None:
    changed = load_policies(policies(tmp_path, "metric: rmse, direction: lower, tolerance: 0.0", rule))
    evidence = replace(GOOD, metrics=METRICS | {"rmse": ours}, incumbent={"rmse": theirs})
    assert (refused("production", evidence, changed) == []) is passes


def test_a_check_names_the_metric_the_place_and_both_values() -> None:
    check = judge_promotion("production", replace(GOOD, incumbent={"rmse": 0.3}), POLICIES)[-1]
    assert check.asked == "rmse (lower is better) not worse than v9 on corridor/d455"
    assert check.found == "0.400 against 0.300"


def test_an_unknown_stage_or_kind_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="candidate, staging, production"):
        judge_promotion("prod", GOOD, POLICIES)
    with pytest.raises(VortexError, match="corridor, indoor, robot_home, room"):
        data_checks(tmp_path, [], "moon", POLICIES)


def frames(labelled: int, total: int) -> list[Frame]:
    bare = Frame(id="a", domain="d", split="train", sequence="s", camera="c", rgb="a.png")
    return [replace(bare, segmentation="a.png", supervision="full")] * labelled + [bare] * (total - labelled)


def test_probability_of_an_all_ignore_batch() -> None:
    assert all_ignore_probability(frames(6, 100), 16) == pytest.approx(0.3716, abs=1e-4)
    assert all_ignore_probability(frames(100, 100), 16) == 0.0
    assert all_ignore_probability(frames(0, 100), 16) == 1.0
    assert all_ignore_probability([], 16) == 1.0


def test_labelled_frames_are_counted_by_their_pixels(tmp_path: Path) -> None:
    judgement = data_checks(tmp_path, FrameSet(tmp_path, labels="partial").build().frames, "room", POLICIES)
    assert (judgement.frames, judgement.labelled, judgement.train_labelled) == (12, 3, 0.25)


def test_every_fault_of_the_policy_file_is_listed(tmp_path: Path) -> None:
    path = policies(tmp_path, "every: [0.15, 1.0]", "evry: [0.15, 1.0]")
    path.write_text(path.read_text().replace("most_share: 0.98", "most_share: 2").replace("direction: lower", "direction: down"))
    with pytest.raises(VortexError, match="3 fault") as error:
        load_policies(path)
    details = "\n".join(error.value.details)
    assert "data.kinds.indoor.depth.valid.evry" in details
    assert "data.most_share" in details
    assert "direction" in details


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("every: [0.15, 1.0]", "every: [1.0, 0.15]", "is not a range"),
        ("every: [0.15, 1.0]", "every: [.nan, 1.0]", "is not a range"),
        ("every: [0.15, 1.0]", "every: [0.15, 1.0], every: [0, 1]", "given twice"),
        ("data:", "data: [", "not readable as YAML"),
    ],
)
def test_a_bad_policy_file_is_one_clear_error(tmp_path: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(VortexError) as error:
        load_policies(policies(tmp_path, old, new))
    assert says in error.value.message + "".join(error.value.details)


def test_a_missing_policy_file_says_how_to_restore_it(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="does not exist"):
        load_policies(tmp_path / "policies.yaml")


def test_the_digest_follows_what_is_asked_and_not_how_it_is_written(tmp_path: Path) -> None:
    shutil.copy(FILE, tmp_path / "same.yaml")
    (tmp_path / "same.yaml").write_text("# a remark\n" + FILE.read_text())
    assert load_policies(tmp_path / "same.yaml").digest == POLICIES.digest
    stricter = load_policies(policies(tmp_path, "tolerance: 0.0", "tolerance: 0.5"))
    assert stricter.digest != POLICIES.digest
    assert stricter.data.digest == POLICIES.data.digest
    assert load_policies(policies(tmp_path, "most_share: 0.98", "most_share: 0.9")).data.digest != POLICIES.data.digest


def test_large_numbers_are_shown_in_full_and_small_ones_in_three_digits() -> None:
    assert limits((0.0, 1e6), "") == "0–1,000,000"
    assert (number(1629.6, "px"), number(0.1234, "m"), number(0.5, "%")) == ("1,630 px", "0.123 m", "50 %")
