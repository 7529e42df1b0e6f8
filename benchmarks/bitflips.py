"""One bit of a file turned over, 2,000 times a kind of file: is the file refused, is the answer the same, or is it silently wrong?

    make bench-bitflips       (benchmarks/bitflips.py [--flips 2000] [--smoke])

Target: no PNG is ever silently wrong; the command exits 1 otherwise. JPEG and .npy carry no checksum of their pixels, so some flips
cannot be seen in them: their rows are for information, and what guards those files in `data/` is DVC's hash. libjpeg warns on
stderr of about every sixth of its wrong pictures, and tells nobody else. Pillow, on the same flips, is there for comparison.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from validation.decode import read_depth, read_rgb, read_segmentation
from validation.headers import FrameFileError

Pixels = NDArray[Any]
SIZE = (96, 128)


def pictures() -> dict[str, tuple[bytes, str, Callable[[Path], Pixels]]]:
    """Bytes, suffix and reader of each kind of file: smooth ground with some noise, as cameras give it."""
    dice = np.random.default_rng(0)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    colour = (np.stack([rows, columns, rows + columns], -1) + dice.normal(0, 4, (*SIZE, 3))).clip(0, 255).astype(np.uint8)
    depth = (1500 + rows * 20 + dice.normal(0, 5, SIZE)).astype(np.uint16)
    mask = ((rows // 24 + columns // 32) % 6).astype(np.uint8)

    def encoded(suffix: str, values: Pixels) -> bytes:
        return cv2.imencode(suffix, values)[1].tobytes()

    numbers = io.BytesIO()
    np.save(numbers, depth.astype(np.float32) / 1000)
    steps = io.BytesIO()
    np.save(steps, depth.astype(">u2"))
    return {
        "RGB, PNG": (encoded(".png", colour), ".png", read_rgb),
        "depth, 16-bit PNG": (encoded(".png", depth), ".png", lambda path: read_depth(path, "mm")),
        "mask, 8-bit PNG": (encoded(".png", mask), ".png", read_segmentation),
        "RGB, JPEG": (encoded(".jpg", colour), ".jpg", read_rgb),
        "depth, float32 .npy": (numbers.getvalue(), ".npy", lambda path: read_depth(path, "m")),
        "depth, big-endian uint16 .npy": (steps.getvalue(), ".npy", lambda path: read_depth(path, "mm")),
    }


def verdict(read: Callable[[], Pixels], right: Pixels, refusal: type[Exception]) -> str:
    """What became of one file."""
    try:
        values = read()
    except refusal:
        return "refused"
    same = values.shape == right.shape and values.dtype == right.dtype and np.array_equal(values, right, equal_nan=values.dtype.kind == "f")
    return "identical" if same else "wrong"


def pillow(data: bytes) -> Pixels:
    """A picture as Pillow decodes it with its defaults."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture)


def main() -> int:
    """Flip, count and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="20 flips: does it work at all?")
    options = parser.parse_args()
    flips = 20 if options.smoke else options.flips
    failed = False
    print(f"{'file':<31}{'bytes':>7}{'flips':>7}{'refused':>9}{'identical':>11}{'silently wrong':>16}{'Pillow silently wrong':>23}")
    with tempfile.TemporaryDirectory() as folder:
        for name, (data, suffix, reader) in pictures().items():
            path = Path(folder) / f"file{suffix}"
            path.write_bytes(data)
            right, others = reader(path), pillow(data) if suffix != ".npy" else None
            dice = random.Random(options.seed)
            ours: Counter[str] = Counter()
            theirs: Counter[str] = Counter()
            for _ in range(flips):
                flipped = bytearray(data)
                flipped[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
                path.write_bytes(flipped)
                ours[verdict(partial(reader, path), right, FrameFileError)] += 1
                if others is not None:
                    theirs[verdict(partial(pillow, bytes(flipped)), others, Exception)] += 1
            beside = f"{theirs['wrong']:>23,}" if others is not None else f"{'–':>23}"
            print(f"{name:<31}{len(data):>7,}{flips:>7,}{ours['refused']:>9,}{ours['identical']:>11,}{ours['wrong']:>16,}{beside}")
            failed |= suffix == ".png" and ours["wrong"] > 0
    print(f"target: no PNG silently wrong: {'missed' if failed else 'met'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
