"""Kill -9 the hub's commands at writes spread over all of them, and look at what is there: as before, or as after, and nothing between.

    make bench-kills_hub            (benchmarks/kills_hub.py [--points 48] [--only adopt report] [--smoke])

Each command is given as a user gives it. A kill point is a command and the number of one of its writes: a file opened for writing,
flushed, renamed, linked or removed, a folder made or removed, an SQL statement that changes something, a commit. Asked after each of
at least 500 points: what the command changes is as it was before or as a command that nobody disturbed leaves it, whichever command
is given next; the same command again ends as that one, or says that it is done already; nothing half written stays.

`lost`: neither before nor after, or the same command does not finish. `half`: a file is there in part, or a staging file stays.
`stale`: the audit of the ledger and the artifacts finds something, or that of MLflow what `audit verify --repair` does not put right, or
after the same command again anything.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.kills_registry import ELSEWHERE, IMPORTS, all_faults, before, counted, prepare
from benchmarks.label_kills import child, content

OUT: Final = "out"
State = dict[str, Any]
"""What a command changes, in a form that can be compared; nothing in it differs between two undisturbed runs."""
SPARE: Final = "spare"
"""In a state: files that nobody needs. A kill may leave some, the same command again none but those that an undisturbed one leaves."""
MODELS: Final = "models"
"""In a state: the versions of MLflow's model. MLflow comes first and the ledger's commit counts, so a kill may leave one that the same
command again takes up."""
CACHE: Final = "cache"
"""In a state: what MLflow has otherwise than the ledger, as far as the ledger can put it right. A kill between the two may leave something,
the same command again nothing."""
AT_THE_END: Final[State] = {SPARE: [], MODELS: [], CACHE: []}
NOTE: Final = ".ledger.head.00000000.staging"
"""What a kill leaves in the middle of noting the ledger's head. A command that is done already records nothing, so this one may stay then,
until the next event of any command: that is recorded, and looked for."""
MORE_IMPORTS: Final = (
    *("vortex_cli.app", "pipelines.site.writing", "pipelines.site.card", "pipelines.predict.run", "pipelines.archive.writing"),
    *(
        "pipelines.archive.restoring",
        "pipelines.retention.removal",
        "pipelines.hub.migration",
        "pipelines.hub.adopt",
        "pipelines.report.film",
    ),
    *("pipelines.data.catalogue", "dvc.repo", "dvc.lock", "av", "jinja2", "pyarrow.parquet", "tomlkit"),
)


@dataclass(frozen=True)
class Command:
    """A command line, what is prepared for it, and what it changes."""

    words: str
    state: Callable[[Path], State]
    prepare: Callable[[Path], None] | None = None
    again: int = 0
    """The exit status of the same command once more when it is done already."""


def registry(root: Path) -> State:
    """What the ledger says, and what the audit finds."""
    from pipelines.hub.open import hub
    from pipelines.workspace import load

    ws = load(root)
    return _registry(hub(ws)) | {"ledger": str(ws.config.ledger)}


def _registry(of: Any) -> State:
    entries = of.ledger.entries()
    faults = all_faults(of) if entries else []
    cached = [fault for fault in faults if fault.area in ("mlflow", "aliases") and fault.repairable]
    return {
        "events": [(entry.kind, entry.subject) for entry in entries],
        "faults": [f"{fault.area}: {fault.found}" for fault in faults if fault not in cached],
        CACHE: [f"{fault.area}: {fault.found}" for fault in cached],
        MODELS: sorted(of.store.model_versions()) if entries else [],
    }


def restored(root: Path) -> State:
    """The registry that an archive was brought back into."""
    from pipelines.hub.open import hub
    from pipelines.workspace import load

    return _registry(hub(load(root / "restored")))


def sets(root: Path) -> State:
    """Every file of `data/` and its pointer, after what any next command does first; and the exams, with what an exam finds."""
    from pipelines.data.datasets import listing
    from pipelines.exam.sets import exam_sets
    from pipelines.workspace import load

    names = [dataset.name for dataset in listing(load(root))]
    ws = load(root)
    return {
        "data": content(root),
        "sets": names,
        "exam": [exam_set.ref.name for exam_set in exam_sets(ws, "rooms")],
        "settings": (root / "vortex.toml").read_text(),
    }


def written(root: Path) -> State:
    """Every file that was written to where it was asked for, with its bytes."""
    out = root / OUT
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and ".staging" not in str(path)]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def predicted(root: Path) -> State:
    """The pictures that the record of a prediction names, which is written last, with their bytes."""
    record = root / OUT / "predictions.json"
    if not record.exists():
        return {}
    names = [name for picture in json.loads(record.read_bytes())["pictures"] for name in picture["files"]]
    return {name: hashlib.sha256((root / OUT / name).read_bytes()).hexdigest() for name in names}


def filmed(root: Path) -> State:
    """How many frames of the film can be decoded."""
    import av

    path = root / OUT / "film.mp4"
    if not path.exists():
        return {}
    with av.open(str(path)) as film:
        return {"frames": sum(1 for _ in film.decode(video=0))}


def archived(root: Path) -> State:
    """The files that the manifest of an archive names, all hashed; nothing while it has none.

    What else lies there, of an addition that was cut short, is spare: restoring refuses it by name until the same command has gone on.
    """
    from pipelines.archive.layout import MANIFEST, fault_of, files_of, read_manifest

    folder = root / "archive"
    if not (folder / MANIFEST).exists():
        return {}
    manifest = read_manifest(folder)
    return {
        "files": sorted(manifest.files),
        "head": manifest.head,
        "faults": [f"{path}: {fault}" for path, file in manifest.files.items() if (fault := fault_of(folder, path, file))],
        SPARE: [f"archive/{path}" for path in files_of(folder) if path not in manifest.files],
    }


def ready(name: str) -> Callable[[Path], None]:
    """What the other benchmark prepares for a command of this name."""

    def begin(root: Path) -> None:
        before(name)(root)
        places = "".join(f'{key} = "{place}"\n' for key, place in ELSEWHERE.items())
        (root / "elsewhere.toml").write_text(places)

    return begin


def earlier(words: str) -> Callable[[Path], None]:
    """A run of the command before, so that there is something to replace."""

    def begin(root: Path) -> None:
        vortex(words, root)
        vortex("quarantine v11 --reason benchmark", root)

    return begin


REPORT: Final = f"report --no-pictures -o {OUT}/report"
COMMANDS: Final[dict[str, Command]] = {
    "adopt": Command("adopt old.pt --as v13 --recipe small.yaml", registry, ready("adopt")),
    "import": Command("import lineage.yaml", registry),
    "evidence add": Command("evidence add v10 report.json --kind field", registry, ready("evidence")),
    "quarantine": Command("quarantine v11 --reason benchmark", registry, again=1),
    "migrate": Command("migrate --to elsewhere.toml", registry, ready("migrate")),
    "archive": Command("archive archive", archived, ready("archive")),
    "archive again": Command("archive archive", archived, ready("archive again")),
    "restore": Command("restore archive --workspace restored", restored, ready("restore")),
    "gc": Command("gc --apply", registry, ready("gc")),
    "report": Command(REPORT, written),
    "report again": Command(REPORT, written, earlier(REPORT)),
    "card": Command(f"card v12 -o {OUT}/README.md", written),
    "video": Command(f"video v12 --data rooms -o {OUT}/film.mp4", filmed),
    "predict": Command(f"predict v12 rooms --split val -o {OUT}", predicted),
    "data remove": Command("data remove spare", sets, again=1),
    "data rename": Command("data rename hall corridor", sets, again=1),
    "ci": Command(f"ci github -o {OUT}/vortex.yml", written, again=1),
    "config": Command("config", registry),
}


def vortex(words: str, root: Path, answer: Path | None = None) -> int:
    """A command as a user gives it in the folder; its exit status. What it says is written to `answer`."""
    from vortex_cli.main import main

    os.chdir(root)
    sys.argv = ["vortex", *words.split(), "--traceback"]
    said = open(answer or root.parent / "said.txt", "w")  # noqa: SIM115  the command's own streams, until the process ends
    sys.stdout = sys.stderr = said
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        said.flush()
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    return 0


def run(words: str, root: Path, note: Path, kill_at: int) -> None:
    """Give the command, and be killed at a write; else write down its exit status and how many writes there were."""
    writes = counted(root, kill_at)
    status = vortex(words, root)
    note.write_text(json.dumps([status, writes()]))


def look(name: str, root: Path, note: Path) -> None:
    """Write down the state, or why it cannot be read."""
    try:
        state: State = COMMANDS[name].state(root)
    except Exception as error:
        traceback.print_exc()
        state = {"unreadable": repr(error)}
    spare = [*root.rglob("*.staging"), *(root / "build" / "sheets").rglob("*.png")]
    named = {str(path.relative_to(root)) for path in spare if path.name != NOTE}
    state[SPARE] = sorted(named | set(state.get(SPARE, ())))
    note.write_text(json.dumps(state))


def record(root: Path) -> None:
    """One more event, of whatever command."""
    from pipelines.hub.open import hub
    from pipelines.workspace import load
    from registry.events.data import DataReleased

    hub(load(root)).ledger.append(DataReleased("elsewhere"), actor="benchmark")


def build(root: Path) -> None:
    """The workspace that all commands start from: three versions, two on a channel, and an exam of two sets beside a third one."""
    from pipelines.synthetic.dataset import synthesise
    from pipelines.workspace import load

    prepare(root, data=True)
    for number, name in enumerate(("hall", "spare")):
        synthesise(load(root), name, world="rooms", frames=12, seed=7 + number, size=(48, 64))
    toml = root / "vortex.toml"
    toml.write_text(toml.read_text().replace("[domains.rooms]", '[domains.rooms]\nexam = ["rooms", "hall"]', 1))


def spread(writes: int, points: int) -> list[int]:
    """So many different numbers from 1 to `writes`, evenly spread: all of them where there are no more."""
    points = min(points, writes)
    return sorted({1 + round(place * (writes - 1) / max(1, points - 1)) for place in range(points)})


def same(state: State, other: State) -> bool:
    """Whether two states are one, whatever is looked at in the end alone."""
    return state | AT_THE_END == other | AT_THE_END


def kill_at_writes(folder: Path, name: str, points: int) -> tuple[int, Counter[str]]:
    """How many writes a command has, and how the kills at some of them went."""
    command, began, root, note = COMMANDS[name], folder / "began", folder / "killed", folder / "note"
    shutil.copytree(folder / "pristine", began, symlinks=True)
    if command.prepare:
        child(command.prepare, began)

    def state() -> State:
        child(look, name, root, note)
        return dict(json.loads(note.read_text()))

    def give(kill_at: int = 0) -> tuple[int, int, bool]:
        killed = child(run, command.words, root, note, kill_at) == signal.SIGKILL
        status, writes = (0, 0) if killed else json.loads(note.read_text())
        return status, writes, killed

    went: Counter[str] = Counter()
    shutil.copytree(began, root, symlinks=True)
    old = state()
    status, writes, _ = give()
    if status:
        raise SystemExit(f"vortex {command.words} ended with status {status}:\n{(folder / 'said.txt').read_text()}")
    new = state()
    for at in spread(writes, points):
        shutil.rmtree(root)
        shutil.copytree(began, root, symlinks=True)
        killed = give(at)[2]
        went["kills"] += killed
        between = state()
        went["before"] += same(between, old)
        went["after"] += same(between, new) and not same(old, new)
        status = give()[0]
        end = state()
        faults = set()
        if not same(between, old) and not same(between, new):
            faults.add("stale" if between.get("faults") else "lost")
        if status not in ((0, command.again) if same(between, new) else (0,)) or end | {SPARE: []} != new | {SPARE: []}:
            faults.add("stale" if end.get("faults") or end.get(CACHE) else "lost")
        notes = list(root.rglob(NOTE))
        for path in notes:
            child(record, path.parent.parent)
        if set(end[SPARE]) - set(new[SPARE]) or any(path.exists() for path in notes):
            faults.add("half")
        went.update(faults)
        if faults:
            differences = {
                key: (between.get(key), end.get(key)) for key in end | between if not between.get(key) == end.get(key) == new.get(key)
            }
            print(f"{name}, write {at}: {faults}, status {status}: {str(differences)[:1500]}", file=sys.stderr, flush=True)
        went["right"] += not faults
    shutil.rmtree(root)
    shutil.rmtree(began)
    return writes, went


def main() -> None:
    """Print the table; exit 1 unless commands were killed, and all is right after every kill."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=48, help="of each command, at most")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--smoke", action="store_true", help="two kills of a dataset's renaming, to see that it runs")
    options = parser.parse_args()
    names, points = (["data rename"], 2) if options.smoke else (options.only, options.points)
    for module in (*IMPORTS, *MORE_IMPORTS):
        importlib.import_module(module)  # before the forks, which then need not
    started, total = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        child(build, folder / "pristine")
        columns = ("kills", "before", "after", "right", "lost", "half", "stale")
        print(f"{'kill -9 of':<15}{'writes':>8}" + "".join(f"{column:>8}" for column in columns))
        for name in names:
            writes, went = kill_at_writes(folder, name, points)
            print(f"{name:<15}{writes:>8}" + "".join(f"{went[column]:>8}" for column in columns), flush=True)
            total += went
        print(f"{'all':<15}{'':>8}" + "".join(f"{total[column]:>8}" for column in columns))
    print(f"{total['kills']} different kill points in {time.monotonic() - started:.0f} s")
    if not total["kills"] or any(total[kind] for kind in ("lost", "half", "stale")):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
