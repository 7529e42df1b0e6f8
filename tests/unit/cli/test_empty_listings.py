"""Listings where there is nothing to list: each says what is missing and what to run next, and prints no empty table."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import VortexError
from pipelines.init import init
from vortex_cli.app import app

NOTES = {
    "versions": "no versions yet; make one with: vortex train v6",
    "versions --domain rooms": "no versions yet; make one with: vortex train v6",
    "lineage": "no versions yet; make one with: vortex train v6",
    "history": "nothing recorded yet; it begins with: vortex train v6",
    "history --domain rooms": "nothing recorded of domain rooms; all that is: vortex history",
    "history --at 2026-03-01": "nothing held a channel at 2026-03-01; who holds one since when: vortex history",
    "runs": "no runs yet; begin one with: vortex train v6 --domain DOMAIN",
    "quarantine": 'nothing is in quarantine; what is to enter no stage: vortex quarantine NAME --reason "…"',
}
ERRORS = {
    "evidence list v5": "version 'v5' is not registered: there is no version yet",
    "pareto --axes rooms.rmse,params": "no front over rooms.rmse, params: there is no version yet",
    "recommend --domain rooms": "nothing to recommend for rooms: there is no version yet",
    "compare v5 v5": "v5 with itself: nothing to compare",
}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return init(tmp_path_factory.mktemp("empty") / "workspace").root


@pytest.mark.parametrize("line", NOTES)
def test_nothing_is_said_with_what_to_run_next_and_without_a_table(empty: Path, line: str) -> None:
    answer = CliRunner().invoke(app, [*line.split(), "--workspace", str(empty)])
    assert (answer.exit_code, answer.stdout.strip(), answer.stderr.strip()) == (0, "", NOTES[line])


def test_where_nothing_takes_room_nothing_is_to_be_removed(empty: Path) -> None:
    answer = CliRunner().invoke(app, ["gc", "--workspace", str(empty)])
    assert (answer.exit_code, answer.stdout) == (0, "nothing to remove: build/ and the stored files are empty\n")


@pytest.mark.parametrize("line", ERRORS)
def test_what_needs_a_version_says_that_there_is_none(empty: Path, line: str) -> None:
    error = CliRunner().invoke(app, [*line.split(), "--workspace", str(empty)]).exception
    assert isinstance(error, VortexError) and error.message == ERRORS[line]
    assert error.hint in ("make one with: vortex train v6", "name another one: vortex versions")
