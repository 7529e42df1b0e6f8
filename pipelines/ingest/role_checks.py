"""What each file of a frame says about itself, against what its role asks for: headers are read, pictures are not decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pipelines.ingest.adapter import FrameSet, IngestError, Pair, Source, printable
from validation.headers import FrameFileError, Header, read_header
from validation.rows import METRIC_UNITS, Unit

MEDIA: Final = ("rgb", "depth", "tof", "tof_confidence", "teacher_depth", "segmentation")
"""The roles that a native set can fill, in the order in which they are checked and written."""
METRIC: Final = ("depth", "tof", "teacher_depth")


def sources(pair: Pair) -> dict[str, Source]:
    """What a frame has, by role."""
    return {role: source for role in MEDIA if (source := getattr(pair, role)) is not None}


def unit_of(role: str, source: Source, frame_set: FrameSet) -> Unit | None:
    """Unit of a depth map once it is in the dataset; what is computed is always written in millimetres."""
    if not isinstance(source, Path):
        return "mm" if role in METRIC else None
    return {"depth": frame_set.unit, "tof": frame_set.tof_unit, "teacher_depth": frame_set.teacher[1] if frame_set.teacher else None}.get(
        role
    )


def relative(source: Source, root: Path) -> str:
    """A source as messages show it: below the set's folder, and printable whatever bytes its name has."""
    file = source if isinstance(source, Path) else source.origin
    return printable(file.relative_to(root) if file.is_relative_to(root) else file)


def checked_size(root: Path, pair: Pair, frame_set: FrameSet, faults: list[str]) -> tuple[int, int] | None:
    """(H, W) of a frame all of whose files are what their roles ask for; otherwise None, and the faults say what is not.

    Raises IngestError when the depth's unit cannot be right: every frame would repeat that.
    """
    before = len(faults)
    sizes: dict[str, tuple[int, int]] = {}
    for role, source in sources(pair).items():
        name = relative(source, root)
        try:
            if isinstance(source, Path):
                header = read_header(source, whole=True)
                if (fault := _unfit(role, header, unit_of(role, source, frame_set), name)) is not None:
                    faults.append(fault)
                sizes[role] = header.size
            else:
                sizes[role] = source.size
        except FrameFileError as error:
            file = source if isinstance(source, Path) else source.origin
            faults.append(printable(error.message.replace(str(file), name, 1)))
        if role in METRIC and unit_of(role, source, frame_set) is None:
            faults.append(f"{name}: the set does not say the unit of {role}, allowed: {METRIC_UNITS}")
        if role == "teacher_depth" and frame_set.teacher is None:
            faults.append(f"{name}: the set does not say whose depth this is, allowed: a teacher's name and unit")
    if len(faults) > before:
        return None
    for role, size in sizes.items():
        if not _SIZE_RULES[role](size, sizes["rgb"], sizes):
            text = f"{role} is {text_size(size)}, its colour picture {text_size(sizes['rgb'])}"
            faults.append(f"{relative(getattr(pair, role), root)}: {text}; allowed: {_allowed(role, size, sizes['rgb'])}")
    return sizes["rgb"] if len(faults) == before else None


def text_size(size: tuple[int, int]) -> str:
    """H×W."""
    return f"{size[0]}×{size[1]}"


def _unfit(role: str, header: Header, unit: Unit | None, name: str) -> str | None:
    grey = header.channels == 1
    if role == "rgb":
        fits = header.kind != "npy" and header.bits == 8 and header.channels >= 3
        allowed = "an 8-bit colour PNG or JPEG"
    elif role == "segmentation":
        fits = grey and header.kind != "jpeg" and (header.kind == "npy" or header.bits == 8)
        allowed = "an 8-bit grey PNG or a .npy of class ids"
    elif role == "tof_confidence":
        fits = grey and (header.dtype == "|u1" or header.dtype[1:2] == "f" or (header.kind == "png" and header.bits == 8))
        allowed = "an 8-bit grey PNG, or a .npy of floats or uint8"
    else:
        steps = (header.kind == "png" and header.bits == 16) or header.dtype[1:] == "u2"
        fits = grey and (steps or header.dtype[1:2] == "f")
        allowed = "a 16-bit grey PNG, or a .npy of floats or uint16"
        if fits and steps and unit == "m":
            fault = f"{name}: found whole numbers, which cannot be metres"
            raise IngestError(f"{fault}; nothing was added", "state --unit mm, or --unit m/N for Nths of a metre")
    return None if fits else f"{name}: found a {header}, allowed: {allowed}"


_Rule = Callable[[tuple[int, int], tuple[int, int], dict[str, tuple[int, int]]], bool]


def _equal(size: tuple[int, int], picture: tuple[int, int], _: object) -> bool:
    return size == picture


def _same_view(size: tuple[int, int], picture: tuple[int, int], _: object) -> bool:
    """1 %: what rounding to whole pixels does to a resized picture."""
    return abs(size[0] * picture[1] / (size[1] * picture[0]) - 1) <= 0.01


def _beside_tof(size: tuple[int, int], _: object, sizes: dict[str, tuple[int, int]]) -> bool:
    return size == sizes.get("tof", size)


# A sensor or a teacher may have a resolution of its own, but sees the same view; what is compared pixel by pixel has equal sizes.
_SIZE_RULES: Final[dict[str, _Rule]] = {
    "rgb": _equal,
    "depth": _equal,
    "tof": _same_view,
    "tof_confidence": _beside_tof,
    "teacher_depth": _same_view,
    "segmentation": _equal,
}


def _allowed(role: str, size: tuple[int, int], picture: tuple[int, int]) -> str:
    swapped = " (its axes look swapped)" if size == picture[::-1] and size != picture else ""
    if role in ("tof", "teacher_depth"):
        return f"the same view, H to W as in the picture{swapped}"
    if role == "tof_confidence":
        return f"the size of its tof{swapped}"
    return f"equal sizes{', depth registered to colour' if role == 'depth' else ''}{swapped}"
