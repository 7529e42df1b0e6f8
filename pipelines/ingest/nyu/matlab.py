"""MATLAB files: version 7.3 is HDF5 with every axis in reverse order, older ones are scipy's. Both are read as strangers' files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.files import open_regular
from pipelines.ingest.taxonomies import look_up
from validation.headers import PIXEL_CAP, FrameFileError

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
_HINT: Final = "download or copy the file again"
_CHUNK_CAP: Final = 1 << 30
"""Bytes of the largest chunk: a header may claim any, and reading one frame would allocate it."""
_SMALL_CAP: Final = 64 << 20
"""Bytes of the largest file of splits or class names."""
_AXES: Final = {"images": "(N, 3, W, H)", "depths": "(N, W, H)", "rawDepths": "(N, W, H)", "labels": "(N, W, H)"}
_KINDS: Final = {"images": "u", "depths": "f", "rawDepths": "f", "labels": "u"}


@dataclass(frozen=True)
class Labelled:
    """What the labelled .mat holds: so many frames of one size, their scenes, and whether they have labels."""

    count: int
    size: tuple[int, int]
    depth: str
    labels: bool
    scenes: tuple[str, ...]


def is_hdf5(path: Path) -> bool:
    """Whether the file begins as HDF5 does; MATLAB puts 512 bytes of its own before that."""
    try:
        with open_regular(path) as stream:
            start = stream.read(520)
    except OSError:
        return False
    return start.startswith(_SIGNATURE) or start[512:] == _SIGNATURE


def read_labelled(path: Path, depth: str, faults: list[str]) -> Labelled | None:
    """Look at the datasets' shapes, and read the names of the scenes; `depth` names the dataset to take as depth."""
    before = len(faults)
    try:
        with _opened(path) as store:
            other = "depths" if depth == "rawDepths" else "rawDepths"
            if depth not in store and other in store:
                faults.append(
                    f"{path.name}: has `{other}` but no `{depth}`{'; --filled-depth takes `depths`' if other == 'depths' else ''}"
                )
            shapes = {
                name: shape for name in ("images", depth, "labels") if (shape := _shape(store, name, path, faults, other)) is not None
            }
            if len(faults) > before:
                return None
            count, _, width, height = shapes["images"]
            for name, shape in shapes.items():
                if name != "images" and shape != (count, width, height):
                    swapped = "; its axes look swapped" if shape == (count, height, width) else ""
                    faults.append(f"{path.name}: `{name}` is {shape}, allowed: {(count, width, height)}, as `images` is{swapped}")
            if width < height:
                faults.append(
                    f"{path.name}: `images` is {shapes['images']}, which is portrait: its axes look swapped, allowed: {_AXES['images']}"
                )
            if not 0 < width * height <= PIXEL_CAP:
                faults.append(f"{path.name}: found {height}×{width} pixels, allowed: 1 to {PIXEL_CAP}")
            scenes = _scenes(store, count, path, faults)
    except FrameFileError as error:
        faults.append(error.message.replace(str(path), path.name, 1))
        return None
    return Labelled(count, (height, width), depth, "labels" in shapes, scenes) if len(faults) == before else None


@dataclass(frozen=True)
class MatMap:
    """One frame of one dataset of the labelled .mat. `table` is the lookup table of class ids, for `labels` alone."""

    origin: Path
    name: str
    index: int
    size: tuple[int, int]
    table: bytes | None = None

    def read(self) -> NDArray[Any]:
        """The picture with its axes in the usual order; depth as float32 metres. Raises FrameFileError when it cannot be read whole."""
        import numpy as np

        with _opened(self.origin) as store:
            values = np.asarray(store[self.name][self.index])
        picture = np.ascontiguousarray(values.T)  # (3, W, H) -> (H, W, 3), and (W, H) -> (H, W)
        if picture.shape[:2] != self.size:
            raise FrameFileError(f"{self.origin}: frame {self.index + 1} of `{self.name}` changed its size meanwhile", _HINT)
        if self.table is not None:
            return look_up(self.origin, picture, self.table)
        return picture.astype(np.float32) if picture.dtype.kind == "f" else picture


def read_variables(path: Path, names: Sequence[str], what: str, faults: list[str]) -> dict[str, NDArray[Any]] | None:
    """Numeric variables of an older .mat; None, and a fault that says what the file is for, when it is missing or is not one."""
    if not path.is_file():
        faults.append(f"{path.name} is missing: it holds {what}")
        return None
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        if path.stat().st_size > _SMALL_CAP:
            raise ValueError(f"it is {path.stat().st_size} bytes long")
        variables = loadmat(str(path), variable_names=list(names))
    except (MatReadError, NotImplementedError, ValueError, TypeError, KeyError, IndexError, OSError, EOFError, MemoryError) as error:
        faults.append(
            f"{path.name}: cannot be read as a MATLAB file ({' '.join(str(error).split())[:200]}), allowed: one that holds {what}"
        )
        return None
    missing = [name for name in names if name not in variables]
    if missing:
        faults.append(f"{path.name}: has no {' and no '.join(missing)}, allowed: one that holds {what}")
        return None
    return {name: variables[name] for name in names}


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The file, for reading; whatever HDF5 says about it becomes a FrameFileError."""
    import h5py

    try:
        # A read-only mount may know no locks, and nothing is written here.
        with h5py.File(path, "r", locking="best-effort") as store:
            yield store
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if not path.is_file():
            reason = "is missing"
        elif not is_hdf5(path):
            reason = "is no HDF5 file (MATLAB writes one with -v7.3)"
        else:
            reason = f"is damaged or cut short ({' '.join(str(error).split())[:200]})"
        raise FrameFileError(f"{path}: {reason}", _HINT) from error


def _shape(store: h5py.File, name: str, path: Path, faults: list[str], other: str) -> tuple[int, ...] | None:
    """Shape of a dataset whose numbers lie in this very file; a fault otherwise. Labels may be absent."""
    import h5py

    link = store.get(name, getlink=True)
    if link is None:
        if name != "labels" and not (name in ("depths", "rawDepths") and other in store):
            faults.append(f"{path.name}: has no `{name}`")
        return None
    # A stranger's file may point its datasets at any other file of this machine.
    node = store[name] if isinstance(link, h5py.HardLink) else None
    if not isinstance(node, h5py.Dataset) or node.is_virtual or node.external:
        faults.append(f"{path.name}: `{name}` is a link or no dataset, allowed: numbers in this file")
        return None
    axes = _AXES[name]
    wrong = node.ndim != axes.count(",") + 1 or node.dtype.kind != _KINDS[name] or (name == "images" and node.dtype.itemsize != 1)
    if wrong or (name == "images" and node.shape[1] != 3) or 0 in node.shape:
        kind = {"images": "uint8", "labels": "uint16"}.get(name, "floats")
        faults.append(f"{path.name}: `{name}` is {node.dtype} {node.shape}, allowed: {kind} {axes}, as MATLAB writes it")
        return None
    chunk = node.dtype.itemsize
    for length in node.chunks or ():
        chunk *= length
    if chunk > _CHUNK_CAP:
        faults.append(f"{path.name}: `{name}` has chunks of {chunk} bytes, allowed: at most {_CHUNK_CAP}")
        return None
    return tuple(node.shape)


def _scenes(store: h5py.File, count: int, path: Path, faults: list[str]) -> tuple[str, ...]:
    """Names of the frames' scenes, '' for each where the file has none: a cell array of texts, so references to arrays of characters."""
    import h5py
    import numpy as np

    link = store.get("scenes", getlink=True)
    if link is None:
        return ("",) * count
    node = store["scenes"] if isinstance(link, h5py.HardLink) else None
    cells = np.asarray(node[()]).ravel() if isinstance(node, h5py.Dataset) and node.size == count else np.empty(0)
    if len(cells) != count or h5py.check_ref_dtype(cells.dtype) is None:
        faults.append(f"{path.name}: `scenes` is no list of {count} names")
        return ("",) * count
    names = []
    for cell in cells:
        letters = np.asarray(store[cell][()]).ravel()
        if letters.dtype.kind != "u" or not 0 < len(letters) <= 100:
            faults.append(f"{path.name}: `scenes` holds something else than names")
            return ("",) * count
        names.append("".join(map(chr, letters.tolist())))
    return tuple(names)
