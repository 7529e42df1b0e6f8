"""Loaders of other projects over the same samples (rgb, depth, classes as arrays), each written and read as its documentation shows.

Each function writes the samples below a folder and returns a function that yields shuffled batches of 16 without end.
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Samples = dict[str, np.ndarray]
"""Name → [N, ...]."""
Batches = Callable[[], Iterator[Any]]
SHUFFLE = 128


def tensordict(folder: Path, samples: Samples, batch: int) -> Batches:
    """A memory-mapped TensorDict, indexed by a shuffled vector."""
    import torch
    from tensordict import TensorDict

    count = len(samples["rgb"])
    TensorDict({name: torch.from_numpy(array) for name, array in samples.items()}, batch_size=[count]).memmap(str(folder))
    mapped = TensorDict.load_memmap(str(folder))

    def batches() -> Iterator[Any]:
        while True:
            for rows in torch.randperm(count).split(batch):
                yield mapped[rows]

    return batches


def webdataset(folder: Path, samples: Samples, batch: int) -> Batches:
    """`.npy` members in tars, a shuffle buffer, batches."""
    import webdataset as wds

    folder.mkdir()
    count, names = len(samples["rgb"]), list(samples)
    per_shard = max(batch, count // 4)
    with wds.ShardWriter(str(folder / "%03d.tar"), maxcount=per_shard, verbose=0) as writer:
        for row in range(count):
            writer.write({"__key__": f"{row:06d}", **{f"{name}.npy": samples[name][row] for name in names}})
    shards = sorted(str(path) for path in folder.glob("*.tar"))
    reader = wds.WebDataset(shards, shardshuffle=len(shards), empty_check=False).shuffle(SHUFFLE).decode()
    stream = reader.to_tuple(*(f"{name}.npy" for name in names)).batched(batch)

    def batches() -> Iterator[Any]:
        while True:
            yield from stream

    return batches


def litdata(folder: Path, samples: Samples, batch: int) -> Batches:
    """Optimised chunks through StreamingDataset and its loader, in this process."""
    warnings.simplefilter("ignore")
    os.environ.setdefault("LITDATA_LOG_FILE", os.devnull)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import litdata as ld

        _HELD.update(samples)
        ld.optimize(
            fn=_held_sample,
            inputs=list(range(len(samples["rgb"]))),
            output_dir=str(folder),
            chunk_bytes="64MB",
            num_workers=1,
            start_method="fork",
        )
        loader = ld.StreamingDataLoader(ld.StreamingDataset(str(folder), shuffle=True), batch_size=batch, num_workers=0)

    def batches() -> Iterator[Any]:
        while True:
            yield from loader

    return batches


_HELD: Samples = {}


def _held_sample(row: int) -> dict[str, np.ndarray]:
    return {name: array[row] for name, array in _HELD.items()}
