"""`vortex audit`: a head that is printed, signed and compared, and everything beside the ledger compared with what it says."""

from __future__ import annotations

import base64
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core.errors import VortexError
from pipelines import init, workspace
from pipelines.hub import audit
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.channels import Channel
from registry.records import Metrics, NewVersion
from registry.stages import StageJudgement, record_promotion
from registry.versions import Hub
from vortex_cli import console
from vortex_cli.commands import audit as command

Edit = Callable[..., None]
ROOMS = Channel("host", "rooms")
PRODUCTION = "production-ON-host-FOR-rooms"


@pytest.fixture(scope="module")
def made(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with v6 and v10, both with a stored checkpoint; v6 in production. Made once: every test has a copy of it."""
    root = tmp_path_factory.mktemp("made")
    (root / "vortex.toml").write_text(init.CONFIG)
    (root / "mlruns").mkdir()
    shutil.copyfile(migrated, root / "mlruns" / "mlflow.db")
    registry = hub(workspace.load(root))
    for recipe in ("v6", None):
        run_id = registry.store.start_run("run")
        (root / "student.safetensors").write_bytes(run_id.encode())
        artifact = registry.store.log_artifact(run_id, root / "student.safetensors", "checkpoint")
        registry.register(NewVersion(recipe, False, {}, (), "rooms", (), (48, 64), run_id, "run", artifact), actor="Ada")
    passed = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
    record_promotion(registry.ledger, ROOMS, "v6", passed, 0, actor="Ada")
    registry.refresh_aliases(ROOMS)
    return root


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    (tmp_path / "vortex.toml").write_text(init.CONFIG)
    monkeypatch.setattr(console, "session", console.Session(workspace_dir=tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return console.workspace()


@pytest.fixture
def registry(place: Workspace, made: Path) -> Hub:
    """The registry of `place`, as `made` has it."""
    shutil.copytree(made / "mlruns", place.root / "mlruns")
    return hub(place)


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    """A new ed25519 key as openssl writes it: the private file and the public one."""

    def make(name: str, algorithm: str = "ed25519") -> tuple[Path, Path]:
        private, public = tmp_path / f"{name}.pem", tmp_path / f"{name}.pub"
        subprocess.run(["openssl", "genpkey", "-algorithm", algorithm, "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
        return private, public

    return make


def printed_head(capsys: pytest.CaptureFixture[str], target: Path, key: Path | None = None) -> Path:
    capsys.readouterr()
    command.head(key)
    target.write_text(capsys.readouterr().out)
    return target


def faults(place: Workspace, **options: Any) -> list[str]:
    return [f"{fault.area}: {fault.found}" for fault in audit.verify(place, **options).faults]


def test_the_head_is_the_last_event_and_is_noted_in_the_file_and_in_mlflow(
    place: Workspace, registry: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = registry.ledger.entries()[-1]
    head = {"ledger": registry.ledger.entries()[0].hash, "seq": 5, "hash": last.hash}
    assert json.loads(printed_head(capsys, tmp_path / "head.json").read_text()) == head
    assert json.loads((place.root / "mlruns" / "ledger.head").read_text()) == head
    assert json.loads(registry.store.noted_head() or "") == head


def test_an_untouched_registry_has_no_fault(place: Workspace, registry: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = printed_head(capsys, tmp_path / "head.json")
    command.verify(file, None, True, False)
    text = capsys.readouterr().out
    assert text.startswith(
        f"5 events, compared with the head in {place.root}/mlruns/ledger.head and in {file} and in the tag of the MLflow"
    )
    assert text.rstrip().endswith("2 stored files hashed again; MLflow compared")


def test_an_empty_workspace_has_nothing_to_verify_and_stays_empty(place: Workspace) -> None:
    assert audit.verify(place).sentence() == "0 events, compared with no head: none is noted; 0 stored files hashed again"
    with pytest.raises(VortexError, match="the ledger is empty"):
        audit.head(place)
    assert not (place.root / "mlruns" / "ledger.db").exists()


def test_a_forged_ledger_is_found_by_who_kept_a_head(
    place: Workspace, registry: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], edit: Edit
) -> None:
    file = printed_head(capsys, tmp_path / "kept.json")
    edit(registry.ledger, "DELETE FROM claims WHERE event = 5", "DELETE FROM events WHERE seq = 5")
    (place.root / "mlruns" / "ledger.head").unlink()
    assert faults(place) == []
    ((words,)) = faults(place, head_file=file)
    assert words.endswith(f"the chain breaks at event 5: it is missing: the chain ends at 4, but event 5 was noted in {file}")
    ((words,)) = faults(place, mlflow=True)
    assert words.endswith("but event 5 was noted in the tag of the MLflow experiment")
    with pytest.raises(VortexError, match="1 fault: chain"):
        command.verify(file, None, False, False)
    assert "the chain breaks at event 5" in capsys.readouterr().out


def test_a_signed_head_is_believed_for_the_key_that_is_trusted(
    place: Workspace, registry: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: Callable[..., tuple[Path, Path]]
) -> None:
    private, public = keys("release")
    _, strange = keys("stranger")
    file = printed_head(capsys, tmp_path / "head.json", private)
    envelope = json.loads(file.read_text())
    assert json.loads(base64.b64decode(envelope["payload"]))["seq"] == 5
    assert faults(place, head_file=file, key_files=[strange, public]) == []
    with pytest.raises(VortexError, match=r"is signed by \w{12}…, trusted is \w{12}… \(.*stranger.pub\)"):
        audit.verify(place, head_file=file, key_files=[strange])
    with pytest.raises(VortexError, match="no key is named that is trusted"):
        audit.verify(place, head_file=file)
    forged = json.dumps({"ledger": "0" * 64, "seq": 5, "hash": "1" * 64}).encode()
    file.write_text(json.dumps(envelope | {"payload": base64.b64encode(forged).decode()}))
    with pytest.raises(VortexError, match="does not fit what it holds"):
        audit.verify(place, head_file=file, key_files=[public])
    file.write_text(json.dumps(envelope | {"payloadType": "application/vnd.in-toto+json"}))
    with pytest.raises(VortexError, match=r"holds a 'application/vnd.in-toto\+json'"):
        audit.verify(place, head_file=file, key_files=[public])


def test_openssl_verifies_what_vortex_signed(
    place: Workspace, registry: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: Callable[..., tuple[Path, Path]]
) -> None:
    private, public = keys("release")
    envelope = json.loads(printed_head(capsys, tmp_path / "head.json", private).read_text())
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    # DSSE, protocol.md: "DSSEv1" + SP + LEN(type) + SP + type + SP + LEN(body) + SP + body
    (tmp_path / "pae").write_bytes(b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload))
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", tmp_path / "pae", "-sigfile", tmp_path / "sig"]
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", "null", '{"ledger":"x","seq":1,"hash":"y"}', '{"payload":1}', "[" * 5000, '{"seq":"5"}']
)
def test_a_head_file_that_holds_no_head_is_named(place: Workspace, registry: Hub, tmp_path: Path, content: str) -> None:
    (tmp_path / "odd.json").write_text(content)
    with pytest.raises(VortexError, match=r"odd.json (holds no head of a ledger|is not a signed envelope)"):
        audit.verify(place, head_file=tmp_path / "odd.json")


def test_a_head_of_another_ledger_is_named(place: Workspace, registry: Hub, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"ledger": "ab" * 32, "seq": 2, "hash": "cd" * 32}))
    ((words,)) = faults(place, head_file=tmp_path / "other.json")
    assert f"or this is another ledger: its first event is {registry.ledger.noted().ledger[:12]}…, the head in" in words
    (tmp_path / "longer.json").write_text(json.dumps({"ledger": "ab" * 32, "seq": 900, "hash": "cd" * 32}))
    assert "another ledger" in faults(place, head_file=tmp_path / "longer.json")[0]


def test_keys_that_are_none_are_named(
    place: Workspace, registry: Hub, tmp_path: Path, keys: Callable[..., tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = keys("release")
    other, _ = keys("curve", "x25519")
    os.mkfifo(tmp_path / "pipe")
    for key, words in (
        (public, "holds no private key in PEM"),
        (other, "is a X25519PrivateKey, allowed: ed25519"),
        (tmp_path / "none.pem", "No such file"),
        (tmp_path / "pipe", "is not a file"),
    ):
        with pytest.raises(VortexError, match=words) as caught:
            audit.head(place, key)
        assert str(key) in caught.value.message
    file = printed_head(capsys, tmp_path / "head.json", private)
    with pytest.raises(VortexError, match="holds no public key"):
        audit.verify(place, head_file=file, key_files=[private])
    with pytest.raises(VortexError, match="is not signed, and a key is named"):
        audit.verify(place, head_file=printed_head(capsys, tmp_path / "plain.json"), key_files=[public])


def test_a_stored_file_that_was_changed_is_found(place: Workspace, registry: Hub) -> None:
    path = registry.artifacts.path(registry.get("v10").checkpoint)
    path.write_bytes(path.read_bytes()[::-1])
    ((words,)) = faults(place)
    assert words.startswith("artifacts: v10: ") and "its content is not what was registered" in words


def test_the_errors_of_a_measurement_that_a_later_one_replaced_are_evidence_too(place: Workspace, registry: Hub, tmp_path: Path) -> None:
    stored = []
    for errors in (b"first", b"second"):
        (tmp_path / "rooms.npz").write_bytes(errors)
        artifact = registry.store.log_artifact(registry.get("v10").run_id, tmp_path / "rooms.npz", "evaluations")
        registry.add_metrics("v10", Metrics("rooms", "kinect", "val", "rooms", "ab" * 32, {"rmse": 1.0}, 3, artifact), actor="test")
        stored.append(artifact)
    assert [metrics.errors for metrics in registry.get("v10").metrics if metrics.errors] == stored[1:]
    assert faults(place) == []
    registry.artifacts.path(stored[0]).unlink()
    ((words,)) = faults(place)
    assert words.startswith("artifacts: v10: ") and stored[0].sha256 in words


def test_aliases_are_compared_both_ways_and_put_right(place: Workspace, registry: Hub) -> None:
    store, number = registry.store, {name: registry.get(name).mlflow_version for name in ("v6", "v10")}
    store.set_alias(PRODUCTION, number["v10"])
    store.set_alias("staging-ON-robot-FOR-rooms", number["v6"])
    store.set_alias("favourite", number["v6"])
    store.drop_alias("candidate-ON-host-FOR-rooms")
    assert faults(place, mlflow=True) == [
        "aliases: candidate-ON-host-FOR-rooms is missing, the ledger has v6 there",
        f"aliases: {PRODUCTION} points at v10, the ledger has v6 there",
        "aliases: staging-ON-robot-FOR-rooms points at v6, and the ledger has nothing there",
    ]
    report = audit.verify(place, repair=True)
    assert (len(report.repaired), report.faults) == (3, ())
    stages = ("candidate", "staging", "production")
    assert store.aliases() == {f"{stage}-ON-host-FOR-rooms": number["v6"] for stage in stages} | {"favourite": number["v6"]}


def test_a_model_that_was_deleted_in_mlflow_is_made_again(place: Workspace, registry: Hub) -> None:
    registry.store._client.delete_registered_model("vortex-student")
    found = faults(place, mlflow=True)
    assert found[:2] == [
        "mlflow: v6: its version of the MLflow model was deleted",
        "mlflow: v10: its version of the MLflow model was deleted",
    ]
    assert len(found) == 5
    assert audit.verify(place, repair=True).faults == ()
    versions = hub(place).store.model_versions()
    assert versions[registry.store.aliases()[PRODUCTION]] == registry.get("v6").run_id
    assert sorted(versions.values()) == sorted(registry.get(name).run_id for name in ("v6", "v10"))


def test_a_run_that_was_deleted_in_mlflow_is_named_with_the_command_that_restores_it(place: Workspace, registry: Hub) -> None:
    run_id = registry.get("v10").run_id
    registry.store._client.delete_run(run_id)
    (fault,) = audit.verify(place, repair=True).faults
    assert fault.found == "v10: its run was deleted in MLflow"
    assert fault.remedy == f"bring it back with: mlflow runs restore --run-id {run_id}"
    words = [str(Path(sys.executable).parent / "mlflow"), *fault.remedy.partition(": ")[2].split()[1:]]
    subprocess.run(words, env=os.environ | {"MLFLOW_TRACKING_URI": place.tracking_uri.reveal()}, check=True, capture_output=True)
    assert faults(place, mlflow=True) == []


def test_claims_and_triggers_are_put_right_and_a_chain_is_not(place: Workspace, registry: Hub, edit: Edit) -> None:
    edit(registry.ledger, "DELETE FROM claims WHERE scope = 'version' AND number = 10", triggers=False)
    report = audit.verify(place, repair=True)
    assert ([fault.area for fault in report.repaired], report.faults) == (["claims", "triggers"], ())
    edit(registry.ledger, "UPDATE events SET actor = 'Eve' WHERE seq = 2")
    report = audit.verify(place, repair=True)
    assert ([fault.area for fault in report.faults], report.repaired) == (["chain"], ())
    assert registry.ledger.path
    with closing(sqlite3.connect(registry.ledger.path)) as connection:
        assert connection.execute("SELECT actor FROM events WHERE seq = 2").fetchone() == ("Eve",)
