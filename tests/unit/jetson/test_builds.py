"""A device that runs TensorRT: engines are built, tried out, kept and believed by their digests. TensorRT itself is a stand-in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from vortex_jetson import child
from vortex_jetson.engines import builds, machine
from vortex_jetson.engines.engine import open_engine
from vortex_jetson.errors import DiskFull, EngineFailed, HealthFailed, LibraryMissing, MemoryShort, RobotError, Untrusted, UsageError
from vortex_jetson.update import agent, outbox
from vortex_jetson.update.device import Device
from vortex_jetson.update.slots import Slots

from tests.unit.jetson import forks
from tests.unit.jetson.publisher import Publisher

HERE = "sm87-trt10.3.0-cuda12.6"


def engines(device: Device) -> list[str]:
    return sorted(path.suffix for path in device.engines.glob("*/*/*"))


def test_a_pull_builds_an_engine_that_is_kept_by_its_digest_and_leaves_with_its_bundle(
    jetson: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    (publisher.folder / "reports").mkdir()
    publisher.publish(publisher.bundle("v8", target="jetson"))
    assert agent.pull(jetson).reason == "v8 runs"
    (engine,) = jetson.engines.glob("*/*/*")
    bundle = agent.running(jetson, jetson.slots())
    assert engine.parent.parent.name == bundle.files["models/v8-fp32.onnx"].sha256 and HERE in engine.parent.name
    assert agent.status(jetson).engine == builds.name(engine)
    (report,) = (publisher.folder / "reports").iterdir()
    assert outbox._payload(report)["engine"] == builds.name(engine)
    monkeypatch.setattr(child, "run", forks.run)
    written = engine.stat().st_mtime_ns
    assert agent.build(jetson) == (bundle, engine, False) and engine.stat().st_mtime_ns == written, "it is not built again"
    engine.write_bytes(engine.read_bytes()[:-1] + b"x")
    with pytest.raises(Untrusted, match="is not the engine that was built any more"):
        builds.read(engine, bundle)
    assert agent.check(jetson)[1].reason is None and builds.read(engine, bundle), "it is built anew"
    for version, kept in (("v9", 2), ("v10", 1)):
        publisher.publish(publisher.bundle(version, "same", target="jetson"))
        assert agent.pull(jetson).reason.startswith(f"{version} runs") and engines(jetson) == [".engine"] * kept


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("no driver", LibraryMissing, "TensorRT cannot be asked what it is: its process died of SIGSEGV"),
        ("no sm", LibraryMissing, "builds nothing for this GPU: Error Code 9: .* SM 87 is not supported"),
        ("ended by the system", MemoryShort, "as it does where memory runs out"),
        ("greedy", MemoryShort, "needs more than the 1,073,741,824 bytes that it may take"),
    ],
)
def test_a_device_that_cannot_build_bars_nothing(
    fault: str, error: type[RobotError], words: str, jetson: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN", fault)
    if fault != "no driver":
        monkeypatch.setattr(child, "run", forks.run)
    publisher.publish(publisher.bundle("v8", target="jetson"))
    with pytest.raises(error, match=words):
        agent.pull(jetson)
    assert jetson.slots() == Slots() and engines(jetson) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no tactic", r"v8-fp32\.onnx: TensorRT 10\.3\.0 builds no engine of its 5 layers: Error Code 10"),
        ("crash", r"while its engine was built its process died of SIGABRT \(1 times\)"),
        ("blind", "its depth is constant"),
    ],
)
@pytest.mark.usefixtures("forked")
def test_a_model_that_builds_no_good_engine_is_rolled_back(
    fault: str, words: str, jetson: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STANDIN", fault)
    publisher.publish(publisher.bundle("v8", target="jetson"))
    once = replace(jetson, limits=replace(jetson.limits, health_crashes=1))
    with pytest.raises(HealthFailed, match=words):
        agent.pull(once)
    assert len(jetson.slots().barred) == 1 and engines(jetson) == []


@pytest.mark.usefixtures("forked")
def test_without_room_nothing_is_built(jetson: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    publisher.publish(publisher.bundle("v8", target="jetson"))
    needy = replace(jetson, limits=replace(jetson.limits, build_memory_bytes=1 << 50))
    with pytest.raises(MemoryShort, match=r"may need 1,125,899,907,891,200 bytes of memory, [0-9,]+ are free; nothing was built"):
        agent.pull(needy)
    needy = replace(jetson, limits=replace(jetson.limits, engine_bytes=1 << 60))
    with pytest.raises(DiskFull, match="nothing was built"):
        agent.pull(needy)
    assert jetson.slots() == Slots() and not jetson.engines.exists()


@pytest.mark.usefixtures("forked")
def test_another_power_mode_gets_an_engine_of_its_own_and_a_bad_one_is_refused_once(
    jetson: Device, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher.publish(publisher.bundle("v8", target="jetson"))
    agent.pull(jetson)
    monkeypatch.setattr(machine, "ask", lambda limits: replace(here, power_mode="15w"))
    here = machine.Machine(*next(jetson.engines.glob("*/*")).name.replace("trt", "").replace("cuda", "").split("-"))
    monkeypatch.setenv("STANDIN", "blind")
    pulled = agent.pull(jetson)
    assert pulled.outcome == "committed" and "runs on an engine of another power mode" in pulled.warnings[0]
    assert engines(jetson) == [".engine", ".refused"]
    assert "did not do its task" in agent.pull(jetson).warnings[0] and engines(jetson) == [".engine", ".refused"]


@pytest.mark.usefixtures("forked")
def test_auto_is_onnx_runtime_where_tensorrt_does_not_start(device: Device, publisher: Publisher) -> None:
    auto = replace(device, settings=replace(device.settings, runtime="auto"))
    publisher.publish(publisher.bundle("v8", target="jetson"))
    assert agent.pull(auto).reason == "v8 runs" and agent.status(auto).engine is None
    with pytest.raises(UsageError, match="runs ONNX Runtime, which needs no engine"):
        agent.build(auto)
    with pytest.raises(LibraryMissing):
        agent.build(replace(device, settings=replace(device.settings, runtime="tensorrt")))
    with pytest.raises(EngineFailed, match="v8 has no engine for this machine"):
        open_engine("tensorrt", device.slot_folder("a") / "bundle", agent.running(device, device.slots()))
