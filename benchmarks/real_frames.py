"""The main job on real RGB-D frames, from the shell: add, validate, train from scratch, measure, draw.

    VORTEX_FRAMES=~/frames make bench-real_frames            (kitchen_kinect and office_hololens below that folder)
    VORTEX_FRAMES=~/frames python -m benchmarks.real_frames --sets kitchen [--epochs 15] [--smoke]

Prints the commands as it runs them, and beside the student's RMSE what costs nothing: one constant depth, and the mean depth map
of the training frames. Target on the kitchen at 120×160 on two cores: ≤ 0.40 m after ≤ 3 minutes of training.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import workspace
from pipelines.data import datasets
from pipelines.init import init
from pipelines.pack.frame_arrays import load_arrays
from pipelines.pack.preparing import packs_folder
from validation.manifest import load_manifest

SETS = {
    "kitchen": ("kitchen_kinect", "--format 7scenes --domain kitchen --kind room --camera kinect"),
    "office": ("office_hololens", "--format plain --unit mm --domain office --kind indoor --camera hololens"),
}


def vortex(folder: Path, line: str) -> Any:
    """Run one command in `folder`, show it, and return its JSON."""
    print(f"$ vortex {line}", flush=True)
    command = [sys.executable, "-m", "vortex_cli.main", *shlex.split(line), "--json"]
    return json.loads(subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout)


def baselines(folder: Path, name: str, size: tuple[int, int]) -> tuple[float, float]:
    """Validation RMSE in metres of the mean training depth, and of the mean training depth map."""
    ws = workspace.load(folder)
    ref = datasets.resolve(ws, name_or_manifest=name)
    frames = load_manifest(ref.manifest)
    train, val = (
        np.ma.masked_equal(np.stack([rows[index]["reference"] for index in range(len(rows))]), 0)
        for rows in (
            load_arrays(packs_folder(ws), ref, [frame for frame in frames if frame.split == split], size) for split in ("train", "val")
        )
    )
    mean_map = train.mean(axis=0).filled(train.mean())
    return float(np.sqrt(((val - train.mean()) ** 2).mean())), float(np.sqrt(((val - mean_map) ** 2).mean()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--recipe", default="v5")
    parser.add_argument("--size", default="120x160")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--folder", type=Path, default=Path("build/real-frames"))
    parser.add_argument("--smoke", action="store_true", help="one epoch on a few small frames: does it work at all?")
    options = parser.parse_args()
    source = Path(os.environ.get("VORTEX_FRAMES", ""))
    missing = [folder for folder, _ in (SETS[name] for name in options.sets) if not (source / folder).is_dir()]
    if "VORTEX_FRAMES" not in os.environ or missing:
        print(f"skipped: real frames are absent; set VORTEX_FRAMES to the folder that holds {', '.join(missing)}")
        return
    if options.smoke:
        options.epochs, options.size, options.sets = 1, "48x64", options.sets[-1:]  # the smaller one
    height, width = (int(side) for side in options.size.split("x"))
    folder = options.folder / time.strftime("%Y%m%d-%H%M%S")
    init(folder)
    for name in options.sets:
        native, flags = SETS[name]
        few = " --every 4" if options.smoke else ""
        vortex(folder, f"data add {name} {shlex.quote(str((source / native).absolute()))} {flags}{few}")
        vortex(folder, f"validate {name}")
        limit = " --limit 16" if options.smoke else ""
        trained = vortex(
            folder, f"train {options.recipe} --domain {name} --size {options.size} --epochs {options.epochs} --encoder-weights none{limit}"
        )
        version = trained["version"]["name"]
        measured = vortex(folder, f"evaluate {version} --domain {name} --picture")
        constant, mean_map = baselines(folder, name, (height, width))
        values = measured["metrics"][0]["values"]
        print(
            f"{name}: {version} RMSE {values['rmse']:.3f} m (median-scaled {values['rmse_median_scaled']:.3f} m, δ1 {values['delta1']:.3f})"
        )
        print(f"{name}: constant depth {constant:.3f} m, mean depth map {mean_map:.3f} m; trained in {trained['seconds']:.0f} s")
        print(f"{name}: picture {measured['picture']}", flush=True)


if __name__ == "__main__":
    main()
