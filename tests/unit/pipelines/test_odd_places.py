"""A workspace works wherever it lies: any character may stand in its path."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.workspace import Workspace, load
from vortex_cli import console
from vortex_cli.app import app

ODD = "lab #1? 50%25 [a] 'b' \"c\" $d;e&f ü"
"""Characters that mean something to URLs, queries, patterns, shells and connection strings."""


@pytest.fixture
def workspace(empty_workspace: Workspace, tmp_path: Path) -> Workspace:
    return load(shutil.copytree(empty_workspace.root, tmp_path / ODD))


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    saved = console.Session(**vars(console.session))
    yield
    console.session.restore(saved)


def run(ws: Workspace, *words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--workspace", str(ws.root)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_frames_versions_and_plans_are_made_and_found_there(workspace: Workspace, make_version: Callable[..., str]) -> None:
    name = make_version()
    run(workspace, "data", "synth", "place", "--world", "rooms", "--frames", "12", "--size", "32x32", "--domain", "rooms")
    assert (workspace.data / "place" / "manifest.jsonl").is_file() and ".dir" in (workspace.root / "data.dvc").read_text()
    assert [version["name"] for version in json.loads(run(workspace, "versions", "--json"))] == [name]
    assert json.loads(run(workspace, "show", name, "--json"))["name"] == name
    assert {path.name for path in (workspace.root / "mlruns").iterdir()} >= {"ledger.db", "mlflow.db", "artifacts"}
    words = ("v6", "--encoder-weights", "none", "--domain", "rooms", "--allow-unvalidated", "--epochs", "1", "--dry-run")
    plan = json.loads(run(workspace, "train", *words, "--json"))
    assert str(workspace.data / "place") in json.dumps(plan, ensure_ascii=False).replace('\\"', '"')
    run(workspace, "evaluate", name, "--domain", "rooms", "--allow-unvalidated")
    assert "rooms" in {metrics["domain"] for metrics in json.loads(run(workspace, "show", name, "--json"))["metrics"]}
    assert [path.name for path in workspace.root.parent.glob("lab*")] == [ODD]
