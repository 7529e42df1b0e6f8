"""A labelling run from the teachers' names to the dataset's new state: resumable at every frame, and idempotent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import GateRefused, Interrupted, VortexError
from core.progress import Progress
from pipelines.data.datasets import find, resolve
from pipelines.data.pointer import data_hash
from pipelines.label.choice import SelectedTeacher, choose, close_all, describe, make_all
from pipelines.label.labeller import Job
from pipelines.label.plan import Kept, LabelPlan, Request, plan
from pipelines.label.publish import publish
from pipelines.label.shard import alone, together
from pipelines.label.work import Mark, Work, dataset_lock, unfinished
from pipelines.runs.stop import Stop, Stopped, stop_on_signals
from validation.rows import Split

if TYPE_CHECKING:
    from models.teachers.contract import AnyTeacher
    from pipelines.workspace import Workspace

OnPlan = Callable[[LabelPlan], None]
SHOWN = 10


@dataclass(frozen=True)
class LabelReport:
    """What a run did. `quarantined` has the reasons a frame, `classes` and `sources` the shares of all pixels that got labels."""

    name: str
    key: str
    changed: bool
    depth: int = 0
    segmentation: int = 0
    kept: Kept = field(default_factory=Kept)
    quarantined: dict[str, list[str]] = field(default_factory=dict)
    quarantine: Path | None = None
    classes: dict[str, float] = field(default_factory=dict)
    sources: dict[str, float] = field(default_factory=dict)
    digest: str = ""
    dvc: str | None = None
    seconds: float = 0.0


def label(
    ws: Workspace,
    name: str,
    teachers: Sequence[str],
    *,
    resume: bool = False,
    workers: int = 1,
    relabel: bool = False,
    limit: int | None = None,
    splits: Sequence[Split] = (),
    max_quarantine: float = 0.01,
    settings: Mapping[str, Mapping[str, object]] | None = None,
    on_plan: OnPlan | None = None,
    on_progress: Progress | None = None,
) -> LabelReport:
    """Have `teachers` label the frames of dataset `name`, and publish the result as the dataset's next state.

    Ground truth is never replaced, labels of other teachers only with `relabel`. Work that a kill left is continued; `resume` insists
    that there is some. `settings` (by teacher) outrank vortex.toml. `on_plan` hears what will be done before it is done.

    Raises UsageError for a selection that cannot be; VortexError for what the frames, the teachers or the disk lack; GateRefused when
    more frames than the share `max_quarantine` (at least one) end in quarantine; Interrupted with the command that resumes. In every
    case the dataset is what it was.
    """
    request = Request(name, workers, relabel, limit, tuple(splits), max_quarantine, settings)
    selection = choose(ws, teachers, settings or {})
    find(ws, name)
    started = time.monotonic()
    with _interruptible(request, selection) as stop, dataset_lock(ws, name):
        instances = make_all(selection)
        try:
            settled = plan(ws, request, selection, describe(instances))
            _sweep(ws, name, settled.root)
            work = Work(ws, name, settled.key)
            marks = work.finished(settled.tasks)
            settled = replace(settled, resumed=len(marks))
            _require_work(ws, work, settled, resume)
            if on_plan:
                on_plan(settled)
            if not settled.tasks:
                return _unchanged(ws, settled)
            work.open()
            for mark in _remaining(settled, work, marks, instances, stop):
                work.keep(mark)
                marks[mark.id] = mark
                if on_progress:
                    on_progress(len(marks), len(settled.tasks))
                _require_few(settled, work, marks)
        finally:
            close_all(instances)
        path = _require_some(settled, work, marks)
        publish(ws, settled, work, marks)
        work.remove()
        return _report(ws, settled, marks, path, time.monotonic() - started)


@contextmanager
def _interruptible(request: Request, selection: Sequence[SelectedTeacher]) -> Iterator[Stop]:
    try:
        with stop_on_signals() as stop:
            yield stop
    except (Stopped, KeyboardInterrupt) as error:
        message = f"the labelling of {request.name} was stopped; the dataset is as it was, and the frames that are done are kept"
        raise Interrupted(message, request.command(selection)) from error


def _remaining(
    settled: LabelPlan, work: Work, marks: Mapping[str, Mark], instances: Mapping[str, AnyTeacher], stop: Stop
) -> Iterator[Mark]:
    job = Job(settled.root, work.folder, settled.key, settled.selection)
    tasks = [task for task in settled.tasks if task.frame.id not in marks]
    if not tasks:
        return
    workers = min(settled.request.workers, len(tasks))
    if workers == 1:
        yield from alone(job, tasks, instances, stop)
        return
    with closing(together(job, tasks, workers, stop)) as answers:
        yield from answers


def _require_work(ws: Workspace, work: Work, settled: LabelPlan, resume: bool) -> None:
    if not resume or work.begun or not settled.tasks:
        return
    others = [key for key in unfinished(ws, settled.name) if key != settled.key]
    why = f"; unfinished work with other teachers, settings or content: {', '.join(others)}" if others else ""
    raise VortexError(f"there is nothing of {settled.name} to resume with these teachers{why}", "leave --resume out to begin")


def _require_few(settled: LabelPlan, work: Work, marks: Mapping[str, Mark]) -> None:
    """Raise GateRefused as soon as more frames are in quarantine than are allowed; the next run tries them again."""
    faulty = [mark for mark in marks.values() if mark.faults]
    if len(faulty) <= settled.allowed:
        return
    path = work.report(faulty)
    work.forget(faulty)
    raise GateRefused(
        f"{len(faulty)} of {len(settled.tasks)} frames could not be labelled, allowed: {settled.allowed}; nothing was published",
        f"see {path}; mend the cause and run the command again, or allow more with --max-quarantine SHARE",
        [f"{mark.id}: {reason}" for mark in faulty[:SHOWN] for reason in _reasons(mark)],
    )


def _require_some(settled: LabelPlan, work: Work, marks: Mapping[str, Mark]) -> Path | None:
    """Write the list of quarantined frames. Raises GateRefused when not one frame has got a label."""
    _require_few(settled, work, marks)
    faulty = [mark for mark in marks.values() if mark.faults]
    path = work.report(faulty)
    if any(mark.files for mark in marks.values()):
        return path
    work.forget(faulty)
    raise GateRefused(
        f"none of the {len(marks)} frames could be labelled; nothing was published",
        f"see {path}; mend the cause and run the command again",
        [f"{mark.id}: {reason}" for mark in faulty[:SHOWN] for reason in _reasons(mark)],
    )


def _unchanged(ws: Workspace, settled: LabelPlan) -> LabelReport:
    kept = settled.kept
    if not kept.same and not kept.quarantined:
        why = [f"{kept.truth} frames have ground-truth masks, which no teacher replaces"] if kept.truth else []
        why += [f"{count} frames have {what}, which only --relabel replaces" for what, count in kept.others]
        raise VortexError(
            f"{settled.name}: there is nothing for these teachers to label: {'; '.join(why) or 'no frame is of these splits'}",
            f"see what it holds: vortex data show {settled.name}",
        )
    return LabelReport(settled.name, settled.key, False, kept=kept, digest=settled.digest, dvc=data_hash(ws))


def _report(ws: Workspace, settled: LabelPlan, marks: Mapping[str, Mark], path: Path | None, seconds: float) -> LabelReport:
    return LabelReport(
        settled.name,
        settled.key,
        True,
        depth=sum("teacher_depth" in mark.files for mark in marks.values()),
        segmentation=sum("segmentation" in mark.files for mark in marks.values()),
        kept=settled.kept,
        quarantined={mark.id: _reasons(mark) for mark in marks.values() if mark.faults},
        quarantine=path,
        classes=_shares(marks, "classes"),
        sources=_shares(marks, "sources"),
        digest=resolve(ws, name_or_manifest=settled.name).digest,
        dvc=data_hash(ws),
        seconds=round(seconds, 3),
    )


def _reasons(mark: Mark) -> list[str]:
    return [f"no {fault.label}: {fault.teacher}: {fault.reason}" for fault in mark.faults]


def _shares(marks: Mapping[str, Mark], what: str) -> dict[str, float]:
    counted: Counter[str] = Counter()
    for mark in marks.values():
        counted.update(mark.pixels.get(what, {}))
    total = sum(counted.values())
    return {name: count / total for name, count in counted.items()} if total else {}


def _sweep(ws: Workspace, name: str, root: Path) -> None:
    """Remove what a run left that was killed after it had published."""
    for key in unfinished(ws, name):
        if (root / "provenance" / f"{key}.json").is_file():
            Work(ws, name, key).remove()
