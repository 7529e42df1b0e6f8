"""A dataset is taken out of `data/` or gets another name: nothing is lost, what was judged holds, and a kill is undone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import VortexError
from core.files import locked
from pipelines.data import catalogue, datasets
from pipelines.data.checkout import checkout
from pipelines.data.pointer import EMPTY_DIR, data_hash
from pipelines.data.versioning import unversioned_changes, version
from pipelines.runs.state import RunState
from pipelines.workspace import Workspace, load
from tests.unit.pipelines import tiny_sets
from tests.unit.pipelines.conftest import write_frames
from tests.unit.pipelines.tiny_sets import contents, row
from vortex_cli.app import app


@pytest.fixture(scope="module")
def published(empty_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a workspace with two datasets."""
    ws = load(shutil.copytree(empty_workspace.root, tmp_path_factory.mktemp("catalogue") / "workspace", symlinks=True))
    tiny_sets.publish(ws, "small", {name: row(name) for name in ("a", "b")})
    tiny_sets.publish(ws, "hall", {name: row(name) for name in ("x", "y")})
    return ws.root


@pytest.fixture
def ws(published: Path, workspace: Workspace) -> Workspace:
    """The test's own copy of it."""
    return load(shutil.copytree(published, workspace.root, dirs_exist_ok=True, symlinks=True))


def configure(ws: Workspace, text: str) -> Workspace:
    path = ws.root / "vortex.toml"
    path.write_text(path.read_text().replace("[domains.rooms]\n", f"[domains.rooms]\n{text}\n"))
    return load(ws.root)


def test_a_removed_dataset_is_out_of_the_version_and_comes_back(ws: Workspace) -> None:
    before, frames = data_hash(ws), contents(ws.data)
    change = catalogue.remove(ws, "small")
    assert (change.before, change.data, change.files) == (before, data_hash(ws), 6)
    assert [dataset.name for dataset in datasets.listing(ws)] == ["hall"]
    assert not (ws.data / "small").exists() and unversioned_changes(ws) is False
    assert version(ws) == change.data  # DVC, asked to version data/, finds what was recorded
    checkout(ws, change.before[:12])
    assert contents(ws.data) == frames


def test_the_last_dataset_may_go_too(ws: Workspace) -> None:
    catalogue.remove(ws, "small")
    assert catalogue.remove(ws, "hall").data == EMPTY_DIR
    assert datasets.listing(ws) == [] and unversioned_changes(ws) is False


def test_a_renamed_dataset_is_the_same_data(ws: Workspace) -> None:
    ws = configure(ws, 'exam = ["small", "hall"]  # what judges rooms')
    before = datasets.resolve(ws, name_or_manifest="small")
    change = catalogue.rename(ws, "small", "flat")
    after = datasets.resolve(load(ws.root), name_or_manifest="flat")
    assert (after.digest, after.kind, after.domain) == (before.digest, before.kind, before.domain)
    assert datasets.find(ws, "flat").card.name == "flat"
    assert [dataset.name for dataset in datasets.listing(ws)] == ["flat", "hall"]
    assert load(ws.root).config.domains["rooms"].exam == ("flat", "hall")
    assert "# what judges rooms" in (ws.root / "vortex.toml").read_text()
    assert version(ws) == change.data == data_hash(ws)


def test_versions_that_were_trained_on_it_are_named(ws: Workspace, make_version: Callable[..., str]) -> None:
    name = make_version()  # on a set called small
    same = make_version(seed=1, digest=datasets.resolve(ws, name_or_manifest="small").digest)
    printed = CliRunner().invoke(app, ["data", "rename", "small", "flat", "--workspace", str(ws.root)])
    assert f"trained on it: {name}, {same}; their history calls it as it was called then" in printed.stderr.replace("\n", " ")
    # By its new name it is the same content.
    assert catalogue.remove(ws, "flat").versions == (same,)


def test_what_would_be_lost_is_refused(ws: Workspace) -> None:
    (ws.data / "hall" / "rgb" / "x.png").write_text("touched up by hand")
    before = contents(ws.data)
    for change in (lambda: catalogue.remove(ws, "small"), lambda: catalogue.rename(ws, "small", "flat")):
        with pytest.raises(VortexError, match="data/ has changes that no version holds, in hall"):
            change()
    assert contents(ws.data) == before


def test_an_exam_keeps_its_sets(ws: Workspace) -> None:
    ws = configure(ws, 'exam = ["small"]')
    with pytest.raises(VortexError, match="small is in the exam of rooms"):
        catalogue.remove(ws, "small")
    with pytest.raises(VortexError, match="this dataset exists already"):
        catalogue.rename(ws, "small", "hall")
    with pytest.raises(VortexError, match="unknown dataset 'attic'"):
        catalogue.remove(ws, "attic")
    assert load(ws.root).config.domains["rooms"].exam == ("small",)


def test_a_run_at_work_keeps_its_sets_and_one_that_was_stopped_is_named(ws: Workspace) -> None:
    ws = configure(ws, 'exam = ["hall"]')
    folder = ws.build / "runs" / "tiny"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"stages": [{"data": [{"name": "small"}]}]}))
    RunState(folder, status="stopped").write()
    with locked(folder / ".lock"), pytest.raises(VortexError, match="small is used by tiny, which is at work"):
        catalogue.rename(ws, "small", "flat")
    assert load(ws.root).config.domains["rooms"].exam == ("hall",)
    assert catalogue.remove(ws, "small").runs == ("tiny",)


def dies_at(event: int, ws: Workspace) -> bool:
    """Rename in a process that is killed before its `event`th rename or removal in `data/`; whether it was."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(name: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if name in ("os.rename", "os.remove", "os.rmdir") and str(ws.root) in str(arguments[0]):
                seen += 1
                if seen == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            catalogue.rename(ws, "small", "flat")
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_renaming_that_is_killed_anywhere_is_undone_by_the_next_command(ws: Workspace) -> None:
    ws = configure(ws, 'exam = ["small", "hall"]')
    before, event = contents(ws.data), 1
    while dies_at(event, ws):
        sets = {dataset.name for dataset in datasets.listing(ws)}
        assert sets == set(load(ws.root).config.domains["rooms"].exam or ()) and sets in ({"small", "hall"}, {"flat", "hall"})
        if (ws.data / "small").exists():
            assert contents(ws.data) == before, f"killed at event {event}"
        else:  # all was done but the tidying up
            catalogue.rename(ws, "flat", "small")
        assert unversioned_changes(ws) is False
        event += 3
    assert event > 10
    assert {dataset.name for dataset in datasets.listing(ws)} == {"flat", "hall"}


def test_all_that_is_known_of_a_frame(workspace: Workspace, tmp_path: Path) -> None:
    run = CliRunner().invoke
    options = ["--workspace", str(workspace.root)]
    write_frames(tmp_path / "frames", val=6)
    added = run(app, ["data", "add", "brought", str(tmp_path / "frames"), "--domain", "rooms", "--unit", "mm", "--workers", "1", *options])
    assert added.exit_code == 0, added.output
    id_ = json.loads((workspace.data / "brought" / "manifest.jsonl").read_text().splitlines()[0])["id"]
    shown = json.loads(run(app, ["data", "show", "brought", "--frame", id_, "--json", *options]).stdout)
    files = {file["role"]: file for file in shown["files"]}
    assert files["rgb"]["sha256"] == hashlib.sha256((workspace.data / "brought" / files["rgb"]["path"]).read_bytes()).hexdigest()
    assert shown["row"]["split"] == "train" and shown["statistics"]["depth_valid"] == pytest.approx(1 - 8 / 96, abs=0.01)
    assert [name for name, value in shown["statistics"].items() if value is None] == [], "what was not measured is left out"
    assert shown["trained"] == [] and Path(shown["picture"]).read_bytes().startswith(b"\x89PNG")
    wrong = run(app, ["data", "show", "brought", "--frame", f"{id_}9", *options])
    assert wrong.exception and id_ in getattr(wrong.exception, "hint", "")


def test_what_is_known_is_shown_where_nothing_can_be_drawn(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, options = CliRunner().invoke, ["--workspace", str(workspace.root)]
    write_frames(tmp_path / "frames", val=6)
    assert run(app, ["data", "add", "brought", str(tmp_path / "frames"), "--domain", "rooms", "--unit", "mm", *options]).exit_code == 0
    id_ = json.loads((workspace.data / "brought" / "manifest.jsonl").read_text().splitlines()[0])["id"]
    monkeypatch.setattr("core.environment.writable", lambda _: False)
    for words in ([], ["--frame", id_]):
        shown = run(app, ["data", "show", "brought", *words, *options])
        assert shown.exit_code == 0 and "rooms" in shown.stdout, shown.output
        assert "sheets cannot be written; name a file with -o" in shown.stderr
    assert not (workspace.build / "sheets").exists()
    assert run(app, ["data", "show", "brought", "-o", str(tmp_path / "sheet.png"), *options]).exit_code == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
