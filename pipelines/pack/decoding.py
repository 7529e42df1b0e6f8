"""One frame as it is stored: its files decoded, resized, and in the smallest type that keeps what they say."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from core.depth import FARTHEST_M, MILLIMETRES
from core.errors import VortexError
from core.files import inside
from pipelines.pack.layout import ROLES
from validation import decode
from validation.headers import FrameFileError

if TYPE_CHECKING:
    from validation.rows import Frame

Arrays = dict[str, NDArray[Any]]

CERTAIN: Final = 255.0
_LARGEST_HALF: Final = 65504.0


def roles_of(frame: Frame) -> tuple[str, ...]:
    """The roles that a frame has, from its row alone."""
    has = {
        "rgb": True,
        "reference": frame.depth,
        "tof_depth": frame.tof,
        "tof_confidence": frame.tof,
        "teacher_depth": frame.teacher_depth and frame.teacher_unit != "relative",
        "teacher_relative": frame.teacher_depth and frame.teacher_unit == "relative",
        "segmentation": frame.segmentation,
    }
    return tuple(role for role in ROLES if has[role])


def decode_frame(root: Path, frame: Frame, size: tuple[int, int]) -> Arrays:
    """The roles of a frame at `size` (H, W) as a pack stores them: images by area, maps by the nearest pixel.

    Invalid depth and what lies beyond 65.5 m become 0. Raises VortexError naming the frame and the file that is missing or broken.
    """

    def file(relative: str) -> Path:
        path = inside(root, relative)
        if not path.is_file():
            raise VortexError(
                f"{path}: the file of frame {frame.id!r} is missing", "restore it (vortex data checkout), or validate the dataset"
            )
        return path

    at_size = partial(nearest, size=size)
    try:
        arrays: Arrays = {"rgb": resized(decode.read_rgb(file(frame.rgb)), size)}
        for name, path, unit in (
            ("reference", frame.depth, frame.depth_unit),
            ("tof_depth", frame.tof, frame.tof_unit),
            ("teacher_depth", frame.teacher_depth, frame.teacher_unit),
        ):
            if path and unit:
                # Resized as it is stored: a quarter of the pixels are then left to convert.
                depth = decode.metres(at_size(decode.read_stored_depth(file(path))), unit)
                if unit == "relative":
                    arrays["teacher_relative"] = _halves(depth)
                else:
                    arrays[name] = _whole_millimetres(depth)
        if frame.tof and frame.tof_confidence:
            confidence = at_size(decode.read_confidence(file(frame.tof_confidence)))
            arrays["tof_confidence"] = np.rint(confidence * CERTAIN).astype(np.uint8)
        elif frame.tof:
            # A sensor that reports no confidence is trusted where it reports depth.
            arrays["tof_confidence"] = ((arrays["tof_depth"] > 0) * np.uint8(CERTAIN)).astype(np.uint8)
        if frame.segmentation:
            arrays["segmentation"] = at_size(decode.read_segmentation(file(frame.segmentation)))
    except FrameFileError as error:
        raise VortexError(f"frame {frame.id!r}: {error.message}", error.hint, error.details) from error
    return arrays


def unpack(role: str, stored: NDArray[Any]) -> NDArray[Any]:
    """A stored map as everyone computes with it: depth in metres and confidence in [0, 1] as float32, the rest as it is."""
    if stored.dtype == np.uint16:
        return stored.astype(np.float32) / np.float32(MILLIMETRES)
    if stored.dtype == np.float16:
        return stored.astype(np.float32)
    if role == "tof_confidence":
        return stored.astype(np.float32) / np.float32(CERTAIN)
    return stored


def _whole_millimetres(depth: NDArray[Any]) -> NDArray[Any]:
    valid = np.isfinite(depth) & (depth > 0) & (depth <= FARTHEST_M)
    return np.rint(np.where(valid, depth, 0) * MILLIMETRES).astype(np.uint16)


def _halves(depth: NDArray[Any]) -> NDArray[Any]:
    valid = np.isfinite(depth) & (depth > 0) & (depth <= _LARGEST_HALF)
    return np.where(valid, depth, 0).astype(np.float16)


def resized(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """A picture or depth at `size` (H, W): by area where it shrinks, bilinear where it grows; the whole of it, without crop or padding."""
    import cv2

    height, width = size
    smaller = image.shape[0] >= height and image.shape[1] >= width
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def nearest(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """A map at `size` (H, W), each pixel the one that lies under its centre."""
    import cv2

    # The exact variant takes the pixel under the centre; plain INTER_NEAREST is off by half a pixel against the image.
    return np.asarray(cv2.resize(array, (size[1], size[0]), interpolation=cv2.INTER_NEAREST_EXACT))
