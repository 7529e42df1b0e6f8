"""Take a folder of frames into `data/`: pair, check every header, copy or compute the files, write the manifest, version."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.errors import UsageError, VortexError
from core.progress import NamedProgress
from pipelines.data.datasets import Dataset, DatasetCard, find, new_dataset
from pipelines.data.publication import refuse_existing
from pipelines.ingest import FILLED, adapter
from pipelines.ingest.adapter import FrameSet, Options, printable, with_parts
from pipelines.ingest.frame_files import write_rows
from pipelines.ingest.left_over import left_over
from pipelines.ingest.manifest_rows import SHARES, UNNAMED, Request, Row, Shares, plan
from pipelines.ingest.survey import doubts, survey
from pipelines.workspace import Workspace, check_name, load
from validation.manifest import MANIFEST, write_manifest
from validation.policies import load_policies
from validation.rows import METRIC_UNITS, UNIT, Unit


@dataclass(frozen=True)
class Added:
    """The new dataset, and what the user should know about how it was made."""

    dataset: Dataset
    notes: list[str] = field(default_factory=list)


def add_dataset(
    ws: Workspace,
    name: str,
    path: Path,
    *,
    format: str | None = None,
    domain: str | None = None,
    kind: str | None = None,
    unit: Unit | None = None,
    split: Shares | None = None,
    camera: str | None = None,
    pairs_only: bool = False,
    filled: bool = False,
    every: int = 1,
    workers: int = 1,
    on_frame: NamedProgress | None = None,
) -> Added:
    """Add the frames in `path` as dataset `name`. Files are copied as they are; only what a format encodes its own way is computed.

    What is not given is inferred and said in the notes. Of each stream `every` N-th frame is taken, the first among them. `split` outranks the official splits of a set; without it they hold, and
    streams without any are split 72, 8, 20. Raises VortexError, with every fault of the set, before anything is written; a failure
    later leaves `data/` and `data.dvc` as they were.
    """
    for option, value, default in (("workers", workers, "one"), ("every", every, "all frames")):
        if value < 1:
            raise UsageError(f"--{option} {value} is not allowed: 1 or more", f"leave --{option} out for {default}")
    refuse_existing(ws, name)
    # Another call may have added a domain since this workspace was loaded.
    ws, path = load(ws.root), path.expanduser()
    notes: list[str] = []
    format_name, reader = adapter(path, format)
    if format is None:
        notes.append(f"format {format_name} detected")
    if filled and format_name not in FILLED:
        raise VortexError(f"format {format_name} has no in-painted depth, only {', '.join(sorted(FILLED))} do", "leave --filled-depth out")
    domain = _domain(ws, name, domain, notes)
    bounds = kind or (ws.config.domains[domain].kind if domain in ws.config.domains else "indoor")
    load_policies().data.kind(bounds)
    try:
        frame_set = with_parts(reader.read(path, Options(unit, camera, pairs_only, filled)))
    except OSError as error:
        name_ = printable(error.filename or path)
        raise VortexError(f"{name_}: cannot be read ({error.strerror or error})", "check the path and its permissions") from error
    empty = [recording.name for recording in frame_set.recordings if not recording.pairs]
    total = sum(len(recording.pairs) for recording in frame_set.recordings)
    without = (f"sequence {name!r} has no frames: left out" for name in empty)
    remarks = [printable(note) for note in (*frame_set.notes, *without, *_distorted(frame_set), *left_over(path, frame_set))]
    if every > 1:
        frame_set = replace(frame_set, recordings=[replace(each, pairs=each.pairs[::every]) for each in frame_set.recordings])
        remarks.append(f"--every {every}: {sum(len(recording.pairs) for recording in frame_set.recordings)} of {total} frames")
    if any(recording.sensor is None for recording in frame_set.recordings) and frame_set.camera is None:
        remarks.append(f"the camera is called {UNNAMED!r}: name it with --camera, for every measurement is kept by camera")
    rows = plan(path, Request(name, domain, split), frame_set, on_frame or _silent)
    notes += [*remarks, *_split_notes(rows, frame_set, split)]
    settings = {
        "unit": frame_set.unit,
        "split": "official" if split is None and _official(frame_set) else list(split or SHARES),
        "sequences": len(frame_set.recordings) - len(empty),
        "notes": remarks,
        **({"every": every} if every > 1 else {}),
    }
    card = DatasetCard(
        name=name,
        domain=domain,
        kind=bounds,
        format=format_name,
        source=printable(path.absolute()),
        registered=reader.registered,
        settings=settings,
    )
    with new_dataset(ws, name, card) as staging:
        write_rows(rows, staging, workers, lambda done: (on_frame or _silent)("writing", done, len(rows)))
        write_manifest(staging / MANIFEST, (row.frame for row in rows))
        (on_frame or _silent)("looking", len(rows), len(rows))
        # The card is completed and written when this block ends.
        card.settings["statistics"] = survey(rows, staging, workers)
        (on_frame or _silent)("versioning", len(rows), len(rows))
    # Only now: a set that did not arrive leaves no domain behind.
    if domain not in ws.config.domains:
        ws.add_domain(domain, bounds)
        notes.append(f"domain {domain!r} (kind {bounds!r}) is new and was written into vortex.toml")
    return Added(find(ws, name), [*notes, *doubts(card.settings["statistics"])])


def parse_split(text: str) -> Shares:
    """`72,8,20` as three percentages. Raises UsageError when they are not, or do not make 100."""
    words = text.split(",")
    if len(words) == 3 and all(re.fullmatch(r"[0-9]{1,3}", word.strip()) for word in words):
        train, gap, validation = (int(word) for word in words)
        if train + gap + validation == 100:
            return train, gap, validation
    raise UsageError(f"--split {text!r} is not a split, allowed: three percentages that make 100", "for example --split 72,8,20")


def parse_unit(text: str) -> Unit:
    """The unit of depth files. Raises UsageError when it is none that has metres."""
    if text != "relative" and re.fullmatch(UNIT, text):
        return text
    raise UsageError(f"--unit {text!r} is not a unit of depth, allowed: {METRIC_UNITS}", "for example --unit mm")


def _domain(ws: Workspace, name: str, domain: str | None, notes: list[str]) -> str:
    if domain is not None:
        return check_name("domain", domain)
    domains = sorted(ws.config.domains)
    if name not in domains:
        raise VortexError(
            f"which domain are these frames of? this workspace has: {', '.join(domains) or 'none yet'}",
            "name one of them, or a new one, with --domain",
        )
    notes.append(f"domain {name!r} taken from the dataset's name")
    return name


def _distorted(frame_set: FrameSet) -> list[str]:
    sources = dict.fromkeys(
        recording.camera.source for recording in frame_set.recordings if recording.camera and recording.camera.distorted
    )
    return [f"{source} states a lens distortion, which the manifest's pinhole leaves out: pictures stay as they are" for source in sources]


def _official(frame_set: FrameSet) -> bool:
    return any(pair.split is not None for recording in frame_set.recordings for pair in recording.pairs)


def _split_notes(rows: list[Row], frame_set: FrameSet, split: Shares | None) -> list[str]:
    notes = []
    official = _official(frame_set)
    if official:
        notes.append(
            "the set's official splits hold; --split replaces them"
            if split is None
            else f"--split {','.join(map(str, split))} replaces the official splits"
        )
    splits = {row.frame.split for row in rows}
    for part, word in (("train", "training"), ("val", "validation")):
        if part not in splits:
            how = "with the official splits" if official and split is None else f"split {','.join(map(str, split or SHARES))}"
            notes.append(f"{'one frame' if len(rows) == 1 else f'{len(rows)} frames'} {how}: no {word} frames")
    return notes


def _silent(what: str, done: int, total: int) -> None:
    """No progress asked for."""
