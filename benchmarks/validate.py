"""How fast a manifest is judged, against great-expectations alone, pandera on polars, and a plain loop.

    make bench-validate            (benchmarks/validate.py [--rows 100000] [--large 1000000] [--plot] [--smoke])

Each contender has a process of its own: first 5,000 rows with its imports, then all rows; the figures are CPU time and peak memory. Targets: a million rows given their statistics in at most 60 s of CPU
and 1.5 GB; at least 100,000 manifest lines/s of CPU; a broken manifest of 5,000 rows refused from the shell in at most 1 s. Exit 1
when one is missed. Seconds hold on a quiet machine only: the plain loop beside them tells what the machine is worth.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import benchmarks.rivals
from benchmarks.rivals.gates import BOUNDS, CONTENDERS

ROOT = Path(__file__).parents[1]
CPU_LIMIT, MB_LIMIT, REFUSAL_LIMIT = 60.0, 1536.0, 1.0
LINES = 100_000.0
PER_SEQUENCE = 2000


def main() -> None:
    """Make the rows, judge them by each contender, and print a line for each."""
    assert benchmarks.rivals, "one thread: set before numpy is imported"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--large", type=int, default=1_000_000, help="rows that Vortex alone is asked for; 0 for none")
    parser.add_argument("--plot", action="store_true", help="draw docs/pictures/bench-validate.png")
    parser.add_argument("--smoke", action="store_true", help="a few rows: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.rows, options.large = 400, 0
    missed = False
    rates: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many, few = make(folder / "many", options.rows), make(folder / "few", min(5000, options.rows))
        contenders = ["vortex, all checks", "plain loop"] if options.smoke else list(CONTENDERS)
        print(f"{'':24} {options.rows:>9,} rows: rows/s of CPU {'MB':>6}   first {min(5000, options.rows):,} rows, with imports")
        for contender in contenders:
            found = measured(contender, few, many)
            if found is None:
                print(f"{contender:24} not measured (is it installed? make setup)")
                continue
            rates[contender] = (found["rows"] / found["cpu"], found["first"])
            print(f"{contender:24} {rates[contender][0]:24,.0f} {found['mb']:12.0f}   {found['first']:.2f} s")
        if options.large:
            found = measured("vortex, all checks", few, make(folder / "large", options.large))
            assert found is not None, "Vortex itself is installed"
            seconds = found["first"] + found["cpu"]
            plain = rates["plain loop"][0]
            loops = seconds * plain / options.large
            missed |= seconds > CPU_LIMIT or found["mb"] > MB_LIMIT
            limits = f"(targets: {CPU_LIMIT:.0f} s, {MB_LIMIT:.0f} MB)"
            print(
                f"\n{options.large:,} rows given their statistics: {seconds:.1f} s of CPU with imports, {found['mb']:.0f} MB {limits}, {loops:.1f} plain loops"
            )
        if not options.smoke:
            missed |= rates["vortex, manifest pass"][0] < LINES
        refusal, said = refused(folder / "broken", 50 if options.smoke else 5000)
        print(f"a broken manifest refused from the shell: {refusal:.2f} s of CPU (target: {REFUSAL_LIMIT:.0f} s): {said[:90]}")
        missed |= not options.smoke and refusal > REFUSAL_LIMIT
    if options.plot:
        print(f"plot: {plot(rates, options.rows, ROOT / 'docs' / 'pictures' / 'bench-validate.png')}")
    sys.exit(missed)


def measured(contender: str, first: Path, folder: Path) -> dict[str, Any] | None:
    """One contender in a process of its own; None when it cannot run here."""
    command = [sys.executable, "-m", "benchmarks.rivals.gates", contender, str(first), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1][:200], file=sys.stderr)
        return None
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def refused(folder: Path, rows: int) -> tuple[float, str]:
    """CPU seconds of `vortex validate` on a manifest whose every row is broken, and what it says."""
    from pipelines.init import init

    workspace = init(folder)
    manifest = folder / "bad" / "manifest.jsonl"
    manifest.parent.mkdir()
    manifest.write_text('{"id": "a b", "split": "nowhere", "depth": NaN}\n' * rows)
    command = [sys.executable, "-m", "vortex_cli.main", "validate", str(manifest), "--workspace", str(workspace.root)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 1 and f"{rows} faults" in " ".join(done.stderr.split()), done.stderr
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, " ".join(done.stderr.split()).replace(str(folder), "")


def make(folder: Path, rows: int) -> Path:
    """Rows of an honest set, as a manifest with its statistics table, and as rows with twelve statistics for the rivals."""
    import numpy as np
    import pandas as pd

    from validation.pixels import BINS
    from validation.statistics import Statistics, save

    folder.mkdir()
    generator = np.random.default_rng(0)
    place = np.arange(rows)
    within = place % PER_SEQUENCE / min(rows, PER_SEQUENCE)
    split = np.select([within < 0.72, within < 0.8], ["train", "gap"], "val")
    ids, sequence = [f"frame-{number:07d}" for number in place], [f"day-{number:04d}" for number in place // PER_SEQUENCE]
    middle = generator.uniform(1.5, 3, rows)
    near = {"median": middle, "p95": middle * 1.8}
    maps = {f"{role}_{name}": values for role in ("depth", "tof", "teacher") for name, values in near.items()}
    zero = {f"{role}_{name}": np.zeros(rows) for role in ("depth", "tof", "teacher") for name in ("bad", "near", "rough")}
    valid = {f"{role}_valid": generator.uniform(0.85, 1, rows) for role in ("depth", "tof", "teacher")}
    ratios = {name: np.ones(rows) for name in ("teacher_to_sensor", "teacher_rank", "tof_to_depth", "tof_rank")}
    looks = {"brightness": generator.uniform(80, 140, rows), "contrast": np.full(rows, 50.0), "blur": generator.uniform(100, 900, rows)}
    hashes = {name: generator.integers(1, 2**64, rows, dtype=np.uint64) for name in ("content", "across", "down")}
    shares = dict.fromkeys(("floor", "wall", "glass", "person", "furniture", "other"), np.full(rows, 1 / 6))
    camera = {"fx": 500.0, "fy": 500.0, "cx": 319.5, "cy": 239.5, "camera_height": 480.0, "camera_width": 640.0}
    table = pd.DataFrame(
        {"id": ids, "split": split, "sequence": sequence, "camera": "d455", "supervision": "full"}
        | camera
        | {name: pd.Series([None] * rows, dtype="str") for name in ("missing", "unreadable", "sizes", "aspect", "relative", "labels")}
        | {"height": 480.0, "width": 640.0, "labelled": 1.0, "floor_row": 0.8}
        | looks | hashes | zero | valid | maps | ratios | shares
    )  # fmt: skip
    bins = np.zeros((rows, BINS), np.uint16)
    bins[:, 20] = 1000
    numeric = table.columns[table.dtypes == "float64"].difference(["fx", "fy", "cx", "cy", "camera_height", "camera_width"])
    table = table.astype(dict.fromkeys(numeric, "float32"))
    save(folder / "statistics.parquet", Statistics(table, {}, dict.fromkeys(("depth", "tof", "teacher"), bins)), "made")
    numbers = table[list(BOUNDS)].to_numpy()
    with open(folder / "manifest.jsonl", "w") as manifest, open(folder / "rows.jsonl", "w") as flat:
        for number in range(rows):
            name = ids[number]
            common = f'"id": "{name}", "domain": "corridor", "split": "{split[number]}", "sequence": "{sequence[number]}", "camera": "d455"'
            lens = '"intrinsics": {"fx": 500.0, "fy": 500.0, "cx": 319.5, "cy": 239.5, "size": [480, 640]}'
            files = (
                f'"rgb": "rgb/{name}.jpg", "depth": "depth/{name}.png", "depth_unit": "mm", "tof": "tof/{name}.png", "tof_unit": "mm", '
                f'"teacher_depth": "teacher/{name}.png", "teacher": "da3", "teacher_unit": "mm", '
                f'"segmentation": "segmentation/{name}.png", "supervision": "full"'
            )
            manifest.write(f"{{{common}, {lens}, {files}}}\n")
            told = ", ".join(f'"{key}": {value:.6f}' for key, value in zip(BOUNDS, numbers[number], strict=True))
            flat.write(f"{{{common}, {told}}}\n")
    return folder


def plot(rates: dict[str, tuple[float, float]], rows: int, path: Path) -> Path:
    """Rows a second, and the first answer, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True, layout="constrained")
    names = list(rates)[::-1]
    colours = ["#2a9d8f" if name.startswith("vortex") else "#9aa5b1" for name in names]
    left.barh(names, [rates[name][0] / 1000 for name in names], color=colours)
    left.set_title(f"thousand rows per second of CPU ({rows:,} rows)", fontsize=10)
    right.barh(names, [rates[name][1] for name in names], color=colours)
    right.set_title("seconds of CPU to the first answer (5,000 rows)", fontsize=10)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


if __name__ == "__main__":
    main()
