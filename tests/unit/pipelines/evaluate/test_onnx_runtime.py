"""The exported file measures as the network does, without torch; and every version is measured once."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import GateRefused, VortexError
from pipelines.data.datasets import resolve
from pipelines.evaluate.all_versions import evaluate_all
from pipelines.evaluate.version import evaluate
from pipelines.hub.open import hub
from pipelines.protocol import EXAM, Protocol
from pipelines.ship.export.run import export
from pipelines.workspace import Workspace

PROGRAM = """
import atexit, sys
from vortex_cli.main import main

atexit.register(lambda: sys.stderr.write("torch was imported" if "torch" in sys.modules else "torch was not imported"))
sys.argv = ["vortex", *sys.argv[1:]]
main()
"""


@pytest.mark.endurance
def test_the_export_measures_without_torch_and_to_the_same_figures(
    workspace: Workspace, small_set: Path, make_version: Callable[..., str]
) -> None:
    name, registry = make_version(), hub(workspace)
    with pytest.raises(VortexError, match=f"{name} has no ONNX export"):
        evaluate(workspace, name, data=str(small_set), allow_unvalidated=True, protocol=Protocol(runtime="onnx"))
    exported = export(workspace, name)
    registry.add_export(name, dataclasses.replace(exported, parity_on="rooms", detail={"parity_domain": "rooms"}), actor="test")
    (by_torch,) = evaluate(workspace, name, data=str(small_set), allow_unvalidated=True, device="cpu")
    words = [
        "evaluate",
        name,
        "--data",
        str(small_set),
        "--allow-unvalidated",
        "--runtime",
        "onnx",
        "--json",
        "--workspace",
        str(workspace.root),
    ]
    call = subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False, timeout=120)
    assert call.returncode == 0 and call.stderr.endswith("torch was not imported"), call.stderr
    (by_onnx,) = json.loads(call.stdout)["metrics"]
    assert by_onnx["protocol"] == "val-pooled-10m/1+onnx+unvalidated+outside"
    assert by_onnx["values"].keys() == by_torch.values.keys()
    for figure, value in by_torch.values.items():
        # A class at a border may fall to the other side: shares and scale-free figures move with it.
        assert by_onnx["values"][figure] == pytest.approx(value, abs=1e-4, rel=1e-4), figure
    assert {metrics.protocol for metrics in registry.get(name).metrics} == {by_torch.protocol, by_onnx["protocol"]}


def test_all_versions_are_measured_once(
    workspace: Workspace, small_set: Path, make_version: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (make_version(seed=seed) for seed in range(3))
    with pytest.raises(GateRefused, match="was never validated"):
        evaluate_all(workspace, data=str(small_set), protocol=EXAM)
    monkeypatch.setattr("pipelines.evaluate.all_versions.require_passed", lambda ws, ref: None)
    registry = hub(workspace)
    evaluate(workspace, second, data=str(small_set), allow_unvalidated=True, device="cpu")
    registry.artifacts.path(registry.get(third).checkpoint).unlink()
    steps: list[str] = []

    def measure_all(protocol: Protocol = EXAM) -> list[tuple[str, int, bool, bool]]:
        standings = evaluate_all(
            workspace, data=str(small_set), protocol=protocol, device="cpu", on_progress=lambda what, done, total: steps.append(what)
        )
        return [(standing.version, len(standing.metrics), standing.new, "the artifact is gone" in standing.fault) for standing in standings]

    assert measure_all() == [(first, 1, True, False), (second, 1, False, False), (third, 0, False, True)]
    assert set(steps) == {f"measuring {first}"}
    assert measure_all() == [(first, 1, False, False), (second, 1, False, False), (third, 0, False, True)]
    assert measure_all(Protocol(align="median"))[:2] == [(first, 1, True, False), (second, 1, True, False)]
    digest = resolve(workspace, name_or_manifest=str(small_set)).digest
    assert [metrics.digest for metrics in registry.get(first).metrics] == [digest] * 2
