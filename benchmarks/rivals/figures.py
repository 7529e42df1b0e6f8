"""The loaders' figures: what was asked and found, as a table and as a plot; and MDS, which is measured from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

TARGETS = (
    ("Vortex", "memcpy", 0.6),
    ("Vortex", "naive", 200.0),
    ("Vortex", "tensordict", 5.0),
    ("Vortex", "webdataset", 10.0),
    ("Vortex", "MosaicML MDS", 10.0),
    ("Vortex, augmented", "albumentations alone", 0.8),
)
PACKING = 1.3
Rates = dict[str, float | str]


def mds(folder: Path, samples: dict[str, np.ndarray], batch: int, rounds: int, rates: Rates) -> float | str:
    """Samples a second of MosaicML Streaming, scaled by how fast its process copied against this one; or why it was not measured."""
    uv = next((path for path in (".tools/bin/uv", os.environ.get("UV", "uv")) if shutil.which(path)), None)
    if uv is None:
        return "not measured: there is no uv to make its environment (make setup brings one)"
    folder.mkdir()
    for name, array in samples.items():
        np.save(folder / f"{name}.npy", array)
    command = [uv, "run", "--script", str(Path(__file__).with_name("mds.py")), str(folder), str(batch), str(rounds)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        return "not measured: it took longer than 15 minutes"
    if result.returncode:
        said = (result.stderr.strip().splitlines() or ["no message"])[-1]
        return f"not measured: its environment does not work here ({said[:100]})"
    read, copied = (float(word) for word in result.stdout.split()[-2:])
    return read * float(rates["memcpy"]) / copied


def report(rates: Rates, packing: float) -> list[str]:
    """Print the rates and the ratios; return the targets that were missed."""
    memcpy = float(rates["memcpy"])
    print(f"{'one core, batches of 16':24} {'samples/s':>11} {'of memcpy':>10}")
    for name, rate in sorted(rates.items(), key=lambda item: -item[1] if isinstance(item[1], float) else 0.0):
        print(f"{name:24} {rate:11,.0f} {rate / memcpy:10.3f}" if isinstance(rate, float) else f"{name:24} {rate}")
    print(f"\n{'ratio':44} {'found':>8} {'asked':>8}")
    missed = []
    for ours, other, asked in TARGETS:
        top, below = rates.get(ours), rates.get(other)
        if not isinstance(top, float) or not isinstance(below, float):
            print(f"{ours} / {other}: not measured")
            continue
        # No loader is faster than copying its bytes. Where copying itself falls short of the ratio, say so: memory is slow here.
        reach = memcpy / below
        beyond = other != "memcpy" and reach < asked
        missed += _line(
            f"{ours} / {other}", top / below, asked, top / below >= asked, "≥", f"memcpy / {other} is {reach:.1f}" if beyond else ""
        )
    missed += _line("packing / epoch of the naive loader", packing, PACKING, packing <= PACKING, "≤")
    return missed


def plot(rates: Rates, path: Path) -> Path:
    """Bars on a logarithmic scale, ours in colour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = sorted(((name, rate) for name, rate in rates.items() if isinstance(rate, float)), key=lambda item: item[1])
    figure = Figure(figsize=(8, 0.42 * len(shown) + 1.1), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    colours = ["#1f77b4" if name.startswith("Vortex") else "#8a8a8a" if name == "memcpy" else "#c8c8c8" for name, _ in shown]
    bars = axes.barh([name for name, _ in shown], [rate for _, rate in shown], color=colours)
    axes.bar_label(bars, labels=[f"{rate:,.0f}" for _, rate in shown], padding=4, fontsize=9)
    axes.set_xscale("log")
    axes.set_xlim(right=max(rate for _, rate in shown) * 3)
    axes.set_xlabel(
        "samples a second on one core\n(RGB, 16-bit depth and classes at 240×320, shuffled batches of 16, warm cache)", fontsize=9
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return path


def _line(name: str, found: float, asked: float, passed: bool, sign: str, beyond: str = "") -> list[str]:
    verdict = "" if passed else f"   MISSED ({beyond})" if beyond else "   MISSED"
    print(f"{name:44} {found:8.2f} {sign} {asked:6.1f}{verdict}")
    return [] if passed else [name]
