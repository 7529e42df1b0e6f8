from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import UsageError, VortexError
from core.stages import STAGES
from pipelines.hub.exports import PARITY_DOMAIN
from pipelines.hub.history import history
from pipelines.hub.open import hub
from pipelines.ship.evidence import OF_EXAM, OF_VERSION
from pipelines.workspace import Workspace
from registry.channels import Channel
from registry.stages import channel_state
from tests.unit.pipelines.ship.conftest import Arena, failed
from validation.promotion.gates import GATES

CHANNEL = Channel("host", "rooms")


def state(ws: Workspace) -> dict[str, str]:
    return dict(channel_state(hub(ws).ledger, CHANNEL).current)


def test_every_stage_on_the_way_is_judged_and_recorded(arena: Arena):
    name = arena.version(0.4)
    report = arena.promote(name, reason="first")
    assert report.passed and report.recorded and report.channel == "host/rooms"
    assert [(entry.stage, entry.state) for entry in report.stages] == [(stage, "passed") for stage in STAGES]
    assert report.sentence() == f"{name} is now in production on host/rooms"
    assert set(state(arena.ws).values()) == {name} and len(state(arena.ws)) == 3
    entries = list(history(hub(arena.ws).ledger, device="host"))
    assert [(entry.kind, entry.head["stage"], entry.reason) for entry in entries][-1] == ("channel.promoted", "production", "first")
    assert all(check["passed"] for entry in entries for check in (entry.body or {})["checks"])
    client = hub(arena.ws).store._client
    assert int(client.get_model_version_by_alias("vortex-student", CHANNEL.alias("production")).version) == 1
    asked = [check.asked for check in report.stages[-1].checks]
    exam = arena.sets[0]
    assert f"the exam of rooms passed `vortex validate`, 5 frames or more a set: {exam.name} (10 frames)" in asked
    place = f"rooms · synthetic-kinect ({exam.name}, 10 frames, val-pooled-10m/1)"
    assert f"rmse better than one depth everywhere on {place}" in asked and f"rmse better than the mean depth map on {place}" in asked


def test_asking_again_changes_nothing(arena: Arena):
    name = arena.version(0.4)
    arena.promote(name, "staging")
    before = hub(arena.ws).ledger.verify()
    again = arena.promote(name, "staging")
    assert again.already and again.passed and not again.recorded and "already in staging" in again.sentence()
    assert arena.promote(name, "candidate").already
    assert hub(arena.ws).ledger.verify() == before
    assert [entry.state for entry in arena.promote(name).stages] == ["held", "held", "passed"]


def test_a_worse_version_is_refused_and_that_is_recorded(arena: Arena):
    good, worse = arena.version(0.4), arena.version(0.5, seed=1)
    arena.promote(good)
    report = arena.promote(worse)
    assert [entry.state for entry in report.stages] == ["passed", "passed", "refused"] and not report.passed and report.recorded
    assert report.sentence() == f"{worse} is refused for production on host/rooms: not-worse-rmse"
    assert not report.undecided
    assert state(arena.ws) == {"candidate": worse, "staging": worse, "production": good}
    last = list(history(hub(arena.ws).ledger, device="host"))[-1]
    (answer,) = [check["found"] for check in (last.body or {})["checks"] if not check["passed"]]
    assert last.kind == "channel.refused" and answer.startswith("worse: 0.5") and "10 frames worth 10.0 independent ones" in answer


def test_better_and_equivalent_are_good_enough(arena: Arena):
    first, same, better = arena.version(0.4), arena.version(0.4), arena.version(0.3, seed=2)
    arena.promote(first)
    report = arena.promote(same)
    assert report.passed and report.replaced == first and state(arena.ws)["production"] == same
    assert any("equivalent within 0.0040 m" in check.found for check in report.stages[-1].checks)
    assert arena.promote(better).passed


def test_too_little_to_say_wants_a_person_who_answers_for_it(arena: Arena):
    first, unclear = arena.version(0.4, noise=0.3), arena.version(0.41, noise=0.3, seed=3)
    arena.promote(first)
    report = arena.promote(unclear)
    assert failed(report) == ["not-worse-rmse"] and report.undecided
    assert any(check.found.startswith("too little to say (the interval holds 0") for check in report.stages[-1].checks)
    with pytest.raises(UsageError, match="--override without a reason"):
        arena.promote(unclear, override=True)
    with pytest.raises(UsageError, match="--override without a reason"):
        arena.promote(unclear, override=True, reason="  ")
    assert arena.promote(unclear, override=True, reason="lighter, tried on the robot").passed
    entry = list(history(hub(arena.ws).ledger, device="host"))[-1]
    (waived,) = [check for check in (entry.body or {})["checks"] if check["waiver"]]
    assert waived["name"] == "not-worse-rmse" and waived["waiver"].endswith(": lighter, tried on the robot") and not waived["passed"]
    from registry.events import reading

    sentence = "".join(part if isinstance(part, str) else part[0] for part in reading.parse(entry).sentence())
    assert sentence.endswith(", not-worse-rmse overridden") and entry.reason == "lighter, tried on the robot"


def test_an_override_lets_nothing_else_pass(arena: Arena):
    first, worse = arena.version(0.4), arena.version(0.5, seed=1)
    arena.promote(first)
    assert failed(arena.promote(worse, override=True, reason="please")) == ["not-worse-rmse"]


def test_what_was_not_measured_is_measured_now_and_recorded(arena: Arena):
    first, second = arena.version(0.4), arena.register()
    arena.promote(first)
    seen: list[str] = []
    report = arena.promote(second, on_progress=lambda what, done, total: seen.append(what))
    # The first one's errors are made up, and say nothing of what is near and of glass.
    assert failed(report) == ["not-worse-rmse", "not-worse-rmse_near", "not-worse-iou_glass"] and f"measuring {second} on rooms" in seen
    (metrics,) = hub(arena.ws).get(second).metrics
    assert (metrics.dataset, metrics.digest, metrics.protocol, metrics.frames) == (
        "rooms",
        arena.sets[0].ref.digest,
        "val-pooled-10m/1",
        10,
    )
    assert metrics.errors is not None and metrics.values["rmse"] > 1
    seen.clear()
    arena.promote(second)
    assert not seen


def test_dry_run_measures_judges_and_records_nothing(arena: Arena):
    name = arena.register()
    before = hub(arena.ws).ledger.verify()
    report = arena.promote(name, dry_run=True)
    assert not report.passed and not report.recorded and "would be refused" in report.sentence()
    assert any("against" in check.found for check in report.stages[-1].checks)
    assert hub(arena.ws).ledger.verify() == before and state(arena.ws) == {}


@pytest.mark.parametrize(("parity", "check"), [(0.01, "onnx-parity"), (float("nan"), "onnx-parity")])
def test_an_export_that_answers_otherwise_is_refused(arena: Arena, parity: float, check: str):
    name = arena.version(0.4)
    arena.export(name, parity_m=parity)
    assert failed(arena.promote(name, "staging")) == [check]


@pytest.mark.parametrize("what", ["checkpoint", "export"])
@pytest.mark.parametrize("damage", ["changed", "gone"])
def test_what_would_be_shipped_is_hashed_again(arena: Arena, what: str, damage: str):
    name = arena.version(0.4)
    version = hub(arena.ws).get(name)
    path = hub(arena.ws).artifacts.path(version.checkpoint if what == "checkpoint" else version.exports[-1].artifact)
    if damage == "gone":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    with pytest.raises(VortexError, match="is gone" if damage == "gone" else "its content is not what was registered"):
        arena.promote(name, "candidate")
    assert state(arena.ws) == {}


def test_parity_on_noise_or_of_another_domain_is_measured_on_the_channels_own_frames(arena: Arena):
    name = arena.version(0.4)
    arena.export(name, parity_on="noise", frames=4, detail={})
    report = arena.promote(name, "staging")
    (parity,) = [check for check in report.stages[-1].checks if check.name == "onnx-parity"]
    assert parity.passed and parity.found.endswith(" on 10 frames of rooms")
    exported = hub(arena.ws).get(name).exports[-1]
    assert (exported.parity_on, exported.frames, exported.detail[PARITY_DOMAIN]) == ("rooms", 10, "rooms")


def test_every_kind_of_evidence_that_a_gate_reads_can_be_gathered() -> None:
    assert {kind for gate in GATES.values() for kind in gate.reads} == {*OF_VERSION, *OF_EXAM}


def test_channel_defaults_and_refusals(arena: Arena):
    name = arena.version(0.4)
    for options, message in (
        ({"domain": "attic"}, "unknown domain 'attic'"),
        ({"device": "jetson"}, "unknown device 'jetson'; this workspace has: host"),
    ):
        with pytest.raises(VortexError, match=message):
            arena.promote(name, "candidate", **options)
    with pytest.raises(UsageError, match="unknown stage 'live'"):
        arena.promote(name, "live")
    arena.configure('\n[devices.orin]\nruntime = "tensorrt"\n')
    with pytest.raises(VortexError, match=r"which device\? this workspace has: host, orin"):
        arena.promote(name, "candidate")
    # Its recorded errors are made up, and so its file, which is measured, is not on a par with them.
    assert failed(arena.promote(name, "staging", device="orin")) == ["task-parity-rmse", "device-size"]


RACER = """
import sys, time
from pathlib import Path
import pipelines.ship.promote as module
from core.errors import VortexError
from pipelines.workspace import load

root, version, flags = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
gather = module.gather

def wait_for_the_other(*args):
    evidence = gather(*args)
    (flags / version).touch()
    while len(list(flags.iterdir())) < 2:
        time.sleep(0.01)
    return evidence

module.gather = wait_for_the_other
try:
    report = module.promote(load(root), version, "production")
    sys.stdout.write("won" if report.passed else "refused")
except VortexError as error:
    sys.stdout.write(error.message)
"""


@pytest.mark.endurance
def test_of_two_processes_exactly_one_wins(arena: Arena, tmp_path: Path):
    names = [arena.version(0.4), arena.version(0.3, seed=2)]
    flags = tmp_path / "flags"
    flags.mkdir()
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER, str(arena.ws.root), name, str(flags)], stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    answers = [racer.communicate(timeout=120)[0] for racer in racers]
    assert sorted(answer == "won" for answer in answers) == [False, True], answers
    winner, loser = (names[answers.index("won")], next(answer for answer in answers if answer != "won"))
    assert loser.startswith("channel host/rooms moved while") and "\n" not in loser
    assert state(arena.ws) == {"candidate": winner, "staging": winner, "production": winner}
