"""Runs that an older Vortex left on the disk are listed and told today as they were then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.golden.golden import check, dumped, vortex
from tests.golden.workspaces import OLD_JOB, OLD_RUN, load_runs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path / "workspace"
    vortex(f"init {place}")
    load_runs(place)
    return place


def ageless(answer: Any) -> Any:
    """An answer without the age of its runs, which grows."""
    for run in [*answer.get("runs", []), *([answer["run"]] if "run" in answer else [])]:
        assert run.pop("age") > 0
    return answer


def test_old_runs_tell_machines_what_they_told(root: Path) -> None:
    lines = ("runs", f"logs {OLD_RUN}", f"logs {OLD_JOB}")
    answers = {
        f"{line}{', beside SLURM' if slurm else ''}": ageless(vortex(f"{line} --json", root, slurm=slurm).json)
        for line in lines
        for slurm in (False, True)
    }
    check("old_run/answers.json", dumped(answers))


def test_old_runs_tell_people_what_they_told(root: Path) -> None:
    texts = [f"$ vortex logs {run}\n{vortex(f'logs {run}', root).stdout}" for run in (OLD_RUN, OLD_JOB)]
    check("old_run/answers.txt", "\n".join(line.rstrip() for text in texts for line in text.splitlines()) + "\n")
