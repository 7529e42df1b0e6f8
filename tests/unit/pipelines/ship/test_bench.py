"""A version is timed with what its answers are worth, and the report is evidence about that very file."""

from __future__ import annotations

import json

import pytest

from core.errors import UsageError, VortexError
from pipelines.hub.evidence import items
from pipelines.hub.exports import HOST, Form
from pipelines.hub.open import hub
from pipelines.ship.bench import METRICS, bench
from pipelines.ship.export import export
from tests.unit.pipelines.ship.conftest import Arena
from validation.evidence.reports import parse


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
