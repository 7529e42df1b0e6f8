"""What a report of a large registry costs: time, memory, and the size of its first page.

    make bench-report            (benchmarks/report.py [--versions 10000] [--smoke])

Two measurements a version and two moves of twenty channels for each five make 34,000 events of 10,000 versions. Asked at 10,000: a whole
`vortex report` in <= 60 s, its first page and every other of <= 1 MB; memory is told, and must not grow faster than the ledger.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.listings import cost, promote
from benchmarks.registry import fill
from registry.ledger import Ledger

ASKED: Final = {"seconds": 60.0, "first_page_bytes": 1_000_000, "largest_page_bytes": 1_000_000}


def measure(versions: int) -> dict[str, Any]:
    """One report of so many versions, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "vortex.toml").write_text("")
        ledger = Ledger(f"sqlite:///{root}/mlruns/ledger.db", head_file=root / "mlruns" / "ledger.head")
        fill(ledger, versions)
        promote(ledger, versions)
        start = time.perf_counter()
        cpu, memory = cost(["report"], root, 1)
        seconds = time.perf_counter() - start
        site = root / "build" / "report"
        sizes = {path: path.stat().st_size for path in site.rglob("*.html")}
        result = {
            "versions": versions,
            "seconds": round(seconds, 1),
            "cpu_s": round(cpu, 1),
            "mb": round(memory),
            "pages": len(sizes),
            "first_page_bytes": sizes[site / "index.html"],
            "largest_page_bytes": max(sizes.values()),
            "largest_page": str(max(sizes, key=lambda path: sizes[path]).relative_to(site)),
            "site_mb": round(sum(sizes.values()) / 1e6),
        }
        shutil.rmtree(site)
        return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--smoke", action="store_true", help="few versions: does it work at all?")
    options = parser.parse_args()
    versions = 60 if options.smoke else options.versions
    results = [measure(count) for count in ((versions,) if options.smoke else (versions // 3, versions))]
    missed = [name for name, most in ASKED.items() if results[-1][name] > most]
    print(json.dumps({"asked": ASKED, "missed": missed, "results": results}, indent=1))


if __name__ == "__main__":
    main()
