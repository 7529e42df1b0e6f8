"""Kill -9 a labelling run at random moments, resume it, and compare the dataset with that of a run that nobody disturbed.

    make bench-label_kills            (benchmarks/label_kills.py [--rounds 40] [--seed 0] [--smoke])

A kill comes at a file event (a file opened for writing, linked, renamed, removed), half of the kills in the publishing step, which is
short. Asked: after every kill the dataset is the old one or the new one, never a mixture; after the resumed run, which every third
time is killed once before, each byte of the dataset and of data.dvc is that of the undisturbed run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

NAME: Final = "place"
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT
IMPORTS: Final = (
    *("cv2", "dulwich.porcelain", "dvc.lock", "dvc.repo.add", "dvc.repo.index", "dvc.repo.stage", "networkx"),
    *("models.teachers.geometric", "pipelines.label", "pipelines.synthetic.dataset", "pipelines.init"),
)
EVENTS: Final = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod")


def prepare(root: Path, frames: int) -> None:
    """A workspace with one dataset: a synthetic room with depth, and without the masks that the teacher is to make."""
    import dataclasses

    from pipelines.data.datasets import DatasetCard, new_dataset
    from pipelines.init import init
    from pipelines.synthetic.dataset import Job, render_dataset
    from validation.manifest import write_manifest

    ws = init(root)
    with new_dataset(ws, NAME, DatasetCard(name=NAME, domain="rooms", kind="room", format="synthetic")) as staging:
        rows = render_dataset(staging, Job("rooms", "rooms", max(frames, 12), 0, (48, 64), None))[:frames]
        shutil.rmtree(staging / "segmentation")
        write_manifest(staging / "manifest.jsonl", [dataclasses.replace(row, segmentation=None, supervision="none") for row in rows])


def run(root: Path, count: Path | None = None, kill_at: int | None = None) -> None:
    """Label. Every file event below `root` is counted; at number `kill_at` the process ends as a power cut would end it."""
    from pipelines.label.run import label
    from pipelines.workspace import load

    seen = {"events": 0, "publishing": 0}
    inside = str(root)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, writes = arguments[0], isinstance(arguments[2], int) and bool(arguments[2] & WRITING)
        elif event in EVENTS:
            path, writes = arguments[0], True
        else:
            return
        if not writes or not isinstance(path, str | os.PathLike) or not os.fspath(path).startswith(inside):
            return
        seen["events"] += 1
        if not seen["publishing"] and "/staging/" in os.fspath(path):
            seen["publishing"] = seen["events"]
        if seen["events"] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    label(load(root), NAME, ["geometric"])
    if count:
        count.write_text(f"{seen['events']} {seen['publishing']}")


def settle(root: Path) -> None:
    """What the next command does first, whichever it is."""
    from pipelines.data.datasets import listing
    from pipelines.workspace import load

    listing(load(root))


def child(work: Callable[..., None], *words: Any) -> int:
    """Do the work in a fork, so that what is imported once serves all; returns the signal that ended it, or 0."""
    process = os.fork()
    if process == 0:
        code = 0
        try:
            work(*words)
        except BaseException:
            traceback.print_exc()
            code = 1
        os._exit(code)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("the run ended with an error, see above")
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def content(root: Path) -> str:
    """Every file of data/ and the pointer, with their bytes, as one hash."""
    total = hashlib.sha256((root / "data.dvc").read_bytes())
    for path in sorted(path for path in (root / "data").rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(root)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def torment(folder: Path, rounds: int, frames: int, seed: int) -> tuple[Counter[str], int, int]:
    """The whole benchmark; returns how the kills went, the number of file events of a run, and at which publishing begins."""
    random_ = random.Random(seed)
    pristine, counted = folder / "pristine", folder / "count"
    child(prepare, pristine, frames)
    old = content(pristine)
    whole = folder / "whole"
    shutil.copytree(pristine, whole, symlinks=True)
    child(run, whole, counted)
    new, (events, publishing) = content(whole), map(int, counted.read_text().split())
    went: Counter[str] = Counter()
    for number in range(rounds):
        root = folder / f"killed-{number}"
        shutil.copytree(pristine, root, symlinks=True)
        first = 1 if number % 2 else publishing
        for _ in range(1 if number % 3 else 2):
            at = random_.randint(first, events)
            went["kills"] += child(run, root, None, at) == signal.SIGKILL
        went["in publishing"] += 1 - number % 2
        child(settle, root)
        state = content(root)
        went["old" if state == old else "new" if state == new else "MIXTURE"] += 1
        child(run, root)
        went["same bytes"] += content(root) == new
        left = [path.name for path in (root / "build" / "staging").glob("*")] + [
            path.name for path in (root / "build" / "label").glob("*-*")
        ]
        went["left behind"] += bool(left)
        shutil.rmtree(root)
    return went, events, publishing


def main() -> None:
    """Print the table; exit 1 unless every run ended with the same bytes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="one round of two kills, to see that it runs")
    options = parser.parse_args()
    (rounds, frames), started = (1, 3) if options.smoke else (options.rounds, 12), time.monotonic()
    for module in IMPORTS:
        importlib.import_module(module)  # before the forks, which then need not
    with tempfile.TemporaryDirectory() as folder:
        went, events, publishing = torment(Path(folder), rounds, frames, options.seed)
    print(f"{frames} frames, {events} file events a run, publishing begins at {publishing}; {time.monotonic() - started:.0f} s")
    print(f"{went['kills']} kills in {rounds} rounds, {went['in publishing']} rounds of them in the publishing step")
    for what in ("old", "new", "MIXTURE", "same bytes", "left behind"):
        print(f"{what:<16}{went[what]:>5} of {rounds}")
    if went["MIXTURE"] or went["same bytes"] != rounds or went["left behind"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
