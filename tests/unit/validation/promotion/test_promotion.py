"""The stages' lists over the registered gates: what each stage asks for, and which evidence that takes."""

from __future__ import annotations

import importlib
import pkgutil
from typing import get_args, get_type_hints

import pytest

from core.errors import VortexError
from core.stages import STAGES
from validation.checks import Check
from validation.policies import load_policies
from validation.promotion import gates
from validation.promotion.evidence import DeviceInput, Evidence, ExportParity, Incumbent, Measurement, TrainingData
from validation.promotion.gates import GATES, judge, kinds_read

POLICY = load_policies().promotion
GOOD: Evidence = {
    TrainingData: TrainingData("passed"),
    Measurement: Measurement("corridor · d455", {"rmse": 0.4, "mae": 0.3, "abs_rel": 0.1, "delta1": 0.9}),
    Incumbent: Incumbent("v9", {"rmse": 0.5}),
    ExportParity: ExportParity(1.5e-5, 1.0),
    DeviceInput: DeviceInput((240, 320), "tensorrt"),
}


def refused(stage: str, evidence: Evidence) -> list[str]:
    return [check.name for check in (judge(rule, evidence) for rule in POLICY.stage(stage)) if not check.passed]


@pytest.mark.parametrize(
    ("change", "candidate", "staging", "production"),
    [
        ({}, [], [], []),
        ({TrainingData: TrainingData("failed")}, ["data-passed"], ["data-passed"], ["data-passed"]),
        (
            {Measurement: Measurement("corridor · d455", None)},
            ["metrics-present"],
            ["metrics-present"],
            ["metrics-present", "not-worse-rmse"],
        ),
        ({ExportParity: None}, [], ["onnx-parity"], ["onnx-parity"]),
        ({DeviceInput: DeviceInput((120, 160), "tensorrt")}, [], ["device-size"], ["device-size"]),
        ({Incumbent: Incumbent("v9", {"rmse": 0.39})}, [], [], ["not-worse-rmse"]),
        ({Incumbent: None}, [], [], []),
    ],
)
def test_each_shortfall_is_refused_where_it_is_asked_for(
    change: dict[type, object], candidate: list[str], staging: list[str], production: list[str]
) -> None:
    assert [refused(stage, {**GOOD, **change}) for stage in STAGES] == [candidate, staging, production]


def test_a_stage_needs_the_evidence_that_its_own_rules_read_and_no_other() -> None:
    assert kinds_read(POLICY.stage("candidate")) == {TrainingData, Measurement}
    assert kinds_read(POLICY.stage("staging")) == {TrainingData, Measurement, ExportParity, DeviceInput}
    assert kinds_read(POLICY.stage("production")) == set(GOOD)
    assert refused("candidate", {kind: GOOD[kind] for kind in (TrainingData, Measurement)}) == []
    with pytest.raises(KeyError, match="ExportParity"):
        refused("staging", {kind: GOOD[kind] for kind in (TrainingData, Measurement)})


def test_every_gate_file_is_registered_and_its_judge_takes_the_kinds_that_it_names() -> None:
    files = {importlib.import_module(f"{gates.__name__}.{module.name}") for module in pkgutil.iter_modules(gates.__path__)}
    assert {file.GATE.rule for file in files} == set(GATES)
    for gate in GATES.values():
        hints = list(get_type_hints(gate.judge).values())
        # A record that may be absent is written `Record | None`.
        records = tuple(next(iter(get_args(hint)), hint) for hint in hints[1:-1])
        assert (hints[0], records, hints[-1]) == (gate.rule, gate.reads, Check)


def test_an_unknown_stage_names_the_known_ones() -> None:
    with pytest.raises(VortexError, match="candidate, staging, production"):
        POLICY.stage("prod")
