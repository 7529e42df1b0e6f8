"""Every benchmark still runs: its `--smoke` ends well and prints figures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_smoke(name: str, tmp_path: Path) -> None:
    extra = ["--folder", str(tmp_path)] if name == "real_frames" else []
    command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke", *extra]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    if result.stdout.startswith("skipped"):
        pytest.skip(result.stdout.strip())
    assert re.search(r"\d", result.stdout)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_says_what_it_measures_and_how_to_run_it(name: str) -> None:
    text = (ROOT / "benchmarks" / f"{name}.py").read_text()
    assert f"make bench-{name}" in text and "--smoke" in text
