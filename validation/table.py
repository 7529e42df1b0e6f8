"""What only shows across frames, as columns of reasons beside the statistics: copies, leaks, cameras that change, empty sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from core.stream_order import stream_numbers
from validation.near import Pictures, in_motion, near_copies, near_leaks
from validation.policies import CameraBounds, DataPolicy, Kind
from validation.splits import copies, interleaved, leaks

if TYPE_CHECKING:
    import pandas as pd

    from validation.statistics import Statistics

Reasons = NDArray[np.object_]
_DEPTHS: Final = ("depth_median", "teacher_median", "tof_median")


def suite_table(statistics: Statistics, kind: Kind, policy: DataPolicy) -> pd.DataFrame:
    """The table that the suite is run over: the statistics, and one column a reason that speaks against a frame (None: none does).

    `copy_of` `leaks_from` `beside` `twin_of` `twin_in_train` hold the other frame's id; `implausible` `differs` what is odd about a
    camera; `unlabelled` why a frame's labels fall short of its supervision; `blank` marks masks without a labelled pixel; `unused`
    frames of sequences that give nothing; `tof_over_depth` the difference of the valid shares.
    """
    table = statistics.table
    ids = table["id"].to_numpy(object)
    split, sequence = _texts_of(table["split"]), _codes(table["sequence"])
    content = table["content"].to_numpy(np.uint64)
    copied, leaked = copies(split, content), leaks(split, content)
    pictures = pictures_of(table)
    moving = in_motion(pictures, sequence, _numbers(table["id"]))
    twins = near_copies(pictures, split, kind.twins.copy_bits)
    returned = near_leaks(pictures, split, moving, kind.twins.leak_bits)
    return table.assign(
        copy_of=_ids_of(ids, copied),
        leaks_from=_ids_of(ids, leaked),
        beside=_ids_of(ids, interleaved(ids, split, sequence, policy.gap_steps)),
        # Exact copies have a check of their own.
        twin_of=_ids_of(ids, np.where(copied >= 0, -1, twins)),
        twin_in_train=_ids_of(ids, np.where(leaked >= 0, -1, returned)),
        implausible=implausible(table, kind.camera),
        differs=differing(table, kind.camera.spread),
        unlabelled=unlabelled(table),
        blank=_where(table["labelled"].eq(0) & table["labels"].isna(), "no labelled pixel"),
        unused=unused(table),
        tof_over_depth=table["tof_valid"] - table["depth_valid"],
    )


def moving_of(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether each frame's camera moved; see `validation.near.in_motion`."""
    return in_motion(pictures_of(table), _codes(table["sequence"]), _numbers(table["id"]))


def implausible(table: pd.DataFrame, bounds: CameraBounds) -> Reasons:
    """What cannot be about a frame's intrinsics: of a picture of another size, a focal length or a centre out of bounds."""
    # Frames of one camera have one set of numbers: it is judged once, not a million times.
    columns = ["fx", "fy", "cx", "cy", "camera_height", "camera_width", "height", "width"]
    group = table.groupby(columns, dropna=False, sort=False).ngroup().to_numpy()
    _, first = np.unique(group, return_index=True)
    reasons = np.array([_camera(*table.loc[row, columns].astype(float), bounds=bounds) for row in table.index[first]], object)
    texts: Reasons = reasons[group] if len(reasons) else np.full(len(table), None, object)
    texts[table["fx"].isna().to_numpy(bool)] = None
    return texts


def _camera(
    fx: float, fy: float, cx: float, cy: float, height: float, width: float, rows: float, columns: float, *, bounds: CameraBounds
) -> str | None:
    if (height, width) != (rows, columns) and rows == rows:
        return f"intrinsics of {height:.0f}x{width:.0f}, the picture is {rows:.0f}x{columns:.0f}"
    for name, value, (low, high) in (
        ("focal length over width", fx / width, bounds.focal),
        ("fy / fx", fy / fx, bounds.aspect),
        ("cx over width", (cx + 0.5) / width, bounds.centre),
        ("cy over height", (cy + 0.5) / height, bounds.centre),
    ):
        if not low <= value <= high:
            return f"{name} is {value:.3g}, allowed: {low:g} to {high:g}"
    return None


def differing(table: pd.DataFrame, spread: float) -> Reasons:
    """Frames whose focal lengths or centre differ from the median of their camera by more than `spread` of it.

    Cameras are told apart by name and picture size: one camera has one lens.
    """
    import pandas as pd

    texts = np.full(len(table), None, object)
    group = table.groupby(["camera", "camera_height", "camera_width"], sort=False, dropna=True)
    for name, scale in (("fx", "fx"), ("fy", "fy"), ("cx", "camera_width"), ("cy", "camera_height")):
        usual = group[name].transform("median")
        off = (((table[name] - usual) / table[scale]).abs() > spread).to_numpy()
        for place in np.flatnonzero(off & pd.isna(pd.Series(texts)).to_numpy()):
            texts[place] = f"{name} is {table[name].iloc[place]:.5g}, usual for {table['camera'].iloc[place]}: {usual.iloc[place]:.5g}"
    return texts


def unlabelled(table: pd.DataFrame) -> Reasons:
    """`full` refuses every all-ignore frame; a `partial` set may have them, but not only them; `none` is never asked."""
    texts = np.full(len(table), None, object)
    empty = (table["labelled"].eq(0) & table["labels"].isna()).to_numpy()
    declared = table["supervision"].to_numpy(object)
    texts[empty & (declared == "full")] = "declared full, no labelled pixel"
    some = declared == "partial"
    if not bool((table["labelled"].to_numpy()[some] > 0).any()):
        texts[empty & some] = "declared partial, no labelled pixel in any frame"
    return texts


def unused(table: pd.DataFrame) -> Reasons:
    """Frames of sequences that give nothing: no frame outside the gap whose picture could be read."""
    useful = (table["content"] != 0) & (table["split"] != "gap")
    useful_sequence = useful.groupby(table["sequence"]).transform("any").to_numpy(bool)
    texts = ("sequence " + table["sequence"] + " has no readable frame outside the gap").to_numpy(object, copy=True)
    texts[useful_sequence] = None
    return texts


def pictures_of(table: pd.DataFrame) -> Pictures:
    """What twins are judged by, of each row; depth is the reference's, else the teacher's, else the ToF camera's."""
    depth = table[_DEPTHS[0]].copy()
    for name in _DEPTHS[1:]:
        depth = depth.fillna(table[name])
    return Pictures(
        table["across"].to_numpy(np.uint64),
        table["down"].to_numpy(np.uint64),
        (table["content"] != 0).to_numpy(bool),
        table["brightness"].to_numpy(np.float64),
        table["contrast"].to_numpy(np.float64),
        depth.to_numpy(np.float64),
    )


def _codes(column: pd.Series) -> NDArray[np.intp]:
    import pandas as pd

    return np.asarray(pd.Categorical(column).codes, np.intp)


def _texts_of(column: pd.Series) -> Reasons:
    """The texts as Python objects, one object a text: a million rows share four."""
    import pandas as pd

    categories = pd.Categorical(column)
    texts = categories.categories.to_numpy(object)
    return texts[categories.codes] if len(texts) else np.empty(0, object)


def _numbers(ids: pd.Series) -> NDArray[np.float64]:
    """The number that each id ends in, its place in the table where it has none."""
    numbers = stream_numbers(ids.tolist())
    return np.array([place if number is None else number for place, number in enumerate(numbers)], np.float64)


def _ids_of(ids: Reasons, rows: NDArray[np.intp]) -> Reasons:
    texts = np.full(len(ids), None, object)
    texts[rows >= 0] = ids[rows[rows >= 0]]
    return texts


def _where(mask: pd.Series, text: str) -> Reasons:
    texts = np.full(len(mask), None, object)
    texts[mask.to_numpy(bool)] = text
    return texts
