"""The doctor names what is wrong and what to do, whatever state the workspace is in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipelines import doctor
from pipelines.doctor import Finding
from pipelines.hub.open import hub
from pipelines.ship import keys
from pipelines.ship.tuf_repository import refresh
from pipelines.workspace import Workspace, load
from registry.channels import Channel
from registry.stages import StageJudgement, record_promotion
from validation.policies import load_policies


def findings(ws: Workspace) -> dict[str, Finding]:
    return {finding.name: finding for finding in doctor._workspace(ws.root)}


def test_a_fresh_workspace_lacks_nothing_needed(workspace: Workspace) -> None:
    found = findings(workspace)
    assert {name: finding.state for name, finding in found.items() if name != "disk"} == {
        "workspace": "ok",
        "commit": "optional",
        "data": "optional",
        "dvc remote": "ok",
        "registry": "ok",
        "ledger": "ok",
        "artifacts": "ok",
        "aliases": "ok",
        "judged": "ok",
        "quarantine": "ok",
        "hooks": "ok",
        "keys": "ok",
    }
    assert found["ledger"].found.startswith("mlruns/ledger.db does not exist yet")


def test_the_ledger_is_walked_and_checkpoints_are_looked_for(workspace: Workspace, make_version: Callable[..., str]) -> None:
    make_version()
    found = findings(workspace)
    assert found["ledger"].found == "1 event, hash chain intact, claims and triggers as they should be"
    assert (found["artifacts"].state, found["artifacts"].found) == ("ok", "mlruns/artifacts")
    settings = workspace.root / "vortex.toml"
    settings.write_text(settings.read_text().replace('artifact_root = "mlruns/artifacts"', 'artifact_root = "larger disk"'))
    found = {finding.name: finding for finding in doctor.doctor(workspace.root)}
    assert found["artifacts"].state == "ok"
    assert f"1 of the checkpoints lie below {workspace.root / 'mlruns' / 'artifacts'}" in found["artifacts"].found
    shutil.rmtree(workspace.root / "mlruns" / "artifacts")
    lost = {finding.name: finding for finding in doctor.doctor(workspace.root)}["artifacts"]
    assert (lost.state, lost.found) == ("missing", "no checkpoint of v10 below larger disk") and "move the old" in lost.remedy


def test_files_and_aliases_of_a_channel_are_compared_with_the_ledger(workspace: Workspace, make_version: Callable[..., str]) -> None:
    name, other = make_version(), make_version()
    registry, channel = hub(workspace), Channel("host", "rooms")
    judgements = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
    record_promotion(registry.ledger, channel, name, judgements, 0, actor="test")
    registry.refresh_aliases(channel)
    found = findings(workspace)
    assert found["aliases"].found == "MLflow's aliases of 1 channel are where the ledger says"
    assert found["artifacts"].found.startswith("mlruns/artifacts; 1 files of versions on a channel hashed again")
    registry.store.set_alias(channel.alias("production"), registry.get(other).mlflow_version)
    path = registry.artifacts.path(registry.get(name).checkpoint)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    found = findings(workspace)
    assert found["aliases"].state == "missing" and found["aliases"].remedy.endswith("vortex audit verify --repair")
    assert found["aliases"].found == f"alias production-ON-host-FOR-rooms points at {other}, the ledger has {name} there"
    assert found["artifacts"].state == "missing" and "its content is not what was registered" in found["artifacts"].found


def test_production_that_other_policies_let_pass_is_named(workspace: Workspace, make_version: Callable[..., str]) -> None:
    name, registry, channel = make_version(), hub(workspace), Channel("host", "rooms")
    weak, own = "f00d" * 16, load_policies().digest
    for seq, (policies, asked) in enumerate((("", "rmse"), (weak, "not-quarantined"), (own, "no-leak"))):
        judged = StageJudgement("production", True, ({"name": asked},), policies=policies)
        record_promotion(registry.ledger, channel, name, [judged], seq, actor="test")
        found = findings(workspace)["judged"]
        if policies != weak:
            assert (found.state, found.found) == ("ok", "nothing is in production that other policies than those here let pass")
        else:
            assert found.state == "due" and found.found == (
                f"came into production by other policies than those here ({own[:12]}): {name} on host/rooms by f00df00df00d, which asked not-quarantined"
            )


def _spoil_store(root: Path) -> None:
    (root / "mlruns" / "mlflow.db").write_bytes(b"x" * 9000)


def _spoil_ledger(root: Path) -> None:
    (root / "mlruns" / "ledger.db").write_bytes(b"x" * 9000)


def _pipe_in_the_place_of_the_ledger(root: Path) -> None:
    os.mkfifo(root / "mlruns" / "ledger.db")


def _spoil_dvc(root: Path) -> None:
    (root / ".dvc" / "config").write_text("[core")


def _spoil_port(root: Path) -> None:
    (root / "vortex.toml").write_text('tracking_uri = "http://127.0.0.1:999999"\n')


def _misname_kinds(root: Path) -> None:
    with (root / "vortex.toml").open("a") as file:
        file.write('\n[hooks.ci]\nurl = "https://ci.lab"\nkinds = ["version.lifted"]\n')


def _forget_frames(root: Path) -> None:
    (root / "data.dvc").write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\n")


def _misname_remote(root: Path) -> None:
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = True\n    remote = nowhere\n")


@pytest.mark.parametrize(
    ("spoil", "name", "shown"),
    [
        (_spoil_store, "registry", "not a database"),
        (_spoil_ledger, "ledger", "not a database"),
        (_pipe_in_the_place_of_the_ledger, "ledger", "a named pipe is not a file"),
        (_spoil_dvc, "dvc remote", "DVC cannot read its settings"),
        (_spoil_port, "registry", "address"),
        (_forget_frames, "data", "frames that are not here"),
        (_misname_kinds, "workspace", "hooks.ci.kinds has 'version.lifted', which no kind of event fits"),
        (_misname_remote, "dvc remote", "the default is nowhere, which DVC does not know"),
    ],
)
def test_what_is_spoilt_is_a_line_with_a_remedy(workspace: Workspace, spoil: object, name: str, shown: str) -> None:
    assert callable(spoil)
    spoil(workspace.root)
    finding = findings(workspace)[name]
    assert finding.state == "missing" and shown in finding.found and finding.remedy


def test_a_ledger_that_can_only_be_read_is_read(
    workspace: Workspace, make_version: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_version()
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = findings(workspace)
    assert found["ledger"].found == "mlruns/ledger.db cannot be written"
    assert [found[name].state for name in ("artifacts", "quarantine", "hooks")] == ["ok"] * 3


def test_a_ledger_whose_file_is_gone_is_named_once(workspace: Workspace, make_version: Callable[..., str]) -> None:
    make_version()
    (workspace.root / "mlruns" / "ledger.db").unlink()
    found = findings(workspace)
    assert [name for name, finding in found.items() if finding.state == "missing"] == ["ledger"]
    assert "ledger.db: is not there, but its event 1 was noted in" in found["ledger"].found and found["ledger"].remedy.startswith(
        "put the file back"
    )


def test_a_server_that_is_away_is_named_once(workspace: Workspace) -> None:
    settings = workspace.root / "vortex.toml"
    settings.write_text(settings.read_text().replace("sqlite:///mlruns/ledger.db", "postgresql+psycopg://vortex@127.0.0.1:9/ledger"))
    found = findings(workspace)
    assert [name for name, finding in found.items() if finding.state == "missing"] == ["ledger"]
    assert found["hooks"].found == "not looked at, for the ledger cannot be read"


def test_keys_that_expire_are_named_a_month_ahead(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = workspace.root / "vortex.toml"
    settings.write_text(settings.read_text() + '\n[devices.orin]\nruntime = "tensorrt"\n')
    ws = load(workspace.root)
    assert findings(ws)["keys"].state == "optional" and "promotions for orin are not published" in findings(ws)["keys"].found
    now = datetime.now(UTC)
    keys.init(ws, [tmp_path_factory.mktemp("stick")], "a stable passphrase", now=now - timedelta(days=340))
    refresh(ws, now - timedelta(days=4))
    assert (findings(ws)["keys"].state, findings(ws)["keys"].found) == ("due", "root expires in 25 days")
    refresh(ws, now - timedelta(days=1))
    (ws.publish_folder / "metadata" / "timestamp.json").unlink()
    refresh(ws, now - timedelta(days=8))
    assert findings(ws)["keys"].state == "missing" and "timestamp has expired" in findings(ws)["keys"].found
    assert findings(ws)["keys"].remedy == "vortex keys refresh --root FOLDER"


def test_a_key_that_is_gone_or_damaged_is_named_with_the_way_to_a_new_one(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = workspace.root / "vortex.toml"
    settings.write_text(settings.read_text() + '\n[devices.orin]\nruntime = "tensorrt"\n')
    ws, stick = load(workspace.root), [tmp_path_factory.mktemp("stick")]
    keys.init(ws, stick, "a stable passphrase")
    refresh(ws)
    assert findings(ws)["keys"].state == "ok"
    release = ws.keys_folder / "release.pem"
    release.write_bytes(release.read_bytes()[:40])
    finding = findings(ws)["keys"]
    assert finding.state == "missing" and finding.found == f"{release}: holds no key that can be read"
    assert finding.remedy.endswith("or remove it, and make a new one: vortex keys rotate ROLE --root FOLDER")
    release.unlink()
    [timestamp] = (ws.keys_folder / "online").glob("timestamp-*.pem")
    timestamp.unlink()
    finding = findings(ws)["keys"]
    assert finding.state == "missing"
    assert finding.found == f"the key of timestamp and release is not in {ws.keys_folder}: nothing that it signs is published for orin"
    assert finding.remedy.endswith("or make a new key: vortex keys rotate timestamp --root FOLDER")
    keys.rotate(ws, "timestamp", stick, "a stable passphrase")
    assert findings(ws)["keys"].found.startswith("the key of release is not in ")
    keys.rotate_release(ws, stick, "a stable passphrase")
    assert findings(ws)["keys"].state == "ok"
