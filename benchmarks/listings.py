"""What the listings cost on a large ledger: CPU and memory of whole commands, at one size and at three times that.

    make bench-listings            (benchmarks/listings.py [--versions 10000] [--once] [--smoke])

Two measurements a version and two channels' moves for each five make 34,000 events of 10,000 versions; every version is fine-tuned from an
earlier one, and all have one teacher and sets of one name. Asked at 10,000: `versions` <= 1.0 s of CPU, `show` <= 0.6, `lineage` in
every form <= 2, `history --json` <= 4 s and 200 MB; and of three times as many no more than 3.3 times as much. Where VORTEX_TEST_POSTGRES names
a database whose ledger may be dropped, the same is asked of a ledger there, of one size; the server's own time is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.registry import emptied, fill
from registry.channels import Channel
from registry.events.channel import ChannelPromoted
from registry.ledger import Ledger
from registry.quarantine import record

CHANNELS: Final = tuple(Channel("host", f"domain{number}") for number in range(20))
DESCENT: Final = ("lineage --down", "lineage --up", "lineage of data", "lineage of a teacher")
ASKED: Final = {"versions": 1.0, "show": 0.6, "lineage": 2.0, **dict.fromkeys(DESCENT, 2.0), "history --json": 4.0, "history --at": 0.3}
"""Seconds of CPU at 10,000 versions."""
RUNS: Final = 3


def promote(ledger: Ledger, versions: int) -> None:
    """Two moves for each five versions, in turn on every channel."""
    moves = dict.fromkeys(CHANNELS, 0)
    production: dict[Channel, str | None] = dict.fromkeys(CHANNELS)
    with ledger.transaction() as tx:
        for number in range(versions * 2 // 5):
            channel, version = CHANNELS[number % len(CHANNELS)], f"v{10 + number * 5 // 2}"
            moves[channel] += 1
            event = ChannelPromoted(channel, version, "production", moves[channel], production[channel], ())
            tx.append(event, actor="Ada Lovelace", reason="benchmark")
            production[channel] = version


def cost(words: list[str], root: Path, runs: int) -> tuple[float, float]:
    """Seconds of CPU and the largest memory in MB of one command; the least of some runs, as other work only adds."""
    costs = []
    for _ in range(runs):
        with open(os.devnull, "w") as nowhere:
            process = subprocess.Popen(
                [sys.executable, "-m", "vortex_cli.main", *words, "--workspace", str(root)], stdout=nowhere, stderr=nowhere
            )
            _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"vortex {' '.join(words)} ended with status {status}")
        costs.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
    return min(costs)


def measure(versions: int, runs: int, server: str | None = None) -> dict[str, tuple[float, float]]:
    """Each listing's cost on a ledger of so many versions, in a file or on a database server."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "vortex.toml").write_text(f"ledger = {json.dumps(server)}\n" if server else "")
        ledger = Ledger(server or f"sqlite:///{root}/mlruns/ledger.db", head_file=root / "mlruns" / "ledger.head")
        fill(ledger, versions)
        promote(ledger, versions)
        newest = f"v{9 + versions}"
        commands = {
            "versions": ["versions"],
            "versions --json": ["versions", "--json"],
            "show": ["show", newest],
            "show, promoted": ["show", "v10"],
            "lineage": ["lineage"],
            "lineage of one": ["lineage", newest],
            "lineage --json": ["lineage", "--json"],
            "lineage --down": ["lineage", "v10", "--down"],
            "lineage --up": ["lineage", newest, "--up"],
            "lineage of data": ["lineage", "corridor"],
            "lineage of a teacher": ["lineage", "da3-metric-large", "--json"],
            "lineage --metric": ["lineage", newest, "--metric", "rmse@rooms"],
            "history": ["history"],
            "history of one": ["history", newest],
            "history --json": ["history", "--json"],
            "history --at": ["history", "--at", "2100-01-01"],
        }
        costs = {name: cost(words, root, runs) for name, words in commands.items()}
        record(ledger, "data", "corridor", actor="Ada Lovelace", reason="benchmark")
        barred = {"versions, all quarantined": ["versions"], "lineage, all quarantined": ["lineage"]}
        return costs | {name: cost(words, root, runs) for name, words in barred.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000)
    parser.add_argument("--once", action="store_true", help="of one size alone")
    parser.add_argument("--smoke", action="store_true", help="few versions in a file: does it work at all?")
    options = parser.parse_args()
    versions, runs = (20, 1) if options.smoke else (options.versions, RUNS)
    server = os.environ.get("VORTEX_TEST_POSTGRES")
    once, thrice = measure(versions, runs), {} if options.once or options.smoke else measure(3 * versions, runs)
    remote = measure(versions, runs, emptied(server)) if server and not options.smoke else {}
    rows: dict[str, dict[str, float | None]] = {
        name: {"cpu_s": round(cpu, 2), "mb": round(memory)}
        | (
            {"cpu_s_thrice": round(thrice[name][0], 2), "mb_thrice": round(thrice[name][1]), "ratio": round(thrice[name][0] / cpu, 2)}
            if thrice
            else {}
        )
        | ({"cpu_s_postgresql": round(remote[name][0], 2)} if remote else {})
        | {"asked_s": ASKED.get(name)}
        for name, (cpu, memory) in once.items()
    }
    print(json.dumps({"size": {"versions": versions, "events": versions * 17 // 5}, **rows}, indent=1))


if __name__ == "__main__":
    main()
