"""What `vortex data list`, `show` and `validate --as-reference` say to a person, and to a pipe."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import UsageError
from pipelines.data.pointer import FETCH
from pipelines.synthetic.dataset import synthesise
from pipelines.workspace import Workspace, load
from tests.unit.pipelines.ingest.test_ingest import plain
from vortex_cli import console
from vortex_cli.app import app


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    saved = console.Session(**vars(console.session))
    yield
    console.session.restore(saved)


def run(ws: Workspace, *words: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, [*words, "--workspace", str(ws.root)], catch_exceptions=False)
    return result.stdout, result.stderr


def test_an_empty_and_an_unfetched_workspace_say_what_to_do_in_one_line(workspace: Workspace) -> None:
    assert run(workspace, "data", "list")[0] == "no datasets yet: vortex data add NAME PATH, or vortex data synth NAME\n"
    (workspace.root / "data.dvc").write_text(f"outs:\n- md5: {'0' * 32}.dir\n  path: data\n")
    said = run(workspace, "data", "list")[0]
    assert said == f"data.dvc records frames that are not here; {FETCH}\n"


def test_changes_behind_dvcs_back_are_named_without_git(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    synthesise(workspace, "place", world="rooms", frames=12, size=(48, 64))
    ws = load(workspace.root)
    for name in "abcd":
        (ws.data / "place" / f"{name}.txt").write_text(name)
    out, err = run(ws, "data", "show", "place", "--frames", "1")
    named = "place/a.txt not versioned, place/b.txt not versioned, place/c.txt not versioned, and 1 more"
    keep = "keep them as a version with `dvc add data`, or drop them with `dvc checkout data.dvc`"
    assert err == f"data/ was changed since it was versioned: {named}; {keep}\n"
    monkeypatch.setenv("COLUMNS", "60")
    narrow = run(ws, "data", "list")[0]
    assert "train 8, gap 2, val 2" in narrow and "camera" not in narrow
    empty = run(ws, "data", "diff", "d751713988987e9331980363e24189ce", "now")[0]
    assert " 12 " in empty and "s0-" not in empty
    assert "settings" not in out and " world " in out


def test_options_of_add_reach_the_frames(workspace: Workspace, tmp_path: Path) -> None:
    source = plain(tmp_path / "s", 10)
    out, _ = run(
        workspace, "data", "add", "s", str(source), "--domain", "rooms", "--unit", "m/256", "--every", "2", "--camera", "d435", "--json"
    )
    card = json.loads(out)
    assert (card["cameras"], card["settings"]["unit"], card["settings"]["every"]) == (["d435"], "m/256", 2)
    assert sum(card["frames"].values()) == 5 and card["registered"] is True
    with pytest.raises(UsageError, match=r"--unit 'cm' is not a unit of depth, allowed: m, mm, or m/N"):
        run(workspace, "data", "add", "t", str(source), "--domain", "rooms", "--unit", "cm")


def test_a_new_reference_is_named(workspace: Workspace) -> None:
    synthesise(workspace, "place", world="rooms", frames=30, size=(96, 128))
    ws = load(workspace.root)
    _, err = run(ws, "validate", "place", "--as-reference")
    assert "reference of rooms: references/rooms.json, to be committed" in err and (ws.root / "references" / "rooms.json").is_file()
