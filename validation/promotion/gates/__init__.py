"""The promotion gates: one file each, and one line each below. A gate reads only the kinds of evidence that it names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from validation.checks import Check
from validation.promotion.evidence import Evidence
from validation.promotion.gate import Gate
from validation.promotion.gates import (
    better_than_nothing,
    classes_trained,
    closed_loop,
    data_passed,
    device_bench,
    device_size,
    engine_builds,
    exam_kept,
    exam_passed,
    independent_frames,
    int8_speed,
    metrics_present,
    no_leak,
    not_quarantined,
    not_worse,
    onnx_parity,
    shadow,
    task_parity,
)
from validation.strict import Strict

GATES: Final[Mapping[type[Strict], Gate]] = {
    gate.rule: gate
    for gate in (
        not_quarantined.GATE,
        data_passed.GATE,
        exam_passed.GATE,
        exam_kept.GATE,
        no_leak.GATE,
        metrics_present.GATE,
        onnx_parity.GATE,
        task_parity.GATE,
        engine_builds.GATE,
        int8_speed.GATE,
        device_size.GATE,
        classes_trained.GATE,
        independent_frames.GATE,
        better_than_nothing.GATE,
        not_worse.GATE,
        closed_loop.GATE,
        device_bench.GATE,
        shadow.GATE,
    )
}


def kinds_read(rules: Iterable[Strict]) -> frozenset[type]:
    """The kinds of evidence that these rules are judged by."""
    return frozenset(kind for rule in rules for kind in GATES[type(rule)].reads)


def judge(rule: Strict, evidence: Evidence) -> tuple[Check, ...]:
    """Judge the evidence by one rule. Raises KeyError for a kind that the rule's gate reads and nobody gathered."""
    gate = GATES[type(rule)]
    answer = gate.judge(rule, *(evidence[kind] for kind in gate.reads))
    return (answer,) if isinstance(answer, Check) else tuple(answer)
