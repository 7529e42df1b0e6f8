"""The lineage trained anew: V1 to V9, several seeds each, and what became of its nine findings.

    make bench-replay               (benchmarks/replay.py [--scale tiny] [--seeds 3] [--folder build/replay/tiny] [--write] [--smoke])

Target: the scale `tiny` with three seeds ends within 25 minutes on two cores. An interrupted replay goes on where it was, and a finished
one is only read. `--write` puts the result into docs/replay.json, docs/replay.md and docs/pictures/.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from pipelines.experiments.replay import results
from pipelines.experiments.replay.charts import draw
from pipelines.experiments.replay.page import page
from pipelines.experiments.replay.place import workspace_for
from pipelines.experiments.replay.results import Replay
from pipelines.experiments.replay.run import replay
from pipelines.experiments.replay.scales import SCALES, Scale
from pipelines.experiments.replay.version_runs import Watch
from pipelines.experiments.seeded_run import write_record

DOCS = Path(__file__).parents[1] / "docs"
TARGET_MINUTES = 25
SMOKE = Scale("smoke", (64, 96), {"nyu": 12}, train=1, versions=("v1", "v3"), measured=("nyu",))


def main() -> None:
    """Run the replay and print a line a run, a line a finding, and the time it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="tiny")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="the replay's workspace; default: build/replay/SCALE")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--write", action="store_true", help="put the result into docs/")
    parser.add_argument("--smoke", action="store_true", help="V1 and V3 for one epoch of a few frames: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        with tempfile.TemporaryDirectory() as folder:
            report(run(SMOKE, 1, Path(folder) / "replay", "cpu"))
        return
    result = run(SCALES[options.scale], options.seeds, options.folder, options.device)
    report(result)
    if options.scale == "tiny" and options.seeds == 3:
        print(f"{result.seconds / 60:.1f} min, target {TARGET_MINUTES}: {'met' if result.seconds <= 60 * TARGET_MINUTES else 'MISSED'}")
    if options.write:
        write(result)


def run(scale: Scale, seeds: int, folder: Path | None, device: str) -> Replay:
    """The replay, with a line for every run as it ends."""
    started = time.perf_counter()

    def ran(record: results.RunRecord) -> None:
        figures = "  ".join(f"{name} {score.values['rmse']:8.3f}" for name, score in record.scores.items())
        print(
            f"{time.perf_counter() - started:7.0f} s  {record.version} seed {record.seed}  RMSE m {figures}  {record.seconds:5.0f} s",
            flush=True,
        )

    return replay(workspace_for(folder, scale), scale, seeds, Watch(lambda what, done, total: None, ran), device=device)


def report(result: Replay) -> None:
    """A line a finding."""
    for finding in result.findings:
        intervals = "; ".join(
            f"{part.quantity} {part.seeds.estimate:.3g} ({part.seeds.low:.3g} to {part.seeds.high:.3g})"
            for part in finding.parts
            if part.seeds
        )
        print(f"{finding.key} {finding.verdict:14} {finding.title}" + (f": {intervals}" if intervals else ""))
    print(f"{len(result.runs)} runs of {result.seeds} seed(s), {result.seconds:.0f} s")


def write(result: Replay) -> None:
    """Put the result into the docs."""
    write_record(DOCS / results.RESULT, result)
    path = DOCS / "replay.md"
    path.write_text(page(path.read_text(encoding="utf-8"), result), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        for picture in draw(result, Path(folder)):
            shutil.copyfile(picture, DOCS / "pictures" / picture.name)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
