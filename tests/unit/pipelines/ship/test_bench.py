"""A version is timed with what its answers are worth, and the report is evidence about that very file."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from core.errors import UsageError, VortexError
from pipelines.hub.evidence import add, items
from pipelines.hub.exports import HOST, INT8_HOST, PARITY_DOMAIN, TASK, Form, TaskResult, newest, speed_checks, task_rules
from pipelines.hub.open import hub
from pipelines.predict.engines import RUNTIMES
from pipelines.ship.bench import METRICS, bench
from pipelines.ship.bundle import export_for
from pipelines.ship.export.run import export, export_path
from registry.channels import Channel
from registry.stages import StageJudgement, record_promotion
from tests.unit.pipelines.ship.conftest import SIZE, Arena, failed
from validation.evidence.reports import parse
from validation.promotion.evidence import Comparison

ARM = Channel("arm", "rooms")


def test_a_file_is_timed_measured_and_recorded(arena: Arena):
    name = arena.register()
    exported = export(arena.ws, name)
    network = bench(arena.ws, name, runtime="torch", form=HOST, frames=3)
    file = bench(arena.ws, name, form=HOST, frames=3, record=True)
    for measured in (network, file):
        assert 0 < measured.compute.p50 <= (measured.compute.p90 or 0) <= measured.compute.p99
        assert measured.end_to_end is not None and measured.frames == 3 and measured.pictures == "rooms"
        assert [place.partition(",")[0] for place in measured.task] == ["rooms"]
    (ours,), (theirs,) = file.task.values(), network.task.values()
    assert ours.keys() == theirs.keys() <= set(METRICS) and ours["rmse"] == pytest.approx(theirs["rmse"], abs=1e-4)
    assert network.over_eager is None and file.over_eager is not None and 0.1 < file.over_eager < 100
    assert network.report is None and file.recorded and file.report is not None and file.report.export_sha256 == exported.artifact.sha256
    (item,) = items(arena.ws, hub(arena.ws), hub(arena.ws).get(name))
    assert item.fault == "" and item.report == file.report and item.record.kind == "device-bench"
    assert parse("device-bench", json.dumps(file.report.model_dump(mode="json", exclude_none=True)).encode(), "x") == file.report


def test_what_cannot_be_timed_says_why(arena: Arena):
    name = arena.register()
    for runtime, form, record, words in (
        ("tvm", HOST, False, "unknown runtime 'tvm', allowed: torch, onnx, openvino, tensorrt"),
        ("torch", HOST, True, "--record keeps a report about a file"),
    ):
        with pytest.raises(UsageError, match=words):
            bench(arena.ws, name, runtime=runtime, form=form, record=record)
    with pytest.raises(VortexError, match=f"{name} has no ONNX export of the form int8 for host"):
        bench(arena.ws, name, form=Form("int8"))


@pytest.mark.parametrize("runtime", [runtime for runtime in RUNTIMES if runtime != "torch"])
def test_a_file_that_names_others_is_run_by_no_runtime(arena: Arena, runtime: str):
    """What is recorded is its own digest, not that of the files that it names, which every library would read beside it."""
    pytest.importorskip("openvino" if runtime == "openvino" else "onnxruntime")
    name = arena.register()
    registry = hub(arena.ws)
    path = export_path(arena.ws, registry.get(name))
    path.parent.mkdir(parents=True)
    weight = onnx.numpy_helper.from_array(np.ones(4, np.float32), "weight")
    output = onnx.helper.make_tensor_value_info("depth", onnx.TensorProto.FLOAT, [4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["weight"], ["depth"])], "g", [], [output], [weight])
    onnx.save_model(onnx.helper.make_model(graph), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    artifact = registry.store.log_artifact(registry.get(name).run_id, path, "exports")
    arena.export(name, artifact=artifact)
    with pytest.raises(VortexError, match="names other files, which nobody has verified"):
        bench(arena.ws, name, runtime=runtime, form=HOST, frames=1)


def test_an_int8_file_is_sent_to_a_host_only_where_the_newest_report_says_that_it_pays(arena: Arena):
    arena.configure('[devices.arm]\nprecision = "int8"\n')
    name, (rule,) = arena.register(), task_rules()
    exam = tuple(exam_set.name for exam_set in arena.sets)
    task = TaskResult("rooms", exam, rule.margin, rule.iou, rule.least, (("rmse", "rooms", Comparison("equivalent", "0.5")),))
    detail = {PARITY_DOMAIN: "rooms", TASK: task.as_json()}
    arena.export(name, precision="int8", detail=detail)
    registry = hub(arena.ws)
    version = registry.get(name)
    exported = newest(version, INT8_HOST)
    assert exported is not None

    def reported(over_eager: float, day: int, **changes: object) -> str:
        report = {
            **{"format": 1, "kind": "device-bench", "checkpoint_sha256": version.checkpoint.sha256, "made_by": "vortex bench"},
            **{"export_sha256": exported.artifact.sha256, "device": "host (a CPU)", "runtime": "onnxruntime 1.31", "precision": "int8"},
            **{"input_size": list(SIZE), "frames": 9, "latency_ms": {"p50": 1, "p99": 1}, "throughput_fps": 1, "threads": 1},
            **{"made_at": f"2026-11-{day:02d}T00:00:00Z", "over_eager": over_eager, **changes},
        }
        path = arena.ws.root / "report.json"
        path.write_text(json.dumps(report))
        add(arena.ws, name, path, "device-bench")
        (check,) = speed_checks(arena.ws, registry, registry.get(name), exported)
        return f"{check.passed} {check.found}"

    (unmeasured,) = speed_checks(arena.ws, registry, version, exported)
    assert not unmeasured.passed and "vortex bench --precision int8 --record" in unmeasured.found
    with pytest.raises(VortexError, match=f"{name} is not sent as int8 for host: not measured"):
        export_for(arena.ws, registry, version, ARM)
    assert reported(2.6, 20) == "True 2.60 times (host (a CPU), 2026-11-20)"
    assert reported(2.4, 21) == "False 2.40 times (host (a CPU), 2026-11-21)"
    for beside in ({"threads": 8}, {"runtime": "openvino 2026.4"}):
        assert reported(9.0, 25, **beside).startswith("False 2.40"), "a host runs it by ONNX Runtime, and is promised one thread's speed"
    assert reported(9.0, 19).startswith("False 2.40"), "an old report that is added late stays old"
    assert "int8-speed" in failed(arena.promote(name, "staging", device="arm"))
    assert reported(2.5, 22).startswith("True")
    assert export_for(arena.ws, registry, registry.get(name), ARM) == exported


def test_a_precision_that_came_after_the_promotion_is_held_to_the_exam_of_its_own_channel(arena: Arena):
    """fp32 was promoted; then vortex.toml names fp16, and what lies there of it was never judged for this channel."""
    arena.configure('[devices.arm]\nprecision = "fp16"\n[domains.attic]\nkind = "room"\n')
    name, (rule,), registry = arena.register(), task_rules(), hub(arena.ws)

    def exported(word: str, domain: str = "rooms") -> str:
        """Of a file on which the exam of a domain came to this word."""
        judgements = (("rmse", domain, Comparison(word, word)),)  # type: ignore[arg-type]
        task = TaskResult(domain, ("rooms@123",), rule.margin, rule.iou, rule.least, judgements)
        arena.export(name, precision="fp16", detail={PARITY_DOMAIN: domain, TASK: task.as_json()})
        try:
            return export_for(arena.ws, registry, registry.get(name), ARM).precision
        except VortexError as error:
            return error.message

    refusal = f"the file of {name} as fp16 for host does not answer as its network does, or that was not measured on frames of rooms"
    assert exported("equivalent") == "fp16"
    assert exported("equivalent", "attic") == exported("worse") == exported("open") == refusal
    passed = {"name": "task-parity-rmse", "asked": "within 1 %", "found": "too little to say", "passed": False}
    record_promotion(registry.ledger, ARM, name, [StageJudgement("staging", True, (passed,))], 0, actor="Ada")
    assert exported("open") == refusal
    record_promotion(
        registry.ledger, ARM, name, [StageJudgement("staging", True, ({**passed, "waiver": "overridden by Ada: it is"},))], 1, actor="Ada"
    )
    assert exported("open") == "fp16" and exported("worse") == refusal
