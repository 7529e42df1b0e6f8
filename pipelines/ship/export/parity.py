"""Does the exported file answer as the student does? In tensors, where the worst pixel is the answer, and in the task that it is made for."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from core.classes import CLASSES
from core.environment import temporary
from core.errors import VortexError
from core.progress import NamedProgress, Notice
from pipelines.compare.frame_errors import CONFUSION, share_of
from pipelines.compare.verdict import judge_frames
from pipelines.evaluate.student import evaluate_predictor
from pipelines.exam.results import Result, in_order, results
from pipelines.hub.exports import Form, TaskResult
from pipelines.pack.preparing import packs_folder
from pipelines.predict.runtimes import Predictor, of_file, of_student
from pipelines.protocol import EXAM
from pipelines.ship.export.half import rounded
from validation.promotion.evidence import Comparison
from validation.promotion.gates.task_parity import TaskParity

if TYPE_CHECKING:
    from models.student import Student
    from pipelines.exam.sets import ExamSet
    from pipelines.workspace import Workspace
    from registry.records import Version
    from registry.versions import Hub

NOISE = "noise"
NOISE_FRAMES = 4
DEPTH_METRICS: Final = ("rmse", "rmse_near")


@dataclass(frozen=True)
class Parity:
    """How far an exported file is from the student that it was made of."""

    depth_m: float
    """Largest absolute difference of depth over all pixels of all frames, in metres; NaN when either is not finite."""
    class_agreement: float
    """Fraction of pixels whose most likely class is the same."""
    frames: int


@contextmanager
def predictor_of_form(path: Path, form: Form, threads: int = 1) -> Iterator[Predictor]:
    """The file as a predictor that answers as its precision does: a half-precision file is run with every rounding said aloud."""
    if form.precision != "fp16":
        yield of_file(path, threads)
        return
    import onnx

    with tempfile.TemporaryDirectory(dir=temporary()) as folder:
        onnx.save(rounded(onnx.load(str(path))), str(Path(folder) / path.name))
        yield of_file(Path(folder) / path.name, threads)


def measure_parity(student: Student, runtime: Predictor, rgb: NDArray[np.uint8]) -> Parity:
    """Run frames `rgb` [N, H, W, 3] through the student (torch eager, CPU) and through the file's predictor, one at a time."""
    eager = of_student(student.cpu().eval())
    worst, same, pixels = 0.0, 0, 0
    for frame in rgb:
        expected, answers = eager(frame[None]), runtime(frame[None])
        difference = float(np.abs(answers.depth - expected.depth).max())
        # max() would drop a NaN on one side of the comparison; np.fmax would drop it on both.
        worst = difference if np.isnan(difference) or difference > worst else worst
        agree = answers.logits.argmax(axis=1) == expected.logits.argmax(axis=1)
        same, pixels = same + int(agree.sum()), pixels + agree.size
        if np.isnan(worst):
            break
    return Parity(worst, same / max(pixels, 1), len(rgb))


def measure_task(
    ws: Workspace,
    registry: Hub,
    version: Version,
    runtime: Predictor,
    sets: Sequence[ExamSet],
    *,
    rule: TaskParity,
    pixels: dict[str, int] | None,
    on_step: Notice | None = None,
    on_progress: NamedProgress | None = None,
) -> TaskResult:
    """Judge a file's predictor against the version's network on the exam's `sets`, by the verdict that compares versions.

    What the registry does not hold of the network is measured, and not recorded. `pixels` are the labelled ones of each class in training:
    a class that was never trained is not judged. Raises VortexError when weights that are needed are gone.
    """
    network = results(ws, registry, version, sets, record=False, on_progress=on_progress)
    answers: list[tuple[str, Result, Result]] = []
    for exam_set in sets:
        if on_step:
            on_step(f"running the file of {version.name} on {len(exam_set.frames)} frames of {exam_set.ref.name}")
        for evaluation in evaluate_predictor(runtime, exam_set.ref, exam_set.frames, version.size, packs_folder(ws), EXAM):
            expected = network[exam_set.ref.name, evaluation.camera]
            errors = in_order(evaluation.errors, exam_set.cameras[evaluation.camera])
            place = f"{exam_set.ref.name}, {evaluation.camera}"
            answers.append((place, Result(expected.protocol, evaluation.values, errors), expected))
    questions = [(metric, place, ours, theirs) for place, ours, theirs in answers for metric in _metrics(theirs, pixels)]
    judgements = tuple((metric, place, _judged(ours, theirs, metric, rule, len(questions))) for metric, place, ours, theirs in questions)
    return TaskResult(sets[0].ref.domain, tuple(exam_set.name for exam_set in sets), rule.margin, rule.iou, rule.least, judgements)


def noise(size: tuple[int, int], frames: int = NOISE_FRAMES, seed: int = 0) -> NDArray[np.uint8]:
    """Seeded uniform noise [N, H, W, 3]: what parity runs on where the version's own frames are not at hand."""
    return np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), dtype=np.uint8)


def _metrics(network: Result, pixels: dict[str, int] | None) -> list[str]:
    """What can be judged at a place: depth, near depth, and each class that is there and was trained."""
    confusion = network.errors.sums.get(CONFUSION)
    there = np.zeros(len(CLASSES)) if confusion is None else np.asarray(confusion).sum(axis=(0, 2))
    classes = [name for name, count in zip(CLASSES, there, strict=True) if count and (pixels is None or pixels[name])]
    return [name for name in (*DEPTH_METRICS, *(f"iou_{name}" for name in classes)) if name in network.values]


def _judged(ours: Result, theirs: Result, metric: str, rule: TaskParity, comparisons: int) -> Comparison:
    if not np.isfinite(ours.values.get(metric, np.nan)):
        return Comparison(
            "worse", f"{ours.values.get(metric, np.nan):g} against {theirs.values[metric]:.4g}: the file's answer is not finite"
        )
    value = abs(theirs.values[metric])
    margin = max(rule.margin, rule.iou / value) if metric.startswith("iou_") and value else rule.margin
    try:
        verdict = judge_frames(ours.errors, theirs.errors, metric, margin=margin, comparisons=comparisons)
    except VortexError as error:  # an error of a single frame that is not finite: nothing that a robot could use
        return Comparison("worse", error.message)
    because = f" ({verdict.reason})" if verdict.reason else ""
    numbers = f"{verdict.text(verdict.a)} against {verdict.text(verdict.b)}, difference {verdict.range_text}"
    # What hardly a pixel shows would never be decided. Everything else that is too little to say is a person's decision.
    loss, share = verdict.difference if verdict.direction == "lower" else -verdict.difference, share_of(theirs.errors, metric)
    if verdict.word == "open" and share < rule.least and not verdict.undecided and loss <= verdict.margin:
        return Comparison("equivalent", f"equal by its value alone, of {share:.2%} of the exam's pixels with truth{because}: {numbers}")
    return Comparison(verdict.word, f"{verdict.words}{because}: {numbers}; {verdict.family}")
