"""A film that is whole or absent: H.264 in MP4, or VP8 in WebM, which OpenCV writes where PyAV is not installed. Browsers play either."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from core.errors import UsageError, VortexError
from core.files import staged_file
from pipelines.report.pictures import Picture

MP4: Final = ".mp4"
WEBM: Final = ".webm"
CODECS: Final = {
    MP4: ("libx264", {"preset": "veryfast", "crf": "23"}, {"movflags": "+faststart"}),
    WEBM: ("libvpx", {"deadline": "realtime", "cpu-used": "4", "crf": "20", "b": "2M"}, {}),
}
"""Suffix → codec, its options, and those of the container: 23 is x264's own default of quality, and the index stands first, for browsers."""

Add = Callable[[Picture], None]
"""Adds a picture [H,W,3], RGB, whose sides are even and those of the film."""


def usual_suffix() -> str:
    """That of H.264 where PyAV is installed, else that of WebM."""
    return MP4 if find_spec("av") else WEBM


def require_film(path: Path) -> None:
    """Raise UsageError for a suffix that is neither .mp4 nor .webm, VortexError for .mp4 without PyAV."""
    if path.suffix not in (MP4, WEBM):
        raise UsageError(
            f"{path}: a film ends in {MP4} (H.264) or {WEBM} (VP8), found {path.suffix or 'no ending'!r}",
            f"name it {path.stem}{usual_suffix()}",
        )
    if path.suffix == MP4 and not find_spec("av"):
        raise VortexError("H.264 needs PyAV, which is not installed", f"install Vortex's extra `video`, or name a film that ends in {WEBM}")


@contextmanager
def film(path: Path, size: tuple[int, int], rate: float) -> Iterator[Add]:
    """Yield what adds pictures of `size` (H, W) to a film of `rate` pictures a second; on a clean exit it replaces `path`, otherwise nothing is left.

    Raises as `require_film` does, and VortexError when it cannot be written.
    """
    require_film(path)
    write = _by_pyav if find_spec("av") else _by_opencv
    with staged_file(path) as staging, write(staging, path.suffix, size, rate) as add:
        yield add


@contextmanager
def _by_pyav(path: Path, suffix: str, size: tuple[int, int], rate: float) -> Iterator[Add]:
    import av

    codec, options, container_options = CODECS[suffix]
    with av.open(str(path), "w", format=suffix.removeprefix("."), options=dict(container_options)) as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1000), options=dict(options))
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"

        def add(picture: Picture) -> None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))

        yield add
        container.mux(stream.encode())


@contextmanager
def _by_opencv(path: Path, suffix: str, size: tuple[int, int], rate: float) -> Iterator[Add]:
    import cv2

    suffixed = path.with_name(f"{path.name}{suffix}")  # OpenCV takes the container from the name
    writer = cv2.VideoWriter(str(suffixed), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"VP80"), rate, (size[1], size[0]))
    try:
        if not writer.isOpened():
            raise VortexError(f"{path.parent}: OpenCV cannot write a WebM there", "check the folder's permissions and the free space")

        def add(picture: Picture) -> None:
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

        yield add
        writer.release()
        os.replace(suffixed, path)
    finally:
        writer.release()
        suffixed.unlink(missing_ok=True)
