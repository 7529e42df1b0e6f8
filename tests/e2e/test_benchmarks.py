"""Every benchmark still runs: its `--smoke` ends well and prints figures."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.preloaded import Preloaded

PATIENCE_S = 600
ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloaded]:
    with Preloaded(tmp_path_factory.mktemp("benchmarks")) as process:
        yield process


@pytest.mark.parametrize("name", BENCHMARKS)
def test_smoke(name: str, preloaded: Preloaded, tmp_path: Path) -> None:
    extra = ["--folder", str(tmp_path)] if name == "real_frames" else []
    if name.startswith("robot"):  # none of it is on a robot, and a limit of a child's memory would count it
        command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE_S, check=False)
    else:
        result = preloaded.run(f"benchmarks.{name}", "--smoke", *extra, timeout=PATIENCE_S)
    assert result.returncode == 0, result.stderr[-2000:]
    if result.stdout.startswith("skipped"):
        pytest.skip(result.stdout.strip())
    assert re.search(r"\d", result.stdout)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_says_what_it_measures_and_how_to_run_it(name: str) -> None:
    text = (ROOT / "benchmarks" / f"{name}.py").read_text()
    assert f"make bench-{name}" in text and "--smoke" in text
