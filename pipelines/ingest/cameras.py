"""Camera intrinsics as people keep them: a 3×3 text, Open3D's JSON, ROS and OpenCV YAML, or four named numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from core import strict_yaml
from core.files import read_text_of_user
from core.pinhole import Pinhole

_TEXTS: Final = ("K.txt", "camera-intrinsics.txt", "intrinsics.txt")
_SUFFIXES: Final = (".json", ".yaml", ".yml")
_KINDS: Final = "a 3×3 matrix, or fx, fy, cx and cy"
_LARGEST: Final = 1 << 20
OFF_CENTRE: Final = 0.2
"""Share of a side by which a principal point may miss the centre: intrinsics of half the resolution miss it by 0.25."""
_MATRICES: Final = ("intrinsic_matrix", "camera_matrix", "Camera_Matrix", "cameraMatrix", "K", "k")
_NESTS: Final = ("intrinsics", "intrinsic", "camera", "color", "rgb")
_DISTORTIONS: Final = ("distortion_coefficients", "Distortion_Coefficients", "dist_coeffs", "D", "d")
_SIZES: Final = (("height", "width"), ("image_height", "image_width"), ("image_Height", "image_Width"))
_OPENCV_HEADER: Final = re.compile(r"\A%YAML[: ]1\.[0-9]+[ \t]*\n")
_OPENCV_TAG: Final = re.compile(r"^([ \t]*[\w.-]+:)[ \t]+!!opencv-(?:nd-)?matrix[ \t]*$", re.MULTILINE)
_ROS_END: Final = re.compile(r"\n(?:---|\.\.\.)[ \t]*\n?\Z")


@dataclass(frozen=True)
class StatedCamera:
    """A pinhole camera as `source` states it, in pixels; `size` (H, W) is known when it says so."""

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int] | None
    source: str
    distorted: bool = False
    """Whether the file states a lens distortion, which a pinhole leaves out."""

    def on(self, size: tuple[int, int]) -> Pinhole:
        """The camera on pictures of `size`. Raises ValueError when it cannot be theirs."""
        if self.size is not None and self.size != size:
            if self.size[0] * size[1] != self.size[1] * size[0]:
                raise ValueError(f"{self.source}: is for pictures of {self.size[0]}×{self.size[1]}, the frames are {size[0]}×{size[1]}")
            return Pinhole(self.fx, self.fy, self.cx, self.cy, self.size).scaled(size)
        if not (0 < self.cx < size[1] and 0 < self.cy < size[0]):
            centre = f"cx {self.cx:g} and cy {self.cy:g}"
            raise ValueError(f"{self.source}: its {centre} lie outside the frames, which are {size[0]}×{size[1]} (H×W)")
        if self.size is None and max(abs(self.cx / size[1] - 0.5), abs(self.cy / size[0] - 0.5)) > OFF_CENTRE:
            centre = f"cx {self.cx:g} and cy {self.cy:g}"
            raise ValueError(
                f"{self.source}: its {centre} lie far from the centre of frames of {size[0]}×{size[1]} (H×W): is it for another "
                "resolution? allowed: within 20 % of the centre, or a json or yaml that states its width and height"
            )
        return Pinhole(self.fx, self.fy, self.cx, self.cy, size)


def find_camera(folder: Path, faults: list[str]) -> StatedCamera | None:
    """The one camera that a folder's files describe, or None. A broken file, or two different cameras, are faults."""
    cameras: list[StatedCamera] = []
    for path in sorted(folder.iterdir()):
        text, structured = path.name in _TEXTS, path.suffix.lower() in _SUFFIXES
        if not (text or structured) or not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        try:
            camera = _from_text(path) if text else _from_mapping(path)
        except RecursionError:
            faults.append(f"{path.name}: is nested too deeply to be a camera, allowed: {_KINDS}")
            continue
        except (ValueError, OSError) as error:
            faults.append(f"{path.name}: {' '.join(str(error).split())}")
            continue
        if camera is not None:
            cameras.append(camera)
    if len({(each.fx, each.fy, each.cx, each.cy) for each in cameras}) > 1:
        faults.append(f"{' and '.join(each.source for each in cameras)}: describe different cameras, allowed: one a folder")
    return cameras[0] if cameras else None


def _from_text(path: Path) -> StatedCamera:
    try:
        numbers = [float(word) for word in read_text_of_user(path).replace(",", " ").split()]
    except ValueError as error:
        raise ValueError(f"is not a 3×3 matrix of numbers ({error})") from error
    return _from_matrix(numbers, None, path.name)


def _from_mapping(path: Path) -> StatedCamera | None:
    text = read_text_of_user(path)
    if path.suffix.lower() == ".json":
        try:
            document: Any = json.loads(text)
        except ValueError as error:
            raise ValueError(f"is not readable as JSON ({error})") from error
    else:
        try:
            document = strict_yaml.parse(_plain_yaml(text))
        except ValueError as error:
            raise ValueError(f"is not readable as YAML ({error})") from error
    if not isinstance(document, dict):
        return None
    for part in (document, *(document[name] for name in _NESTS if isinstance(document.get(name), dict))):
        size = _size(part) or _size(document)
        distorted = any(number != 0 for name in _DISTORTIONS for number in _flat(_data(part.get(name))))
        if all(name in part for name in ("fx", "fy", "cx", "cy")):
            return replace(_checked([part[name] for name in ("fx", "fy", "cx", "cy")], size, path.name), distorted=distorted)
        for name in _MATRICES:
            if name in part:
                return replace(_from_matrix(_flat(_data(part[name])), size, path.name), distorted=distorted)
    return None


def _data(matrix: Any) -> Any:
    return matrix["data"] if isinstance(matrix, dict) and "data" in matrix else matrix


def _plain_yaml(text: str) -> str:
    """A camera file as plain YAML, line for line.

    OpenCV's `cv::FileStorage` begins with `%YAML:1.0`, which is no YAML directive, or with `%YAML 1.2`, and tags its matrices; `rostopic echo`
    ends a message with `---`. Only these are taken out: any other tag stays, and is refused.
    """
    header = _OPENCV_HEADER.match(text)
    if header:
        text = "\n" + text[header.end() :]
    return _OPENCV_TAG.sub(r"\1", _ROS_END.sub("\n", text))


def _size(part: dict[str, Any]) -> tuple[int, int] | None:
    for height, width in _SIZES:
        if type(part.get(height)) is int and type(part.get(width)) is int:
            return part[height], part[width]
    return None


def _flat(matrix: Any) -> list[float]:
    rows = matrix if isinstance(matrix, list) else []
    return [number for row in rows for number in (row if isinstance(row, list) else [row])]


def _from_matrix(numbers: Sequence[float], size: tuple[int, int] | None, source: str) -> StatedCamera:
    """Nine numbers, by rows or by columns: Open3D writes columns first, and the (0, 0, 1) row tells which it is."""
    if len(numbers) == 9:
        for fx, fy, cx, cy, last in ((0, 4, 2, 5, (6, 7, 8)), (0, 4, 6, 7, (2, 5, 8))):
            if [numbers[place] for place in last] == [0, 0, 1]:
                return _checked([numbers[fx], numbers[fy], numbers[cx], numbers[cy]], size, source)
    raise ValueError(f"found {len(numbers)} numbers, allowed: a 3×3 matrix with a (0, 0, 1) row")


def _checked(numbers: Sequence[Any], size: tuple[int, int] | None, source: str) -> StatedCamera:
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers) or min(numbers[:2]) <= 0:
        raise ValueError(f"found fx, fy, cx, cy = {list(numbers)}, allowed: finite numbers, fx and fy above 0")
    fx, fy, cx, cy = map(float, numbers)
    return StatedCamera(fx, fy, cx, cy, size, source)
