"""Femto Bolt corridor set: colour and ToF of a robot in a corridor, with a teacher's depth as reference. It measures, it does not teach."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from core.errors import VortexError
from core.stream_order import natural
from pipelines.ingest.adapter import FrameSet, Options, Pair, Recording, folders, refuse
from pipelines.ingest.cameras import find_camera
from validation.manifest import MANIFEST, load_manifest

TEACHER: Final = "da3-metric-large"
_FILE: Final = re.compile(r"[0-9]{1,9}\.(?i:png|npy)")


class FemtoBolt:
    """Frames that have both a colour picture and a reference; ToF and its confidence come with them."""

    layout = (
        "rgb/NNNNN.png, depth/NNNNN.npy (ToF) and da3_depth/NNNNN.npy (reference), confidence/NNNNN.npy and manifest.jsonl optional, "
        "in the folder or in one folder a sequence"
    )
    registered = True

    def recognises(self, root: Path) -> bool:
        """rgb/ and da3_depth/ are here, or one folder down."""
        return any(_holds(folder, all) for folder in (root, *folders(root)))

    def read(self, root: Path, options: Options) -> FrameSet:
        """The intersection of colour and reference, every frame of it in split `test`."""
        here = _holds(root, any)
        sequences = [root] if here else [folder for folder in folders(root) if _holds(folder, any)]
        faults: list[str] = [] if sequences else ["neither rgb/ nor da3_depth/ was found"]
        notes: list[str] = []
        if options.unit not in (None, "m"):
            faults.append(f"--unit {options.unit} does not go with this format, allowed: m, which its recorder writes")
        shared = find_camera(root, faults) if sequences else None
        recordings = []
        for folder in sequences:
            name = "" if here else folder.name
            where = f"{name}/" if name else ""
            pairs = _pairs(folder, where, options, faults, notes)
            camera = (find_camera(folder, faults) if name else None) or shared
            if camera is None:
                notes.append(f"{where}no K.txt and no json or yaml of intrinsics: the camera stays unknown")
            recordings.append(Recording(name, pairs, camera))
        if faults:
            raise refuse(root, faults, f"arrange it as {self.layout}")
        notes.append("an evaluation set: every frame is of split test, so measure on it with --split test; --split A,B,C would train on it")
        return FrameSet(recordings, "m", options.camera or "femto-bolt", notes, tof_unit="m", teacher=(TEACHER, "m"))


def _holds(folder: Path, quantifier: Callable[[Iterable[object]], bool]) -> bool:
    return quantifier((folder / name).is_dir() for name in ("rgb", "da3_depth"))


def _pairs(folder: Path, where: str, options: Options, faults: list[str], notes: list[str]) -> list[Pair]:
    before = len(faults)
    colours = _files(folder, "rgb", ".png", where, faults)
    references = _files(folder, "da3_depth", ".npy", where, faults)
    tof = _files(folder, "depth", ".npy", where, faults)
    confidence = _files(folder, "confidence", ".npy", where, faults) if (folder / "confidence").is_dir() else {}
    if len(faults) > before:
        return []
    stems = sorted(colours.keys() & references.keys(), key=natural)
    if not stems:
        faults.append(f"{where}no number has both a colour picture and a reference depth")
    notes.append(
        f"{where}{len(colours)} colour pictures, {len(references)} with a reference depth are there: the set is the {len(stems)} that have both"
    )
    without_tof = [stem for stem in stems if stem not in tof]
    if without_tof and not options.pairs_only:
        faults += [f"{where}depth/{stem}.npy: is missing, though {stem} has a colour picture and a reference" for stem in without_tof]
    elif without_tof:
        notes.append(f"{where}{len(without_tof)} frames have no ToF depth: kept without it")
    notes += _listed(folder, where, colours)
    return [
        Pair(
            stem=stem,
            rgb=colours[stem],
            tof=tof.get(stem),
            tof_confidence=confidence.get(stem) if stem in tof else None,
            teacher_depth=references[stem],
            split="test",
        )
        for stem in stems
    ]


def _files(folder: Path, name: str, suffix: str, where: str, faults: list[str]) -> dict[str, Path]:
    """Numbered files by their number as it is written."""
    if not (folder / name).is_dir():
        faults.append(f"{where}{name}/ is missing")
        return {}
    paths = [path for path in (folder / name).iterdir() if _FILE.fullmatch(path.name) and path.suffix.lower() == suffix]
    if not paths:
        faults.append(f"{where}{name}/ holds no NNNNN{suffix}")
    return {path.stem: path for path in paths}


def _listed(folder: Path, where: str, colours: dict[str, Path]) -> list[str]:
    """The set's own list decides nothing: what lies there does. A list that says otherwise is worth a remark."""
    path = folder / MANIFEST
    if not path.is_file():
        return []
    try:
        stems = {frame.id for frame in load_manifest(path)}
    except VortexError as error:
        return [f"{where}manifest.jsonl cannot be read and was left aside ({error.message.replace(str(path), '').lstrip(': ')})"]
    missing = len(stems - colours.keys())
    return [f"{where}manifest.jsonl lists {missing} frames that have no colour picture"] if missing else []
