from __future__ import annotations

from validation.promotion.evidence import Comparison, ShippedFile
from validation.promotion.gate import Undecided
from validation.promotion.gates.task_parity import TaskParity, judge

RULE = TaskParity(check="task-parity", margin=0.01, iou=0.005)


def test_each_metric_is_a_line_that_names_it():
    words = (("rmse", "equivalent"), ("rmse_near", "worse"), ("iou_glass", "open"), ("iou_floor", "better"))
    judgements = tuple((metric, "hall, d455", Comparison(word, f"{word}: numbers")) for metric, word in words)  # type: ignore[arg-type]
    checks = list(judge(RULE, ShippedFile("int8 for jetson", True, judgements)))
    assert [(check.name, check.passed, isinstance(check, Undecided)) for check in checks] == [
        ("task-parity-rmse", True, False),
        ("task-parity-rmse_near", False, False),
        ("task-parity-iou_glass", False, True),
        ("task-parity-iou_floor", True, False),
    ]
    assert checks[1].asked == "the int8 for jetson file: within 1.0% of the trained network on the exam, hall, d455"
    assert checks[1].found == "worse: numbers"


def test_what_was_not_measured_is_a_no_and_fp32_is_not_asked():
    assert list(judge(RULE, ShippedFile("fp32 for host", False))) == []
    assert [(check.passed, check.found) for check in judge(RULE, None)] == [(False, "not exported")]
    unmeasured = ShippedFile("fp16 for jetson", True, missing="its domain has no exam here")
    assert [(check.passed, check.found) for check in judge(RULE, unmeasured)] == [(False, "not measured: its domain has no exam here")]
