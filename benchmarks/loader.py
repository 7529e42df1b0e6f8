"""Samples a second that a training step is fed, on one core: ours, the naive way, and other loaders, all in one run.

    make bench-loader            (benchmarks/loader.py [--frames 512] [--rounds 7] [--size 240x320] [--plot] [--smoke])

A sample is an RGB image, depth in 16 bits and classes in 8: 460,800 bytes at 240×320. Batches of 16, shuffled, warm cache. The contenders
take turns within each round and their best round counts, so that a drift of the machine meets all of them. Targets are ratios:
ours ≥ 0.6× memcpy, ≥ 200× naive, ≥ 5× tensordict, ≥ 10× webdataset and MDS; with augmentation ≥ 0.8× albumentations alone; packing ≤
1.3 epochs of the naive loader. MDS needs another numpy, so it runs in an environment that `uv` makes for it (benchmarks/rivals/mds.py).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals import figures, native
from benchmarks.rivals import loaders as rivals
from models import augment
from pipelines.data.datasets import resolve
from pipelines.init import init
from pipelines.pack.loader import Loader
from pipelines.pack.preparing import packs_folder, prepare
from pipelines.pack.reading import Pack, Selection
from pipelines.pack.sampler import epoch_order
from pipelines.recipes.recipe import load

BATCH = 16
SLOW = ("naive", "albumentations alone", "Vortex, augmented", "litdata")
Batches = Callable[[], Iterator[Any]]


def main() -> None:
    """Write the samples in every form, read them in turns, print ratios; exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", default="240x320", help="H x W")
    parser.add_argument("--plot", action="store_true", help="draw docs/pictures/bench-loader.png")
    parser.add_argument("--scaling", action="store_true", help="only this: augmented samples/s of threads and processes, on every core")
    parser.add_argument("--smoke", action="store_true", help="a few small frames: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.frames, options.rounds, options.size = 32, 1, "48x64"
    height, width = (int(side) for side in options.size.split("x"))
    if options.scaling:
        with tempfile.TemporaryDirectory() as folder:
            scaling(Path(folder), options.frames, options.rounds, (height, width))
        return
    _one_core()
    with tempfile.TemporaryDirectory() as folder:
        rates, packing = measure(Path(folder), options.frames, options.rounds, (height, width), fast=options.smoke)
    missed = figures.report(rates, packing)
    if options.plot:
        print(f"plot: {figures.plot(rates, Path('docs/pictures/bench-loader.png'))}")
    sys.exit(1 if missed and not options.smoke else 0)


def measure(folder: Path, frames: int, rounds: int, size: tuple[int, int], fast: bool) -> tuple[dict[str, float | str], float]:
    """Rates in samples a second (or why there is none), and what packing costs in naive epochs."""
    ws = init(folder / "workspace")
    manifest = native.write_frames(folder / "frames", frames, fast=fast)
    native.warm(folder / "frames")
    ref = resolve(ws, name_or_manifest=str(manifest))
    made = prepare(packs_folder(ws), ref, size, workers=1)
    samples = _resident(made.pack)
    contenders: dict[str, Batches] = {
        "memcpy": partial(_memcpy, samples),
        "Vortex": partial(_ours, made.pack, {}),
        "Vortex, augmented": partial(_ours, made.pack, load("v5").augmentation.model_dump()),
        "albumentations alone": partial(_albumentations, samples, size),
        "naive": partial(native.naive_batches, folder / "frames", size, BATCH),
    }
    rates: dict[str, float | str] = {}
    for name, write in (("tensordict", rivals.tensordict), ("webdataset", rivals.webdataset), ("litdata", rivals.litdata)):
        try:
            contenders[name] = write(folder / name, samples, BATCH)
        except ImportError as error:
            rates[name] = f"not measured: {error.name} is not installed (make setup; uv sync --group rivals)"
    rates |= take_turns(contenders, rounds, 2 if fast else frames // BATCH)
    rates["MosaicML MDS"] = "not measured: --smoke leaves it out" if fast else figures.mds(folder / "mds", samples, BATCH, rounds, rates)
    naive = rates["naive"]
    assert isinstance(naive, float), "the naive loader needs nothing that could be missing"
    return rates, made.seconds * naive / frames


def take_turns(contenders: dict[str, Batches], rounds: int, fast_batches: int) -> dict[str, float | str]:
    """Best rate of each over the rounds."""
    streams = {name: batches() for name, batches in contenders.items()}
    best = dict.fromkeys(streams, float("inf"))
    for stream in streams.values():
        next(stream)  # warm: maps, caches, imports
    for _ in range(rounds):
        for name, stream in streams.items():
            count = max(2, fast_batches // 8) if name in SLOW else fast_batches
            started = time.perf_counter()
            for _ in range(count):
                next(stream)
            best[name] = min(best[name], (time.perf_counter() - started) / (count * BATCH))
    return {name: 1 / seconds for name, seconds in best.items()}


def scaling(folder: Path, frames: int, rounds: int, size: tuple[int, int]) -> None:
    """Print what one and two threads or processes augment, in turns; best of the rounds."""
    ws = init(folder / "workspace")
    ref = resolve(ws, name_or_manifest=str(native.write_frames(folder / "frames", frames)))
    pack = prepare(packs_folder(ws), ref, size).pack
    make = partial(augment.build, load("v5").augmentation.model_dump(), size)
    selection = Selection(pack, pack.select("train"))
    loaders = {
        f"{count} {kind}": Loader([selection], make, 0, count if kind == "threads" else 0, processes=count if kind == "processes" else 0)
        for kind in ("threads", "processes")
        for count in (1, 2)
    }
    order = epoch_order([len(selection)], [None], BATCH, "within_batch", 0, 0)
    best = dict.fromkeys(loaders, 0.0)
    for turn in range(rounds + 1):
        for name, loader in loaders.items():
            started = time.perf_counter()
            seen = sum(len(batch.numbers) for batch in loader.batches(order, 0))
            best[name] = max(best[name], seen / (time.perf_counter() - started) if turn else 0.0)  # the first turn warms up
    for name, loader in loaders.items():
        print(f"{name:14} {best[name]:8.0f} samples/s")
        loader.close()


def _memcpy(samples: rivals.Samples) -> Iterator[Any]:
    """The limit: resident arrays into one reused batch."""
    target = {name: np.zeros((BATCH, *array.shape[1:]), array.dtype) for name, array in samples.items()}
    count = len(samples["rgb"])
    while True:
        for rows in np.random.permutation(count)[: count // BATCH * BATCH].reshape(-1, BATCH):
            for slot, row in enumerate(rows):
                for name, array in samples.items():
                    np.copyto(target[name][slot], array[row])
            yield target


def _ours(pack: Pack, steps: dict[str, Any]) -> Iterator[Any]:
    """The loader that training uses, without threads, for there is one core."""
    loader = Loader([Selection(pack, pack.select("train"))], partial(augment.build, steps, pack.size), 0, threads=0)
    epoch = 0
    while True:
        yield from loader.batches(epoch_order(loader.counts, [None], BATCH, "within_batch", 0, epoch), epoch)
        epoch += 1


def _albumentations(samples: rivals.Samples, size: tuple[int, int]) -> Iterator[Any]:
    """The same augmentation of resident arrays: no seeds, no copies, no batch."""
    pipeline = augment.build(load("v5").augmentation.model_dump(), size).pipeline
    count = len(samples["rgb"])
    while True:
        for rows in np.random.permutation(count)[: count // BATCH * BATCH].reshape(-1, BATCH):
            yield [
                pipeline(image=samples["rgb"][row], reference=samples["depth"][row], segmentation=samples["classes"][row]) for row in rows
            ]


def _resident(pack: Pack) -> rivals.Samples:
    names = {"rgb": "rgb", "depth": "reference", "classes": "segmentation"}
    return {name: np.array(pack.arrays[role]) for name, role in names.items()}


def _one_core() -> None:
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


if __name__ == "__main__":
    main()
