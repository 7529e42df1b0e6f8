"""What a labelling run will do, before it does anything: which frames get which label, from whom, and what stays as it is."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.errors import UsageError, VortexError
from core.files import sha256_file
from pipelines.data.checkout import changes, remedy
from pipelines.data.datasets import find, resolve
from pipelines.data.pointer import data_hash
from pipelines.data.provenance import Described, Label, Records, work_key
from pipelines.data.versioning import refuse_unversionable, unversioned_changes
from pipelines.label.choice import LABELS, SelectedTeacher
from validation.manifest import load_manifest
from validation.rows import Frame, Split

if TYPE_CHECKING:
    from pipelines.workspace import Workspace

Source = Literal["reference", "tof", "teacher"]
SHOWN = 5


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    name: str
    workers: int = 1
    relabel: bool = False
    limit: int | None = None
    splits: tuple[Split, ...] = ()
    max_quarantine: float = 0.01
    settings: Mapping[str, Mapping[str, object]] | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise UsageError(f"{self.workers} workers are not allowed: 1 or more", "leave --workers out for one")
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"--limit {self.limit} is not allowed: 1 or more", "leave it out to label all frames")
        if not 0 <= self.max_quarantine <= 1:
            raise UsageError(f"--max-quarantine {self.max_quarantine} is no share: 0 to 1", "for example --max-quarantine 0.05")

    def command(self, teachers: Sequence[SelectedTeacher]) -> str:
        """The command that continues this run."""
        words = ["vortex", "label", self.name, "--teachers", ",".join(selected.name for selected in teachers)]
        words += ["--workers", str(self.workers)] * (self.workers > 1) + ["--relabel"] * self.relabel
        words += ["--limit", str(self.limit)] * (self.limit is not None) + [word for split in self.splits for word in ("--split", split)]
        words += ["--max-quarantine", f"{self.max_quarantine:g}"] * (self.max_quarantine != 0.01)
        for name, values in (self.settings or {}).items():
            words += [
                word
                for key, value in values.items()
                for word in ("--set", f"{name}.{key}={value if isinstance(value, str) else json.dumps(value)}")
            ]
        return shlex.join([*words, "--resume"])


@dataclass(frozen=True)
class Task:
    """One frame, and the labels that it is to get."""

    frame: Frame
    wanted: tuple[Label, ...]


@dataclass(frozen=True)
class Kept:
    """Frames that keep what they have: ground truth, labels of exactly these teachers, labels of others, or a place in quarantine."""

    truth: int = 0
    same: int = 0
    quarantined: int = 0
    others: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class LabelPlan:
    """A run, settled. `base` is the SHA-256 of the manifest it was made from, `resumed` how many frames are done already."""

    request: Request
    root: Path
    digest: str
    base: str
    frames: tuple[Frame, ...]
    tasks: tuple[Task, ...]
    kept: Kept
    selection: tuple[SelectedTeacher, ...]
    described: Described
    key: str
    resumed: int = 0

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self.request.name

    @property
    def labels(self) -> dict[Label, tuple[str, ...]]:
        """The teachers of each label, in the order in which they work."""
        return label_teachers(self.selection)

    @property
    def allowed(self) -> int:
        """Frames that may end in quarantine before the run is refused: a share, but at least one unless the share is nothing."""
        share = self.request.max_quarantine
        return max(1, int(share * len(self.tasks))) if share else 0

    def lines(self) -> list[str]:
        """What was inferred, for a person."""
        lines = [f"teacher {name}: {_identity(about)}" for name, about in self.described.items()]
        what = Counter(" and ".join(task.wanted) for task in self.tasks)
        parts = ", ".join(f"{count} get {labels}" for labels, count in what.items())
        lines.append(f"{self.name}: {len(self.tasks)} of {len(self.frames)} frames to label{f' ({parts})' if parts else ''}")
        kept = self.kept
        if kept.truth:
            lines.append(f"{kept.truth} frames keep their ground-truth masks")
        if kept.same:
            lines.append(f"{kept.same} frames are labelled by exactly these teachers already")
        if kept.quarantined:
            lines.append(f"{kept.quarantined} frames defeated exactly these teachers before (--relabel tries them again)")
        lines += [f"{count} frames keep {what} (--relabel replaces them)" for what, count in kept.others]
        if self.resumed:
            lines.append(f"{self.resumed} of {len(self.tasks)} frames are done: the run continues")
        return lines


def label_teachers(selection: Sequence[SelectedTeacher]) -> dict[Label, tuple[str, ...]]:
    """The teachers of each label that has any."""
    by_label: dict[Label, tuple[str, ...]] = {}
    for selected in selection:
        label = LABELS[selected.kind.role]
        by_label[label] = (*by_label.get(label, ()), selected.name)
    return by_label


def plan(ws: Workspace, request: Request, selection: tuple[SelectedTeacher, ...], described: Described) -> LabelPlan:
    """Settle a run. Raises VortexError for an unknown dataset, one that was changed behind DVC's back, frames without what a teacher
    needs of them, and a selection that leaves nothing to do."""
    dataset = find(ws, request.name)
    refuse_unversionable(ws)
    if unversioned_changes(ws):
        raise VortexError(
            f"{ws.data} holds changes that are in no version, and publishing labels would put them into one",
            remedy(data_hash(ws)),
            [f"{file}: {how}" for file, how in changes(ws).items()][:10],
        )
    frames = load_manifest(dataset.manifest)
    chosen_frames = [frame for frame in frames if not request.splits or frame.split in request.splits]
    tasks, kept = _tasks(dataset.root, frames, chosen_frames, request, selection, described)
    _require_inputs(tasks, selection)
    digest = resolve(ws, name_or_manifest=request.name).digest
    key = work_key(digest, described)
    return LabelPlan(request, dataset.root, digest, sha256_file(dataset.manifest), tuple(frames), tasks, kept, selection, described, key)


def depth_source(frame: Frame, labels: Sequence[Label], selection: Sequence[SelectedTeacher]) -> Source | None:
    """Where the metres of a frame come from: its reference, else its ToF sensor, else a metric teacher of this run or of its row."""
    if frame.depth:
        return "reference"
    if frame.tof:
        return "tof"
    if "depth" in labels:
        return "teacher" if any(selected.kind.role == "depth" and selected.kind.unit == "m" for selected in selection) else None
    return "teacher" if frame.teacher_depth and frame.teacher_unit != "relative" else None


def _tasks(
    root: Path,
    frames: Sequence[Frame],
    candidates: Sequence[Frame],
    request: Request,
    selection: tuple[SelectedTeacher, ...],
    described: Described,
) -> tuple[tuple[Task, ...], Kept]:
    records, teachers = Records(root), label_teachers(selection)
    makers = {label: {name: described[name] for name in names} for label, names in teachers.items()}
    barred = {label: set() if request.relabel else records.quarantined(frames, label, each) for label, each in makers.items()}
    structure = any(selected.kind.role == "structure" for selected in selection)
    others: Counter[str] = Counter()
    truth, ours = 0, []
    for frame in candidates:
        states = {label: _state(frame, label, records, each) for label, each in makers.items()}
        truth += states.get("segmentation") == "truth"
        if not request.relabel:
            others.update(_owner(frame, label) for label, state in states.items() if state == "other")
        open_ = [label for label, state in states.items() if state == "none" or (state == "other" and request.relabel)]
        labels = [label for label in open_ if frame.id not in barred[label]]
        # New depth makes structure that was seen in the old depth stale.
        if (
            structure
            and labels == ["depth"]
            and states.get("segmentation") == "same"
            and depth_source(frame, labels, selection) == "teacher"
        ):
            labels.append("segmentation")
        if open_ or "same" in states.values():
            ours.append((frame, tuple(labels), bool(open_)))
    if request.limit is not None and len(ours) > request.limit:
        ours = [ours[index * len(ours) // request.limit] for index in range(request.limit)]
    same = sum(not is_open for _, _, is_open in ours)
    stuck = sum(is_open and not labels for _, labels, is_open in ours)
    tasks = tuple(Task(frame, labels) for frame, labels, _ in ours if labels)
    return tasks, Kept(truth, same, stuck, tuple(sorted(others.items())))


def _state(frame: Frame, label: Label, records: Records, makers: Described) -> Literal["none", "truth", "same", "other"]:
    path = frame.teacher_depth if label == "depth" else frame.segmentation
    if path is None:
        return "none"
    if label == "segmentation" and frame.segmentation_teacher is None:
        return "truth"
    return "same" if records.makers(frame, label) == makers else "other"


def _owner(frame: Frame, label: Label) -> str:
    return f"the depth of {frame.teacher}" if label == "depth" else f"the masks of {frame.segmentation_teacher}"


def _require_inputs(tasks: Sequence[Task], selection: Sequence[SelectedTeacher]) -> None:
    """Raise VortexError, with every fault, unless each frame has what the teachers need of it."""
    faults: list[str] = []
    for selected in selection:
        label = LABELS[selected.kind.role]
        those = [task for task in tasks if label in task.wanted]
        if selected.needs_camera:
            faults += _lacking(those, selected.name, "intrinsics", [task.frame.intrinsics is None for task in those])
        if selected.kind.role == "structure":
            without = [depth_source(task.frame, task.wanted, selection) is None for task in those]
            faults += _lacking(those, selected.name, "depth in metres (no reference, no ToF, no metric teacher)", without)
    if faults:
        raise VortexError(
            f"these frames cannot be labelled: {faults[0]}",
            "leave that teacher out, choose frames with --split, or give the frames what they lack: intrinsics when they are added, "
            "depth by a metric teacher (da3, da2-metric)",
            faults[1:],
        )


def _lacking(tasks: Sequence[Task], teacher: str, what: str, missing: Sequence[bool]) -> list[str]:
    ids = [task.frame.id for task, lacks in zip(tasks, missing, strict=True) if lacks]
    if not ids:
        return []
    examples = ", ".join(ids[:SHOWN]) + (", …" if len(ids) > SHOWN else "")
    return [f"{teacher} needs {what}, and {len(ids)} of {len(tasks)} frames have none ({examples})"]


def _identity(about: Mapping[str, object]) -> str:
    weights = about.get("weights_sha256")
    model = str(about.get("model") or "no model")
    return f"{model}, weights {str(weights)[:12]}" if weights else f"{model}, no weights"
