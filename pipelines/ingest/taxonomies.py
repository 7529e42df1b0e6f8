"""Other people's class ids as Vortex's six: lookup tables, one a taxonomy.

NYU Depth V2 labels pixels with 894 names; Gupta et al. (CVPR 2013) group them into 40, and SUN RGB-D uses the first 37 of these with the
same ids. Id 0 is void everywhere. A 13-class map (Couprie et al., ICLR 2013) numbers other things with the same small ids and has no
person at all: it is refused where it can be told.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.classes import CLASSES, IGNORE
from validation.headers import FrameFileError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NYU40: Final = (
    "void", "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf",
    "picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror", "floor mat",
    "clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel", "shower curtain", "box", "whiteboard",
    "person", "night stand", "toilet", "sink", "lamp", "bathtub", "bag", "other structure", "other furniture", "other prop",
)  # fmt: skip
"""Names by id, void first."""
SUN37: Final = NYU40[:38]
"""SUN RGB-D's names by id: those of NYU40, without the three `other …`."""

_GROUPS: Final[dict[str, tuple[int, ...]]] = {
    "floor": (2, 20),
    "wall": (1, 8, 11, 30),
    "glass": (9, 19),
    "person": (31,),
    "furniture": (3, 4, 5, 6, 7, 10, 12, 14, 15, 17, 24, 32, 39),
}
"""NYU40 ids of each class; the others are `other`. A mirror misleads a depth camera as a window does."""
_OF_40: Final = {member: CLASSES.index(name) for name, members in _GROUPS.items() for member in members}

NYU894: Final = 894
GLASS_PANE: Final = 412
"""Id of `glass pane` among the 894; the 40 classes hide it in `other structure`."""


def six_of_nyu40(number: int) -> int:
    """Vortex's class of one NYU40 id; 255 for void. Raises ValueError for an id that is none of them."""
    if not 0 <= number < len(NYU40):
        raise ValueError(f"class id {number} is not one of NYU40, allowed: 0 to {len(NYU40) - 1}")
    return IGNORE if number == 0 else _OF_40.get(number, CLASSES.index("other"))


def table_40() -> bytes:
    """The class of each id 0 to 40, as a lookup table."""
    return bytes(map(six_of_nyu40, range(len(NYU40))))


def table_37() -> bytes:
    """The class of each id 0 to 37 of SUN RGB-D."""
    return table_40()[: len(SUN37)]


def table_894(classes: NDArray[Any]) -> bytes:
    """The class of each id 0 to 894, by the 40 class ids of `mapClass` in classMapping40.mat; `glass pane` is glass.

    Raises ValueError when the mapping is not one of 894 ids to 1 to 40; one that stays below 14 is a 13-class mapping.
    """
    import numpy as np

    numbers = np.asarray(classes).ravel()
    if numbers.size != NYU894 or numbers.dtype.kind not in "uif" or not bool((numbers == np.rint(numbers)).all()):
        raise ValueError(f"found {numbers.size} values of {numbers.dtype}, allowed: {NYU894} whole numbers")
    refuse_thirteen(int(numbers.max()))
    if numbers.min() < 1 or numbers.max() > 40:
        raise ValueError(f"found class ids from {numbers.min():g} to {numbers.max():g}, allowed: 1 to 40")
    table = bytearray([IGNORE, *(six_of_nyu40(int(number)) for number in numbers)])
    table[GLASS_PANE] = CLASSES.index("glass")
    return bytes(table)


def refuse_thirteen(largest: int) -> None:
    """Raise ValueError when a mapping's or a whole set's largest class id says that it has 13 classes."""
    if largest <= 13:
        raise ValueError(
            f"its largest class id is {largest}: a 13-class map, which has no person and other ids, allowed: the 40-class (or 37-class) one"
        )


def look_up(origin: Path, ids: NDArray[Any], table: bytes) -> NDArray[np.uint8]:
    """Class ids of a picture through a lookup table. Raises FrameFileError for an id beyond it."""
    import numpy as np

    if ids.dtype.kind not in "ui":
        raise FrameFileError(f"{origin}: found class ids of type {ids.dtype}, allowed: whole numbers", "replace the file")
    low, high = (int(ids.min()), int(ids.max())) if ids.size else (0, 0)
    if low < 0 or high >= len(table):
        raise FrameFileError(
            f"{origin}: found class ids from {low} to {high}, allowed: 0 to {len(table) - 1}", "replace the file, or take its frame out"
        )
    classes: NDArray[np.uint8] = np.frombuffer(table, np.uint8)[ids]
    return classes
