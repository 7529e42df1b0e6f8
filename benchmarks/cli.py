"""How long a person waits for the command line: `vortex --help`, and `vortex versions` on an empty and on a large registry.

    make bench-cli            (benchmarks/cli.py [--versions 10000] [--runs 7] [--smoke])

Targets: `--help` ≤ 0.3 s, `versions` on 10,000 versions ≤ 1 s; a bare `python -c pass` beside them shows what the machine itself costs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.registry import fill
from pipelines.init import init
from registry.ledger import Ledger

VORTEX = [sys.executable, "-m", "vortex_cli.main"]


def median_seconds(command: list[str], runs: int) -> float:
    """Median wall time of `runs` whole processes, after one that is not counted."""
    times = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--smoke", action="store_true", help="a few versions and one run: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.versions, options.runs = 20, 1
    with tempfile.TemporaryDirectory() as folder:
        workspace = init(Path(folder) / "large")
        fill(Ledger(workspace.ledger_url), options.versions)
        empty = init(Path(folder) / "empty")
        rows = [
            ("python -c pass", [sys.executable, "-c", "pass"]),
            ("vortex --help", [*VORTEX, "--help"]),
            ("vortex versions, none", [*VORTEX, "versions", "--workspace", str(empty.root)]),
            (f"vortex versions, {options.versions:,}", [*VORTEX, "versions", "--workspace", str(workspace.root)]),
            (f"vortex versions --json, {options.versions:,}", [*VORTEX, "versions", "--json", "--workspace", str(workspace.root)]),
            ("vortex show v10", [*VORTEX, "show", "v10", "--workspace", str(workspace.root)]),
        ]
        for name, command in rows:
            print(f"{name:<36} {median_seconds(command, options.runs):7.3f} s")


if __name__ == "__main__":
    main()
