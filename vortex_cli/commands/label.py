"""`vortex label`: teachers label the frames of a dataset."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from vortex_cli import console
from vortex_cli.parameters import DatasetName

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress

    from pipelines.label.plan import LabelPlan
    from pipelines.label.run import LabelReport


class Split(StrEnum):
    """Parts of a dataset."""

    train = "train"
    gap = "gap"
    val = "val"
    test = "test"


def label(
    name: DatasetName,
    teachers: Annotated[str, typer.Option(metavar="A,B,…", help="Any of da3, da2, da2-metric, yolo, sam2, geometric.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue unfinished work, and say so when there is none.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes, each with teachers of its own; the labels are the same.")] = 1,
    relabel: Annotated[bool, typer.Option("--relabel", help="Replace labels of other teachers too; never ground truth.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many frames, spread over the dataset.")] = None,
    split: Annotated[list[Split] | None, typer.Option(help="Only frames of this split; may be repeated.")] = None,
    max_quarantine: Annotated[float, typer.Option(metavar="SHARE", help="Share of frames that may fail (at least one frame).")] = 0.01,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="TEACHER.KEY=VALUE", help="A teacher's setting, for once.")] = None,
) -> None:
    """Have teachers label the frames of a dataset: depth, and masks merged from boxes, outlines and geometry.

    Work is kept frame by frame: after a kill or Ctrl-C the same command continues. A frame that a teacher fails on is put aside and
    reported. The dataset changes once, at the end; then it has to be validated again.

    Example: vortex label kitchen --teachers da3,yolo,sam2,geometric --workers 2
    """
    from pipelines.label.run import label as carry_out

    with console.progress() as display:
        report = carry_out(
            console.workspace(),
            name,
            [word for word in teachers.replace(" ", "").split(",") if word],
            resume=resume,
            workers=workers,
            relabel=relabel,
            limit=limit,
            splits=[part.value for part in split or ()],
            max_quarantine=max_quarantine,
            settings=_settings(set_ or ()),
            on_plan=(watcher := _Display(display)).plan,
            on_progress=watcher.progress,
        )
    console.emit(report, *_result(report))


class _Display:
    """The plan as remarks, then a bar with count and time left."""

    def __init__(self, display: Progress) -> None:
        self._display = display
        self._task: Any = None

    def plan(self, plan: LabelPlan) -> None:
        for line in plan.lines():
            console.note(line)
        if plan.tasks:
            self._task = self._display.add_task(f"labelling {plan.name}", total=len(plan.tasks), completed=plan.resumed)

    def progress(self, count: int, total: int) -> None:
        self._display.update(self._task, completed=count, total=total)


def _settings(words: list[str] | tuple[str, ...]) -> dict[str, dict[str, object]]:
    """`da2.weights=PATH` as {"da2": {"weights": "PATH"}}; numbers, true and false as TOML has them, all else is text."""
    settings: dict[str, dict[str, object]] = {}
    for word in words:
        place, equals, text = word.partition("=")
        teacher, dot, key = place.partition(".")
        if not (equals and dot and teacher and key):
            raise UsageError(f"--set {word!r} is no setting, allowed: TEACHER.KEY=VALUE", "for example --set da2.weights=models/da2")
        settings.setdefault(teacher, {})[key] = _value(key, text)
    return settings


def _value(key: str, text: str) -> object:
    import tomllib

    from pipelines.workspace import PLACES

    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        value = text
    if isinstance(value, float) and not math.isfinite(value):
        value = text  # TOML reads the word nan as a number
    if key in PLACES and Path(str(value)).exists():
        return str(Path(str(value)).absolute())  # worker processes may stand elsewhere
    return value if isinstance(value, bool | int | float | str | list) else text


def _result(report: LabelReport) -> list[RenderableType]:
    if not report.changed:
        console.note(f"{report.name} is already labelled by exactly these teachers, nothing was changed")
        return []
    for frame, reasons in report.quarantined.items():
        console.note(f"put aside: {frame}: {'; '.join(reasons)}")
    if report.quarantine:
        console.note(f"{len(report.quarantined)} frames were left without a label: {report.quarantine}")
    console.note(f"next: the content is new, so have it judged: vortex validate {report.name}; vortex data show {report.name}")
    facts: list[tuple[str, object]] = [("frames with new depth", report.depth), ("frames with new masks", report.segmentation)]
    facts += [(f"pixels of class {kind}", f"{share:.1%}") for kind, share in report.classes.items()]
    facts += [(f"pixels decided by {kind}", f"{share:.1%}") for kind, share in report.sources.items()]
    facts += [("record", f"data/{report.name}/provenance/{report.key}.json"), ("data.dvc", report.dvc)]
    return [console.table(("labelled", report.name), facts, caption=f"{report.seconds:.1f} s")]
