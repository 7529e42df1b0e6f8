"""Every benchmark still runs: its `--smoke` ends well and prints figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.preloaded import Preloaded

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")

DEAR = (
    *("torch", "torchvision", "timm", "onnx", "onnxscript", "albumentations", "cv2", "pandas", "scipy.stats", "dvc.repo"),
    *("alembic.command", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
)
"""What the benchmarks import of others, and takes seconds. None of ours: each benchmark has to import what it needs."""


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    with Preloaded(DEAR, tmp_path_factory.mktemp("benchmarks")) as process:
        yield process


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_smoke(name: str, preloaded: Preloaded, tmp_path: Path) -> None:
    extra = ["--folder", str(tmp_path)] if name == "real_frames" else []
    result = preloaded.run(f"benchmarks.{name}", "--smoke", *extra, timeout=240)
    assert result.returncode == 0, result.stderr[-2000:]
    if result.stdout.startswith("skipped"):
        pytest.skip(result.stdout.strip())
    assert re.search(r"\d", result.stdout)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_says_what_it_measures_and_how_to_run_it(name: str) -> None:
    text = (ROOT / "benchmarks" / f"{name}.py").read_text()
    assert f"make bench-{name}" in text and "--smoke" in text
