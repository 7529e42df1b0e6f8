"""Frames and answers as an MCAP file of ROS 2 messages, which Foxglove and `ros2 bag` open, written without ROS."""

from __future__ import annotations

import struct
import time
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.errors import RobotError, UsageError
from vortex_jetson.files import writing
from vortex_jetson.live.sources import Frame
from vortex_jetson.perception.perception import Seen

_LINE: Final = "=" * 80
_IMAGE: Final = f"""\
std_msgs/Header header
uint32 height
uint32 width
string encoding
uint8 is_bigendian
uint32 step
uint8[] data
{_LINE}
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{_LINE}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
_TOPICS: Final = ("color/image_raw", "depth_registered/image_raw", "vortex/depth", "vortex/mask", "vortex/confidence")
"""Images; `vortex/version` says which version the answers that follow are of."""


class Recording:
    """An open file. `add` is an output of the robot's loop; `close` makes the file whole, and what a power cut left can be recovered."""

    def __init__(self, path: Path) -> None:
        """Begin a file, in a folder one named after the time. A service that is started again records so beside what it has.

        Raises UsageError where mcap is not installed or the file exists, RobotError where it cannot be written.
        """
        try:
            from mcap.writer import Writer
        except ImportError as error:
            raise UsageError("recording needs mcap, which is not installed", "pip install mcap") from error
        if path.is_dir():
            path = _named_after_now(path)
        self._path, self._broken = path, False
        try:
            self._stream = open(path, "xb")  # noqa: SIM115 (closed by `close`)
        except FileExistsError as error:
            raise UsageError(
                f"{path}: is there already", "name another file, or a folder, where every run has a file of its own"
            ) from error
        except OSError as error:
            raise RobotError(f"{path}: cannot be written ({error.strerror})", "name a file in a folder that exists") from error
        self._epoch = time.time() - time.monotonic()
        self._version = ""
        self._writer: Any = Writer(self._stream)
        with writing(path):
            self._writer.start(profile="ros2", library="vortex-jetson")
            image = self._writer.register_schema("sensor_msgs/msg/Image", "ros2msg", _IMAGE.encode())
            text = self._writer.register_schema("std_msgs/msg/String", "ros2msg", b"string data\n")
            self._channels = {topic: self._writer.register_channel(f"/{topic}", "cdr", image) for topic in _TOPICS}
            self._versions = self._writer.register_channel("/vortex/version", "cdr", text)

    def add(self, frame: Frame, seen: Seen) -> None:
        """Record a frame with its answer, all at the time when it came. Raises DiskFull and RobotError."""
        at = round((self._epoch + frame.at) * 1e9)
        images: dict[str, tuple[str, NDArray[Any]]] = {
            "color/image_raw": ("rgb8", frame.rgb),
            "vortex/depth": ("16UC1", millimetres(seen.depth)),
            "vortex/mask": ("mono8", seen.classes),
            "vortex/confidence": ("mono8", seen.confidence),
        }
        if frame.tof is not None:
            images["depth_registered/image_raw"] = ("16UC1", millimetres(frame.tof))
        self._broken = True  # until all of it is written
        with writing(self._path):
            if seen.version != self._version:
                self._writer.add_message(self._versions, at, b"\0\1\0\0" + _text(seen.version, 0), at)
                self._version = seen.version
            for topic, (encoding, pixels) in images.items():
                self._writer.add_message(self._channels[topic], at, image_cdr(at, encoding, pixels), at)
        self._broken = False

    def close(self) -> None:
        """Write the index, so that readers need not look through the file; where no frame came nothing stays.

        A file that `add` could not go on with stays as it is, without a word more. Raises DiskFull and RobotError.
        """
        if self._broken:
            with suppress(OSError):
                self._stream.close()
            return
        try:
            with writing(self._path):
                try:
                    self._writer.finish()
                finally:
                    self._stream.close()  # which writes what still waits
        finally:
            if not self._version:
                self._path.unlink(missing_ok=True)


def _named_after_now(folder: Path) -> Path:
    """A file of the folder that is not there yet: the clock of a robot may start anew with every boot."""
    stem = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    names = chain([stem], (f"{stem}-{number}" for number in count(2)))
    return next(path for name in names if not (path := folder / f"{name}.mcap").exists())


def millimetres(metres: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Depth as 16-bit millimetres, 0 for unknown; beyond 65.534 m it is that."""
    steps: NDArray[np.uint16] = np.rint(np.minimum(metres, np.float32(65.534)) * 1000).astype(np.uint16)
    return steps


def image_cdr(at_ns: int, encoding: str, pixels: NDArray[Any]) -> bytes:
    """A sensor_msgs/Image in CDR, little-endian: fields in order, each aligned to its size after the four bytes in front."""
    body = struct.pack("<iI", *divmod(at_ns, 1_000_000_000)) + _text("camera", 8)
    body += b"\0" * (-len(body) % 4) + struct.pack("<II", *pixels.shape[:2])
    body += _text(encoding, len(body)) + b"\0"  # little-endian pixels
    data = np.ascontiguousarray(pixels).tobytes()
    body += b"\0" * (-len(body) % 4) + struct.pack("<II", len(data) // pixels.shape[0], len(data))
    return b"\0\1\0\0" + body + data


def _text(words: str, offset: int) -> bytes:
    """A string at `offset` of the body."""
    content = words.encode() + b"\0"
    return b"\0" * (-offset % 4) + struct.pack("<I", len(content)) + content
