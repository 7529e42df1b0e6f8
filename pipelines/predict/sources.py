"""Pictures to predict on: one file, a folder, a video, or a dataset, each picture under the name that its answers will have."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UsageError, VortexError
from core.files import inside, open_regular
from core.stream_order import stream_key
from pipelines.data.datasets import listing, resolve
from pipelines.workspace import Workspace
from validation.decode import read_rgb
from validation.manifest import MANIFEST, load_manifest

Picture = NDArray[np.uint8]
"""RGB, [H,W,3]."""
Kind = Literal["image", "folder", "video", "dataset"]
RECORD: Final = "predictions.json"
"""What says of a folder that it holds predictions."""
IMAGES: Final = (".png", ".jpg", ".jpeg")
VIDEOS: Final = (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm")


@dataclass(frozen=True)
class Source:
    """Where pictures come from. `count` is how many are to be expected, `others` what of a folder is no picture."""

    kind: Kind
    name: str
    place: str
    count: int
    pictures: Callable[[], Iterator[tuple[str, Callable[[], Picture]]]]
    """Starts over: each picture's name, a path without suffix, and what reads it. Reading raises VortexError for a broken file."""
    others: tuple[str, ...] = ()


def source_of(ws: Workspace, text: str, split: str | None = None, every: int = 1) -> Source:
    """What `text` names: a dataset of the workspace, a manifest, or the path of a picture, a folder or a video; every so many pictures of it.

    Raises VortexError for what is none of these, naming the datasets; UsageError for a `split` of what has no splits.
    """
    if not text.strip():
        raise UsageError("the source is empty", "give a picture, a folder, a video or a dataset")
    path = Path(text)
    names = [dataset.name for dataset in listing(ws)]
    if text not in names and (path / MANIFEST).is_file():
        path = path / MANIFEST
    if text in names or path.suffix == ".jsonl":
        return _dataset(ws, text if text in names else str(path), split, every)
    if split is not None:
        raise UsageError(f"--split {split}, but {text} is no dataset", "leave --split out")
    if path.is_dir():
        return _folder(path, every)
    _require_file(path, names)
    if path.suffix.lower() in VIDEOS:
        return _video(path, every)
    return Source("image", path.stem, str(path), 1, partial(_files, path.parent, [path.name]))


def _require_file(path: Path, datasets: Sequence[str]) -> None:
    try:
        open_regular(path).close()
    except FileNotFoundError as error:
        raise VortexError(
            f"{path} is no picture, folder, video or dataset; this workspace has the datasets: {', '.join(datasets) or 'none yet'}",
            "give the path of a PNG or JPEG, of a folder of them, of a video, or the name of a dataset",
        ) from error
    except OSError as error:
        raise VortexError(f"{path}: cannot be read ({error.strerror})", "give a plain file or a folder") from error


def _dataset(ws: Workspace, text: str, split: str | None, every: int) -> Source:
    ref = resolve(ws, name_or_manifest=text)
    frames = [frame for frame in load_manifest(ref.manifest) if split in (None, frame.split)][::every]
    if not frames:
        raise VortexError(f"{text} has no frames of split {split!r}", "name another split with --split, or leave it out")

    def pictures() -> Iterator[tuple[str, Callable[[], Picture]]]:
        for frame in frames:
            yield frame.id, partial(_read, ref.root, frame.rgb)

    return Source("dataset", ref.name.rpartition(":")[2], f"{ref.name}@{ref.digest[:12]}", len(frames), pictures)


def _folder(root: Path, every: int) -> Source:
    paths = list(_files_below(root))
    images = [path for path in paths if path.lower().endswith(IMAGES)]
    if not images:
        raise VortexError(f"{root}: none of its {len(paths)} files is a PNG or JPEG", "give a folder that holds pictures")
    images = sorted(images, key=stream_key(images))[::every]
    _refuse_collisions(root, images)
    others = tuple(sorted(path for path in paths if not path.lower().endswith(IMAGES)))
    return Source("folder", root.resolve().name or "root", str(root), len(images), partial(_files, root, images), others)


def _files_below(root: Path) -> Iterator[str]:
    """The files of a folder and of those below it, hidden ones and earlier predictions left out."""
    for folder, below, names in os.walk(root):
        if RECORD in names:
            below.clear()
            continue
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (Path(folder, name).relative_to(root).as_posix() for name in names if not name.startswith("."))


def _refuse_collisions(root: Path, images: Sequence[str]) -> None:
    """Two pictures whose answers would be one file; a file system that ignores case takes `A.png` and `a.jpg` for one too."""
    by_name: dict[str, list[str]] = {}
    for image in images:
        by_name.setdefault(_name(image).casefold(), []).append(image)
    twins = [" and ".join(group) for group in by_name.values() if len(group) > 1]
    if twins:
        raise VortexError(
            f"{root}: {len(twins)} name(s) belong to several pictures: {twins[0]}; their answers would replace each other",
            "rename one of each, or give the pictures one by one",
            twins if len(twins) > 1 else (),
        )


def _files(root: Path, images: Sequence[str]) -> Iterator[tuple[str, Callable[[], Picture]]]:
    for image in images:
        yield _name(image), partial(read_rgb, root / image)


def _name(image: str) -> str:
    return str(PurePosixPath(image).with_suffix(""))


def _read(root: Path, relative: str) -> Picture:
    return read_rgb(inside(root, relative))


def _video(path: Path, every: int) -> Source:
    import cv2

    film = _opened(path)
    count = max(0, int(film.get(cv2.CAP_PROP_FRAME_COUNT)))
    film.release()

    def pictures() -> Iterator[tuple[str, Callable[[], Picture]]]:
        film, number = _opened(path), 0
        try:
            while film.grab():
                if number % every == 0:
                    yield f"{number:06d}", partial(_retrieved, film, path, number)
                number += 1
        finally:
            film.release()
        if number == 0:
            raise VortexError(f"{path}: no picture of it can be decoded", "convert it to H.264 in MP4, or give a folder of pictures")

    return Source("video", path.stem, str(path), -(-count // every), pictures)


def _opened(path: Path) -> Any:
    import cv2

    # Both print on stderr by themselves; what is broken is said here.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    film = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)  # a relative name could be taken for a pattern or an address
    if not film.isOpened():
        raise VortexError(f"{path}: cannot be opened as a video", "convert it to H.264 in MP4, or give a folder of pictures")
    return film


def _retrieved(film: Any, path: Path, number: int) -> Picture:
    import cv2

    whole, picture = film.retrieve()
    if not whole:
        raise VortexError(f"{path}: picture {number} of it cannot be decoded", "convert the video again")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
