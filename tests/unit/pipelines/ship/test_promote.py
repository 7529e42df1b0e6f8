from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import UsageError, VortexError
from pipelines.hub.history import history
from pipelines.hub.open import hub
from pipelines.ship.promote import _OF_CAMERA, _OF_VERSION, promote, rollback
from pipelines.workspace import FILE, Workspace, load
from registry.channels import Channel
from registry.records import Artifact, Export, Metrics
from registry.stages import channel_state
from tests.unit.pipelines.conftest import SIZE
from validation.promotion.gates import GATES

CHANNEL = Channel("host", "rooms")
Measured = Callable[..., str]


@pytest.fixture
def measured(workspace: Workspace, make_version: Callable[..., str]) -> Measured:
    """Register a version with an RMSE on rooms, and an export whose parity was so."""
    count = 0

    def make(
        rmse: float | None, *, parity: float | None = 1e-5, validated: bool = True, camera: str = "kinect", digest: str = "d" * 64
    ) -> str:
        nonlocal count
        count += 1
        name = make_version(seed=count, validated=validated)
        if rmse is not None:
            measure(workspace, name, rmse, camera, digest)
        if parity is not None:
            made = Export(Artifact("x", "0" * 64, 1), size=SIZE, parity_m=parity, class_agreement=1.0, parity_on="noise")
            hub(workspace).add_export(name, made, actor="test")
        return name

    return make


def measure(ws: Workspace, name: str, rmse: float, camera: str = "kinect", digest: str = "d" * 64) -> None:
    values = {"rmse": rmse, "mae": 0.1, "abs_rel": 0.1, "delta1": 0.9}
    hub(ws).add_metrics(name, Metrics("rooms", camera, "val-pooled-10m/1", "small", digest, values, 6), actor="test")


def state(ws: Workspace) -> dict[str, str]:
    return dict(channel_state(hub(ws).ledger, CHANNEL).current)


def test_every_stage_on_the_way_is_judged_and_recorded(workspace: Workspace, measured: Measured):
    name = measured(0.4)
    report = promote(workspace, name, "production", reason="first")
    assert report.passed and report.recorded and report.channel == "host/rooms"
    assert [(one.stage, one.state) for one in report.stages] == [(s, "passed") for s in ("candidate", "staging", "production")]
    assert report.sentence() == f"{name} is now in production on host/rooms"
    assert set(state(workspace).values()) == {name} and len(state(workspace)) == 3
    events = history(hub(workspace).ledger, device="host")
    assert [(event.kind, event.head["stage"], event.reason) for event in events][-1] == ("channel.promoted", "production", "first")
    assert all(check["passed"] for event in events for check in (event.body or {})["checks"])
    client = hub(workspace).store._client
    assert int(client.get_model_version_by_alias("vortex-student", CHANNEL.alias("production")).version) == 1


def test_asking_again_changes_nothing(workspace: Workspace, measured: Measured):
    name = measured(0.4)
    promote(workspace, name, "staging")
    before = hub(workspace).ledger.verify()
    again = promote(workspace, name, "staging")
    assert again.already and again.passed and not again.recorded and "already in staging" in again.sentence()
    assert promote(workspace, name, "candidate").already
    assert hub(workspace).ledger.verify() == before
    further = promote(workspace, name, "production")
    assert [one.state for one in further.stages] == ["held", "held", "passed"]


def test_a_worse_version_is_refused_and_that_is_recorded(workspace: Workspace, measured: Measured):
    good, worse = measured(0.4), measured(0.5)
    promote(workspace, good, "production")
    report = promote(workspace, worse, "production")
    assert [one.state for one in report.stages] == ["passed", "passed", "refused"] and not report.passed and report.recorded
    assert report.sentence() == f"{worse} is refused for production on host/rooms: not-worse-rmse"
    assert state(workspace) == {"candidate": worse, "staging": worse, "production": good}
    last = history(hub(workspace).ledger, device="host")[-1]
    assert last.kind == "channel.refused" and [c["found"] for c in (last.body or {})["checks"] if not c["passed"]] == [
        "0.500 against 0.400"
    ]


def test_equal_is_good_enough(workspace: Workspace, measured: Measured):
    promote(workspace, measured(0.4), "production")
    second = measured(0.4)
    report = promote(workspace, second, "production")
    assert report.passed and report.replaced == "v10" and state(workspace)["production"] == second


@pytest.mark.parametrize(
    ("options", "failed"),
    [
        ({"rmse": None}, "metrics-present"),
        ({"rmse": float("nan")}, "metrics-present"),
        ({"rmse": 0.4, "validated": False}, "data-passed"),
        ({"rmse": 0.4, "parity": 0.01}, "onnx-parity"),
        ({"rmse": 0.4, "parity": float("nan")}, "onnx-parity"),
    ],
)
def test_what_is_missing_refuses(workspace: Workspace, measured: Measured, options: dict[str, object], failed: str):
    report = promote(workspace, measured(**options), "staging")
    assert report.refused and failed in [check.name for check in report.refused.checks if not check.passed]
    assert [one.state for one in report.stages] in (["refused", "not reached"], ["passed", "refused"])


def test_an_incumbent_measured_elsewhere_must_be_measured_here(workspace: Workspace, measured: Measured):
    old = measured(0.4, digest="a" * 64)
    promote(workspace, old, "production")
    new = measured(0.3, digest="b" * 64)
    refused = promote(workspace, new, "production")
    assert refused.refused and f"run `vortex evaluate {old}`" in refused.refused.checks[-1].found
    measure(workspace, old, 0.35, digest="b" * 64)
    assert promote(workspace, new, "production").passed


def test_leaving_a_camera_out_does_not_help(workspace: Workspace, measured: Measured):
    both = measured(0.4)
    measure(workspace, both, 0.4, camera="femto")
    promote(workspace, both, "production")
    one = measured(0.3)
    report = promote(workspace, one, "production")
    assert report.refused and any("rooms · femto" in check.asked for check in report.refused.checks if not check.passed)
    measure(workspace, one, 0.5, camera="femto")
    assert promote(workspace, one, "production").refused
    measure(workspace, one, 0.39, camera="femto")
    assert promote(workspace, one, "production").passed


def test_dry_run_judges_and_records_nothing(workspace: Workspace, measured: Measured):
    name = measured(0.4)
    before = hub(workspace).ledger.verify()
    report = promote(workspace, name, "production", dry_run=True)
    assert report.passed and not report.recorded and "would be in production" in report.sentence()
    assert hub(workspace).ledger.verify() == before and state(workspace) == {}


def test_a_missing_export_is_made(workspace: Workspace, measured: Measured):
    name = measured(0.4, parity=None)
    said: list[str] = []
    assert promote(workspace, name, "candidate").passed and not hub(workspace).get(name).exports
    assert promote(workspace, name, "staging", on_step=said.append).passed
    assert said[0] == f"exporting {name} at 64x96" and len(hub(workspace).get(name).exports) == 1


def test_every_kind_of_evidence_that_a_gate_reads_can_be_gathered() -> None:
    assert {kind for gate in GATES.values() for kind in gate.reads} == {*_OF_VERSION, *_OF_CAMERA}


def test_channel_defaults_and_refusals(workspace: Workspace, measured: Measured):
    name = measured(0.4)
    for options, message in (
        ({"domain": "attic"}, "unknown domain 'attic'"),
        ({"device": "jetson"}, "unknown device 'jetson'; this workspace has: host"),
    ):
        with pytest.raises(VortexError, match=message):
            promote(workspace, name, "candidate", **options)
    with pytest.raises(UsageError, match="unknown stage 'live'"):
        promote(workspace, name, "live")
    path = workspace.root / FILE
    path.write_text(path.read_text() + '\n[devices.orin]\nruntime = "tensorrt"\n')
    two = load(workspace.root)
    with pytest.raises(VortexError, match=r"which device\? this workspace has: host, orin"):
        promote(two, name, "candidate")
    refused = promote(two, name, "staging", device="orin")
    assert refused.refused and [check.name for check in refused.refused.checks if not check.passed] == ["device-size"]


def test_rollback_brings_the_one_before_back(workspace: Workspace, measured: Measured):
    with pytest.raises(VortexError, match="nothing is in production on host"):
        rollback(workspace)
    first, second = measured(0.4), measured(0.3)
    promote(workspace, first, "production")
    with pytest.raises(VortexError, match=f"nothing to roll back to: {first} is its first"):
        rollback(workspace)
    promote(workspace, second, "production")
    report = rollback(workspace, reason="late braking")
    assert report.sentence() == f"{first} is back in production on host/rooms; {second} left it"
    assert state(workspace)["production"] == first
    client = hub(workspace).store._client
    assert int(client.get_model_version_by_alias("vortex-student", CHANNEL.alias("production")).version) == 1


RACER = """
import sys, time
from pathlib import Path
import pipelines.ship.promote as module
from core.errors import VortexError
from pipelines.workspace import load

root, version, flags = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
gather = module._gather

def wait_for_the_other(*args):
    evidence = gather(*args)
    (flags / version).touch()
    while len(list(flags.iterdir())) < 2:
        time.sleep(0.01)
    return evidence

module._gather = wait_for_the_other
try:
    report = module.promote(load(root), version, "production")
    sys.stdout.write("won" if report.passed else "refused")
except VortexError as error:
    sys.stdout.write(error.message)
"""


def test_of_two_processes_exactly_one_wins(workspace: Workspace, measured: Measured, tmp_path: Path):
    names = [measured(0.4), measured(0.3)]
    flags = tmp_path / "flags"
    flags.mkdir()
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(workspace.root), name, str(flags)], stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    answers = [racer.communicate(timeout=120)[0] for racer in racers]
    assert sorted(answer == "won" for answer in answers) == [False, True], answers
    winner, loser = (names[answers.index("won")], next(answer for answer in answers if answer != "won"))
    assert loser.startswith("channel host/rooms moved while") and "\n" not in loser
    assert state(workspace) == {"candidate": winner, "staging": winner, "production": winner}
