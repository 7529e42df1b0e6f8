"""Workspaces that the golden tests ask: a new one, one with the old ledger in it, and the old runs."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.golden.golden import HERE, listing, vortex

COLUMNS = ("seq", "previous", "kind", "subject", "at", "actor", "reason", "git_commit", "head", "body")
"""Of an event in the ledger, beside its hash."""
TRAINING = "tiny.yaml --domain rooms --encoder-weights none --device cpu"
LEDGER, RUNS = HERE / "old_ledger" / "ledger.sql", HERE / "old_run"
OLD_RUN, OLD_JOB = "tiny-rooms-20261128-121608-1f28", "tiny-rooms-20261128-121923-db13"
"""A run that was trained to its end, and one that waits for its job."""
TEXT = (".json", ".jsonl", ".sh", ".out", ".err")
"""What of a run is kept; its weights are not."""
DIGEST = "d1" * 32
"""Stands in the old runs for the digest of the data."""


def begin(root: Path) -> dict[str, Any]:
    """Make a workspace with 16 rendered frames that have passed, and a recipe for them that trains in a second; what was printed."""
    lines = ("data synth small --world rooms --frames 16 --size 48x64 --seed 1 --workers 1", "validate small")
    printed = {"init": vortex(f"init {root} --json").json, **{line: vortex(f"{line} --json", root).json for line in lines}}
    recipe = vortex("recipes v5 --json").json
    recipe |= {"name": "tiny", "codename": "Tiny", "parents": [], "published": []}
    recipe["student"] = {"encoder": "mobilenetv3_small_100", "size": [48, 64]}
    recipe["scratch"]["batch_size"] = 4
    (root / "tiny.yaml").write_text(json.dumps(recipe))
    return printed


def plain_folder(root: Path) -> Path:
    """A folder of frames as somebody brings it: a wall that comes nearer."""
    for name in ("rgb", "depth"):
        (root / name).mkdir(parents=True)
    for number in range(12):
        colour = np.random.default_rng(number).integers(60, 200, (48, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "rgb" / f"{number:03d}.png"), colour)
        cv2.imwrite(str(root / "depth" / f"{number:03d}.png"), np.full((48, 64), 4000 - 100 * number, np.uint16))
    return root


def old_checkpoint(folder: Path) -> Path:
    """A checkpoint of before Vortex, of random weights: what `adopt` takes by the tiny recipe."""
    import torch

    from models.student import Student, StudentConfig

    torch.manual_seed(0)
    state = Student(StudentConfig(encoder="mobilenetv3_small_100", size=(48, 64))).state_dict()
    torch.save({"model": state, "epoch": 50}, folder / "old.pt")
    return folder / "old.pt"


def lineage_file(folder: Path) -> Path:
    """A version that was published elsewhere: what `import` takes."""
    metric = {"dataset": "small", "domain": "rooms", "camera": "kinect", "metric": "rmse", "value": 0.5}
    job = {"job": "7", "stage": "one", "outcome": "finished"}
    version = {
        "name": "v20",
        "codename": "Buoy",
        "parents": [],
        "encoder": "mobilenetv3_small_100",
        "changed": "the place",
        "lesson": "it floats",
    }
    more = {"stages": [{"name": "one", "datasets": ["small"], "epochs": 3, "stopped_at": 2}], "jobs": [job], "published": [metric]}
    (folder / "lineage.yaml").write_text(json.dumps({"versions": [version | more]}))
    return folder / "lineage.yaml"


def field_report(folder: Path, checkpoint: str) -> Path:
    """A report about the version that has this checkpoint: what `evidence add` takes."""
    about = {"format": 1, "kind": "field", "checkpoint_sha256": checkpoint, "made_at": "2026-03-01T12:00:00Z", "made_by": "the lab"}
    drive = {"device": "host", "place": "hall", "hours": 2, "distance_m": 900, "interventions": 1, "collisions": 0}
    (folder / "report.json").write_text(json.dumps(about | drive))
    return folder / "report.json"


def training(root: Path) -> str:
    """The options of the tiny training."""
    return TRAINING.replace("tiny.yaml", str(root / "tiny.yaml"))


def rows(root: Path) -> list[dict[str, Any]]:
    """The events of a workspace's ledger as they lie in the database, with the claims that each has taken."""
    with closing(sqlite3.connect(root / "mlruns" / "ledger.db")) as database:
        database.row_factory = sqlite3.Row
        events = [dict(row) for row in database.execute("SELECT * FROM events ORDER BY seq")]
        for event in events:
            claims = database.execute("SELECT scope, number FROM claims WHERE event = ? ORDER BY scope", (event["seq"],))
            event["claims"] = [tuple(claim) for claim in claims]
    return events


def load_ledger(root: Path) -> None:
    """Put the old ledger into a workspace that has none."""
    with closing(sqlite3.connect(root / "mlruns" / "ledger.db")) as database:
        database.executescript(LEDGER.read_text())


def load_runs(root: Path, digest: str = DIGEST) -> None:
    """Put the old runs into a workspace. Weights are no part of them: their files are there, and empty."""
    for number, name in enumerate((OLD_JOB, OLD_RUN)):
        folder = root / "build" / "runs" / name
        for entry in (RUNS / name / "files.txt").read_text().splitlines():
            path, _, target = entry.partition(" -> ")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if target:
                (folder / path).symlink_to(target)
                continue
            source = RUNS / name / path
            text = source.read_text() if source.exists() else ""
            (folder / path).write_text(text.replace("{workspace}", str(root)).replace(DIGEST, digest))
            os.utime(folder / path, (1_795_868_000 - number, 1_795_868_000 - number))


def keep_run(root: Path, name: str, as_name: str) -> None:
    """Write a run's text down among the old ones, without the name of its workspace and of this machine."""
    source, target = root / "build" / "runs" / name, RUNS / as_name
    target.mkdir(parents=True)
    plan = json.loads((source / "plan.json").read_text())
    digest = plan["stages"][0]["data"][0]["digest"]
    replaced = {str(root): "{workspace}", sys.executable: "/opt/vortex/.venv/bin/python", name: as_name, digest: DIGEST}
    (target / "files.txt").write_text("\n".join(listing(source)) + "\n")
    for path in source.rglob("*"):
        if path.is_file() and not path.parent.is_symlink() and path.suffix in TEXT:
            text = path.read_text()
            for before, after in replaced.items():
                text = text.replace(before, after)
            if path.name == "state.json":
                state = json.loads(text)
                text = json.dumps(state | {"host": state["host"] and "node7", "pid": state["pid"] and 6182}, indent=1)
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(source)).write_text(text)
