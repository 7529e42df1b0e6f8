"""Where frames come from: a folder of them, a video, a camera. All end in the same `Frame`."""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vortex_jetson.errors import RobotError, UsageError

CAMERA: Final = "camera:"
"""What a camera's name begins with; its number follows."""
_PICTURES: Final = (".png", ".jpg", ".jpeg")
_NUMPY_RGB: Final = ".rgb.npy"
_LARGEST_PIXELS: Final = 4096 * 4096
_LEAST_OF_A_VIDEO: Final = 0.98
"""Of the frames that a file says it has; some say one more than they have."""


class CameraStopped(RobotError):
    """A camera that gives no more frames."""


@dataclass(frozen=True)
class Frame:
    """One frame: RGB uint8 [H,W,3], and where there is a ToF camera its depth float32 [H,W] in metres and its confidence in [0,1]."""

    name: str
    at: float
    """Seconds of `time.monotonic` when it came."""
    rgb: NDArray[np.uint8]
    tof: NDArray[np.float32] | None = None
    confidence: NDArray[np.float32] | None = None


def named(source: str, count: int | None) -> Iterator[Frame]:
    """The first `count` frames, or all, of `camera:N`, a folder or a video. Raises UsageError for what is none of them, RobotError as those do."""
    if source.startswith(CAMERA):
        number = source[len(CAMERA) :]
        if not re.fullmatch("[0-9]{1,4}", number):
            raise UsageError(f"{source}: is no camera", "name it by its number, as camera:0")
        frames = newest(camera(int(number)))
    elif Path(source).is_dir():
        frames = folder(Path(source))
    elif Path(source).is_file():
        frames = video(Path(source))
    else:
        raise UsageError(f"{source}: is no file, folder or camera", "name a folder of frames, a video, or camera:0")
    return islice(frames, count)


def kind(source: str) -> str:
    """A source as a report names it: nothing of where it lies leaves the device."""
    if source == "ros" or source.startswith(CAMERA):
        return "ROS" if source == "ros" else "a camera"
    return "a folder" if Path(source).is_dir() else "a video"


def folder(path: Path) -> Iterator[Frame]:
    """Frames of a folder in the order of their names. Raises UsageError where there are none, RobotError for one that cannot be read.

    Either `NAME.rgb.npy` (uint8 [H,W,3]), with `NAME.depth.npy` (uint16 mm) and `NAME.confidence.npy` (uint8, 255 is sure) where there are
    any, as bundles have them; or pictures in `rgb/`, with 16-bit pictures of the same names in `depth/` (mm) and `confidence/`, as datasets do;
    or pictures of colour alone, where there is no `rgb/`.
    """
    arrays = sorted(path.glob(f"*{_NUMPY_RGB}"))
    colour = path / "rgb" if (path / "rgb").is_dir() else path
    pictures = sorted(file for file in colour.glob("*") if file.suffix.lower() in _PICTURES)
    if not arrays and not pictures:
        raise UsageError(f"{path}: holds no frames", f"name a folder of *{_NUMPY_RGB} files, or one of pictures")
    for file in arrays:
        name = file.name[: -len(_NUMPY_RGB)]
        depth, confidence = (_array(path / f"{name}.{role}.npy", 2) for role in ("depth", "confidence"))
        rgb = _array(file, 3)
        assert rgb is not None  # it was listed
        yield _frame(name, rgb, depth, confidence)
    for file in () if arrays else pictures:
        depth, confidence = (_picture(path / role / f"{file.stem}.png", -1) for role in ("depth", "confidence"))
        rgb = _picture(file, 3)  # colour, upright, of as many bits as it has
        assert rgb is not None
        if rgb.dtype != np.uint8:
            raise RobotError(
                f"{file}: is {rgb.dtype} and no picture of colour", "put colour of 8 bits into rgb/, and depth in mm into depth/"
            )
        yield _frame(file.stem, rgb[..., ::-1], depth, confidence)


def video(path: Path) -> Iterator[Frame]:
    """Frames of a video file, the right way up where the file says which way that is. Raises UsageError for a file that is no video.

    Raises RobotError once the frames are out where the file breaks off, or where OpenCV decodes none of them.
    """
    cv2 = _cv2()
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise UsageError(
                f"{path}: is no video that OpenCV can open, or only a part of one",
                "copy it whole, or write it as mp4: ffmpeg -i FILE OUT.mp4",
            )
        expected, number = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0
        for picture in _pictures(capture):
            yield Frame(f"{number:06}", time.monotonic(), picture)
            number += 1
    finally:
        capture.release()
    if number == 0 or number < _LEAST_OF_A_VIDEO * expected:
        whole = f" of its {expected}" if expected > 0 else ""
        raise RobotError(f"{path}: breaks off after {number}{whole} frames", "copy it whole; what came before was answered")


def camera(number: int) -> Iterator[Frame]:
    """Frames of a camera. Raises UsageError where it cannot be opened, CameraStopped when it gives no more."""
    cv2 = _cv2()
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            path = Path(f"/dev/video{number}")
            if path.exists():
                raise UsageError(
                    f"camera {number} cannot be opened", f"see who else uses {path}, and whether this user is of the group video"
                )
            raise UsageError(
                f"camera {number} cannot be opened: there is no {path}", "name a camera's number, as camera:0, and see ls /dev/video*"
            )
        for count, picture in enumerate(_pictures(capture)):
            yield Frame(f"{count:06}", time.monotonic(), picture)
    finally:
        capture.release()
    raise CameraStopped(f"camera {number} gives no more frames", "see whether it is plugged in")


def _pictures(capture: Any) -> Iterator[NDArray[np.uint8]]:
    """RGB pictures, until there are no more."""
    while True:
        is_there, picture = capture.read()
        if not is_there:
            return
        yield np.ascontiguousarray(picture[..., ::-1])


def newest(frames: Iterator[Frame], silent_s: float = 2.0, first_s: float = 10.0) -> Iterator[Frame]:
    """The newest frame of a camera each time one is asked for: who is slower than the camera skips frames instead of falling behind.

    Raises CameraStopped when none has come for `silent_s`, the first one for `first_s`, since some cameras take seconds to start; and what the
    camera raises.
    """
    mailbox = _Mailbox()
    reader = threading.Thread(target=mailbox.fill, args=(frames,), daemon=True, name="camera")
    reader.start()
    with closing(mailbox):
        patience = first_s
        while (frame := mailbox.take(patience)) is not None:
            patience = silent_s
            yield frame


class _Mailbox:
    """One frame, the newest, between the thread that reads a camera and the one that works."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._ended = self._closed = False
        self._error: BaseException | None = None

    def fill(self, frames: Iterator[Frame]) -> None:
        """In the reader's thread: until the frames end or nobody wants them."""
        try:
            for frame in frames:
                with self._changed:
                    self._frame = frame
                    self._changed.notify()
                    if self._closed:
                        break
        except BaseException as error:  # it is raised where the frames are taken
            self._error = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self, silent_s: float) -> Frame | None:
        """The newest frame, once; None after the last one."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._frame is not None or self._ended, silent_s):
                raise CameraStopped(f"the camera has given no frame for {silent_s:g} s", "see whether it is plugged in")
            frame, self._frame = self._frame, None
        if frame is None and self._error is not None:
            raise self._error
        return frame

    def close(self) -> None:
        """Let the reader's thread end after its frame."""
        with self._changed:
            self._closed = True


def _frame(name: str, rgb: NDArray[Any], depth: NDArray[Any] | None, confidence: NDArray[Any] | None) -> Frame:
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise RobotError(f"frame {name}: a picture is {rgb.dtype} {rgb.shape}, allowed: uint8 (H, W, 3)", "write it as RGB bytes")
    if depth is not None and (depth.dtype != np.uint16 or depth.ndim != 2):
        raise RobotError(
            f"frame {name}: depth is {depth.dtype} {depth.shape}, allowed: uint16 (H, W) in mm", "write it in 16-bit millimetres"
        )
    if confidence is not None and (confidence.dtype != np.uint8 or depth is None or confidence.shape != depth.shape):
        raise RobotError(
            f"frame {name}: confidence is {confidence.dtype} {confidence.shape}, allowed: uint8 of depth's shape", "write it in bytes"
        )
    metres = None if depth is None else np.where(depth == 65535, np.float32(0), depth.astype(np.float32) / np.float32(1000))
    share = None if confidence is None else confidence.astype(np.float32) / np.float32(255)
    return Frame(name, time.monotonic(), np.ascontiguousarray(rgb), metres, share)


def _array(path: Path, dimensions: int) -> NDArray[Any] | None:
    """An .npy file, its header bounded before memory is taken; None where there is none."""
    try:
        with open(path, "rb") as stream:
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=1000)
            if len(shape) != dimensions or dtype.hasobject or math.prod(shape[:2]) > _LARGEST_PIXELS:
                raise ValueError(f"{dtype} {shape}")
            expected, there = math.prod(shape) * dtype.itemsize, os.fstat(stream.fileno()).st_size - stream.tell()
            if there != expected:
                raise ValueError(f"{dtype} {shape} has {expected:,} bytes, {there:,} are there")
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError) as error:
        raise RobotError(f"{path}: is no array of {dimensions} dimensions ({error})", "write it with numpy.save") from error
    return array


def _picture(path: Path, flags: int) -> NDArray[Any] | None:
    if not path.exists():
        return None
    picture: NDArray[Any] | None = _cv2().imread(str(path), flags)
    if picture is None:
        raise RobotError(f"{path}: is no picture that can be read", "remove it, or write it again")
    return picture


def _cv2() -> Any:
    # What goes wrong is said here, in one line; OpenCV and FFmpeg would say it again in their own.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ImportError as error:
        raise UsageError(
            "pictures, videos and cameras need OpenCV, which is not installed", "pip install opencv-python-headless"
        ) from error
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
