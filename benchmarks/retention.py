"""Random workspaces in which `vortex gc --apply` removes what nothing needs, and nothing else.

    make bench-retention            (benchmarks/retention.py [--needed 10000] [--seed 0] [--smoke])

Each world has versions with parents, exports, measurements that were replaced and promotions that were rolled back; runs that finished,
stopped, failed, were truncated or are at work; stored files that no event names, of these runs and of strangers; stale packs, pictures,
what ended processes left, and files that were touched lately. Whoever makes the world says of each file whether it is needed. Target: of
10,000 needed files none is taken; all others go. Every third clean-up is ended at a random removal, as a kill would end it, and given again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from filelock import FileLock

from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.retention import removal
from pipelines.runs.folder import LOCK, PLAN
from pipelines.runs.state import RunState, Status
from pipelines.workspace import Workspace, load
from registry.channels import Channel, ChannelState
from registry.edges import WeightsEdge
from registry.events.channel import ChannelPromoted, ChannelRolledBack
from registry.events.version import VersionExported, VersionMeasured
from registry.records import Artifact, DataUse, Export, Metrics, NewVersion
from registry.stages import channel_state
from registry.versions import append_registration

STAGES: Final = ("candidate", "staging", "production")
OLD_S: Final = 3 * 86_400
ENDED: Final[tuple[Status, ...]] = ("stopped", "failed", "truncated")


class Ended(BaseException):
    """The process that removes was ended."""


@dataclass
class World:
    """A workspace, and of each of its files whether something needs it."""

    ws: Workspace
    random: random.Random
    needed: dict[Path, str] = field(default_factory=dict)
    """File → the SHA-256 of its bytes."""
    spare: set[Path] = field(default_factory=set)
    locks: list[FileLock] = field(default_factory=list)

    def write(self, path: Path, needed: bool, content: bytes | None = None) -> bytes:
        """Make a file of three days ago, or of now: that one is needed in any case."""
        content = content or self.random.randbytes(24)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if self.random.random() < 0.15:
            needed = True
        else:
            os.utime(path, (time.time() - OLD_S,) * 2)
        if needed:
            self.needed[path] = hashlib.sha256(content).hexdigest()
        else:
            self.spare.add(path)
        return content

    def store(self, run: str, folder: str, name: str, needed: bool = True) -> Artifact:
        """Store a file with a run."""
        content = self.random.randbytes(24)
        digest = hashlib.sha256(content).hexdigest()
        uri = f"{run}/artifacts/{folder}/{digest}/{name}"
        self.write(Path(self.ws.artifact_root) / uri, needed, content)
        return Artifact(uri, digest, len(content))

    def faults(self) -> tuple[list[Path], list[Path]]:
        """Needed files that are gone or changed, and others that are still there."""
        taken = [
            path for path, digest in self.needed.items() if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest
        ]
        return taken, [path for path in self.spare if path.exists()]


def world(blank: Path, root: Path, seed: int) -> World:
    """A random world upon a copy of a workspace whose MLflow store is there and empty."""
    shutil.copytree(blank, root, symlinks=True)
    made = World(load(root), random.Random(seed))
    names = _versions(made)
    _orphans(made, [run for run, _ in names])
    _runs(made, dict(names))
    build = made.ws.build
    for number in range(made.random.randint(1, 3)):
        made.write(build / "sheets" / f"{number}.png", False)
        made.write(build / "runs" / "lost" / f".{number}.staging", False)
        made.write(build / "validation" / f"gone{number}.html", False)
        made.write(build / "label" / "rooms-0123456789ab" / f"{number}.png", True)  # an answer that a teacher was paid for
        made.write(build / "notes" / f"{number}.txt", True)
    return made


def _versions(made: World) -> list[tuple[str, str]]:
    """Register versions and move channels; MLflow run → name of the run."""
    random_, ledger = made.random, hub(made.ws).ledger
    use = DataUse("corridor", "corridor", "corridor", "ab" * 32, None, True, {"train": 9})
    runs, names = [], []
    with ledger.transaction() as tx:
        for number in range(random_.randint(1, 5)):
            run = _mlflow_run(made)
            parents = tuple(WeightsEdge(name) for name in random_.sample(names, min(len(names), random_.randint(0, 1))))
            new = NewVersion(
                None, bool(parents), {}, parents, "corridor", (use,), (48, 64), run, f"run-{number}", made.store(run, "checkpoint", "best.safetensors"),
                truncated=random_.choice([None, None, None, "3 of 9 epochs"]),
                fingerprints=made.store(run, "fingerprints", "fingerprints.npz") if random_.random() < 0.5 else None,
            )  # fmt: skip
            name = append_registration(tx, new, number + 1, actor="benchmark")
            for _ in range(random_.randint(0, 2)):  # the second replaces the first, which stays evidence
                errors = made.store(run, "evaluations", "errors.npz")
                tx.append(
                    VersionMeasured(name, Metrics("corridor", "femto", "val-pooled-10m/1", "c", "ab", {"rmse": 1.0}, 9, errors)), actor="b"
                )
                tx.append(VersionExported(name, Export(made.store(run, "exports", f"{name}.onnx"))), actor="benchmark")
            runs.append((run, "" if new.truncated else new.run))
            names.append(name)
        for domain in ("rooms", "corridor"):
            channel = ChannelState(Channel("host", domain))
            for _ in range(random_.randint(0, 5)):
                if channel.earlier and random_.random() < 0.3:
                    back = random_.choice(channel.earlier)
                    tx.append(ChannelRolledBack(channel.channel, back, "production", channel.seq + 1, channel.production), actor="b")
                else:
                    moved = ChannelPromoted(channel.channel, random_.choice(names), random_.choice(STAGES), channel.seq + 1, None)
                    tx.append(moved, actor="benchmark")
                channel = channel_state(tx, channel.channel)
    return runs


def _orphans(made: World, runs: list[str]) -> None:
    """Files that no event names: ours go; those of runs that MLflow does not know, and those that Vortex does not store, stay."""
    root = Path(made.ws.artifact_root)
    for run in runs:
        if made.random.random() < 0.6:
            made.store(run, made.random.choice(["checkpoint", "exports", "evaluations"]), "orphan.npz", needed=False)
        made.write(root / run / "artifacts" / "plots" / "loss.png", True)
    made.store(made.random.randbytes(16).hex(), "exports", "of-another-store.onnx")


def _runs(made: World, registered: dict[str, str]) -> None:
    """The folders of the runs that became versions, and of others that go on, or are at work."""
    for run, name in registered.items():
        if name:
            _run(made, name, "finished", run, needed=False)
    for number, status in enumerate(made.random.choices(ENDED, k=2)):
        run = _mlflow_run(made)
        _run(made, f"{status}-{number}", status, run, needed=True)
        made.store(run, "checkpoint", "pending.safetensors")
    name = next((name for name in registered.values() if name), "")
    if name and made.random.random() < 0.3:  # it is trained on at this moment, though it became a version
        folder = made.ws.build / "runs" / name
        lock = FileLock(folder / LOCK)
        lock.acquire()
        made.locks.append(lock)
        for path in [path for path in made.spare if path.is_relative_to(folder)]:
            made.spare.remove(path)
            made.needed[path] = hashlib.sha256(path.read_bytes()).hexdigest()


def _run(made: World, name: str, status: Status, mlflow_run: str, needed: bool) -> None:
    folder = made.ws.build / "runs" / name
    made.write(folder / PLAN, True, b"{}")
    RunState(folder, status=status, mlflow={"main": mlflow_run}).write()
    made.write(folder / "student.safetensors", needed)
    for file in ("student.safetensors", "state.safetensors"):
        made.write(folder / "1-main" / "epoch-0002-step-000000" / file, needed)
    made.write(folder / "1-main" / "epoch-0002-step-000000" / "progress.json", True, b"{}")
    (folder / "1-main" / "latest").symlink_to("epoch-0002-step-000000")


def _mlflow_run(made: World) -> str:
    run = made.random.randbytes(16).hex()
    with closing(sqlite3.connect(made.ws.root / "mlruns" / "mlflow.db")) as store, store:
        store.execute(
            "INSERT INTO runs (run_uuid, experiment_id, lifecycle_stage, source_type, status) VALUES (?, 1, 'active', 'LOCAL', 'FINISHED')",
            (run,),
        )
    return run


def clean(made: World, end_at: int = 0) -> None:
    """Remove; with `end_at` the process ends after that removal, and the command is given again."""

    def end(count: int, _: int) -> None:
        if count == end_at:
            raise Ended

    with suppress(Ended):
        removal.clean(made.ws, apply=True, on_item=end)
    removal.clean(made.ws, apply=True)


def torment(folder: Path, needed: int, seed: int) -> tuple[int, int, int, int]:
    """How many worlds, needed files, needed files that were taken, and spare ones that stayed, until `needed` were at stake."""
    blank = init(folder / "blank")
    assert hub(blank).store
    worlds = at_stake = 0
    taken: list[Path] = []
    stayed: list[Path] = []
    while at_stake < needed:
        made = world(blank.root, folder / "world", seed + worlds)
        clean(made, made.random.randint(1, 6) if worlds % 3 == 0 else 0)
        for paths, more in zip((taken, stayed), made.faults(), strict=True):
            paths += more
        worlds, at_stake = worlds + 1, at_stake + len(made.needed)
        for lock in made.locks:
            lock.release()
        shutil.rmtree(folder / "world")
    for path in (*taken, *stayed):
        print(path)
    return worlds, at_stake, len(taken), len(stayed)


def main() -> None:
    """Print the counts; exit 1 where a needed file was taken, or a spare one stayed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--needed", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a hundred, to see that it runs")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        worlds, needed, taken, stayed = torment(Path(folder), 100 if options.smoke else options.needed, options.seed)
    print(f"{worlds} worlds, {needed:,} needed files: {taken} taken; {stayed} spare ones stayed ({time.monotonic() - started:.0f} s)")
    if taken or stayed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
