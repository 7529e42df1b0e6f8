"""Six processes give the same command at once, in a workspace whose registry does not exist yet, or where a version is needed holds one.

    make bench-crowd            (benchmarks/crowd.py [--only adopt import] [--smoke])

Asked of each command: one at least ends well (but `recommend`, which has nothing to recommend here), and all six do or are refused in words,
with the status of an error that a person can act on, and never as a bug; afterwards the audit of the ledger, MLflow and all stored files
finds nothing. The registry is embedded; where VORTEX_TEST_POSTGRES names a database whose ledger may be dropped, the same is asked of a
ledger there.
"""

from __future__ import annotations

import argparse
import importlib
import json
import multiprocessing
import os
import shutil
import tempfile
import traceback
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

from benchmarks.kills_hub import MORE_IMPORTS, vortex
from benchmarks.kills_registry import ELSEWHERE, IMPORTS, all_faults, write_old_checkpoint
from benchmarks.label_kills import child
from benchmarks.registry import emptied

CROWD: Final = 6
COMMANDS: Final = (
    "adopt old.pt --as v10 --recipe small.yaml",
    "import lineage.yaml",
    "quarantine data:rooms --reason benchmark",
    "migrate --to elsewhere.toml",
    "archive archive",
    "restore archived",
    "gc --apply",
    "report",
    "lineage",
    "history --at 2026-03-01",
    "compare v1 v2",
    "recommend --domain rooms",
    "card v10",
    "data rename rooms hall",
    "data remove rooms",
    "ci github -o pipeline.yml",
    "config",
    "audit verify --mlflow",
)

NEED_A_VERSION: Final = ("archive", "recommend", "card", "ci")
"""First words of the commands before which one process adopts a version: without any they would all be refused."""
REFUSED: Final = ("recommend",)
"""Of a version that was not trained here on data that passed: all six are, alike."""


def build(root: Path) -> None:
    """A workspace without a registry, with what the commands take: a checkpoint, a set, an archive of another registry, another place."""
    from pipelines.init import init
    from pipelines.synthetic.dataset import synthesise
    from pipelines.workspace import load

    synthesise(init(root), "rooms", world="rooms", frames=12, seed=1, size=(48, 64))
    write_old_checkpoint(root)
    (root / "elsewhere.toml").write_text("".join(f'{name} = "{place}"\n' for name, place in ELSEWHERE.items()))
    other = init(root.parent / "other").root
    shutil.copy(root / "old.pt", other)
    shutil.copy(root / "small.yaml", other)
    adopt(other)
    if vortex(f"archive {root}/archived", other):
        raise SystemExit((other.parent / "said.txt").read_text())
    assert load(root)


def adopt(root: Path) -> None:
    """Register the first version of a workspace."""
    if vortex(COMMANDS[0], root):
        raise SystemExit((root.parent / "said.txt").read_text())


def one(words: str, root: Path, start: Barrier, said: Path) -> None:
    """One of the processes: wait for the others, give the command, write down its exit status and what it said."""
    start.wait()
    try:
        status = vortex(words, root, said.with_suffix(".txt"))
    except BaseException:
        status = -1
        traceback.print_exc()
    said.write_text(json.dumps([status, said.with_suffix(".txt").read_text()]))


def audited(root: Path, note: Path) -> None:
    """Write down what the audit finds."""
    from pipelines.hub.open import hub
    from pipelines.workspace import load

    note.write_text(json.dumps([f"{fault.area}: {fault.found}" for fault in all_faults(hub(load(root)))]))


def crowd(folder: Path, words: str, server: str | None) -> tuple[int, int, list[str]]:
    """How many ended well, how many were refused in words, and what was wrong."""
    root, context = folder / "crowd", multiprocessing.get_context("fork")
    shutil.copytree(folder / "fresh", root, symlinks=True)
    if server:
        settings = root / "vortex.toml"
        lines = [line for line in settings.read_text().splitlines() if not line.startswith("ledger =")]
        settings.write_text("\n".join([f"ledger = {json.dumps(emptied(server))}", *lines, ""]))
    if words.split()[0] in NEED_A_VERSION:
        child(adopt, root)
    start = context.Barrier(CROWD)
    notes = [folder / f"said-{number}.json" for number in range(CROWD)]
    processes = [context.Process(target=one, args=(words, root, start, note)) for note in notes]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    answers: list[tuple[int, str]] = [
        json.loads(note.read_text()) if note.exists() else (-1, "it ended without an answer") for note in notes
    ]
    well = sum(status == 0 for status, _ in answers)
    in_words = sum(status == 1 and "this is a bug" not in said for status, said in answers)
    faults = [said.strip()[-400:] for status, said in answers if status not in (0, 1) or "this is a bug" in said]
    child(audited, root, folder / "note")
    faults += json.loads((folder / "note").read_text())
    for note in notes:
        note.unlink(missing_ok=True)
    shutil.rmtree(root)
    return well, in_words, faults


def main() -> None:
    """Print the table; exit 1 unless all six of every command are answered, one of them well, and nothing is wrong afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    first_words = sorted({words.split()[0] for words in COMMANDS})
    parser.add_argument("--only", nargs="+", metavar="COMMAND", choices=first_words, help="first words of commands")
    parser.add_argument("--smoke", action="store_true", help="one command, to see that it runs")
    options = parser.parse_args()
    only = ["import"] if options.smoke else options.only
    commands = [words for words in COMMANDS if only is None or words.split()[0] in only]
    for module in (*IMPORTS, *MORE_IMPORTS):
        importlib.import_module(module)  # before the forks, which then begin together
    places = {"embedded": None, **({"postgresql": url} if (url := os.environ.get("VORTEX_TEST_POSTGRES")) else {})}
    wrong = False
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        child(build, folder / "fresh")
        print(f"{'six at once':<44}{'registry':<12}{'well':>5}{'refused':>9}{'wrong':>7}")
        for words in commands:
            for name, server in places.items():
                well, in_words, faults = crowd(folder, words, server)
                print(f"{words:<44}{name:<12}{well:>5}{in_words:>9}{len(faults):>7}", flush=True)
                for fault in faults:
                    print(f"    {fault}", flush=True)
                wrong |= bool(faults) or not (well or words.split()[0] in REFUSED) or well + in_words != CROWD
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
