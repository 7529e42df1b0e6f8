"""NYU Depth V2 in each of its layouts, tiny, written as its makers wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

SIZE = (48, 64)
MAPPING = np.resize(np.arange(1, 41), 894)
"""Like classMapping40.mat: label i belongs to class MAPPING[i - 1]."""


def colour(seed: int) -> NDArray[Any]:
    """RGB noise."""
    return np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)


def ramp(seed: int) -> NDArray[Any]:
    """Whole millimetres that differ in rows and columns, so that a swapped axis shows."""
    return (1000 + seed + np.arange(SIZE[0])[:, None] * 20 + np.arange(SIZE[1])[None, :]).astype(np.uint16)


def labels(seed: int) -> NDArray[Any]:
    """Ids 0 to 894, all of them in one frame."""
    return np.roll(np.resize(np.arange(895, dtype=np.uint16), SIZE[0] * SIZE[1]), seed).reshape(SIZE)


def write_labelled(folder: Path, count: int, scenes: Sequence[str] | None = None, name: str = "nyu_depth_v2_labeled.mat") -> Path:
    """The labelled .mat as MATLAB's HDF5 has it (every axis reversed), with its two small files; the last fifth is the test split."""
    folder.mkdir(parents=True, exist_ok=True)
    raw = np.stack([ramp(index) / 1000 for index in range(count)]).astype(np.float32)
    raw[:, 3, 5] = 0
    with h5py.File(folder / name, "w", userblock_size=512) as store:
        store["images"] = np.stack([colour(index) for index in range(count)]).transpose(0, 3, 2, 1)
        store["rawDepths"] = raw.transpose(0, 2, 1)
        store["depths"] = np.where(raw == 0, np.float32(9), raw).transpose(0, 2, 1)
        store["labels"] = np.stack([labels(index) for index in range(count)]).transpose(0, 2, 1)
        if scenes is not None:
            cells = store.create_dataset("scenes", (1, count), h5py.ref_dtype)
            for index, scene in enumerate(scenes):
                text = store.create_dataset(f"#refs#/{index}", data=np.array([[ord(letter)] for letter in scene], np.uint16))
                cells[0, index] = text.ref
    with open(folder / name, "r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512))
    first = count - count // 5
    write_splits(folder, range(1, first + 1), range(first + 1, count + 1))
    savemat(folder / "classMapping40.mat", {"mapClass": MAPPING[None, :].astype(np.uint8)})
    return folder / name


def write_splits(folder: Path, train: Sequence[int], test: Sequence[int]) -> None:
    """`splits.mat`, columns of frame numbers as doubles."""
    savemat(folder / "splits.mat", {"trainNdxs": np.array(train, float)[:, None], "testNdxs": np.array(test, float)[:, None]})


def write_sync(folder: Path, count: int) -> None:
    """`rgb_*.jpg` beside `sync_depth_*.png`."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        assert cv2.imwrite(str(folder / f"rgb_{index:05d}.jpg"), colour(index))
        assert cv2.imwrite(str(folder / f"sync_depth_{index:05d}.png"), np.full(SIZE, 1000 + index, np.uint16))


def write_raw(folder: Path, count: int) -> None:
    """A Kinect dump: disparities low byte first, although PGM says otherwise; the depth camera ticks 9 ms later."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        stamp = 1294886360.5 + index / 30
        header = f" {SIZE[1]} {SIZE[0]} ".encode()
        (folder / f"r-{stamp:.6f}-{1000 + index}.ppm").write_bytes(b"P6" + header + b"255\n" + colour(index).tobytes())
        (folder / f"d-{stamp + 0.009:.6f}-{2000 + index}.pgm").write_bytes(b"P5" + header + b"65535\n" + disparity(index).tobytes())
    (folder / "a-1294886360.000000-1.dump").write_bytes(b"\0" * 16)


def disparity(seed: int) -> NDArray[Any]:
    """11-bit values from near to far, with pixels that saw nothing."""
    steps = np.resize(np.arange(400 + seed, 1050, dtype="<u2"), SIZE[0] * SIZE[1]).reshape(SIZE)
    steps[::7] = 2047
    return steps
