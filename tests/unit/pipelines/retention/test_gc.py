"""What `vortex gc` takes, and what it never takes."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.retention import clean as clean_world
from benchmarks.retention import world
from core.errors import VortexError
from pipelines.data.datasets import resolve
from pipelines.hub.open import hub
from pipelines.pack.preparing import pack
from pipelines.retention.removal import clean
from pipelines.retention.survey import RECENT
from pipelines.runs.folder import WEIGHTS
from pipelines.workspace import Workspace
from tests.unit.pipelines.conftest import write_frames
from tests.unit.pipelines.small_registry import register
from vortex_cli.app import app

OLD = time.time() - 3 * 86_400


def age(*places: Path) -> None:
    """Make all of it three days old."""
    for place in places:
        for path in (place, *place.rglob("*")):
            os.utime(path, (OLD, OLD), follow_symlinks=False)


def orphan(ws: Workspace, tmp_path: Path, version: str = "v9") -> Path:
    """A file that was stored three days ago with a version's run, and that no event names."""
    path = tmp_path / "orphan.onnx"
    path.write_text("an export that was never recorded")
    registry = hub(ws)
    artifact = registry.store.log_artifact(registry.get(version).run_id, path, "exports")
    stored = Path(ws.artifact_root) / artifact.uri
    age(stored)
    return stored


def test_in_random_worlds_all_that_is_needed_stays_and_all_else_goes(registry_templates: tuple[Path, Path], tmp_path: Path) -> None:
    needed = 0
    for seed in range(6):
        made = world(registry_templates[0], tmp_path / f"world-{seed}", seed)
        clean_world(made, end_at=seed % 3)
        assert made.faults() == ([], []), f"seed {seed}"
        needed += len(made.needed)
        for lock in made.locks:
            lock.release()
    assert needed > 150


def test_it_is_shown_first_and_removed_when_told(small_registry: Workspace, tmp_path: Path) -> None:
    stored = orphan(small_registry, tmp_path)
    options = ["--workspace", str(small_registry.root), "--json"]
    shown = json.loads(CliRunner().invoke(app, ["gc", *options]).stdout)
    assert [(item["kind"], item["path"]) for item in shown["going"]] == [("artifact", str(stored))]
    assert stored.exists() and not shown["applied"]
    taken = json.loads(CliRunner().invoke(app, ["gc", "--apply", *options]).stdout)
    assert taken["bytes"] == shown["bytes"] == 33
    assert not stored.parent.exists()
    assert hub(small_registry).artifacts.path(hub(small_registry).get("v9").exports[0].artifact).is_file()
    assert json.loads(CliRunner().invoke(app, ["gc", "--apply", *options]).stdout)["going"] == []


def test_every_stored_file_that_an_event_names_says_why_it_stays(small_registry: Workspace) -> None:
    age(Path(small_registry.artifact_root))
    cleaning = clean(small_registry, apply=True)
    assert cleaning.going == ()
    assert {(reason, count) for reason, count, _ in cleaning.reasons()} == {
        ("v10 is in production on host/corridor", 3),
        ("v9 is registered", 3),
        ("v5 can be rolled back to on host/corridor", 3),
    }


def test_a_file_that_is_stored_again_is_about_to_be_named(small_registry: Workspace, tmp_path: Path) -> None:
    stored = orphan(small_registry, tmp_path)
    registry = hub(small_registry)
    registry.store.log_artifact(registry.get("v9").run_id, tmp_path / "orphan.onnx", "exports")
    assert [item.stays for item in clean(small_registry, apply=True).staying if item.path == stored] == [RECENT]
    assert stored.exists()


def run_folder(ws: Workspace, name: str, **state: object) -> Path:
    """The folder of a run of three days ago, with a checkpoint."""
    from pipelines.runs.state import RunState

    folder = ws.build / "runs" / name
    checkpoint = folder / "1-main" / "epoch-0002-step-000000"
    checkpoint.mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    RunState(folder, **state).write()  # type: ignore[arg-type]
    for file in ("state.safetensors", "best.safetensors"):
        (checkpoint / file).write_bytes(bytes(1000))
    (checkpoint / "progress.json").write_text(json.dumps({"best": 0.5}))
    (folder / "1-main" / "latest").symlink_to(checkpoint.name)
    age(folder)
    return folder


def test_checkpoints_go_when_the_run_has_become_its_version(small_registry: Workspace) -> None:
    name = hub(small_registry).get("v9").run
    finished, stopped = (run_folder(small_registry, run, status=status) for run, status in ((name, "finished"), ("other", "stopped")))
    cleaning = clean(small_registry, apply=True)
    assert {item.path.name for item in cleaning.going} == {"state.safetensors", "best.safetensors"}
    assert cleaning.bytes == 2000
    assert not list(finished.rglob(WEIGHTS))
    assert len(list(stopped.rglob(WEIGHTS))) == 2
    runs = json.loads(CliRunner().invoke(app, ["runs", "--workspace", str(small_registry.root), "--json"]).stdout)
    assert {run["run"]: run["best_rmse"] for run in runs["runs"]} == {name: 0.5, "other": 0.5}


def test_checkpoints_stay_where_the_stored_weights_are_gone(small_registry: Workspace) -> None:
    version = hub(small_registry).get("v9")
    folder = run_folder(small_registry, version.run, status="finished")
    hub(small_registry).artifacts.path(version.checkpoint).unlink()
    cleaning = clean(small_registry, apply=True)
    assert cleaning.going == () and len(list(folder.rglob(WEIGHTS))) == 2
    assert {item.stays for item in cleaning.staying if item.kind == "checkpoint"} == {"the stored weights of v9 are gone"}


def test_disk_grows_by_what_is_kept_alone(small_registry: Workspace, tmp_path: Path) -> None:
    def used() -> int:
        return sum(path.stat().st_size for path in (small_registry.build / "runs").rglob(WEIGHTS))

    for _ in range(3):
        version = register(small_registry, tmp_path, None)
        run_folder(small_registry, hub(small_registry).get(version).run, status="finished")
        clean(small_registry, apply=True)
        assert used() == 0


def test_the_folder_of_a_run_that_is_trained_at_this_moment_is_never_touched(small_registry: Workspace) -> None:
    from core.files import locked

    folder = run_folder(small_registry, hub(small_registry).get("v9").run, status="finished")
    with locked(folder / ".lock"):
        age(folder)
        assert clean(small_registry, apply=True).going == ()
        assert len(list(folder.rglob(WEIGHTS))) == 2


def test_a_pack_stays_while_its_frames_are_there(blank_registry: Workspace, tmp_path: Path) -> None:
    manifest = write_frames(tmp_path / "frames", val=2)
    folder = pack(blank_registry, resolve(blank_registry, name_or_manifest=str(manifest)), (32, 48)).path
    age(blank_registry.build)
    assert [(item.kind, item.stays) for item in clean(blank_registry, apply=True).staying] == [("pack", "of a dataset as it is")]
    manifest.unlink()
    assert [item.path for item in clean(blank_registry, apply=True).going] == [folder]
    assert not folder.exists()


def test_what_lies_in_a_root_that_others_may_share_is_left_alone(small_registry: Workspace, tmp_path: Path) -> None:
    from pipelines.workspace import load

    stored = orphan(small_registry, tmp_path)
    shutil.move(small_registry.root / "mlruns" / "artifacts", tmp_path / "shared")
    toml = small_registry.root / "vortex.toml"
    toml.write_text(toml.read_text().replace('"mlruns/artifacts"', f'"{tmp_path / "shared"}"'))
    assert clean(load(small_registry.root), apply=True).going == ()
    assert (tmp_path / "shared" / stored.relative_to(small_registry.root / "mlruns" / "artifacts")).is_file()


def test_nothing_goes_where_the_ledger_cannot_be_trusted(small_registry: Workspace, tmp_path: Path) -> None:
    stored = orphan(small_registry, tmp_path)
    with closing(sqlite3.connect(small_registry.root / "mlruns" / "ledger.db")) as store, store:
        for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            store.execute(f"DROP TRIGGER {name}")
        store.execute("DELETE FROM events WHERE seq > 3")
    with pytest.raises(VortexError, match="the chain breaks at event 4"):
        clean(small_registry, apply=True)
    (small_registry.root / "mlruns" / "ledger.head").unlink()
    (small_registry.root / "mlruns" / "ledger.db").unlink()
    assert clean(small_registry, apply=True).going == ()
    assert stored.exists()
