"""What SUN RGB-D's toolbox knows of its frames: the classes (SUNRGBD2Dseg.mat) and the official splits (allsplit.mat)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipelines.ingest.taxonomies import look_up, table_37
from validation.headers import FrameFileError
from validation.rows import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

SENSORS: Final = {"kv1": "kinect", "kv2": "kinect-v2", "realsense": "realsense", "xtion": "xtion"}
"""The folders of the four sensors, and what Vortex calls their cameras."""
MASKS: Final = "Metadata/SUNRGBD2Dseg.mat"
NAMES: Final = "Metadata/SUNRGBDMeta.mat"
SPLITS: Final = "traintestSUNRGBD/allsplit.mat"


@dataclass(frozen=True)
class SunMask:
    """One frame's classes inside the toolbox's file: HDF5, column by column, 0 void and 1 to 37."""

    origin: Path
    index: int

    @property
    def size(self) -> tuple[int, int]:
        """From the file's directory. Raises FrameFileError when the frame is not in it."""
        height, width = self._open(lambda stored: stored.shape[::-1])
        return int(height), int(width)

    def read(self) -> NDArray[Any]:
        """Vortex's class ids, 255 where nobody said what it is."""
        import numpy as np

        values = self._open(lambda stored: stored[()].T)
        # MATLAB keeps whole numbers as floats, unless it is told otherwise.
        whole = values.astype(np.int64) if values.dtype.kind == "f" and bool((values == np.rint(values)).all()) else values
        return look_up(self.origin, whole, table_37())

    def _open(self, use: Any) -> Any:
        import h5py

        try:
            with h5py.File(self.origin, "r") as file:
                references = file["SUNRGBD2Dseg/seglabel"]
                reference = references[self.index, 0] if references.shape[1] == 1 else references[0, self.index]
                stored = file[reference]
                if len(stored.shape) != 2 or stored.dtype.kind not in "uif":
                    raise self._fault(f"is {stored.dtype} {stored.shape}, allowed: one number a pixel")
                return use(stored)
        except (OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError) as error:
            raise self._fault(f"cannot be read ({' '.join(str(error).split())})") from error

    def _fault(self, problem: str) -> FrameFileError:
        return FrameFileError(f"{self.origin}: mask {self.index} {problem}", "fetch the toolbox again")


@dataclass(frozen=True)
class Toolbox:
    """Masks and splits by frame key; both may be absent."""

    masks: Path | None = None
    indices: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, Split] = field(default_factory=dict)
    has_splits: bool = False

    @property
    def has_masks(self) -> bool:
        """Whether there are classes at all."""
        return self.masks is not None

    def mask(self, key: str) -> SunMask | None:
        """The classes of a frame."""
        return SunMask(self.masks, self.indices[key]) if self.masks is not None and key in self.indices else None

    def split(self, key: str) -> Split | None:
        """The official split of a frame; one that the lists leave out is used for nothing."""
        return self.splits.get(key, "gap") if self.has_splits else None

    @classmethod
    def find(cls, root: Path, faults: list[str], notes: list[str]) -> Toolbox:
        """In `root`, in SUNRGBDtoolbox/ there or beside it. A file that cannot be read is a fault; none is none."""
        real = root.resolve()
        homes = (real, real / "SUNRGBDtoolbox", real.parent / "SUNRGBDtoolbox")
        masks, names, splits = (next((home / file for home in homes if (home / file).is_file()), None) for file in (MASKS, NAMES, SPLITS))
        indices: dict[str, int] = {}
        if masks is not None and names is None:
            notes.append(f"{MASKS} is there without {NAMES}, which says whose masks they are: the frames have no classes")
            masks = None
        elif masks is not None and names is not None:
            indices = _indices(masks, names, faults)
        return cls(masks, indices, _splits(splits, faults, notes) if splits else {}, splits is not None)


def frame_key(path: Path | str) -> str:
    """SENSOR/SET/…/FRAME, by which the toolbox's lists and the folders here are compared; the rest of the path is of some machine."""
    parts = Path(path).parts
    sensors = [place for place, part in enumerate(parts) if part in SENSORS]
    return "/".join(parts[sensors[-1] :] if sensors else parts[-3:])


def _indices(masks: Path, names: Path, faults: list[str]) -> dict[str, int]:
    """Which mask is whose: both files list the frames in the same order."""
    import h5py

    entries = _matlab(names, ("SUNRGBDMeta",), faults).get("SUNRGBDMeta")
    try:
        with h5py.File(masks, "r") as file:
            count = int(file["SUNRGBD2Dseg/seglabel"].size)
    except (OSError, KeyError, AttributeError) as error:
        faults.append(f"{masks}: holds no SUNRGBD2Dseg/seglabel ({' '.join(str(error).split())})")
        return {}
    if entries is None:
        return {}
    keys = [frame_key(str(getattr(entry, "rgbpath", ""))).rpartition("/image/")[0] for entry in entries]
    if len(keys) != count or not all(keys):
        faults.append(f"{masks}: has {count} masks, {names.name} names {sum(map(bool, keys))} frames; allowed: as many")
    return {key: index for index, key in enumerate(keys)}


def _splits(path: Path, faults: list[str], notes: list[str]) -> dict[str, Split]:
    """train and val from `trainvalsplit`, test from `alltest`; without the former all of `alltrain` trains and `alltest` validates."""
    variables = _matlab(path, ("alltrain", "alltest", "trainvalsplit"), faults)
    if not variables:
        return {}
    inner = next(iter(variables.get("trainvalsplit", [])), None)
    parts: dict[Split, Iterable[Any]]
    if inner is not None and hasattr(inner, "train") and hasattr(inner, "val"):
        parts = {"train": _texts(inner.train), "val": _texts(inner.val), "test": _texts(variables.get("alltest"))}
    else:
        notes.append("allsplit.mat has no trainvalsplit: alltest is taken for validation")
        parts = {"train": _texts(variables.get("alltrain")), "val": _texts(variables.get("alltest"))}
    splits: dict[str, Split] = {}
    for split, paths in parts.items():
        keys = list(map(frame_key, paths))
        twice = [key for key in keys if splits.setdefault(key, split) != split]
        faults += [f"{path}: lists {key} for {splits[key]} and for {split}, allowed: one" for key in twice]
    return splits


def _texts(value: Any) -> list[str]:
    import numpy as np

    return [str(text) for text in np.atleast_1d(value).ravel()] if value is not None else []


def _matlab(path: Path, names: tuple[str, ...], faults: list[str]) -> dict[str, Any]:
    """The named variables of a MATLAB 5 file as flat arrays."""
    import zlib

    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        variables = loadmat(path, variable_names=names, squeeze_me=True, struct_as_record=False)
    except (OSError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, MatReadError, zlib.error, MemoryError) as error:
        faults.append(f"{path}: cannot be read as MATLAB 5 ({' '.join(str(error).split())})")
        return {}
    arrays = {name: np.atleast_1d(variables[name]).ravel() for name in names if name in variables}
    if not arrays:
        faults.append(f"{path}: holds none of {', '.join(names)}")
    return arrays
