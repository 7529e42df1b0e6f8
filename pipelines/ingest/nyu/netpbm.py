"""Raw Kinect pictures as NYU recorded them: binary PPM and PGM, read strictly, the header before anything else."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.files import open_regular
from validation.headers import PIXEL_CAP, FrameFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NO_RETURN: Final = 2047
"""Disparity of a pixel from which nothing came back; the sensor has 11 bits."""
NUMERATOR: Final = 351.3
OFFSET: Final = 1092.5
"""Metres are NUMERATOR / (OFFSET - disparity): `depthParam1` and `depthParam2` of the NYU toolbox."""
FARTHEST: Final = 10.0
"""Metres: beyond it the toolbox does not trust the sensor either (`maxDepth`); such pixels count as invalid here."""
_HINT: Final = "replace the file, or take its frame out of the set (the raw dumps are known to hold broken ones)"
_LONGEST_HEADER: Final = 1024
_GAP: Final = rb"(?:[ \t\n\r]|#[^\n\r]*[\n\r])+"
_HEADER: Final = re.compile(rb"(P[56])" + _GAP + rb"([0-9]{1,6})" + _GAP + rb"([0-9]{1,6})" + _GAP + rb"([0-9]{1,5})[ \t\n\r]")


@dataclass(frozen=True)
class Layout:
    """Where the pixels of a Netpbm file begin, and what they are."""

    size: tuple[int, int]
    largest: int
    start: int


def read_layout(path: Path, magic: str, largest: int) -> Layout:
    """The header of a `P5` (grey) or `P6` (colour) file whose maximum is `largest`; the file's length must be exactly what it says.

    Raises FrameFileError when it is missing, another kind of file, too large, cut short, or too long.
    """
    try:
        with open_regular(path) as stream:
            start = stream.read(_LONGEST_HEADER)
            length = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise FrameFileError(f"{path}: cannot be read ({error.strerror}), allowed: a binary {magic} picture", _HINT) from error
    match = _HEADER.match(start)
    if match is None or match[1] != magic.encode():
        content = f"begins with {start[:8]!r}" if start else "is empty"
        raise FrameFileError(f"{path}: {content}, allowed: a binary {magic} picture with its width, height and maximum", _HINT)
    width, height, maximum = (int(word) for word in match.groups()[1:])
    if maximum != largest:
        raise FrameFileError(f"{path}: its maximum is {maximum}, allowed: {largest}", _HINT)
    if not 0 < width * height <= PIXEL_CAP:
        raise FrameFileError(f"{path}: found {height}×{width} pixels, allowed: 1 to {PIXEL_CAP}", _HINT)
    expected = match.end() + width * height * (3 if magic == "P6" else 1) * (2 if maximum > 255 else 1)
    if length != expected:
        state = "truncated" if length < expected else "too long"
        raise FrameFileError(f"{path}: is {state}, it has {length} bytes, allowed: the {expected} that its header asks for", _HINT)
    return Layout((height, width), maximum, match.end())


@dataclass(frozen=True)
class RawColour:
    """A `P6` picture of the raw Kinect dump."""

    origin: Path

    @property
    def size(self) -> tuple[int, int]:
        """(H, W). Raises FrameFileError when the file is not what its header says."""
        return read_layout(self.origin, "P6", 255).size

    def read(self) -> NDArray[Any]:
        """RGB as uint8 (H, W, 3)."""
        return _pixels(self.origin, read_layout(self.origin, "P6", 255), "u1", 3)


@dataclass(frozen=True)
class RawDepth:
    """A `P5` picture of disparities, low byte first although Netpbm says high byte first: its writer did not swap them."""

    origin: Path

    @property
    def size(self) -> tuple[int, int]:
        """(H, W). Raises FrameFileError when the file is not what its header says."""
        return read_layout(self.origin, "P5", 65535).size

    def read(self) -> NDArray[Any]:
        """Depth as float32 metres (H, W), 0 where nothing came back or it is beyond 10 m.

        Raises FrameFileError for disparities of more than 11 bits, which the other byte order gives.
        """
        disparity = _pixels(self.origin, read_layout(self.origin, "P5", 65535), "<u2", 1)
        if int(disparity.max()) > NO_RETURN:
            excess = f"found the value {disparity.max()}"
            raise FrameFileError(f"{self.origin}: {excess}, allowed: 0 to {NO_RETURN}; are its bytes in the other order?", _HINT)
        return metres(disparity)


def metres(disparity: NDArray[Any]) -> NDArray[np.float32]:
    """Kinect disparities as metres; 0 where `NO_RETURN`, at or behind infinity, or beyond `FARTHEST`."""
    import numpy as np

    steps = np.arange(NO_RETURN + 1, dtype=np.float64)
    with np.errstate(divide="ignore"):
        table = NUMERATOR / (OFFSET - steps)
    table[(steps == NO_RETURN) | ~(table > 0) | (table > FARTHEST)] = 0
    depth: NDArray[np.float32] = table.astype(np.float32)[disparity]
    return depth


def _pixels(path: Path, layout: Layout, dtype: str, channels: int) -> NDArray[Any]:
    import numpy as np

    count = layout.size[0] * layout.size[1] * channels
    try:
        with open_regular(path) as stream:
            stream.seek(layout.start)
            values = np.fromfile(stream, dtype, count)
    except OSError as error:
        raise FrameFileError(f"{path}: cannot be read ({error.strerror})", _HINT) from error
    if values.size != count:
        raise FrameFileError(f"{path}: ended after {values.size} of {count} values", _HINT)
    return values.reshape((*layout.size, channels) if channels > 1 else layout.size)
