"""Pictures at the student's size: colour by area as the students were trained, depth by picking, never by blending two surfaces."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]


def shrink(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """[h,w,3] of [H,W,3]: each pixel the mean of the area that it covers, also of the parts of pixels on its border.

    Raises ValueError where the picture is smaller than `size`: what a camera did not see is not made up.
    """
    if rgb.shape[:2] == size:
        return rgb
    _refuse_growing(rgb.shape, size)
    if rgb.shape[0] % size[0] == 0 and rgb.shape[1] % size[1] == 0:
        return _shrink_whole(rgb, size)
    rows = _means(rgb.astype(np.float32), size[0])
    return np.rint(_means(rows.swapaxes(0, 1), size[1]).swapaxes(0, 1)).astype(np.uint8)


def pick(values: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """[h,w] of [H,W]: the pixel under the centre of each new one, as depth, classes and confidences need it.

    Raises ValueError where the map is smaller than `size`.
    """
    if values.shape == size:
        return values
    _refuse_growing(values.shape, size)
    rows, columns = (((2 * np.arange(new) + 1) * old) // (2 * new) for new, old in zip(size, values.shape, strict=True))
    picked: NDArray[np.float32] = values[rows[:, None], columns]
    return picked


def _refuse_growing(shape: tuple[int, ...], size: Size) -> None:
    if shape[0] < size[0] or shape[1] < size[1]:
        raise ValueError(f"a picture of {shape[0]}x{shape[1]} is smaller than the student's {size[0]}x{size[1]}")


def _shrink_whole(rgb: NDArray[np.uint8], size: Size) -> NDArray[np.uint8]:
    """By whole numbers of rows and columns: sums of bytes, exact."""
    high, wide = rgb.shape[0] // size[0], rgb.shape[1] // size[1]
    sums = rgb[0::high].astype(np.uint32)
    for row in range(1, high):
        sums += rgb[row::high]
    columns = sums[:, 0::wide].copy()
    for column in range(1, wide):
        columns += sums[:, column::wide]
    if (high, wide) == (2, 2):
        return ((columns + 2) // 4).astype(
            np.uint8
        )  # OpenCV, which shrank the training pictures, rounds halves up here, and to even elsewhere
    return np.rint(columns / np.float32(high * wide)).astype(np.uint8)


def _means(values: NDArray[np.float32], new: int) -> NDArray[np.float32]:
    """The first axis averaged down to `new` equal parts, by differences of running sums between their edges.

    Sums of bytes stay below 2^24 up to 65,793 rows, so single precision holds the first pass exactly.
    """
    old = values.shape[0]
    sums = np.empty((old + 1, *values.shape[1:]), np.float32)
    sums[0] = 0
    np.cumsum(values, axis=0, out=sums[1:])
    edges = np.arange(new + 1) * (old / new)
    whole = np.minimum(edges.astype(np.intp), old - 1)
    part = (edges - whole).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    at_edges = sums[whole] + part * values[whole]
    means: NDArray[np.float32] = np.diff(at_edges, axis=0) * np.float32(new / old)
    return means
