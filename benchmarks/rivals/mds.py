# /// script
# requires-python = ">=3.11"
# dependencies = ["mosaicml-streaming==0.13.*", "numpy<2.2"]
# ///
"""MosaicML Streaming (MDS) over the same samples, in an environment of its own: it asks for an older numpy than Vortex.

uv run --script benchmarks/rivals/mds.py FOLDER BATCH ROUNDS     (benchmarks/loader.py starts it)

Reads rgb.npy, depth.npy and classes.npy of FOLDER, writes them as MDS shards beside them, and prints the best rate of ROUNDS rounds
of shuffled batches in samples a second, then that of copying the same bytes, so that both come from the same moments.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from streaming import MDSWriter, StreamingDataset
from torch.utils.data import DataLoader


def main() -> None:
    """Write, read, print two numbers."""
    folder, batch, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    samples = {name: np.load(folder / f"{name}.npy") for name in ("rgb", "depth", "classes")}
    count = len(samples["rgb"])
    columns = {name: f"ndarray:{array.dtype.name}:{','.join(map(str, array.shape[1:]))}" for name, array in samples.items()}
    with MDSWriter(out=str(folder / "mds"), columns=columns, compression=None) as writer:
        for row in range(count):
            writer.write({name: array[row] for name, array in samples.items()})
    dataset = StreamingDataset(local=str(folder / "mds"), shuffle=True, batch_size=batch)
    loader = DataLoader(dataset, batch_size=batch, num_workers=0)
    target = {name: np.zeros((batch, *array.shape[1:]), array.dtype) for name, array in samples.items()}
    read, copied = [], []
    for _ in range(rounds):
        started, seen = time.perf_counter(), 0
        for found in loader:
            seen += len(found["rgb"])
        read.append(seen / (time.perf_counter() - started))
        started = time.perf_counter()
        for row in np.random.permutation(count):
            for name, array in samples.items():
                np.copyto(target[name][row % batch], array[row])
        copied.append(count / (time.perf_counter() - started))
    print(f"{max(read):.1f} {max(copied):.1f}")


if __name__ == "__main__":
    main()
