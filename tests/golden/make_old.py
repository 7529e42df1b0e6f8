"""Made the old ledger and the old runs, with the Vortex of 28 November 2026 (0.3.0): `python -m tests.golden.make_old DIR`.

They stand for what is on people's disks, so a later Vortex does not make them anew: it has to read these. A new kind of event or of file
gets a ledger or a run of its own beside them.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from tests.golden import facts
from tests.golden.golden import dumped, vortex
from tests.golden.workspaces import LEDGER, OLD_JOB, OLD_RUN, RUNS, begin, keep_run, training


def make(folder: Path) -> None:
    """Write both, working in the new folder. Refuses to write over them."""
    if LEDGER.exists() or RUNS.exists():
        sys.exit(f"{LEDGER} or {RUNS} is there already, and what is old stays as it is")
    folder.mkdir()
    vortex(f"init {folder / 'ledger'}")
    LEDGER.parent.mkdir(exist_ok=True)
    (LEDGER.parent / "recipe.json").write_text(dumped(vortex("recipes v5 --json").json))
    facts.record(folder / "ledger")
    with closing(sqlite3.connect(folder / "ledger" / "mlruns" / "ledger.db")) as database:
        LEDGER.write_text("\n".join(database.iterdump()) + "\n")
    root = folder / "runs"
    begin(root)
    vortex(f"train {training(root)} --epochs 2", root)
    keep_run(root, vortex("runs --json", root).json["runs"][0]["run"], OLD_RUN)
    job = vortex(f"submit {training(root)} --epochs 1 --json", root, slurm=True).json
    printed = root / "build" / "runs" / job["run"] / "slurm"
    (printed / "7_0_log.err").write_text("2026-11-28T13:20:30.250+01:00  plan\nrequeued\n2026-11-28T12:20:40.000+00:00  plan\nhalf of a li")
    (printed / "7_0_log.out").write_text("hello\n")
    keep_run(root, job["run"], OLD_JOB)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
