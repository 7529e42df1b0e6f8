"""Frames' files, decoded strictly: the header is read before anything is decoded, and a picture comes back whole or not at all."""

from __future__ import annotations

import ast
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from core.classes import CLASSES, IGNORE
from core.errors import VortexError
from validation.manifest import UNIT_METRES, Unit

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PIXEL_CAP: Final = 64_000_000
"""Largest picture: a header may claim any size, and decoding would allocate it."""
FILE_CAP: Final = PIXEL_CAP * 8
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_NPY: Final = b"\x93NUMPY"
_READ_HINT: Final = "replace the file, or take its frame out of the dataset"


class FrameFileError(VortexError):
    """A frame's file is missing, truncated, or not what its role asks for."""


@dataclass(frozen=True)
class Header:
    """What a file says about itself. `end` is where JPEG headers stop, or where the data of a .npy begin."""

    kind: Literal["png", "jpeg", "npy"]
    size: tuple[int, int]
    channels: int
    bits: int
    end: int = 0
    dtype: str = ""
    fortran: bool = False

    def __str__(self) -> str:
        sort = f"{self.dtype} .npy" if self.kind == "npy" else f"{self.bits}-bit {self.kind.upper()}"
        return f"{sort} with {self.channels} channel{'s' if self.channels != 1 else ''}"


def image_size(path: Path) -> tuple[int, int]:
    """(H, W) of a PNG, JPEG or .npy, from its header alone. Raises FrameFileError."""
    return read_header(path).size


def read_header(path: Path, *, whole: bool = False) -> Header:
    """Parse the header of a PNG, JPEG or .npy; with `whole`, also look at the last bytes for a truncated file.

    Raises FrameFileError when the file is missing, of another kind, larger than the cap, or ends early.
    """
    try:
        _regular(path)
        with open(path, "rb") as stream:
            start = stream.read(65536)
            if start.startswith(b"\xff\xd8") and _jpeg(start) is None:
                start += stream.read(4_000_000)  # a long EXIF or ICC block: the frame header comes after it
            header = _parse(path, start)
            length = os.fstat(stream.fileno()).st_size
            if whole:
                stream.seek(max(0, length - 65536))
                _check_end(path, header, stream.read(), length)
            return header
    except OSError as error:
        raise FrameFileError(f"{path}: cannot be read ({error.strerror}), allowed: a PNG, JPEG or .npy file", _READ_HINT) from error


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
    import numpy as np

    raw = _map(path, "a 16-bit grey PNG, or a .npy of floats or uint16, as depth", bits=16, kinds="f", sizes=(2, 4, 8), also=("<u2", ">u2"))
    scale = UNIT_METRES[unit]
    depth = raw.astype(np.float32)
    if raw.dtype.kind == "u":
        depth[raw == 65535] = 0.0
    if scale is not None and scale != 1.0:
        depth *= np.float32(scale)
    return depth


def read_segmentation(path: Path) -> npt.NDArray[np.uint8]:
    """Class ids as uint8 (H, W); whether they are known ones is for validation to judge."""
    import numpy as np

    raw = _map(path, "an 8-bit grey PNG, or a .npy of whole numbers 0 to 255, as class mask", bits=8, kinds="ui", sizes=(1, 2, 4, 8))
    if raw.dtype != np.uint8 and raw.size and (int(raw.min()) < 0 or int(raw.max()) > 255):
        found = f"found class ids from {raw.min()} to {raw.max()}"
        raise FrameFileError(f"{path}: {found}, allowed: 0 to {len(CLASSES) - 1} and {IGNORE}", _READ_HINT)
    return raw.astype(np.uint8)


def read_confidence(path: Path) -> npt.NDArray[np.float32]:
    """Confidence of the ToF sensor as float32 (H, W) in [0, 1]; 8-bit files are divided by 255."""
    import numpy as np

    raw = _map(path, "an 8-bit grey PNG, or a .npy of floats or uint8, as confidence", bits=8, kinds="f", sizes=(2, 4, 8), also=("|u1",))
    if raw.dtype == np.uint8:
        return raw.astype(np.float32) / np.float32(255)
    confidence = raw.astype(np.float32)
    if confidence.size and not bool(((confidence >= 0) & (confidence <= 1)).all()):
        raise FrameFileError(f"{path}: found confidence outside [0, 1] or not finite, allowed: 0 to 1", _READ_HINT)
    return confidence


def _load(path: Path) -> tuple[Header, bytes]:
    try:
        _regular(path)
        with open(path, "rb") as stream:
            length = os.fstat(stream.fileno()).st_size
            if length > FILE_CAP:
                raise FrameFileError(f"{path}: {length} bytes, allowed: at most {FILE_CAP}", _READ_HINT)
            data = stream.read()
    except OSError as error:
        raise FrameFileError(f"{path}: cannot be read ({error.strerror}), allowed: a PNG, JPEG or .npy file", _READ_HINT) from error
    header = _parse(path, data)
    # libjpeg fills what is missing of a truncated picture with grey and only warns: look before it does.
    _check_end(path, header, data, len(data))
    return header, data


def _regular(path: Path) -> None:
    """Opening a named pipe would wait for ever."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FrameFileError(f"{path}: is not a file, allowed: a PNG, JPEG or .npy file", _READ_HINT)


def _decode(path: Path, header: Header, data: bytes, flags: int) -> npt.NDArray[np.uint8]:
    import cv2
    import numpy as np

    # libpng would print on stderr by itself, so it is only given what its checksums vouch for. A JPEG has none.
    intact = header.kind != "png" or _png_intact(data)
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags) if intact else None
    except cv2.error:
        picture = None
    if picture is None or picture.shape[:2] != header.size:
        raise FrameFileError(f"{path}: the {header.kind.upper()} is damaged and cannot be decoded, allowed: a whole picture", _READ_HINT)
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
    return FrameFileError(f"{path}: found a {header}, allowed: {allowed}", _READ_HINT)


def _parse(path: Path, data: bytes) -> Header:
    if data.startswith(_PNG):
        header = _png(data)
    elif data.startswith(b"\xff\xd8"):
        header = _jpeg(data)
    elif data.startswith(_NPY):
        header = _npy(data)
    else:
        found = "an empty file" if not data else f"a file that begins with {data[:8]!r}"
        raise FrameFileError(f"{path}: found {found}, allowed: PNG, JPEG or .npy", _READ_HINT)
    if header is None:
        raise FrameFileError(
            f"{path}: its header is cut off, damaged, or of a kind of numbers that no role takes, allowed: a whole PNG, JPEG or .npy",
            _READ_HINT,
        )
    height, width = header.size
    if not 0 < height * width <= PIXEL_CAP:
        raise FrameFileError(f"{path}: found {height}×{width} pixels, allowed: 1 to {PIXEL_CAP}", _READ_HINT)
    return header


def _png(data: bytes) -> Header | None:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    channels = _PNG_CHANNELS.get(colour)
    return Header("png", (height, width), channels, bits) if channels else None


def _png_intact(data: bytes) -> bool:
    """Whether every chunk is there and has the checksum that it states."""
    at = len(_PNG)
    view = memoryview(data)
    while at + 12 <= len(data):
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data) or zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return False
        if data.startswith(b"IEND", at + 4):
            return True
        at = end + 4
    return False


def _jpeg(data: bytes) -> Header | None:
    """Walk the marker segments to the frame header (SOFn); `end` is where it ends."""
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            bits, height, width, channels = struct.unpack(">BHHB", data[at + 4 : at + 10])
            return Header("jpeg", (height, width), channels, bits, at + 2 + length)
        at += 2 + length
    return None


def _npy(data: bytes) -> Header | None:
    wide = data[6:7] != b"\x01"
    start = 12 if wide else 10
    if len(data) < start:
        return None
    end = start + int.from_bytes(data[8:start], "little")
    try:
        # A literal, and only a literal: numpy's own reader parses it the same way.
        said = ast.literal_eval(data[start:end].decode("latin1").strip())
        shape, dtype, fortran = tuple(said["shape"]), said["descr"], said["fortran_order"]
        sizes = [int(length) for length in shape]
    except (SyntaxError, ValueError, KeyError, TypeError, RecursionError, MemoryError):
        return None
    if len(data) < end or type(dtype) is not str or len(dtype) > 8 or dtype[1:2] not in ("f", "u", "i", "b") or min(sizes, default=0) < 0:
        return None
    while len(sizes) > 2 and 1 in (sizes[0], sizes[-1]):  # (H, W, 1) and (1, H, W) are one value a pixel too
        del sizes[-1 if sizes[-1] == 1 else 0]
    if len(sizes) not in (2, 3):
        return None
    return Header("npy", (sizes[0], sizes[1]), sizes[2] if len(sizes) == 3 else 1, int(dtype[2:]) * 8, end, dtype, bool(fortran))


def _check_end(path: Path, header: Header, tail: bytes, length: int) -> None:
    if header.kind == "png":
        whole = _PNG_END in tail
    elif header.kind == "jpeg":
        # After the frame header the end marker cannot occur by chance: entropy-coded 0xFF is always followed by 0x00.
        whole = tail.rfind(b"\xff\xd9", max(0, header.end - (length - len(tail)))) >= 0
    else:
        whole = length >= header.end + header.size[0] * header.size[1] * header.channels * header.bits // 8
    if not whole:
        raise FrameFileError(f"{path}: the {header.kind.upper()} is truncated at {length} bytes, allowed: a whole file", _READ_HINT)
