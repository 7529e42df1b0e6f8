"""The stages' lists over the registered gates: what each stage asks for, and which evidence that takes."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from typing import get_args, get_type_hints

import pytest

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
    TrainedClasses,
    TrainingData,
    Word,
)
from validation.promotion.gates import GATES, judge, kinds_read

POLICY = load_policies().promotion


def stands(word: Word) -> Compare:
    return lambda metric, margin: Comparison(word, word)


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
        ({ExamLeaks: ExamLeaks(("v10",), ("seen",), {})}, ["no-leak"], ["no-leak"], ["no-leak"]),
        (
            {Measurement: Measurement("corridor · d455", None)},
            ["metrics-present"],
            ["metrics-present"],
            ["metrics-present", "independent-frames", "not-worse-rmse"],
        ),
        ({ExportParity: None}, [], ["onnx-parity"], ["onnx-parity"]),
        ({DeviceInput: DeviceInput((120, 160), "tensorrt")}, [], ["device-size"], ["device-size"]),
        ({TrainedClasses: TrainedClasses(("glass",), {"glass": 0})}, [], [], ["classes-trained"]),
        ({Incumbent: Incumbent("v9", stands("worse"))}, [], [], ["not-worse-rmse"]),
        ({Incumbent: Incumbent("v9", stands("open"))}, [], [], ["not-worse-rmse"]),
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
    assert kinds_read(POLICY.stage("staging")) == first | {ExportParity, DeviceInput}
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
