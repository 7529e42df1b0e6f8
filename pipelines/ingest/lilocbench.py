"""LILocBench: a robot's RealSense D455, whose colour and depth tick apart and see from two places; both are settled here."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.files import read_text_of_user
from core.stream_order import seconds
from core.strict_yaml import parse
from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, folders, refuse
from pipelines.ingest.cameras import StatedCamera
from pipelines.ingest.register import Lens, Rig, register
from pipelines.ingest.tum import WITHIN, associate
from validation.decode import read_depth
from validation.headers import FrameFileError, image_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAMERA: Final = "camera_front"
EXTRINSICS: Final = "extrinsics_depth_to_color.yaml"
_STAMP: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
_LARGEST: Final = 1 << 20
_IDENTITY: Final = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class RegisteredDepth:
    """Stereo depth (16-bit millimetres, 0 and 65535 invalid) on the pixels of the colour camera."""

    origin: Path
    rig: Rig

    @property
    def size(self) -> tuple[int, int]:
        """The colour camera's. Raises FrameFileError when the depth is not of the size that its intrinsics are for."""
        size, expected = image_size(self.origin), self.rig.depth.size
        if size != expected:
            sizes = f"found {size[0]}×{size[1]} pixels, its intrinsics.yaml is for {expected[0]}×{expected[1]} (H×W)"
            raise FrameFileError(f"{self.origin}: {sizes}", "mend the intrinsics, or replace the file")
        return self.rig.color.size

    def read(self) -> NDArray[Any]:
        """Depth in metres, 0 where the colour camera sees nothing that the depth camera measured."""
        return register(read_depth(self.origin, "mm"), self.rig)


class LilocBench:
    """The front camera of each sequence. Poses and the other sensors stay where they are: no later step reads them."""

    layout = (
        f"{CAMERA}/color/images/ and {CAMERA}/depth/images/ with SEC.NSEC.png, intrinsics.yaml beside each images/, "
        f"and {CAMERA}/{EXTRINSICS}, in the folder or in one folder a sequence"
    )
    registered = True

    def recognises(self, root: Path) -> bool:
        """A front camera is here, or one folder down."""
        return bool(_cameras(root))

    def read(self, root: Path, options: Options) -> FrameSet:
        """Pair each colour picture with the nearest depth within 20 ms, each depth once; depth is registered to colour."""
        cameras = _cameras(root)
        if not cameras:
            raise refuse(root, [f"no {CAMERA}/ was found"], f"arrange it as {self.layout}")
        faults: list[str] = []
        notes: list[str] = []
        if options.unit not in (None, "mm"):
            faults.append(f"--unit {options.unit} does not go with this format, allowed: mm, which its recorder writes")
        recordings = []
        for name, folder in cameras:
            where = f"{name}/" if name else ""
            rig = _rig(folder, where, faults)
            colours, depths = _stamped(*(_images(folder, kind, where, faults) for kind in ("color", "depth")))
            pairs = associate([stamp for stamp, _ in colours], [stamp for stamp, _ in depths])
            if colours and depths and not pairs:
                faults.append(f"{where}color and depth have no two stamps within {WITHIN * 1000:.0f} ms")
            elif len(pairs) < len(colours):
                notes.append(f"{where}{len(colours) - len(pairs)} of {len(colours)} colour pictures have no depth within 20 ms: left out")
            if rig is None:
                continue
            if rig.color.distorted:
                notes.append(
                    f"{where}colour keeps its lens distortion: depth is registered onto the distorted pixels, and the manifest's pinhole "
                    f"leaves it out, which is {rig.color.displacement():.1f} pixels in the worst corner"
                )
            frames = [Pair(stem=colours[c][1].stem, rgb=colours[c][1], depth=RegisteredDepth(depths[d][1], rig)) for c, d in pairs]
            lens = rig.color
            recordings.append(
                Recording(name, frames, StatedCamera(lens.fx, lens.fy, lens.cx, lens.cy, lens.size, f"{where}color/intrinsics.yaml"))
            )
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        return FrameSet(recordings, "mm", options.camera or "realsense-d455", notes)


def _cameras(root: Path) -> list[tuple[str, Path]]:
    """(sequence, its camera's folder): the camera itself, a sequence, or a folder of sequences."""
    if (root / EXTRINSICS).is_file() or (root.name == CAMERA and (root / "color" / "images").is_dir()):
        return [("", root)]
    if (root / CAMERA).is_dir():
        return [("", root / CAMERA)]
    return [(folder.name, folder / CAMERA) for folder in folders(root) if (folder / CAMERA).is_dir()]


def _stamped(*kinds: list[Path]) -> list[list[tuple[float, Path]]]:
    """(seconds, file) of each kind in order; one recorder wrote them all, so they are read in one way."""
    times = iter(seconds([path.stem for paths in kinds for path in paths]))
    return [sorted(zip([next(times) for _ in paths], paths, strict=True)) for paths in kinds]


def _images(folder: Path, kind: str, where: str, faults: list[str]) -> list[Path]:
    images = folder / kind / "images"
    if not images.is_dir():
        faults.append(f"{where}{kind}/images/ is missing")
        return []
    paths = []
    for path in images.iterdir():
        if path.name.startswith(".") or path.suffix.lower() != ".png":
            continue
        if _STAMP.fullmatch(path.stem):
            paths.append(path)
        else:
            faults.append(f"{where}{kind}/images/{path.name}: its name is not a stamp, allowed: SEC.NSEC.png")
    if not paths:
        faults.append(f"{where}{kind}/images/ holds no SEC.NSEC.png")
    return paths


def _rig(folder: Path, where: str, faults: list[str]) -> Rig | None:
    """The calibration of a sequence, or None and the faults of its three files."""
    parts: dict[str, Any] = {}
    for file, reader in (("depth/intrinsics.yaml", _lens), ("color/intrinsics.yaml", _lens), (EXTRINSICS, _pose)):
        try:
            parts[file] = reader(_mapping(folder / file))
        except (OSError, UnicodeDecodeError, ValueError) as error:
            reason = "is missing" if isinstance(error, FileNotFoundError) else getattr(error, "strerror", None) or error
            faults.append(f"{where}{file}: {reason}")
    if len(parts) < 3:
        return None
    translation, quaternion, inverse = parts[EXTRINSICS]
    rig = Rig.from_quaternion(parts["depth/intrinsics.yaml"], parts["color/intrinsics.yaml"], translation, quaternion)
    return rig.inverse() if inverse else rig


def _mapping(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"is larger than {_LARGEST} bytes")
    document = parse(read_text_of_user(path))
    if not isinstance(document, dict):
        raise ValueError("is not a mapping of YAML")
    return document


def _lens(intrinsics: dict[str, Any]) -> Lens:
    """A camera as ROS writes it: K, width, height, distortion_model, distortion_coefficients (or D)."""
    matrix = _numbers(intrinsics.get("K", intrinsics.get("k")), 9, "K")
    fx, _, cx, _, fy, cy = matrix[:6]
    if min(fx, fy) <= 0 or (matrix[1], matrix[3], *matrix[6:]) != (0, 0, 0, 0, 1):
        raise ValueError(f"K is {list(matrix)}, allowed: fx, 0, cx, 0, fy, cy, 0, 0, 1")
    height, width = intrinsics.get("height"), intrinsics.get("width")
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise ValueError(f"height and width are {height!r} and {width!r}, allowed: whole numbers of pixels")
    model = intrinsics.get("distortion_model", "plumb_bob")
    if model != "plumb_bob":
        raise ValueError(f"distortion_model is {model!r}, allowed: plumb_bob")
    coefficients = next((intrinsics[name] for name in ("distortion_coefficients", "D", "d") if name in intrinsics), [0.0] * 5)
    if "R" in intrinsics and any(abs(a - b) > 1e-9 for a, b in zip(_numbers(intrinsics["R"], 9, "R"), _IDENTITY, strict=True)):
        raise ValueError("R turns the picture, allowed: the identity, for the pictures are not rectified")
    return Lens(fx, fy, cx, cy, (height, width), _numbers(coefficients, 5, "distortion_coefficients"))


def _pose(extrinsics: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """(translation, quaternion xyzw, whether it has to be inverted).

    A pose maps points of its child into its parent, so one of depth to colour has the colour camera as parent.
    """
    translation = _numbers(_axes(extrinsics.get("translation"), "xyz"), 3, "translation")
    quaternion = _numbers(_axes(extrinsics.get("rotation"), "xyzw"), 4, "rotation")
    length = math.sqrt(sum(part * part for part in quaternion))
    if abs(length - 1) > 1e-3:
        raise ValueError(f"rotation is a quaternion of length {length:.4g}, allowed: 1")
    cameras = [str(extrinsics[name]) for name in ("parent", "child") if name in extrinsics]
    frames = ["color" if "color" in name else "depth" if "depth" in name else name for name in cameras]
    if frames not in ([], ["color", "depth"], ["depth", "color"]):
        raise ValueError(f"parent is {extrinsics.get('parent')!r} and child {extrinsics.get('child')!r}, allowed: color and depth")
    return translation, quaternion, frames == ["depth", "color"]


def _axes(value: Any, names: str) -> Any:
    return [value.get(name) for name in names] if isinstance(value, dict) else value


def _numbers(value: Any, count: int, name: str) -> tuple[float, ...]:
    values: Any = value.get("data") if isinstance(value, dict) else value
    if value is None:
        raise ValueError(f"{name} is missing")
    whole = isinstance(values, list) and len(values) == count
    if not whole or not all(type(number) in (int, float) and math.isfinite(number) for number in values):
        raise ValueError(f"{name} is {str(value)[:80]}, allowed: {count} finite numbers")
    return tuple(float(number) for number in values)
