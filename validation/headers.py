"""What the files of frames say about themselves before anything is decoded: kind, size, and whether the file can hold just that."""

from __future__ import annotations

import ast
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from core.errors import VortexError
from core.files import open_regular

PIXEL_CAP: Final = 64_000_000
"""Largest picture: a header may claim any size, and decoding would allocate it."""
METADATA_CAP: Final = 16_000_000
"""Bytes that a picture's file may hold beyond what its pixels can need: colour profiles, previews, notes."""
SCAN_CAP: Final = 100
"""Scans of a JPEG; a progressive one has about ten, and each is decoded over the whole picture."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PNG_CRITICAL: Final = frozenset((b"IHDR", b"PLTE", b"IDAT", b"IEND"))
_CHUNK_CAP: Final = 200_000
_NPY: Final = b"\x93NUMPY"
_NPY_HEADER_CAP: Final = 10_000
_NPY_TYPE: Final = re.compile(r"[<>=|](?:f[248]|[iu][1248]|b1)")
_JPEG_TABLES: Final = frozenset((0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE))
_STRAY: Final = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
READ_HINT: Final = "replace the file, or take its frame out of the dataset"


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
        with open_regular(path) as stream:
            header = parse(path, beginning(stream))
            length = os.fstat(stream.fileno()).st_size
            if whole:
                stream.seek(max(0, length - 65536))
                check_end(path, header, stream.read(), length)
            return header
    except OSError as error:
        raise FrameFileError(f"{path}: cannot be read ({error.strerror}), allowed: a PNG, JPEG or .npy file", READ_HINT) from error


def beginning(stream: BinaryIO) -> bytes:
    """Enough of a file to know its header."""
    start = stream.read(65536)
    if start.startswith(b"\xff\xd8") and _jpeg(start) is None:
        start += stream.read(4_000_000)  # a long EXIF or ICC block: the frame header comes after it
    return start


def most_bytes(header: Header) -> int:
    """Bytes that a file of such a header can need: neither deflate nor Huffman codes grow noise by much."""
    if header.kind == "npy":
        return _npy_bytes(header)
    return 2 * _pixel_bytes(header) + METADATA_CAP


def _pixel_bytes(header: Header) -> int:
    return header.size[0] * ((header.size[1] * header.channels * header.bits + 7) // 8 + 1)


def _npy_bytes(header: Header) -> int:
    return header.end + header.size[0] * header.size[1] * header.channels * header.bits // 8


def parse(path: Path, data: bytes) -> Header:
    """The header of the file that begins with `data`. Raises FrameFileError for another kind of file, or one larger than the cap."""
    if data.startswith(_PNG):
        header = _png(data)
    elif data.startswith(b"\xff\xd8"):
        header = _jpeg(data)
    elif data.startswith(_NPY):
        header = _npy(data)
    else:
        content = "an empty file" if not data else f"a file that begins with {data[:8]!r}"
        raise FrameFileError(f"{path}: found {content}, allowed: PNG, JPEG or .npy", READ_HINT)
    if header is None:
        raise FrameFileError(
            f"{path}: its header is cut off, damaged, or of a kind of numbers that no role takes, allowed: a whole PNG, JPEG or .npy",
            READ_HINT,
        )
    height, width = header.size
    if not 0 < height * width <= PIXEL_CAP:
        raise FrameFileError(f"{path}: found {height}×{width} pixels, allowed: 1 to {PIXEL_CAP}", READ_HINT)
    return header


def _png(data: bytes) -> Header | None:
    if len(data) < 33 or data[12:16] != b"IHDR":
        return None
    width, height, bits, colour = struct.unpack(">IIBB", data[16:26])
    channels = _PNG_CHANNELS.get(colour)
    return Header("png", (height, width), channels, bits) if channels else None


def intact_png(data: bytes, header: Header) -> bytes | None:
    """The PNG with nothing in it but what makes its pixels, or None where a chunk is cut off or breaks its checksum.

    Every chunk is checked, but only IHDR, PLTE, IDAT and IEND go on to the decoder: compressed notes and colour profiles may be bombs,
    and the frames of an animation would be taken for the picture. The image data may be as long as its pixels can need.
    """
    at, count, image, foreign = len(_PNG), 0, 0, False
    view = memoryview(data)
    keep: list[bytes | memoryview] = [data[: len(_PNG)]]
    while at + 12 <= len(data) and count < _CHUNK_CAP:
        count += 1
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 12 + length
        if end > len(data) or zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            return None
        kind = data[at + 4 : at + 8]
        if kind in _PNG_CRITICAL:
            keep.append(view[at:end])
            image += length if kind == b"IDAT" else 0
        elif not kind[0] & 0x20:  # a capital first letter: the picture cannot be understood without it
            return None
        else:
            foreign = True
        if kind == b"IEND":
            most = _pixel_bytes(header) * 17 // 16 + 65536
            return None if image > most else b"".join(keep) if foreign else data
        at = end
    return None


def intact_jpeg(data: bytes, header: Header) -> bool:
    """Whether the segments after the frame header are those of a JPEG, up to its end marker.

    A JPEG has no checksum, so this finds only damage that looks like a marker where none can be, which libjpeg would fill with grey.
    """
    at, scans = header.end, 0
    while at + 4 <= len(data) and data[at] == 0xFF and scans <= SCAN_CAP:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # padding
            at += 1
            continue
        if length < 2 or not (marker in _JPEG_TABLES or 0xE0 <= marker <= 0xEF):
            break
        at += 2 + length
        if marker == 0xDA:
            scans += 1
            # In coded data 0xFF is followed by 0x00 or by a restart marker; anything else ends the scan.
            stray = _STRAY.search(data, at)
            at = stray.start() if stray else len(data)
    ended = scans > 0 and data.startswith(b"\xff\xd9", at)
    # What comes after the end is nobody's, unless it is the rest of a picture that a false end marker has cut in two.
    return ended and (data.find(b"\xff\xd9", at + 2) < 0 or data.find(b"\xff\xd8", at + 2) >= 0)


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
    if len(data) < start or data[6] not in (1, 2, 3):
        return None
    end = start + int.from_bytes(data[8:start], "little")
    if not start < end <= min(len(data), start + _NPY_HEADER_CAP):
        return None
    try:
        # A literal, and only a literal: numpy's own reader parses it the same way.
        header = ast.literal_eval(data[start:end].decode("latin1").strip())
        shape, dtype, fortran = tuple(header["shape"]), header["descr"], header["fortran_order"]
    except (SyntaxError, ValueError, KeyError, TypeError, RecursionError, MemoryError):
        return None
    if len(header) != 3 or type(fortran) is not bool or type(dtype) is not str or not _NPY_TYPE.fullmatch(dtype):
        return None
    if not all(type(length) is int and length >= 0 for length in shape):
        return None
    sizes = list(shape)
    while len(sizes) > 2 and 1 in (sizes[0], sizes[-1]):  # (H, W, 1) and (1, H, W) are one value a pixel too
        del sizes[-1 if sizes[-1] == 1 else 0]
    if len(sizes) not in (2, 3):
        return None
    return Header("npy", (sizes[0], sizes[1]), sizes[2] if len(sizes) == 3 else 1, int(dtype[2:]) * 8, end, dtype, fortran)


def check_end(path: Path, header: Header, tail: bytes, length: int) -> None:
    """Raise FrameFileError when a file of `length` bytes that ends in `tail` is cut off, or a .npy is longer than its numbers."""
    if header.kind == "png":
        whole = _PNG_END in tail
    elif header.kind == "jpeg":
        # After the frame header the end marker cannot occur by chance: entropy-coded 0xFF is always followed by 0x00.
        whole = tail.rfind(b"\xff\xd9", max(0, header.end - (length - len(tail)))) >= 0
    else:
        whole = length >= _npy_bytes(header)
        if length > _npy_bytes(header):
            fault = f"found {length} bytes, its header speaks of {_npy_bytes(header)}"
            raise FrameFileError(f"{path}: {fault}; allowed: as many", READ_HINT)
    if not whole:
        raise FrameFileError(f"{path}: the {header.kind.upper()} is truncated at {length} bytes, allowed: a whole file", READ_HINT)
