"""A set of frames on disk that faults are put into: rendered once, then copied and changed."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from pipelines.validate.registration import by_camera
from validation import registration
from validation.data_gate import judge_statistics
from validation.manifest import load_manifest
from validation.policies import load_policies
from validation.profile import Profile, checks, compare, profile
from validation.rows import Frame, to_mapping
from validation.statistics import gather

Array = NDArray[Any]
SIZE = (72, 96)
FRAMES = 24


@dataclass
class Delivery:
    """A folder of frames and its rows; `lines` (when set) are what the manifest says instead of the rows.

    `registered` is False for a format whose depth is known to lie beside its colour pictures.
    """

    root: Path
    rows: list[Frame]
    kind: str
    lines: list[bytes] | None = None
    registered: bool = True

    def copy(self, to: Path) -> Delivery:
        """The same set in another folder."""
        shutil.copytree(self.root, to, symlinks=True)
        return replace(self, root=to, rows=list(self.rows))

    def change(self, places: Iterable[int] | None = None, **fields: Any) -> None:
        """Replace fields of the rows at these places, or of all."""
        for place in range(len(self.rows)) if places is None else places:
            self.rows[place] = replace(self.rows[place], **fields)

    def path(self, place: int, role: str) -> Path:
        """Where a frame's file is."""
        return self.root / str(getattr(self.rows[place], role))

    def read(self, place: int, role: str) -> Array:
        """A file's values as they are stored; pictures in OpenCV's order of colours."""
        import cv2

        path = self.path(place, role)
        return np.load(path) if path.suffix == ".npy" else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)

    def write(self, place: int, role: str, values: Array, suffix: str | None = None, *options: int) -> None:
        """Write a file anew, with `suffix` under a new name that the row then has."""
        import cv2

        path = self.path(place, role)
        if suffix is not None:
            path = path.with_name(f"{path.stem}-new{suffix}")
            self.rows[place] = replace(self.rows[place], **{role: path.relative_to(self.root).as_posix()})
        if path.suffix == ".npy":
            np.save(path, values)
        elif not cv2.imwrite(str(path), values, options):
            raise OSError(f"{path}: could not be written")

    def each(self, role: str, change: Callable[[Array], Array], places: Iterable[int] | None = None) -> None:
        """Put every file of a role through `change`."""
        for place in range(len(self.rows)) if places is None else places:
            self.write(place, role, change(self.read(place, role)))

    def metres(self, role: str, change: Callable[[Array], Array]) -> None:
        """Rewrite a millimetre role as .npy of floats in metres, each put through `change`."""
        for place in range(len(self.rows)):
            self.write(place, role, change(self.read(place, role).astype(np.float32) / 1000).astype(np.float32), ".npy")
        self.change(**{f"{role}_unit": "m"})

    def without(self, *roles: str) -> None:
        """Take roles out of every row, with what belongs to them."""
        fields: dict[str, Any] = {}
        for role in roles:
            fields |= {role: None}
            fields |= {"depth": {"depth_unit": None}, "tof": {"tof_unit": None, "tof_confidence": None}}.get(role, {})
            fields |= {"teacher_depth": {"teacher": None, "teacher_unit": None}, "segmentation": {"supervision": "none"}}.get(role, {})
        self.change(**fields)

    def edit(self, place: int, change: Callable[[str], str]) -> None:
        """Change the text of one line of the manifest."""
        if self.lines is None:
            self.lines = [json.dumps(to_mapping(row)).encode() for row in self.rows]
        self.lines[place] = change(self.lines[place].decode()).encode(errors="surrogatepass")

    def splits(self, name: str) -> list[int]:
        """Places of the frames of a split."""
        return [place for place, row in enumerate(self.rows) if row.split == name]


def rendered(folder: Path, world: str, seed: int = 0, frames: int = FRAMES, size: tuple[int, int] = SIZE) -> Delivery:
    """An honest set of a synthetic world, with a metric teacher."""
    from pipelines.synthetic.dataset import Job, render_dataset
    from pipelines.synthetic.worlds import WORLDS

    folder.mkdir(parents=True)
    rows = render_dataset(folder, Job(world, world, frames, seed, size, "metric"))
    return Delivery(folder, rows, WORLDS[world].kind)


def judge(delivery: Delivery, reference: Profile | None = None) -> dict[str, str]:
    """The checks that say no, with what they found; a refused manifest is the check `manifest`."""
    lines = delivery.lines if delivery.lines is not None else [json.dumps(to_mapping(row)).encode() for row in delivery.rows]
    policies = load_policies()
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "manifest.jsonl"
        manifest.write_bytes(b"\n".join(lines) + b"\n")
        try:
            frames = load_manifest(manifest)
        except VortexError as error:
            return {"manifest": " | ".join((error.message, *error.details))}
    statistics, _ = gather(delivery.root, frames)
    judged = judge_statistics(statistics, delivery.kind, policies).checks
    cameras = by_camera(delivery.root, frames)
    if cameras:
        judged += (registration.check(cameras, policies.data.kind(delivery.kind).registration, declared=not delivery.registered),)
    if reference is not None:
        drift = compare(_profile(delivery, statistics), reference, policies.data.kind(delivery.kind).drift)
        judged += checks(drift, statistics, reference)
    return {check.name: check.found for check in judged if not check.passed}


def reference(delivery: Delivery) -> Profile:
    """The set as the reference of its domain."""
    return _profile(delivery, gather(delivery.root, delivery.rows)[0])


def _profile(delivery: Delivery, statistics: Any) -> Profile:
    return profile(statistics, domain="corpus", name=delivery.root.name, digest="", kind=delivery.kind, made="2026-01-01")
