"""What `bench` times, on ONNX Runtime and on the stand-in for TensorRT, and what it reports. `test_publish` takes the report to the gate."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from vortex_jetson import bench
from vortex_jetson.cli import main
from vortex_jetson.engines import builds
from vortex_jetson.errors import HealthFailed, UsageError
from vortex_jetson.update import agent, outbox
from vortex_jetson.update.device import Device

from tests.unit.jetson.publisher import Publisher


def test_bench_tells_what_it_timed_and_leaves_a_report(pulled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = shutil.copytree(pulled, tmp_path / "device", symlinks=True)
    waiting = len(list((state / "outbox").iterdir()))
    assert main(["bench", "--state", str(state), "--frames", "20", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    report = outbox._payload(state / "outbox" / document.pop("report"))
    assert report == document and len(list((state / "outbox").iterdir())) == waiting + 1
    assert (report["kind"], report["frames"], report["input_size"], report["precision"]) == ("device-bench", 20, [12, 16], "fp32")
    assert report["runtime"].startswith("onnxruntime ") and report["remarks"] is None and report["device"].startswith("robot-7 (")
    latency, whole = report["latency_ms"], report["end_to_end_ms"]
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] and whole["p50"] > latency["p50"]
    assert report["task"]["health frames"]["right classes"] == 1.0 and report["task"]["health frames"]["rmse"] < 0.001
    assert main(["bench", "--state", str(state), "--frames", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("v8 in fp32 at 12x16 on onnxruntime ") and lines[0].endswith(", 1 frames")
    assert [line.split("  ")[0] for line in lines[1:]] == ["computer", "compute", "end to end", "memory", "task", "report"]


@pytest.mark.usefixtures("forked")
def test_a_candidate_is_timed_on_its_own_engine_before_it_serves(
    jetson: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    jetson = replace(jetson, settings=replace(jetson.settings, shadow=True))
    with pytest.raises(UsageError, match="no candidate lies on this device"):
        bench.bench(jetson, 5, shadow=True)
    first, candidate = publisher.bundle("v8", target="jetson"), publisher.bundle("v9", "same", target="jetson")
    publisher.publish(None, shadow=candidate)
    assert agent.pull(jetson).reason == "nothing runs: nothing is in production for this device; v9 is its shadow"
    assert bench.bench(jetson, 5, shadow=True).version == "v9", "the first version of a channel is timed before it is in production too"
    publisher.publish(first, shadow=candidate)
    assert agent.pull(jetson).reason == "v8 runs; v9 is its shadow"
    assert len(list(jetson.engines.glob("*/*/*.engine"))) == 2
    timed = bench.bench(jetson, 5, shadow=True)
    assert (timed.version, timed.library, timed.frames) == ("v9", "tensorrt 10.3.0", 5) and agent.status(jetson).version == "v8"
    assert timed.engine in {builds.name(path) for path in jetson.engines.glob("*/*/*")} and timed.engine != agent.status(jetson).engine
    assert timed.report("robot-7")["remarks"] == f"engine {timed.engine}"
    for engine in jetson.engines.glob("*/*/*"):
        engine.rename(engine.parent / f"{'0' * 64}.engine-of-another-tensorrt")
    assert agent.pull(jetson).reason == "v8 runs; v9 is its shadow" and bench.bench(jetson, 5, shadow=True).engine == timed.engine, (
        "built anew"
    )
    monkeypatch.setenv("STANDIN", "blind")
    with pytest.raises(HealthFailed, match=r"v8 does not do its task on tensorrt 10\.3\.0: its depth is constant"):
        bench.bench(jetson, 5)
