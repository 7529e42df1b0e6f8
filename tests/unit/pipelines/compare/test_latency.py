"""How long a version takes on a device: which report counts, what is left out of a front for it, and what a recommendation makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from core.errors import UsageError
from core.files import sha256_file
from pipelines.compare.pareto import pareto
from pipelines.compare.recommend import recommend
from pipelines.hub.evidence import TYPE
from pipelines.hub.open import hub
from pipelines.report.pareto_drawing import pareto_svg
from pipelines.workspace import Workspace, load
from registry import signature
from registry.records import Artifact, Evidence, Export
from tests.unit.pipelines.compare.lineage_registry import NYU, Published, register

Time = Callable[..., None]
AXES = ("nyu.rmse", "latency@orin")


@pytest.fixture
def ws(workspace: Workspace, tmp_path: Path) -> Workspace:
    """V4 to V6 measured on NYU, where V6 is the best and nothing tells V4 from V5."""
    private = Ed25519PrivateKey.generate()
    (tmp_path / "lab.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (workspace.root / "lab.pub").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with (workspace.root / "vortex.toml").open("a") as stream:
        stream.write('\n[evidence]\nkeys = ["lab.pub"]\n')
    figures = {"v4": 0.574, "v5": 0.572, "v6": 0.9}
    register(workspace, [Published(name, None, [("nyu", "rooms", 9)], {NYU: (rmse, None)}) for name, rmse in figures.items()])
    for name in figures:
        export(workspace, name, f"{name}-now")
    return load(workspace.root)


def export(ws: Workspace, name: str, file: str) -> None:
    artifact = Artifact(f"{name}/artifacts/exports/{file}.onnx", file.encode().hex().ljust(64, "0"), 1)
    hub(ws).add_export(name, Export(artifact, size=(240, 320)), actor="test")


@pytest.fixture
def time(ws: Workspace, tmp_path: Path) -> Time:
    def add(name: str, p99: float, *, at: str = "2026-03-01", device: str = "Orin Nano 8GB", of: str = "now", signed: bool = True) -> None:
        registry = hub(ws)
        exported = f"{name}-{of}".encode().hex().ljust(64, "0")
        report = {
            "format": 1, "kind": "device-bench", "checkpoint_sha256": registry.get(name).checkpoint.sha256, "export_sha256": exported,
            "made_at": f"{at}T12:00:00Z", "made_by": "the lab", "device": device, "runtime": "TensorRT 10.3", "precision": "fp16",
            "input_size": [240, 320], "frames": 900, "latency_ms": {"p50": p99 / 2, "p99": p99}, "throughput_fps": 190.0,
        }  # fmt: skip
        content = json.dumps(report).encode()
        signers = ("anyone",) if signed else ()
        if signed:
            content = json.dumps(signature.sign(content, TYPE, tmp_path / "lab.pem")).encode()
        uri = f"{name}/artifacts/evidence/{p99}-{at}.json"
        path = Path(ws.artifact_root) / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        artifact = Artifact(uri, sha256_file(path), len(content))
        record = Evidence("device-bench", artifact, path.name, "ab" * 32, f"{at}T12:00:00Z", "the lab", "fast", exported, signers)
        registry.add_evidence(name, record, actor="test")

    return add


def test_the_newest_trusted_report_of_the_present_export_counts(ws: Workspace, time: Time) -> None:
    time("v4", 5.0, at="2026-03-02")
    time("v4", 9.0, at="2026-03-01")  # added later, made before
    time("v5", 7.0)
    time("v5", 1.0, at="2026-03-05", signed=False)
    time("v6", 6.0)
    export(ws, "v6", "v6-anew")  # another file than was timed
    front = pareto(ws, AXES)
    assert front.axes[1].name == "latency@Orin Nano 8GB/TensorRT 10.3"
    assert {point.version: point.values for point in front.points} == {"v5": (0.572, 7.0), "v4": (0.574, 5.0)}
    assert all(point.front for point in front.points)
    assert front.left_out == {"v6": "not measured: no trusted device bench of its export on Orin Nano 8GB/TensorRT 10.3"}
    assert [front.axes[1].text(value, sign) for value, sign in ((5.0, ""), (-2.0, "+"))] == ["5.00 ms", "-2.00 ms"]
    assert ">5 ms<" in pareto_svg(front) and "5.00 ms" in pareto_svg(front)
    time("v6", 6.5, of="anew")
    front = pareto(ws, AXES)
    assert (front.left_out, [point.version for point in front.points if not point.front]) == ({}, ["v6"])


def test_two_devices_are_two_axes(ws: Workspace, time: Time) -> None:
    with pytest.raises(UsageError, match="no version has a report of a device bench that counts: signed by a trusted key"):
        pareto(ws, AXES)
    time("v4", 5.0)
    time("v4", 8.0, device="Orin NX")
    with pytest.raises(UsageError, match=r"is 2 things that do not compare: latency@Orin NX/TensorRT 10\.3, latency@Orin Nano"):
        pareto(ws, AXES)
    with pytest.raises(UsageError, match="no version was timed on 'thor', allowed: latency@Orin NX"):
        pareto(ws, ("nyu.rmse", "latency@thor"))
    (point,) = pareto(ws, ("nyu.rmse", "latency@orin nx/tensorrt 10.3")).points
    assert (point.version, point.values[1]) == ("v4", 8.0)


def test_of_those_that_nothing_tells_apart_the_fastest_is_recommended(ws: Workspace, time: Time) -> None:
    before = recommend(ws, "rooms")
    assert (before.version, before.tied) == ("v5", ("v4",)) and "v5 has the better figures" in before.sentence
    time("v5", 7.0)
    assert recommend(ws, "rooms").version == "v5"  # of one alone nothing is known
    time("v4", 5.0)
    answer = recommend(ws, "rooms")
    assert (answer.version, answer.tied) == ("v4", ("v5",))
    assert answer.sentence.endswith("v4 is the fastest on Orin Nano 8GB/TensorRT 10.3")
    assert "p99 on Orin Nano 8GB/TensorRT 10.3: v4 5.00 ms, v5 7.00 ms; not measured: v6" in answer.reasons
