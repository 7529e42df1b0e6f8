"""`vortex ci`: files that GitHub and GitLab understand, compared whole, and a check that fails when a gate says no."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from core import strict_yaml
from pipelines.ci import Host, pipeline, render, variables
from pipelines.workspace import Workspace, load
from vortex_cli.app import app

HERE = Path(__file__).parent
SECRETS = ["LEDGER_URL", "AWS_ACCESS_KEY_ID"]
GITHUB_KEYS = {
    "workflow": {"name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs"},
    "job": {"name", "permissions", "needs", "if", "runs-on", "environment", "concurrency", "outputs", "env", "defaults", "steps"}
    | {"timeout-minutes", "strategy", "continue-on-error", "container", "services", "uses", "with", "secrets"},
    "step": {"id", "if", "name", "uses", "run", "working-directory", "shell", "with", "env", "continue-on-error", "timeout-minutes"},
}
"""What the workflow syntax of GitHub Actions allows at each level."""
GITLAB_JOB_KEYS = {"stage", "script", "before_script", "artifacts", "image", "rules", "needs", "variables"}


@pytest.mark.parametrize("host", ["github", "gitlab"])
def test_the_whole_file(host: Host) -> None:
    assert render(host, "v10", "production", " --domain corridor", SECRETS) == (HERE / f"ci_{host}.yml").read_text()


def workflow() -> dict[str, Any]:
    """The workflow of GitHub, without YAML 1.1's taking `on` for true."""
    document = strict_yaml.parse((HERE / "ci_github.yml").read_text())
    assert isinstance(document, dict)
    return document


def test_every_key_of_the_workflow_is_one_that_github_knows() -> None:
    document = workflow()
    assert set(document) <= GITHUB_KEYS["workflow"]
    assert set(document["on"]) == {"pull_request", "workflow_dispatch"}
    assert document["permissions"] == {"contents": "read"}
    for name, job in document["jobs"].items():
        assert set(job) <= GITHUB_KEYS["job"], name
        for step in job["steps"]:
            assert set(step) <= GITHUB_KEYS["step"] and ("uses" in step) != ("run" in step)
    assert document["env"]["LEDGER_URL"] == "${{ secrets.LEDGER_URL }}"
    assert document["jobs"]["promotion"]["needs"] == "data-gate"


def test_gitlab_gets_the_same_gates() -> None:
    document = yaml.safe_load((HERE / "ci_gitlab.yml").read_text())
    jobs = {name: job for name, job in document.items() if name not in ("stages", "variables", "default", "workflow")}
    assert list(jobs) == ["data-gate", "promotion"]
    assert all(set(job) <= GITLAB_JOB_KEYS and job["stage"] in document["stages"] for job in jobs.values())
    assert jobs["data-gate"]["artifacts"]["reports"] == {"junit": "build/validation/junit.xml"}


@pytest.mark.parametrize("code", [0, 3])
def test_the_check_fails_when_a_gate_says_no_and_tells_why_in_the_summary(tmp_path: Path, code: int) -> None:
    step = workflow()["jobs"]["promotion"]["steps"][-1]
    command = tmp_path / ".venv" / "bin" / "vortex"
    command.parent.mkdir(parents=True)
    command.write_text(f'#!/bin/sh\necho "asked: $*"\nexit {code}\n')
    command.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "VERSION": "v10", "STAGE": "production", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    (tmp_path / "step.sh").write_text(step["run"])
    ended = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "step.sh"], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    asked = "asked: promote v10 --stage production --domain corridor --dry-run"
    assert ended.returncode == code, ended.stderr
    assert asked in ended.stderr
    assert (tmp_path / "summary.md").read_text() == f"```\n{asked}\n```\n"


def test_variables_of_the_settings_become_secrets(workspace: Workspace) -> None:
    toml = workspace.root / "vortex.toml"
    toml.write_text(toml.read_text().replace('"sqlite:///mlruns/ledger.db"', '"${LEDGER_URL}"') + "\n# $IN_A_COMMENT\n")
    assert variables(load(workspace.root))[:2] == ["LEDGER_URL", "AWS_ACCESS_KEY_ID"]
    assert "IN_A_COMMENT" not in variables(load(workspace.root))


def test_the_newest_version_is_judged_unless_another_is_named(small_registry: Workspace, tmp_path: Path) -> None:
    assert "VERSION: v10" in pipeline(small_registry, "github", version=None, stage="staging")
    words = ["ci", "gitlab", "--version", "v9", "--workspace", str(small_registry.root), "-o", str(tmp_path / "ci.yml")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert yaml.safe_load((tmp_path / "ci.yml").read_text())["variables"] == {"VERSION": "v9", "STAGE": "production"}
    again = CliRunner().invoke(app, words)
    assert "is there already" in str(again.exception)
    unknown = CliRunner().invoke(app, ["ci", "github", "--version", "v77", "--workspace", str(small_registry.root)])
    assert "version 'v77' is not registered" in str(unknown.exception)
