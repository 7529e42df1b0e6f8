"""NYU Depth V2, labelled part: 1,449 frames in one .mat (HDF5), `splits.mat` and `classMapping40.mat` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, refuse
from pipelines.ingest.nyu.kinect import KINECT, unit_faults
from pipelines.ingest.nyu.matlab import Labelled, MatMap, is_hdf5, read_labelled, read_variables
from pipelines.ingest.nyu.official import official_splits, with_validation
from pipelines.ingest.taxonomies import table_894

if TYPE_CHECKING:
    from validation.rows import Split

NAME: Final = "nyu_depth_v2_labeled.mat"
SPLITS: Final = "splits.mat"
MAPPING: Final = "classMapping40.mat"


class NyuLabelled:
    """One file of frames with 894 class ids, mapped to 40 and then to Vortex's six.

    `depth` is `rawDepths`: what the Kinect measured, projected into the colour picture. `depths` is the same, in-painted (Levin et al.'s
    colorisation): where the sensor lost glass or a dark floor, it shows smooth depth that nobody measured, and a network judged
    against it is judged against an invention. `Options.filled` takes it nevertheless, for comparison with work that did.

    Splits are the official 795 and 654, 1-based in `splits.mat`. The 654 are `test`. Validation frames are taken from the 795, whole
    scenes, the last of each kind of room (`with_validation`), so that nothing of a validation scene was trained on.
    """

    layout = f"{NAME} with {SPLITS} and {MAPPING} beside it"
    in_painted = True
    registered = True

    def recognises(self, root: Path) -> bool:
        """The file of that name is here."""
        return (root / NAME).is_file()

    def read(self, root: Path, options: Options) -> FrameSet:
        """Read what the file says of itself, the splits and the class mapping; no frame."""
        archive = _archive(root)
        faults = unit_faults(options)
        notes: list[str] = []
        if archive is None:
            faults.append(f"{NAME} was not found")
        contents = read_labelled(archive, "depths" if options.filled else "rawDepths", faults) if archive else None
        table = _mapping(root, faults) if contents is None or contents.labels else None
        total = contents.count if contents else 0
        splits = official_splits(root / SPLITS, total, faults)
        if faults or archive is None or contents is None:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        if table is None:
            notes.append(f"{archive.name} has no `labels`: the frames get no classes")
        notes.append(
            "depth is the in-painted `depths`"
            if options.filled
            else "depth is the measured `rawDepths`; --filled-depth takes the in-painted `depths`"
        )
        split_of = with_validation(splits, contents.scenes)
        recordings: dict[str, list[Pair]] = {}
        for index in range(total):
            if index in split_of:
                recordings.setdefault(contents.scenes[index], []).append(_pair(archive, contents, index, table, split_of[index]))
        if total > len(split_of):
            notes.append(f"{total - len(split_of)} of {total} frames are in no official split: left out")
        return FrameSet([Recording(name, pairs, KINECT) for name, pairs in recordings.items()], "mm", options.camera or "kinect", notes)


def _pair(archive: Path, contents: Labelled, index: int, table: bytes | None, split: Split) -> Pair:
    size = contents.size
    return Pair(
        stem=f"{index + 1:04d}",  # frames are counted from 1 everywhere else in NYU's files
        rgb=MatMap(archive, "images", index, size),
        depth=MatMap(archive, contents.depth, index, size),
        segmentation=MatMap(archive, "labels", index, size, table) if table else None,
        split=split,
    )


def _archive(root: Path) -> Path | None:
    """The file of the usual name, or the only other HDF5 .mat."""
    if (root / NAME).is_file():
        return root / NAME
    others = [path for path in sorted(root.glob("*.mat")) if path.name not in (SPLITS, MAPPING) and path.is_file() and is_hdf5(path)]
    return others[0] if len(others) == 1 else None


def _mapping(root: Path, faults: list[str]) -> bytes | None:
    path = root / MAPPING
    variables = read_variables(path, ("mapClass",), "the 40 classes of the 894 labels", faults)
    if variables is None:
        return None
    try:
        return table_894(variables["mapClass"])
    except ValueError as error:
        faults.append(f"{MAPPING}: {error}")
        return None
