"""`vortex evidence`: reports are bound to the bytes that they are about, read strictly, signed or shown as unsigned, and read again."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError, VortexError
from pipelines.hub import audit
from pipelines.hub.evidence import AddedEvidence, EvidenceItem, add, items
from pipelines.hub.open import hub
from pipelines.ship.evidence import OF_VERSION, Request
from pipelines.workspace import Workspace, load
from registry.channels import Channel
from registry.records import Artifact, Export
from validation.evidence.reports import KINDS, parse, schema
from validation.promotion.evidence import ClosedLoopRuns
from vortex_cli.app import app

TIMES = {"started_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T14:30:00Z"}


def drive(success: bool = True) -> dict[str, Any]:
    return {"success": success, "time_to_goal_s": 40.0 if success else None, "collisions": int(not success)}


def reports(checkpoint: str, export: str = "ee" * 32) -> dict[str, dict[str, Any]]:
    """A report of each kind."""
    common = {"format": 1, "checkpoint_sha256": checkpoint, "made_at": "2026-03-01T12:00:00+01:00", "made_by": "the lab"}
    episodes = [{"seed": seed, "student": drive(seed != 3), "ground_truth": drive(seed != 3)} for seed in range(10)]
    simulator = {"name": "gazebo", "version": "11", "world": "corridor"}
    bench = {"export_sha256": export, "device": "orin-nano", "runtime": "TensorRT 10.3", "precision": "fp16", "input_size": [240, 320]}
    return {
        "closed-loop": {**common, "kind": "closed-loop", "simulator": simulator, "episodes": episodes},
        "device-bench": {**common, **bench, "kind": "device-bench", "frames": 900, "latency_ms": {"p50": 5.1, "p99": 6}, "throughput_fps": 190.0},
        "shadow": {**common, **TIMES, "kind": "shadow", "device": "orin-nano", "beside": "v5", "frames": 9000, "depth_within_10_percent": 0.91},
        "field": {**common, "kind": "field", "device": "orin-nano", "place": "3rd floor", "hours": 2.5, "distance_m": 1800, "interventions": 1, "collisions": 0},
    }  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Bench:
    """A workspace with v10, and reports about it."""

    ws: Workspace
    folder: Path

    @property
    def checkpoint(self) -> str:
        return hub(self.ws).get("v10").checkpoint.sha256

    def file(self, report: dict[str, Any], name: str = "report.json") -> Path:
        (self.folder / name).write_text(json.dumps(report))
        return self.folder / name

    def add(self, report: dict[str, Any], kind: str | None = None, **options: Any) -> AddedEvidence:
        return add(self.ws, "v10", self.file(report), kind or report["kind"], **options)

    def key(self, name: str, trusted: bool) -> Path:
        private, public = self.folder / f"{name}.pem", self.ws.root / f"{name}.pub"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
        if trusted:
            with (self.ws.root / "vortex.toml").open("a") as stream:
                stream.write(f'\n[evidence]\nkeys = ["{public.name}"]\n')
        return private

    def items(self) -> list[EvidenceItem]:
        ws = load(self.ws.root)
        return items(ws, hub(ws), hub(ws).get("v10"))


@pytest.fixture
def bench(workspace: Workspace, make_version: Callable[..., str], tmp_path: Path) -> Bench:
    assert make_version() == "v10"
    return Bench(workspace, tmp_path)


def test_every_kind_is_recorded_once_and_read_again(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    hub(bench.ws).add_export("v10", Export(Artifact("x.onnx", "ee" * 32, 7)), actor="Ada")
    for kind, report in reports(bench.checkpoint).items():
        added = bench.add(report, reason="acceptance")
        assert not added.already and bench.add(report).already and added.item.trust == "unsigned", kind
    assert [(item.record.kind, item.fault) for item in bench.items()] == [(kind, "") for kind in KINDS]
    assert [item.verdict[0] for item in bench.items()] == [
        "gazebo, corridor: reached 9 of 10 against 9 with ground truth, collisions 1 against 1",
        "orin-nano, TensorRT 10.3 fp16: 5.1 ms a frame (p99 6 ms), 190 frames/s over 900 frames",
        "orin-nano, beside v5 for 2.5 h and 9000 frames: depth within 10 % on 91.0 % of the pixels",
        "orin-nano, 3rd floor: 1800 m in 2.5 h, 1 interventions, 0 collisions",
    ]
    loop = bench.items()[0].verdict
    assert loop[1].startswith("goal: too little to say: 9 of 10 against 9 of 10") and loop[3].startswith("time to goal: +0 %")
    assert not list((bench.ws.build / "evidence").iterdir())
    for line in ("evidence list v10", "show v10", "history v10"):
        app([*line.split(), "--workspace", str(bench.ws.root)], standalone_mode=False)
    output = " ".join(capsys.readouterr().out.split())
    assert output.count("gazebo, corridor: reached 9 of 10") == 4 and "unsigned" in output and "v10 has shadow evidence" in output


def test_a_report_about_other_bytes_is_refused_by_name(bench: Bench, make_version: Callable[..., str]) -> None:
    assert make_version(shift=0.1) == "v11"
    other = hub(bench.ws).get("v11").checkpoint.sha256
    of_other, of_none = reports(other)["field"], reports("ab" * 32)["field"]
    with pytest.raises(VortexError, match=rf"is about the checkpoint {other[:12]}, which is v11's; v10 has {bench.checkpoint[:12]}"):
        bench.add(of_other)
    with pytest.raises(VortexError, match="is about the checkpoint abababababab, which no version here has"):
        bench.add(of_none)
    with pytest.raises(VortexError, match="is about the export eeeeeeeeeeee, and v10 has: none"):
        bench.add(reports(bench.checkpoint)["device-bench"])
    assert hub(bench.ws).get("v10").evidence == ()


def test_signatures_are_believed_by_the_keys_of_the_workspace(bench: Bench) -> None:
    report = reports(bench.checkpoint)["field"]
    lab, stranger = bench.key("lab", trusted=True), bench.key("stranger", trusted=False)
    ws = load(bench.ws.root)
    assert add(ws, "v10", bench.file(report), "field", sign=lab).item.trust == "trusted"
    assert add(ws, "v10", bench.file(report), "field", sign=stranger).item.trust == "unknown signer"
    assert [item.trust for item in bench.items()] == ["trusted", "unknown signer"]
    assert bench.items()[1].signature.endswith(", not trusted here")

    envelope = json.loads(hub(ws).artifacts.path(hub(ws).get("v10").evidence[0].artifact).read_text())
    added = add(ws, "v10", bench.file(envelope, "sent.json"), "field")
    assert not added.already or added.item.trust == "trusted"  # the envelope as a lab sends it
    with pytest.raises(UsageError, match="is signed already"):
        add(ws, "v10", bench.file(envelope, "sent.json"), "field", sign=lab)
    forged = {**envelope, "payload": json.loads(json.dumps(envelope["payload"])).replace("A", "B", 1)}
    with pytest.raises(VortexError, match="does not fit what it holds"):
        add(ws, "v10", bench.file(forged, "forged.json"), "field")


def test_a_file_that_was_changed_is_found(bench: Bench) -> None:
    bench.add(reports(bench.checkpoint)["closed-loop"])
    path = hub(bench.ws).artifacts.path(hub(bench.ws).get("v10").evidence[0].artifact)
    path.write_text(path.read_text().replace("gazebo", "webots"))
    (item,) = bench.items()
    assert item.report is None and "its content is not what was registered" in item.fault
    assert [fault.area for fault in audit.verify(bench.ws).faults] == ["artifacts"]
    with pytest.raises(VortexError, match=r"evidence of v10: .*its content is not what was registered"):
        OF_VERSION[ClosedLoopRuns](request(bench))


def test_the_gate_sees_the_closed_loops_of_the_version(bench: Bench) -> None:
    bench.add(reports(bench.checkpoint)["field"])
    bench.add(reports(bench.checkpoint)["closed-loop"])
    runs = OF_VERSION[ClosedLoopRuns](request(bench))
    assert isinstance(runs, ClosedLoopRuns) and len(runs.runs) == 1
    assert (runs.runs[0].reached.both, runs.runs[0].unhurt.neither, runs.runs[0].trusted) == (9, 1, False)


def test_an_old_report_that_is_sent_in_again_is_not_the_newest(bench: Bench) -> None:
    lab = bench.key("lab", trusted=True)
    ws = load(bench.ws.root)
    good = reports(bench.checkpoint)["closed-loop"]
    bad = {**good, "made_at": "2026-03-02T00:30:00+01:00", "episodes": [{**each, "student": drive(False)} for each in good["episodes"]]}
    add(ws, "v10", bench.file(good), "closed-loop", sign=lab)
    add(ws, "v10", bench.file(bad), "closed-loop", sign=lab)
    envelope = json.loads(hub(ws).artifacts.path(hub(ws).get("v10").evidence[0].artifact).read_text())
    (bench.folder / "again.json").write_text(json.dumps(envelope, indent=4))  # other bytes, the same report and signature
    assert add(ws, "v10", bench.folder / "again.json", "closed-loop").already
    late = bench.file({**good, "remarks": "signed late"}, "late.json")
    assert not add(ws, "v10", late, "closed-loop", sign=lab).already
    runs = OF_VERSION[ClosedLoopRuns](dataclasses.replace(request(bench), ws=ws))
    assert isinstance(runs, ClosedLoopRuns)
    assert [run.reached.both for run in runs.runs] == [9, 9, 0] and all(run.trusted for run in runs.runs)


def test_a_large_report_with_a_seed_or_a_key_twice_is_refused_at_once(bench: Bench) -> None:
    loop = reports("a" * 64)["closed-loop"]
    many = [{**loop["episodes"][0], "seed": seed // 2} for seed in range(5_000)]
    with pytest.raises(VortexError, match="seed 0 is there 2 times"):
        parse("closed-loop", json.dumps({**loop, "episodes": many}).encode(), "large.json")
    keys = ", ".join(f'"{number}": 0' for number in (*range(200_000), 199_999))
    with pytest.raises(VortexError, match="key '199999' is there twice"):
        parse("closed-loop", f"{{{keys}}}".encode(), "keys.json")


def request(bench: Bench) -> Request:
    registry = hub(bench.ws)
    return Request(bench.ws, registry, registry.get("v10"), None, Channel("host", "rooms"), True, None, None)


def test_a_report_that_does_not_match_its_schema_is_refused_with_every_fault(bench: Bench) -> None:
    loop = reports(bench.checkpoint)["closed-loop"]
    cases: list[tuple[dict[str, Any], str]] = [
        ({**loop, "episodes": [*loop["episodes"], loop["episodes"][0]]}, "seed 0 is there 2 times"),
        ({**loop, "episodes": []}, "episodes"),
        ({**loop, "episodes": [{**loop["episodes"][0], "student": {**drive(), "time_to_goal_s": None}}]}, "time_to_goal_s is given where success is true"),
        ({**loop, "episodes": [{**loop["episodes"][0], "student": {**drive(), "success": "yes"}}]}, "success"),
        ({**loop, "verdict": "pass"}, "verdict: Extra inputs are not permitted"),
        ({**loop, "made_by": "\x1b[31mme"}, "a character that commands a terminal"),
        ({**loop, "made_at": "yesterday"}, "made_at"),
        ({**loop, "checkpoint_sha256": "ab"}, "checkpoint_sha256"),
        ({**reports("a" * 64)["field"], "hours": float("nan")}, "hours"),
        ({**reports("a" * 64)["shadow"], "ended_at": TIMES["started_at"]}, "ended_at must be after started_at"),
        ({**reports("a" * 64)["device-bench"], "latency_ms": {"p50": 7, "p99": 6}}, "must rise"),
        ({**reports("a" * 64)["device-bench"], "export_sha256": None}, "export_sha256"),
    ]  # fmt: skip
    for report, problem in cases:
        with pytest.raises(VortexError, match=r"report\.json is no") as caught:
            bench.add(report)
        assert problem in " ".join([caught.value.message, *caught.value.details]), problem
    for text, problem in (
        ('{"format": 1, "format": 1}', "key 'format' is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ("", "no JSON"),
    ):
        (bench.folder / "odd.json").write_text(text)
        with pytest.raises(VortexError, match=problem):
            add(bench.ws, "v10", bench.folder / "odd.json", "field")
    for path in (Path("/dev/zero"), bench.folder, bench.folder / "absent.json"):
        with pytest.raises(VortexError, match="cannot be read"):
            add(bench.ws, "v10", path, "field")
    with pytest.raises(UsageError, match="unknown kind of evidence 'dream', allowed: closed-loop, device-bench, shadow, field"):
        bench.add(loop, "dream")
    assert hub(bench.ws).get("v10").evidence == ()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_schema_that_its_report_matches(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    report = reports("ab" * 32)[kind]
    assert parse(kind, json.dumps(report).encode(), "here").checkpoint_sha256 == "ab" * 32
    app(["evidence", "schema", kind], standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    assert printed == schema(kind) and set(printed["required"]) <= report.keys() <= printed["properties"].keys()
    assert printed["additionalProperties"] is False
