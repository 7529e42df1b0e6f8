"""What it costs to decide: `compare`, `pareto` and `recommend` over many versions with errors of frames, and MLflow's pages.

    make bench-deciding            (benchmarks/deciding.py [--versions 1000] [--smoke])

Every version is measured on 459 frames of two domains, near the figures of the others, and every third is fine-tuned from an earlier one.
Asked at 1,000 versions: `compare` <= 3 s of CPU, `pareto` and `recommend` <= 30 s. MLflow's pages are started on any free port: they must
answer over HTTP on 127.0.0.1 alone, whatever the environment says of MLflow, and Ctrl-C must leave no process behind.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.listings import cost
from core.classes import CLASSES
from core.files import sha256_file
from pipelines.compare.frame_errors import FrameErrors
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.workspace import Workspace, load
from registry.edges import WeightsEdge
from registry.events.version import VersionMeasured
from registry.records import Artifact, DataUse, Metrics, NewVersion
from registry.versions import append_registration

FRAMES: Final = 459
ASKED: Final = {"compare": 3.0, "pareto": 30.0, "recommend": 30.0, "recommend --for finetune": 30.0}
"""Seconds of CPU at 1,000 versions."""


def fill(ws: Workspace, count: int) -> None:
    """Register `count` versions that were each measured on two domains, with their errors of frames."""
    assert isinstance(ws.artifact_root, Path)
    random = np.random.default_rng(0)
    checkpoint = Artifact("none.safetensors", "0" * 64, 0)
    with hub(ws).ledger.transaction() as tx:
        for number in range(10, 10 + count):
            parents = (WeightsEdge(f"v{number - 1}"),) if number % 3 == 0 and number > 10 else ()
            use = DataUse("small", "rooms", "room", "0" * 64, None, True, {"train": 100 + number})
            new = NewVersion(None, bool(parents), {}, parents, "rooms", (use,), (240, 320), f"{number:032x}", "run", checkpoint)
            name = append_registration(tx, new, number, actor="benchmark")
            for domain in ("rooms", "corridor"):
                metrics = measurement(ws.artifact_root, number, domain, random)
                tx.append(VersionMeasured(name, metrics), actor="benchmark")


def measurement(root: Path, number: int, domain: str, random: np.random.Generator) -> Metrics:
    """Figures of a version, with the errors of frames that pool to them."""
    level = 0.3 + 0.1 * random.random()
    squared = 100 * level * (1 + 0.2 * random.standard_normal(FRAMES).clip(-3, 3))
    right = 60 + 20 * random.random((FRAMES, 1))
    confusion = np.eye(len(CLASSES)) * right[..., None] + 5
    errors = FrameErrors(
        tuple(f"{frame:04d}" for frame in range(FRAMES)),
        {"squared": squared, "count": np.full(FRAMES, 100.0), "confusion": confusion},
        (240, 320),
        tuple(f"s{frame // 20:02d}" for frame in range(FRAMES)),
    )
    uri = f"{number:032x}/artifacts/evaluations/{domain}.npz"
    errors.save(root / uri)
    stored = Artifact(uri, sha256_file(root / uri), (root / uri).stat().st_size)
    hits, total = np.trace(confusion.sum(axis=0)), confusion.sum()
    values = {"rmse": float(np.sqrt(squared.sum() / (100 * FRAMES))), "miou": float(hits / (2 * total - hits))}
    return Metrics(domain, "kinect", "val-pooled-10m/1", domain, hashlib.sha256(domain.encode()).hexdigest(), values, FRAMES, stored)


def pages(root: Path) -> dict[str, Any]:
    """Start MLflow's pages as a person does, ask them, and end them with Ctrl-C. Raises SystemExit where one of the promises is broken."""
    environment = os.environ | {"MLFLOW_HOST": "0.0.0.0", "MLFLOW_UVICORN_OPTS": "--host 0.0.0.0"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "vortex_cli.main", "ui", "--port", "0", "--workspace", str(root)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        # A shell that starts a command in the background has it ignore SIGINT.
        preexec_fn=_heed_interrupts,
    )
    assert process.stdout
    match = re.search(r"http://127\.0\.0\.1:(\d+) ", process.stdout.readline())
    if match is None:
        raise SystemExit("the pages named no address")
    until_address, port = time.perf_counter() - started, int(match[1])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/", timeout=30) as page:
        title = b"<title>MLflow</title>" in page.read()
    query = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search", b'{"max_results": 10}', {"content-type": "application/json"}
    )
    with opener.open(query, timeout=30) as answer:
        experiments = [experiment["name"] for experiment in json.load(answer)["experiments"]]
    listening = {row.split()[1] for row in Path("/proc/net/tcp").read_text().splitlines() if row.split()[3] == "0A"}
    server = _children(process.pid)
    processes = [process.pid, *server, *(worker for each in server for worker in _children(each))]
    memory = sum(_resident_mb(pid) for pid in processes)
    started = time.perf_counter()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    left = [pid for pid in processes if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()]
    promises = {
        "MLflow's page is served": title,
        "the workspace's experiment is there": "vortex" in experiments,
        "bound to loopback alone": f"0100007F:{port:04X}" in listening and f"00000000:{port:04X}" not in listening,
        "Ctrl-C ends it with 0": process.returncode == 0,
        "no process is left": not left,
    }
    broken = [promise for promise, holds in promises.items() if not holds]
    if broken:
        raise SystemExit(f"broken: {', '.join(broken)}")
    return {
        "until_address_s": round(until_address, 1),
        "processes": len(processes),
        "mb": round(memory),
        "end_s": round(time.perf_counter() - started, 1),
    }


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--smoke", action="store_true", help="few versions: does it work at all?")
    options = parser.parse_args()
    versions = 12 if options.smoke else options.versions
    with tempfile.TemporaryDirectory() as folder:
        ws = init(Path(folder) / "workspace")
        for domain in ("rooms", "corridor"):
            ws = load(ws.root).add_domain(domain, "room")
        fill(ws, versions)
        commands = {
            "compare": ["compare", "v10", f"v{9 + versions}"],
            "pareto": ["pareto", "--axes", "rooms.rmse,corridor.rmse"],
            "recommend": ["recommend", "--domain", "rooms"],
            "recommend --for finetune": ["recommend", "--domain", "rooms", "--for", "finetune"],
        }
        rows: dict[str, Any] = {}
        for name, words in commands.items():
            cpu, memory = cost(words, ws.root, 1)
            rows[name] = {"cpu_s": round(cpu, 2), "mb": round(memory), "asked_s": ASKED[name]}
        print(json.dumps({"versions": versions, **rows, "ui": pages(ws.root)}, indent=1))


if __name__ == "__main__":
    main()
