"""Kill -9 what writes to the registry at random moments, give the same command again, and look at what the registry then says.

    make bench-kills_registry            (benchmarks/kills_registry.py [--kills 250] [--only promote rollback] [--seed 0] [--smoke])

In turns a registration, an evaluation, an export, a promotion, a rollback to a named version, a plain one, a migration, an adoption, an
import, an addition of evidence, an archive, an addition to it, its restoring and a clean-up are killed, each at a random one of its
writes, and at none a second time before all have had their turn: a file opened for writing, flushed, renamed or removed, an SQL statement
that changes something, a commit; of the ledger or of MLflow. Asked after the same command again: the chain is whole, what the ledger
names is there with the bytes that it names, each alias is where the ledger has it, and what the command does has happened, once.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.label_kills import EVENTS, WRITING, child

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike
    from sqlalchemy import Connection

    from pipelines.workspace import Workspace
    from registry.audit import Fault
    from registry.records import NewVersion
    from registry.versions import Hub

SIZE: Final = (64, 96)
CHANNEL: Final = ("host", "rooms")
IMPORTS: Final = (
    *("mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.sqlalchemy_store", "alembic.command", "torch", "timm"),
    *("pipelines.ship.promote", "pipelines.ship.rollback", "pipelines.evaluate.version", "pipelines.init", "registry.audit"),
    *("onnx", "onnxruntime", "onnxscript", "pandas", "cv2", "pipelines.synthetic.dataset"),
)
COMMANDS: Final = (
    "register",
    "evaluate",
    "export",
    "promote",
    "rollback --to",
    "rollback",
    "migrate",
    "adopt",
    "import",
    "evidence",
    "archive",
    "archive again",
    "restore",
    "gc",
)
KEEPING: Final = COMMANDS[-4:]
ELSEWHERE: Final = {"tracking_uri": "sqlite:///moved/mlflow.db", "artifact_root": "moved/artifacts", "ledger": "sqlite:///moved/ledger.db"}
READING: Final = ("SELECT", "PRAGMA", "BEGIN")


def prepare(root: Path, data: bool) -> None:
    """A channel that v10 and v11 held; v12 is better than both, by errors that are made up. Without `data` nothing can be judged."""
    from pipelines.hub.open import hub
    from pipelines.init import init
    from pipelines.synthetic.dataset import synthesise
    from pipelines.validate.gate_run import validate
    from pipelines.workspace import load

    ws = init(root)
    if data:
        from pipelines.data.datasets import resolve

        synthesise(ws, "rooms", world="rooms", frames=60, seed=1, size=SIZE)
        validate(load(root), resolve(load(root), name_or_manifest="rooms"))
    ws = load(root)
    registry = hub(ws)
    for rmse in (0.5, 0.4, 0.3):
        registry.register(new_version(ws, registry), actor="benchmark")
        if data:
            record_errors(ws, registry, rmse)
    for number in (10, 11):
        hold(registry, f"v{number}")
    if data:
        from pipelines.ship.export.run import export

        export(ws, "v12", domain="rooms")


def new_version(ws: Workspace, registry: Hub) -> NewVersion:
    """A run with a student of random weights, to be registered."""
    import torch

    from models.checkpoint import save
    from models.student import Student, StudentConfig
    from pipelines.data.datasets import listing, resolve
    from registry.records import DataUse, NewVersion

    torch.manual_seed(0)
    path = ws.build / "student.safetensors"
    path.parent.mkdir(exist_ok=True)
    save(path, Student(StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)), {})
    run = registry.store.start_run("killed")
    refs = [resolve(ws, name_or_manifest=dataset.name) for dataset in listing(ws)]
    uses = tuple(DataUse(ref.name, ref.domain, "room", ref.digest, ref.dvc, True, {"train": 40, "val": 10}) for ref in refs)
    checkpoint = registry.store.log_artifact(run, path, "checkpoint")
    return NewVersion(None, False, {}, (), "rooms", uses, SIZE, run, run, checkpoint)


def record_errors(ws: Workspace, registry: Hub, rmse: float) -> None:
    """Errors of so many metres on every frame of the exam, of the newest version."""
    import numpy as np

    from pipelines.compare.frame_errors import COUNT, SQUARED, FrameErrors
    from pipelines.evaluate.student import Evaluation
    from pipelines.evaluate.version import as_metrics, log_errors
    from pipelines.exam.sets import exam_sets

    version = registry.versions()[-1]
    for exam_set in exam_sets(ws, "rooms"):
        wobble = 1 + 0.05 * np.random.default_rng(version.number).standard_normal(len(exam_set.frames))
        sums = {COUNT: np.full(len(wobble), 1000.0), SQUARED: 1000.0 * (rmse * wobble) ** 2}
        ids, sequences = ([getattr(frame, key) for frame in exam_set.frames] for key in ("id", "sequence"))
        errors = FrameErrors(tuple(ids), sums, SIZE, tuple(sequences))
        values = {"rmse": rmse, "mae": 0.1, "abs_rel": 0.1, "delta1": 0.9}
        protocol = f"{exam_set.split}-pooled-10m/1"
        evaluation = Evaluation("rooms", exam_set.frames[0].camera, protocol, values, len(exam_set.frames), errors)
        stored = log_errors(ws, registry, version.run_id, exam_set.ref, evaluation)
        registry.add_metrics(version.name, as_metrics(evaluation, exam_set.ref, stored), actor="benchmark")


def hold(registry: Hub, name: str) -> None:
    """Have the channel held by a version, without a judgement."""
    from registry.channels import Channel
    from registry.stages import StageJudgement, channel_state, record_promotion

    channel = Channel(*CHANNEL)
    judgements = [StageJudgement(stage, True) for stage in ("candidate", "staging", "production")]
    record_promotion(registry.ledger, channel, name, judgements, channel_state(registry.ledger, channel).seq, actor="benchmark")
    registry.refresh_aliases(channel)


def do(command: str, ws: Workspace) -> None:
    """One command."""
    from pipelines.archive.restoring import restore
    from pipelines.archive.writing import archive
    from pipelines.evaluate.version import evaluate
    from pipelines.hub.adopt import adopt
    from pipelines.hub.evidence import add
    from pipelines.hub.lineage_file import SHIPPED_FILE
    from pipelines.hub.migration import migrate
    from pipelines.hub.open import hub
    from pipelines.hub.published import import_lineage
    from pipelines.retention.removal import clean
    from pipelines.ship.export.run import export
    from pipelines.ship.promote import promote
    from pipelines.ship.rollback import rollback
    from pipelines.workspace import load

    if command == "register":
        registry, new = hub(ws), pickle.loads((ws.root / "finished").read_bytes())
        stored = registry.store.log_artifact(new.run_id, ws.build / "student.safetensors", "checkpoint")
        registry.register(dataclasses.replace(new, checkpoint=stored), actor="benchmark")
    elif command == "evaluate":
        evaluate(ws, "v12")
    elif command == "export":
        export(ws, "v10")
    elif command in ("archive", "archive again"):
        archive(ws, ws.root / "archive")
    elif command == "restore":
        restore(load(ws.root / "restored"), ws.root / "archive")
    elif command == "gc":
        clean(ws, apply=True)
    elif command == "migrate":
        (ws.root / "elsewhere.toml").write_text("".join(f'{name} = "{place}"\n' for name, place in ELSEWHERE.items()))
        migrate(ws, ws.root / "elsewhere.toml")
    elif command == "promote":
        if not promote(ws, "v12", "production").passed:
            raise SystemExit("v12 was refused")
    elif command == "adopt":
        adopt(ws, ws.root / "old.pt", "v13", str(ws.root / "small.yaml"))
    elif command == "import":
        import_lineage(ws, SHIPPED_FILE)
    elif command == "evidence":
        add(ws, "v10", ws.root / "report.json", "field")
    else:
        rollback(ws, to="v10" if command == "rollback --to" else None)


def happened(command: str, ws: Workspace) -> bool:
    """Whether the command did what it does, once; a measurement and an export may be recorded twice, and the newer one counts."""
    from pipelines.hub.adopt import TAG
    from pipelines.hub.evidence import items
    from pipelines.hub.open import hub
    from registry.channels import Channel
    from registry.stages import channel_state

    registry = hub(ws)
    if command in KEEPING:
        return is_kept(command, ws)
    if command == "register":
        runs = [version.run_id for version in registry.versions()]
        return len(runs) == 4 and sorted(runs) == sorted(registry.store.model_versions().values())
    if command == "evaluate":
        return any(metrics.frames == 10 and metrics.errors for metrics in registry.get("v12").metrics)
    if command == "migrate":
        return ws.config.ledger == ELSEWHERE["ledger"] and len(registry.versions()) == len(registry.store.runs()) == 3
    if command == "export":
        return len(registry.get("v10").exports) == 1
    if command == "adopt":
        adopted = registry.get("v13")
        return adopted.adoption is not None and registry.store.runs_tagged(TAG) == [adopted.run_id]
    if command == "import":
        return [(version.name, version.adopted) for version in registry.declared()] == [(f"v{number}", False) for number in range(1, 10)]
    if command == "evidence":
        return [item.fault for item in items(ws, registry, registry.get("v10"))] == [""]
    state = channel_state(registry.ledger, Channel(*CHANNEL))
    return (state.production, state.earlier) == (("v12", ("v10", "v11")) if command == "promote" else ("v10", ()))


def is_kept(command: str, ws: Workspace) -> bool:
    """Whether the archive is whole and at the ledger's end, what came back has the same events and files, and nothing spare is left."""
    from pipelines.archive.layout import read_manifest, verify
    from pipelines.hub.open import hub
    from pipelines.retention.removal import clean
    from pipelines.workspace import load

    ledger = hub(ws).ledger
    if command == "gc":
        return not clean(ws).going and not any(ws.build.rglob("*.png"))
    if command == "restore":
        restored = hub(load(ws.root / "restored"))
        return list(restored.ledger.rows(0)) == list(ledger.rows(0)) and not all_faults(restored)
    manifest = read_manifest(ws.root / "archive")
    verify(ws.root / "archive", manifest)
    return manifest.chain_head == ledger.verify()


def all_faults(registry: Hub) -> list[Fault]:
    """All that an audit finds, MLflow included."""
    from registry.audit import artifact_faults, ledger_faults, mlflow_faults

    versions = registry.versions()
    return [*ledger_faults(registry.ledger)[1], *artifact_faults(registry, versions)[1], *mlflow_faults(registry, versions)]


def counted(root: Path, kill_at: int = 0) -> Callable[[], int]:
    """Count, from now on in this process, every write below `root` and to a database; at number `kill_at` it ends as a power cut ends it."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    writes = 0

    def wrote() -> None:
        nonlocal writes
        writes += 1
        if writes == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        writing = name in EVENTS or (name == "open" and isinstance(arguments[2], int) and bool(arguments[2] & WRITING))
        if writing and isinstance(arguments[0], str | os.PathLike) and os.path.abspath(os.fspath(arguments[0])).startswith(str(root)):
            wrote()

    def executed(_: Connection, __: object, statement: str, *___: object) -> None:
        if not statement.lstrip().upper().startswith(READING):
            wrote()

    fsync = os.fsync

    def flushed(fd: FileDescriptorLike) -> None:
        fsync(fd)
        wrote()

    sys.addaudithook(hook)
    os.fsync = flushed  # of which Python's audit does not hear
    event.listen(Engine, "before_cursor_execute", executed)
    event.listen(Engine, "commit", lambda _: wrote())
    return lambda: writes


def run(command: str, root: Path, count: Path | None = None, kill_at: int = 0) -> None:
    """Do it, and be killed at the write of number `kill_at`; else write down how many there were."""
    from pipelines.workspace import load

    writes = counted(root, kill_at)
    do(command, load(root))
    if count:
        count.write_text(str(writes()))


def examine(command: str, root: Path, faults: Path) -> None:
    """Write down what is wrong."""
    from pipelines.hub.open import hub
    from pipelines.workspace import load

    ws = load(root)
    found = all_faults(hub(ws))
    words = {"artifacts": "half", "aliases": "stale", "mlflow": "stale"}
    kinds = [words.get(fault.area, "lost") for fault in found] + ([] if happened(command, ws) else ["lost"])
    faults.write_text("".join(f"{kind}\n" for kind in kinds))
    for fault in found:
        print(f"{command}: {fault.found}", file=sys.stderr)


def torment(folder: Path, commands: tuple[str, ...], kills: int, seed: int) -> tuple[dict[str, Counter[str]], dict[str, int]]:
    """How the kills of each command went, and how many writes each has."""
    random_ = random.Random(seed)
    pristine, note = folder / "pristine", folder / "note"
    child(prepare, pristine, "promote" in commands)
    writes: dict[str, int] = {}
    turns: dict[str, list[int]] = {}
    went: dict[str, Counter[str]] = {command: Counter() for command in commands}
    for number in range(kills):
        command = commands[number % len(commands)]
        root = folder / "killed"
        if command not in writes:
            shutil.copytree(pristine, root, symlinks=True)
            child(before(command), root)
            child(run, command, root, note)
            writes[command] = int(note.read_text())
            turns[command] = random_.sample(range(1, writes[command] + 1), writes[command])
            shutil.rmtree(root)
        shutil.copytree(pristine, root, symlinks=True)
        child(before(command), root)
        kill_at = turns[command][number // len(commands) % writes[command]]
        went[command]["kills"] += child(run, command, root, None, kill_at) == signal.SIGKILL
        child(run, command, root)
        child(examine, command, root, note)
        kinds = note.read_text().split()
        went[command].update(set(kinds) or {"right"})
        shutil.rmtree(root)
    return went, writes


def before(command: str) -> Callable[[Path], None]:
    """What comes before: a run that is finished; for a rollback by name a third version on the channel, so that it goes two steps; the file
    that is adopted, or the report that is added. An addition finds an archive, a restoring an archive and an empty registry, a clean-up
    four old pictures.
    """

    def begin(root: Path) -> None:
        from pipelines.hub.open import hub
        from pipelines.workspace import load

        ws = load(root)
        if command == "register":
            (root / "finished").write_bytes(pickle.dumps(new_version(ws, hub(ws))))
        elif command in ("rollback --to", "archive again"):
            if command == "archive again":
                do("archive", ws)
            hold(hub(ws), "v12")
        elif command == "restore":
            from pipelines.init import init

            do("archive", ws)
            assert hub(init(root / "restored")).store
        elif command == "gc":
            for number in range(4):
                path = ws.build / "sheets" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(bytes(1000))
                os.utime(path, (time.time() - 3 * 86_400,) * 2)
        elif command == "adopt":
            write_old_checkpoint(root)
        elif command == "evidence":
            common = {
                "format": 1,
                "kind": "field",
                "checkpoint_sha256": hub(ws).get("v10").checkpoint.sha256,
                "made_at": "2026-03-01T12:00:00Z",
            }
            drive = {"device": "host", "place": "hall", "hours": 1, "distance_m": 100, "interventions": 0, "collisions": 0}
            (root / "report.json").write_text(json.dumps({**common, **drive, "made_by": "benchmark"}))

    return begin


def write_old_checkpoint(root: Path) -> None:
    """A checkpoint of before Vortex, of random weights, and the recipe of its network."""
    import torch

    from models.student import Student, StudentConfig
    from pipelines.recipes import recipe as recipes

    recipe = recipes.load("v5").model_dump(mode="json") | {"name": "small", "parents": [], "published": []}
    student = StudentConfig(encoder="mobilenetv3_small_100", size=SIZE)
    (root / "small.yaml").write_text(json.dumps(recipe | {"student": {"encoder": student.encoder, "size": list(SIZE)}}))
    torch.manual_seed(0)
    torch.save({"model": Student(student).state_dict()}, root / "old.pt")


def main() -> None:
    """Print the table; exit 1 unless all is right after every kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=250)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=COMMANDS, help="kill these in turns")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="one kill of a rollback, to see that it runs")
    options = parser.parse_args()
    commands = ("rollback",) if options.smoke else tuple(options.only)
    kills, started = 1 if options.smoke else options.kills, time.monotonic()
    for module in IMPORTS[:10] if options.smoke else IMPORTS:
        importlib.import_module(module)  # before the forks, which then need not
    with tempfile.TemporaryDirectory() as folder:
        went, writes = torment(Path(folder), commands, kills, options.seed)
    print(f"{'kill -9 of':<15}{'writes':>8}{'kills':>7}{'right':>7}{'lost':>6}{'half':>6}{'stale':>7}")
    for command, of in went.items():
        print(f"{command:<15}{writes[command]:>8}{of['kills']:>7}{of['right']:>7}{of['lost']:>6}{of['half']:>6}{of['stale']:>7}")
    points = sum(min(of["kills"], writes[command]) for command, of in went.items())
    print(f"{sum(of['kills'] for of in went.values())} kills at {points} different writes in {time.monotonic() - started:.0f} s")
    if any(of[kind] for of in went.values() for kind in ("lost", "half", "stale")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
