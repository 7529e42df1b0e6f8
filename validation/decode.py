"""Frames' files, decoded strictly: the header is read before anything is decoded, and a picture comes back whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from core.classes import CLASSES, IGNORE
from core.depth import INVALID_STEP
from core.files import open_regular
from validation.headers import (
    READ_HINT,
    FrameFileError,
    Header,
    beginning,
    check_end,
    intact_jpeg,
    intact_png,
    most_bytes,
    parse,
)
from validation.rows import Unit, metres_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Colour picture as uint8 RGB (H, W, 3), pixels as stored: an EXIF rotation is not applied, for depth knows nothing of it."""
    header, data = _load(path)
    if header.kind == "npy" or header.bits != 8:
        raise _unfit(path, header, "an 8-bit PNG or JPEG as colour picture")
    import cv2

    picture = _decode(path, header, data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB, dst=picture)  # type: ignore[no-any-return]


def read_depth(path: Path, unit: Unit) -> npt.NDArray[np.float32]:
    """Depth as float32 metres (H, W), 0 where invalid (0 and 65535 of 16-bit files).

    Floats keep their NaN, infinities and signs, so that validation sees them; unit "relative" returns the raw values.
    """
    return metres(read_stored_depth(path), unit)


def read_stored_depth(path: Path) -> npt.NDArray[np.uint16 | np.float32]:
    """Depth in its file's own unit (H, W): uint16 as stored, anything else as float32. `metres` makes depth of it."""
    import numpy as np

    raw = _map(path, "a 16-bit grey PNG, or a .npy of floats or uint16, as depth", bits=16, kinds="f", sizes=(2, 4, 8), also=("<u2", ">u2"))
    return raw.astype(np.uint16 if raw.dtype.kind == "u" else np.float32, copy=False)


def metres(stored: npt.NDArray[np.uint16 | np.float32], unit: Unit) -> npt.NDArray[np.float32]:
    """Stored depth of any shape as `read_depth` gives it."""
    import numpy as np

    scale = metres_of(unit)
    depth = stored.astype(np.float32)
    if stored.dtype == np.uint16:
        depth[stored == INVALID_STEP] = 0.0
    if scale is not None and scale != 1.0:
        depth *= np.float32(scale)
    return depth


def read_segmentation(path: Path) -> npt.NDArray[np.uint8]:
    """Class ids as uint8 (H, W); whether they are known ones is for validation to judge."""
    import numpy as np

    raw = _map(path, "an 8-bit grey PNG, or a .npy of whole numbers 0 to 255, as class mask", bits=8, kinds="ui", sizes=(1, 2, 4, 8))
    if raw.dtype != np.uint8 and raw.size and (int(raw.min()) < 0 or int(raw.max()) > 255):
        fault = f"found class ids from {raw.min()} to {raw.max()}"
        raise FrameFileError(f"{path}: {fault}, allowed: 0 to {len(CLASSES) - 1} and {IGNORE}", READ_HINT)
    return raw.astype(np.uint8)


def read_steps(path: Path) -> npt.NDArray[np.uint16]:
    """The values of a 16-bit grey PNG as they are stored, (H, W), for formats whose bits mean something of their own."""
    import numpy as np

    return _map(path, "a 16-bit grey PNG", bits=16, kinds="", sizes=()).astype(np.uint16, copy=False)


def read_mask(path: Path) -> npt.NDArray[np.bool_]:
    """Validity as bool (H, W) from an 8-bit grey PNG or a .npy of numbers. Raises FrameFileError for values other than 0 and 1."""
    import numpy as np

    raw = _map(path, "an 8-bit grey PNG or a .npy of zeros and ones, as mask", bits=8, kinds="fuib", sizes=(1, 2, 4, 8))
    mask = raw == 1
    if not bool((mask | (raw == 0)).all()):
        raise FrameFileError(f"{path}: found a mask with values other than 0 and 1, allowed: 0 and 1", READ_HINT)
    return np.asarray(mask)


def read_confidence(path: Path) -> npt.NDArray[np.float32]:
    """Confidence of the ToF sensor as float32 (H, W) in [0, 1]; 8-bit files are divided by 255."""
    import numpy as np

    raw = _map(path, "an 8-bit grey PNG, or a .npy of floats or uint8, as confidence", bits=8, kinds="f", sizes=(2, 4, 8), also=("|u1",))
    if raw.dtype == np.uint8:
        return raw.astype(np.float32) / np.float32(255)
    confidence = raw.astype(np.float32)
    if confidence.size and not bool(((confidence >= 0) & (confidence <= 1)).all()):
        raise FrameFileError(f"{path}: found confidence outside [0, 1] or not finite, allowed: 0 to 1", READ_HINT)
    return confidence


def _load(path: Path) -> tuple[Header, bytes]:
    """The header, judged before the rest is read, and the whole file."""
    try:
        with open_regular(path) as stream:
            length = os.fstat(stream.fileno()).st_size
            data = beginning(stream)
            header = parse(path, data)
            if length > (most := most_bytes(header)):
                fault = f"found {length} bytes for {header.size[0]}×{header.size[1]} pixels"
                raise FrameFileError(f"{path}: {fault}, allowed: at most {most}", READ_HINT)
            data += stream.read(max(0, length - len(data)))
    except OSError as error:
        raise FrameFileError(f"{path}: cannot be read ({error.strerror}), allowed: a PNG, JPEG or .npy file", READ_HINT) from error
    # libjpeg fills what is missing of a truncated picture with grey and only warns: look before it does.
    check_end(path, header, data, len(data))
    return header, data


def _decode(path: Path, header: Header, data: bytes, flags: int) -> npt.NDArray[np.uint8]:
    import cv2
    import numpy as np

    # libpng would print on stderr by itself, so it is only given what its checksums vouch for.
    whole = intact_png(data, header) if header.kind == "png" else data if intact_jpeg(data, header) else None
    try:
        picture = None if whole is None else cv2.imdecode(np.frombuffer(whole, np.uint8), flags)
    except cv2.error:
        picture = None
    if picture is None or picture.shape[:2] != header.size:
        raise FrameFileError(f"{path}: the {header.kind.upper()} is damaged and cannot be decoded, allowed: a whole picture", READ_HINT)
    return picture  # type: ignore[no-any-return]


def _map(path: Path, allowed: str, *, bits: int, kinds: str, sizes: tuple[int, ...], also: tuple[str, ...] = ()) -> npt.NDArray[np.generic]:
    """One value a pixel: a grey PNG of `bits`, or a .npy whose numpy dtype is of `kinds` and `sizes`, or in `also`."""
    import numpy as np

    header, data = _load(path)
    if header.kind == "npy":
        dtype = np.dtype(header.dtype)
        if header.channels != 1 or not ((dtype.kind in kinds and dtype.itemsize in sizes) or header.dtype in also):
            raise _unfit(path, header, allowed)
        values = np.frombuffer(data, dtype, header.size[0] * header.size[1], header.end)
        return values.reshape(header.size, order="F" if header.fortran else "C")
    if header.kind != "png" or header.bits != bits or header.channels != 1:
        raise _unfit(path, header, allowed)
    import cv2

    # The default flags would turn 16-bit values into 8-bit ones: 2500 becomes 9.
    return _decode(path, header, data, cv2.IMREAD_UNCHANGED)


def _unfit(path: Path, header: Header, allowed: str) -> FrameFileError:
    return FrameFileError(f"{path}: found a {header}, allowed: {allowed}", READ_HINT)
