"""Fixtures every test may use: a fresh workspace, and the real frames where they are present."""

from __future__ import annotations

import functools
import gc
import hashlib
import importlib.util
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from pipelines.ship.export import onnx as onnx_export
from pipelines.workspace import Workspace
from tests.made_once import made_once

# Two test processes with two torch threads each on two cores spend their time waiting for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# ffmpeg asks for this when OpenCV opens the first file, which may be in a test that calls OpenCV itself; Vortex sets it before it does.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

# A process of `vortex` makes its commands from the app once. Typer's runner makes all seventy anew for each line that it is given, which
# was a third of the CPU of the tests of commands (measured).
typer.testing._get_command = functools.cache(typer.testing._get_command)  # type: ignore[attr-defined]


THIRDS = (
    ("test_benchmarks",),
    ("test_main_job", "test_pipeline_stages", "test_team"),
    ("test_slurm", "test_train_workers", "test_two_nodes"),
)
"""The runs from end to end, as three processes begin with them."""
SLOWEST_S = 1200
"""What a run from end to end may take on a machine that is slow and busy; other tests have the time-out of pyproject.toml."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin each third of the tests with runs from end to end: one process waits for SLURM or Ray while others compute, not at the end alone."""
    for item in items:
        if item.get_closest_marker("endurance") or any(item.path.stem in third for third in THIRDS):
            item.add_marker(pytest.mark.timeout(SLOWEST_S))
    parts = [[item for item in items if item.path.stem in third] for third in THIRDS]
    others, third = [item for item in items if not any(item in part for part in parts)], len(items) // 3
    ends = [max(third - len(parts[0]), 0), max(2 * third - len(parts[0]) - len(parts[1]), 0), None]
    starts = [0, *ends[:2]]
    items[:] = [item for part, start, end in zip(parts, starts, ends, strict=True) for item in (*part, *others[start:end])]


@pytest.fixture(autouse=True)
def fresh_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test's command was called with is not what the next one's is: `--json` would silence it."""
    from vortex_cli import console

    monkeypatch.setattr(console, "session", console.Session())


@pytest.fixture(autouse=True, scope="session")
def remembered_exports(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The exporter, which takes 6 to 10 s of CPU, is asked once for each student's weights and size."""
    translate = onnx_export._translate

    def once(student: Any, size: tuple[int, int], path: Path) -> None:
        from models.student import Student

        if not isinstance(student, Student):
            translate(student, size, path)
            return
        digest = hashlib.sha256(repr((student.config, size)).encode())
        for name, values in student.state_dict().items():
            digest.update(name.encode() + values.numpy().tobytes())
        made = made_once(tmp_path_factory, f"export-{digest.hexdigest()}", lambda folder: translate(student, size, folder / "student.onnx"))
        shutil.copyfile(made / "student.onnx", path)

    onnx_export._translate = once


@pytest.fixture
def others_garbage() -> Iterator[None]:
    """What other tests of this process left is not searched for garbage while one is timed: that took 3 s of CPU once."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def closed_stores() -> Iterator[None]:
    """MLflow keeps an engine for every database that it ever opened, with four open files each; a process may have 1,024."""
    yield
    for kind in ("tracking", "model_registry"):
        module = sys.modules.get(f"mlflow.store.{kind}.sqlalchemy_store")
        for engine in module.SqlAlchemyStore._engine_map.values() if module else ():
            engine.dispose()


@pytest.fixture(scope="session")
def empty_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace as `vortex init` leaves it, to be copied: nothing in it names its own place."""
    from pipelines.init import init

    return init(tmp_path_factory.mktemp("empty") / "workspace")


@pytest.fixture
def workspace(empty_workspace: Workspace, tmp_path: Path) -> Workspace:
    """A workspace of the test's own, as `vortex init` leaves it."""
    from pipelines.workspace import load

    return load(shutil.copytree(empty_workspace.root, tmp_path / "workspace"))


@pytest.fixture(scope="session")
def real_frames() -> Path:
    """Folder of real RGB-D sets (kitchen_kinect, office_hololens, …) that VORTEX_FRAMES names."""
    folder = os.environ.get("VORTEX_FRAMES")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real frames are absent: set VORTEX_FRAMES to the folder that holds kitchen_kinect/ and its siblings")
    return Path(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty ledger can be: in a file, and in a schema of the PostgreSQL database that VORTEX_TEST_POSTGRES names."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    url = os.environ.get("VORTEX_TEST_POSTGRES")
    if not url or not importlib.util.find_spec("psycopg"):
        pytest.skip("no PostgreSQL: set VORTEX_TEST_POSTGRES to the URL of an empty database")
    from sqlalchemy import create_engine, text

    # A schema of its own, because tests run side by side.
    engine, schema = create_engine(url), f"test_{uuid.uuid4().hex}"
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    yield f"{url}?options=-csearch_path%3D{schema}"
    with engine.begin() as connection:
        connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
    engine.dispose()
