"""`compare`, `pareto` and `recommend` as a person calls them: what they print at 80 columns, what they write, and how they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.quarantine import record
from tests.unit.pipelines.compare.lineage_registry import register
from vortex_cli.app import app


@pytest.fixture
def called(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The published lineage in a workspace that commands find, on a terminal of 80 columns."""
    for domain, kind in (("rooms", "room"), ("corridor", "corridor")):
        workspace.add_domain(domain, kind)
    register(workspace)
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("COLUMNS", "80")
    return workspace


def output(words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == code, result.output
    return result.output


def rows(text: str) -> list[list[str]]:
    """Lines of tables, in words."""
    return [line.split() for line in text.splitlines()]


def test_compare_prints_figures_verdicts_and_what_was_forgotten(called: Workspace, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    text = output(f"compare v6 v9 --domain rooms --html {page}")
    lines = rows(text)
    assert ["rmse", "0.5190", "m", "1.5530", "m", "+1.0340", "m", "worse"] in lines
    assert ["v9", "←", "v6", "rooms", "·", "kinect", "(nyu)", "rmse", "+199.2", "%", "worse:", "forgotten"] in lines
    assert "24 resampled sequences" in text and "corridor" not in text
    assert f"page: {page}" in text and page.read_text().startswith("<!doctype html>")
    answer = json.loads(output("compare v6 v9 --json"))
    assert {"a", "b", "asked", "recipe", "measured", "unpaired", "forgetting", "barred", "published", "page"} == set(answer)
    assert answer["measured"][0]["rows"][0]["verdict"]["word"] == "worse"


def test_pareto_prints_who_dominates_whom_and_draws_it(called: Workspace, tmp_path: Path) -> None:
    svg = tmp_path / "front.svg"
    text = output(f"pareto --axes nyu.rmse,nyu.miou,corridor_eval.rmse --svg {svg}")
    lines = rows(text)
    assert ["v5", "0.5720", "m", "63.70", "%", "2.1860", "m", "on", "the", "front"] in lines
    assert "dominated by v5" in text and "dominated by v9" not in text
    assert "  - v3: not measured on corridor_eval" in text and max(map(len, text.splitlines())) <= 80 + len(str(svg))
    assert svg.read_text().startswith("<svg")
    answer = json.loads(output("pareto --axes nyu.rmse,corridor_eval.rmse --json"))
    assert {point["version"]: point["dominated_by"] for point in answer["points"]}["v8"] == ["v6", "v5"]


def test_recommend_says_which_and_why(called: Workspace) -> None:
    text = output("recommend --domain rooms")
    assert text.splitlines()[0] == "v5 for rooms"
    assert "  - of 7 candidates v5 gives up least: 10.2 % at most, by rmse on nyu (0.5720 m)" in text
    assert ["v6", "23.9", "%", "0.5190", "m", "48.50", "%", "–"] in rows(text)
    answer = json.loads(output("recommend --domain corridor --for finetune --json"))
    assert (answer["version"], answer["certain"], answer["sentence"]) == ("v6", True, "v6 to fine-tune on corridor from")
    assert "exit" not in output("recommend --domain corridor --for nothing", code=2)


def test_a_quarantine_is_said_wherever_versions_are_weighed(called: Workspace, tmp_path: Path) -> None:
    record(hub(called).ledger, "version", "v6", actor="Ada", reason="labels of the <wrong> building")
    for words in ("compare v5 v6", "pareto --axes nyu.rmse,nyu.miou", "recommend --domain rooms"):
        assert "v6 is in quarantine" in " ".join(output(words).split()), words
    output(f"compare v5 v6 --html {tmp_path / 'page.html'}")
    assert "v6 may enter no stage</span>: v6 is in quarantine" in (page := (tmp_path / "page.html").read_text()) and "&lt;wrong&gt;" in page
