"""A hub over a real MLflow store and a real ledger, and versions to put in it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from registry import database
from registry.edges import DataEdge, RecipeEdge, TeacherEdge
from registry.ledger import Ledger
from registry.records import Artifact, DataUse, NewVersion
from registry.store import MlflowStore
from registry.versions import Hub


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow store that has been created once: creating one takes 3 s, and opening a copy tests that a store can be moved."""
    folder = tmp_path_factory.mktemp("migrated")
    MlflowStore(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")
    return folder / "mlflow.db"


@pytest.fixture
def hub(migrated: Path, tmp_path: Path) -> Hub:
    shutil.copyfile(migrated, tmp_path / "mlflow.db")
    return Hub.open(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts", f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")


@pytest.fixture
def edit() -> Callable[..., None]:
    """Change a sqlite ledger as someone would who means to: without the triggers, which stand again afterwards."""

    def change(ledger: Ledger, *statements: str, triggers: bool = True) -> None:
        assert ledger.path
        with closing(sqlite3.connect(ledger.path)) as store, store:
            for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                store.execute(f"DROP TRIGGER {name}")
            for statement in statements:
                store.execute(statement)
            for name, text in database.SQLITE_TRIGGERS.items() if triggers else ():
                store.execute(f"CREATE TRIGGER {name} {text}")

    return change


@pytest.fixture
def make_new() -> Callable[..., NewVersion]:
    """A NewVersion that needs no MLflow run; keyword arguments replace what it says."""

    def make(run_id: str = "0" * 32, **other: Any) -> NewVersion:
        use = DataUse("corridor", "corridor", "corridor", "ab" * 32, "0123456789abcdef0123456789abcdef.dir", True, {"train": 72, "val": 20})
        values: dict[str, Any] = {
            "recipe": "v6",
            "derived": False,
            "recipe_config": {"name": "v6", "optimizer": {"encoder_lr": 3e-5}},
            "parents": (RecipeEdge("v5"), TeacherEdge("da3-metric-large"), DataEdge(use.name, use.digest)),
            "domain": "corridor",
            "data": (use,),
            "size": (120, 160),
            "run_id": run_id,
            "run": "cornerstone-1",
            "checkpoint": Artifact("0/best.safetensors", "cd" * 32, 10),
            "environment": {"python": "3.11"},
            "codename": "Cornerstone",
        }
        return NewVersion(**{**values, **other})

    return make


@pytest.fixture
def finished(hub: Hub, tmp_path: Path, make_new: Callable[..., NewVersion]) -> Callable[..., NewVersion]:
    """A finished MLflow run with a stored checkpoint, as training leaves it."""

    def run(**other: Any) -> NewVersion:
        run_id = hub.store.start_run("cornerstone")
        checkpoint = tmp_path / "best.safetensors"
        checkpoint.write_bytes(run_id.encode())
        artifact = hub.store.log_artifact(run_id, checkpoint, "checkpoint")
        hub.store.end_run(run_id)
        return make_new(run_id, checkpoint=artifact, **other)

    return run
