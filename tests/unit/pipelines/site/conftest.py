"""A workspace with the published lineage's figures, two channels that run something, and its report."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from pipelines.hub.open import hub
from pipelines.site.writing import write_report
from pipelines.workspace import Workspace, load
from registry.channels import Channel
from registry.quarantine import record
from registry.stages import StageJudgement, channel_state, record_promotion
from tests.made_once import made_once
from tests.unit.pipelines.compare.lineage_registry import register

HOSTILE = "glass </dd><script>alert(1)</script> **door** ‮\x1b[31m {{7*7}} [x](javascript:alert(2)) " + 200 * "w"
CHECKS = (
    {"name": "data-passed", "asked": "all data passed", "found": "passed", "passed": True},
    {"name": "not-worse-rmse", "asked": "rmse better than v4's", "found": "better: 1.5890 m against 1.3730 m", "passed": True},
)


def promote(ws: Workspace, channel: str, version: str, *stages: str, reason: str = "", passed: bool = True) -> None:
    """Move a channel, as if its gates had said yes, or at the last stage no."""
    ledger, place = hub(ws).ledger, Channel.parse(channel)
    judged = [StageJudgement(stage, passed or stage != stages[-1], CHECKS) for stage in stages]
    seq = channel_state(ledger, place).seq
    record_promotion(ledger, place, version, judged, seq, actor="Ada <ada@example.org>", reason=reason, commit="c0" * 20)


@pytest.fixture(scope="session")
def lineage_template(empty_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once: v4, then v9 runs on host/corridor, where v7 is a candidate and v8 was refused; v5 runs on host/rooms; v6 is in quarantine."""
    return made_once(tmp_path_factory, "lineage", partial(_with_lineage, empty_workspace)) / "workspace"


def _with_lineage(empty: Workspace, folder: Path) -> None:
    ws = load(shutil.copytree(empty.root, folder / "workspace"))
    for domain in ("corridor", "rooms"):
        ws = ws.add_domain(domain, "indoor")
    register(ws)
    whole = ("candidate", "staging", "production")
    promote(ws, "host/corridor", "v4", *whole, reason="gives metres")
    promote(ws, "host/rooms", "v5", *whole)
    promote(ws, "host/corridor", "v9", *whole, reason=HOSTILE)
    promote(ws, "host/corridor", "v7", "candidate")
    promote(ws, "host/corridor", "v8", "candidate", passed=False)
    record(hub(ws).ledger, "version", "v6", actor="Ada", reason=f"its data was mixed up {HOSTILE}")
    write_report(ws)


@pytest.fixture
def lineage(lineage_template: Path, tmp_path: Path) -> Workspace:
    """A copy of it, with its report in build/report."""
    return load(shutil.copytree(lineage_template, tmp_path / "workspace"))
