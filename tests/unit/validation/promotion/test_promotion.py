"""The stages' lists over the registered gates: what each stage asks for, and which evidence that takes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import get_args, get_type_hints

import pytest
from pydantic import ValidationError

from core.errors import VortexError
from core.stages import STAGES
from validation.checks import Check
from validation.policies import load_policies
from validation.promotion import gates
from validation.promotion.evidence import (
    Baselines,
    Compare,
    Comparison,
    DeviceInput,
    Evidence,
    Exam,
    ExamLeaks,
    ExportParity,
    Incumbent,
    Measurement,
    Quarantines,
    ShippedFile,
    TrainedClasses,
    TrainingData,
    Word,
)
from validation.promotion.gates import GATES, judge, kinds_read
from validation.promotion.gates.not_worse import NotWorse
from validation.promotion.policies import Place, PromotionPolicy

POLICY = load_policies().promotion


NOT_WORSE = ["not-worse-rmse", "not-worse-rmse_near", "not-worse-iou_glass"]


def stands(word: Word, share: float = 1.0) -> Compare:
    return lambda metric, margin: Comparison(word, word, share)


GOOD: Evidence = {
    Quarantines: Quarantines(("v10",), ()),
    TrainingData: TrainingData(("v10",), (("v10", "hall", "passed"),)),
    Exam: Exam("corridor", (("hall@abc", 40, True),)),
    ExamLeaks: ExamLeaks(("v10",), (), {}),
    Measurement: Measurement("corridor · d455", {"rmse": 0.4, "mae": 0.3, "abs_rel": 0.1, "delta1": 0.9}, 40, 12.0),
    Incumbent: Incumbent("v9", stands("better")),
    Baselines: None,
    TrainedClasses: TrainedClasses(("glass",), {"glass": 12}),
    ExportParity: ExportParity(1.5e-5, 1.0, 10, "rooms", False),
    DeviceInput: DeviceInput((240, 320), "tensorrt"),
    ShippedFile: ShippedFile(
        "fp16 for jetson", True, (("rmse", "corridor · d455", Comparison("equivalent", "alike")),), builds=(True, "taken")
    ),
}


def refused(stage: str, evidence: Evidence) -> list[str]:
    return [check.name for rule in POLICY.stage(stage) for check in judge(rule, evidence) if not check.passed]


@pytest.mark.parametrize(
    ("change", "candidate", "staging", "production"),
    [
        ({}, [], [], []),
        ({Quarantines: Quarantines(("v10",), ("v10 is",))}, ["not-quarantined"], ["not-quarantined"], ["not-quarantined"]),
        ({TrainingData: TrainingData(("v10",), (), ("v10",))}, ["data-passed"], ["data-passed"], ["data-passed"]),
        ({Exam: Exam("corridor", (("hall@abc", 40, None),))}, ["exam-passed"], ["exam-passed"], ["exam-passed"]),
        ({Exam: Exam("corridor", (("hall@abc", 40, True),), earlier={"attic@9": 7})}, [], [], ["exam-kept"]),
        ({ExamLeaks: ExamLeaks(("v10",), ("seen",), {})}, ["no-leak"], ["no-leak"], ["no-leak"]),
        (
            {Measurement: Measurement("corridor · d455", None)},
            ["metrics-present"],
            ["metrics-present"],
            ["metrics-present", "independent-frames", *NOT_WORSE],
        ),
        ({ExportParity: None}, [], ["onnx-parity"], ["onnx-parity"]),
        ({DeviceInput: DeviceInput((120, 160), "tensorrt")}, [], ["device-size"], ["device-size"]),
        ({TrainedClasses: TrainedClasses(("glass",), {"glass": 0})}, [], [], ["classes-trained"]),
        ({Incumbent: Incumbent("v9", stands("worse"))}, [], [], NOT_WORSE),
        ({Incumbent: Incumbent("v9", stands("open"))}, [], [], NOT_WORSE),
        ({Incumbent: Incumbent("v9", stands("worse", share=0.004))}, [], [], ["not-worse-rmse"]),
        ({Incumbent: Incumbent("v9", stands("equivalent"))}, [], [], []),
        ({Incumbent: None, Baselines: Baselines({"nothing": stands("better")})}, [], [], []),
        ({Incumbent: None, Baselines: Baselines({"nothing": stands("equivalent")})}, [], [], ["better-than-nothing-rmse"]),
    ],
)
def test_each_shortfall_is_refused_where_it_is_asked_for(
    change: dict[type, object], candidate: list[str], staging: list[str], production: list[str]
) -> None:
    assert [refused(stage, {**GOOD, **change}) for stage in STAGES] == [candidate, staging, production]


def test_a_stage_needs_the_evidence_that_its_own_rules_read_and_no_other() -> None:
    first = {Quarantines, TrainingData, Exam, ExamLeaks, Measurement}
    assert kinds_read(POLICY.stage("candidate")) == first
    assert kinds_read(POLICY.stage("staging")) == first | {ExportParity, ShippedFile, DeviceInput}
    assert kinds_read(POLICY.stage("production")) == set(GOOD)
    assert refused("candidate", {kind: GOOD[kind] for kind in first}) == []
    with pytest.raises(KeyError, match="ExportParity"):
        refused("staging", {kind: GOOD[kind] for kind in first})


def test_every_gate_file_is_registered_and_its_judge_takes_the_kinds_that_it_names() -> None:
    files = {importlib.import_module(f"{gates.__name__}.{module.name}") for module in pkgutil.iter_modules(gates.__path__)}
    assert {file.GATE.rule for file in files} == set(GATES)
    for gate in GATES.values():
        hints = list(get_type_hints(gate.judge).values())
        # A record that may be absent is written `Record | None`.
        records = tuple(next(iter(get_args(hint)), hint) for hint in hints[1:-1])
        assert (hints[0], records) == (gate.rule, gate.reads) and hints[-1] in (Check, Iterable[Check])


def test_an_unknown_stage_names_the_known_ones() -> None:
    with pytest.raises(VortexError, match="candidate, staging, production"):
        POLICY.stage("prod")


def test_a_section_asks_more_of_the_channels_that_it_names_and_replaces_the_same_question() -> None:
    near = {"check": "not-worse", "metric": "rmse_near", "margin": 0.02}
    special = {"device": "orin", "domain": "corridor", "production": [near]}
    policy = PromotionPolicy.model_validate({**POLICY.model_dump(), "also": [special]})
    general, orin = policy.stage("production"), policy.stage("production", Place("orin", "tensorrt", "corridor"))
    assert len(orin) == len(general)
    changed = [(new.margin, old.margin) for new, old in zip(orin, general, strict=True) if new != old and isinstance(new, NotWorse)]  # type: ignore[union-attr]
    assert changed == [(0.02, 0.05)]
    assert policy.stage("production", Place("orin", "tensorrt", "rooms")) == general
    for section, message in (({"production": [near]}, "of which channels"), ({"device": "orin"}, "asks nothing")):
        with pytest.raises(ValidationError, match=message):
            PromotionPolicy.model_validate({**POLICY.model_dump(), "also": [section]})


def test_what_is_shipped_asks_a_jetson_for_a_report_and_this_machine_not() -> None:
    def checks(runtime: str) -> set[str]:
        return {rule.check for rule in POLICY.stage("production", Place("any", runtime, "rooms"))}  # type: ignore[attr-defined]

    assert checks("tensorrt") - checks("onnxruntime") == {"device-bench"}
