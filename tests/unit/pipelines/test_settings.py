"""`vortex config`: every setting with value, default and source, and no secret."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from core.errors import UsageError
from pipelines.settings import Setting, settings
from pipelines.workspace import Workspace, load
from vortex_cli.app import app

TOML = """
ledger = "$LEDGER"
tracking_uri = "https://ada:hunter2hunter2@mlflow.lab/team"
build = "derived"

[domains.corridor]
kind = "corridor"
exam = ["lobby", "hall"]

[teachers.da3]
api_token = "tok-123456789"
weights = "$HERE/da3"
"""


@pytest.fixture
def configured(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("LEDGER", "postgresql+psycopg://vortex:correct-horse@db.lab/vortex")
    monkeypatch.setenv("HERE", "/models")
    (workspace.root / "vortex.toml").write_text(TOML)
    return load(workspace.root)


def test_value_default_and_source_of_every_setting(configured: Workspace) -> None:
    listed = {setting.key: setting for setting in settings(configured)}
    root = configured.root
    assert listed["build"] == Setting("build", str(root / "derived"), "build", "vortex.toml", "derived")
    assert listed["data"] == Setting("data", str(root / "data"), "data", "default")
    assert listed["domains.corridor.kind"] == Setting("domains.corridor.kind", "corridor", "indoor", "vortex.toml")
    assert listed["domains.corridor.exam"].value == ["lobby", "hall"]
    assert listed["devices.host.runtime"] == Setting("devices.host.runtime", "onnxruntime", "onnxruntime", "default")
    assert listed["teachers.da3.weights"] == Setting("teachers.da3.weights", "/models/da3", None, "vortex.toml", "$HERE/da3")
    assert listed["ledger"].written == "$LEDGER"
    assert "db.lab/vortex" in str(listed["ledger"].value)


@pytest.mark.parametrize(
    "words", [[], ["--json"], ["ledger"], ["tracking_uri", "--json"], ["teachers", "--json"], ["teachers.da3.api_token"]]
)
def test_no_secret_is_shown(configured: Workspace, words: list[str]) -> None:
    printed = CliRunner().invoke(app, ["config", *words, "--workspace", str(configured.root)])
    assert printed.exit_code == 0
    assert not [secret for secret in ("hunter2", "correct-horse", "tok-123456789") if secret in printed.output]
    assert "mlflow.lab" in printed.output or "db.lab" in printed.output or "•••" in printed.output


def test_one_setting_is_its_value_alone(configured: Workspace) -> None:
    printed = CliRunner().invoke(app, ["config", "domains.corridor.exam", "--workspace", str(configured.root)])
    assert printed.stdout == "lobby, hall\n"
    of_table = CliRunner().invoke(app, ["config", "domains", "--workspace", str(configured.root), "--json"])
    assert [setting["key"] for setting in json.loads(of_table.stdout)][:2] == ["domains.corridor.kind", "domains.corridor.description"]


def test_a_key_that_there_is_not(configured: Workspace) -> None:
    with pytest.raises(UsageError, match=r"no setting 'artefact_root'; there is: artifact_root"):
        settings(configured, "artefact_root")
    with pytest.raises(UsageError, match=r"there is: .*, domains, devices, .*, hooks, "):
        settings(configured, "zzzz")


def test_a_table_that_the_file_does_not_have(configured: Workspace) -> None:
    shown = CliRunner().invoke(app, ["config", "hooks", "--workspace", str(configured.root)])
    assert (shown.exit_code, shown.stdout.strip(), shown.stderr.strip()) == (0, "", "vortex.toml says nothing of hooks")
