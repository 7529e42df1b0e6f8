"""The evidence of a promotion: what the version, the one in production and the baselines came to on the exam, and what the version is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import VortexError
from core.progress import NamedProgress, Notice
from pipelines.compare.frame_errors import FrameErrors, share_of
from pipelines.compare.verdict import judge_frames
from pipelines.evaluate.baselines import NAMES, baseline_errors
from pipelines.exam.leaks import leaks, lineage_of
from pipelines.exam.results import Place, Result, results
from pipelines.exam.sets import ExamSet, exam_sets
from pipelines.exam.versioned import unrecorded
from pipelines.hub.classes import class_pixels
from pipelines.hub.evidence import EvidenceItem, reports
from pipelines.hub.exports import (
    BUILDS,
    HOST,
    PARITY_DOMAIN,
    TASK,
    Form,
    TaskResult,
    form_of,
    host_speed,
    newest,
    on_too_few_frames,
    parity_evidence,
    shipped_file,
    task_rules,
)
from pipelines.ship.export import tensorrt_check
from pipelines.ship.export.run import export
from pipelines.workspace import Workspace
from registry.channels import Channel
from registry.devices import devices
from registry.quarantine import bars_in, standing
from registry.records import Export, Version
from registry.stages import newest_exam
from registry.versions import Hub
from validation.evidence.closed_loop import ClosedLoop
from validation.evidence.device_bench import DeviceBench
from validation.evidence.shadow import Shadow
from validation.promotion.evidence import (
    Baselines,
    ClosedLoopRun,
    ClosedLoopRuns,
    Compare,
    Comparison,
    DeviceInput,
    DeviceRun,
    DeviceRuns,
    Evidence,
    Exam,
    ExamLeaks,
    ExportParity,
    Incumbent,
    Measurement,
    Quarantines,
    ShadowRun,
    ShadowRuns,
    ShippedFile,
    TrainedClasses,
    TrainingData,
)
from validation.promotion.gates import kinds_read
from validation.promotion.gates.better_than_nothing import BetterThanNothing
from validation.promotion.gates.independent_frames import IndependentFrames
from validation.promotion.gates.not_worse import NotWorse
from validation.strict import Strict


@dataclass(frozen=True)
class Request:
    """A version that asks for a channel, and the one in production there: what every kind of evidence is gathered from."""

    ws: Workspace
    registry: Hub
    version: Version
    incumbent: Version | None
    channel: Channel
    dry_run: bool
    on_step: Notice | None
    on_progress: NamedProgress | None


def gather(request: Request, rules: Sequence[Strict]) -> list[Evidence]:
    """The evidence that these rules read, once for each set and camera of the exam.

    Raises VortexError for a domain without an exam, and where the version's own weights are needed and gone.
    """
    kinds = kinds_read(rules)
    if not kinds:
        return []
    sets = exam_sets(request.ws, request.channel.domain)
    exam = Exam(
        request.channel.domain,
        tuple((exam_set.name, len(exam_set.frames), exam_set.passed) for exam_set in sets),
        unrecorded(request.ws, request.channel.domain, sets),
        *newest_exam(request.registry.ledger, request.channel),
    )
    shared: dict[type, object] = {Exam: exam}
    if ExamLeaks in kinds:
        lineage = lineage_of(request.ws, request.registry, request.version)
        texts = tuple(str(leak) for leak in leaks(request.ws, sets, lineage.trained))
        shared[ExamLeaks] = ExamLeaks((*lineage.trained, *lineage.unknown), texts, lineage.unknown)
    shared |= {kind: of_version(request) for kind, of_version in OF_VERSION.items() if kind in kinds}
    if not all(exam_set.passed for exam_set in sets):
        # What has not passed the gate is no truth to judge by; that it has not is a refusal of its own.
        return [shared | {Measurement: Measurement(request.channel.domain, None), Incumbent: None, Baselines: None}]
    return [{**shared, **at_place} for at_place in _on_exam(request, sets, rules)]


def _training_data(request: Request) -> TrainingData:
    """Of the version and every one whose weights are in it."""
    line = request.registry.weights_line(request.version)
    trained = {name: version for name, version in line.items() if isinstance(version, Version)}
    uses = tuple((name, use.name, use.state or "never validated") for name, version in trained.items() for use in version.data)
    with_data = {name for name, _, _ in uses}
    return TrainingData(tuple(line), uses, tuple(name for name in line if name not in with_data))


def _quarantines(request: Request) -> Quarantines:
    """Of the version, every one whose weights are in it, and the data of them all."""
    line = request.registry.weights_line(request.version)
    return Quarantines(tuple(line), tuple(map(str, bars_in(line, standing(request.registry.ledger)))))


def _trained_classes(request: Request) -> TrainedClasses:
    domain = request.ws.domain(request.channel.domain)
    return TrainedClasses(domain.require_classes, class_pixels(request.registry, request.version))


def _device_input(request: Request) -> DeviceInput:
    return DeviceInput(request.version.size, request.ws.config.devices[request.channel.device].runtime)


def _parity(request: Request) -> ExportParity | None:
    """Of the version's fp32 file on frames of the channel's domain, which every other is made of: exported and measured now where that was
    not done on enough."""
    form = HOST if _form(request).lossy else _form(request)
    exported = newest(request.version, form)
    if exported is None or exported.detail.get(PARITY_DOMAIN) != request.channel.domain or on_too_few_frames(exported):
        exported = _export(request, form)
    return parity_evidence(exported)


def _shipped_file(request: Request) -> ShippedFile:
    """The very file that the channel's device is sent: exported and judged on the exam now where that was not done as it is now."""
    form = _form(request)
    exported = newest(request.version, form)
    if form == HOST:
        return ShippedFile(str(form), form.lossy)
    unasked = form.target == "jetson" and tensorrt_check.installed() and exported is not None and BUILDS not in exported.detail
    if exported is None or unasked or (form.lossy and not _judged_now(request, exported)):
        exported = _export(request, form)
    return shipped_file(exported, host_speed(request.ws, request.registry, request.version, exported))


def _judged_now(request: Request, exported: Export) -> bool:
    if TASK not in exported.detail:
        return False
    task = TaskResult.from_json(exported.detail[TASK])
    exam = tuple(exam_set.name for exam_set in exam_sets(request.ws, request.channel.domain))
    return task.exam == exam and all(map(task.judged_by, task_rules()))


def _form(request: Request) -> Form:
    return form_of(request.ws.config.devices[request.channel.device])


def _export(request: Request, form: Form) -> Export:
    return export(
        request.ws,
        request.version.name,
        form,
        domain=request.channel.domain,
        record=not request.dry_run,
        on_step=request.on_step,
        on_progress=request.on_progress,
    )


def _closed_loop_runs(request: Request) -> ClosedLoopRuns:
    return ClosedLoopRuns(
        request.version.name,
        tuple(
            ClosedLoopRun(report.simulator.name, report.reached, report.unhurt, item.trust == "trusted", _about(item))
            for report, item in reports(request.ws, request.registry, request.version, ClosedLoop, "closed-loop")
        ),
    )


def _device_runs(request: Request) -> DeviceRuns:
    """Of the reports about the export that the channel's devices are sent; who vouches for one is a device of the channel's kind."""
    exported = newest(request.version, _form(request))
    sha256 = exported.artifact.sha256 if exported else None
    runs = []
    for report, item in reports(request.ws, request.registry, request.version, DeviceBench, "device-bench"):
        if report.export_sha256 == sha256:
            device, text = _vouching(request, item, lambda channel: channel.device == request.channel.device)
            runs.append(DeviceRun(report.latency_ms.p99, report.frames, device, text))
    return DeviceRuns(request.version.name, sha256, tuple(runs))


def _shadow_runs(request: Request) -> ShadowRuns:
    """Of the version's shadow reports; who vouches for one is a device of the channel, beside whose production it ran."""
    runs = []
    for report, item in reports(request.ws, request.registry, request.version, Shadow, "shadow"):
        device, text = _vouching(request, item, lambda channel: channel == request.channel)
        runs.append(ShadowRun(device, report.frames, report.depth_within_10_percent, report.same_class, text, report.crashes))
    return ShadowRuns(request.version.name, tuple(runs))


def _vouching(request: Request, item: EvidenceItem, counts: Callable[[Channel], bool]) -> tuple[str, str]:
    """The enrolled device that signed a report and pulls a channel that counts, else nobody; and which report it is."""
    if not item.device:
        return "", _about(item)
    channel = devices(request.registry.ledger, item.device)[item.device].channel
    return (item.device, _about(item)) if counts(channel) else ("", f"{_about(item)} of {channel}")


def _about(item: EvidenceItem) -> str:
    return f"{item.record.report}, {item.record.made_at[:10]}, {item.signature}"


OF_VERSION: Final[Mapping[type, Callable[[Request], object]]] = {
    Quarantines: _quarantines,
    TrainingData: _training_data,
    TrainedClasses: _trained_classes,
    DeviceInput: _device_input,
    ExportParity: _parity,
    ShippedFile: _shipped_file,
    ClosedLoopRuns: _closed_loop_runs,
    DeviceRuns: _device_runs,
    ShadowRuns: _shadow_runs,
}
"""How each kind of evidence that does not depend on the exam is gathered."""
OF_EXAM: Final = (Exam, ExamLeaks, Measurement, Incumbent, Baselines)
"""The kinds that the exam gives."""


def _on_exam(request: Request, sets: Sequence[ExamSet], rules: Sequence[Strict]) -> list[Evidence]:
    """What the version, its incumbent and the baselines came to at each place of the exam."""
    places = [(exam_set, (exam_set.ref.name, camera)) for exam_set in sets for camera in exam_set.cameras]
    answers = _results(request, request.version, sets)
    rival, missing = (None, "") if request.incumbent is None else _rival(request, request.incumbent, sets, rules)
    # All intervals of one promotion hold at once: each metric at each place is one more of them.
    criteria = {(rule.metric, rule.least) for rule in rules if isinstance(rule, NotWorse)}
    judged = sum(share_of(answers[place].errors, metric) >= least for metric, least in criteria for _, place in places)
    first = any(isinstance(rule, (BetterThanNothing, IndependentFrames)) for rule in rules)
    gathered: list[Evidence] = []
    for exam_set, place in places:
        answer = answers[place]
        incumbent = baselines = effective = None
        if request.incumbent is not None:
            against = _compare(answer.errors, rival[place].errors, judged) if rival else None
            incumbent, effective = (
                Incumbent(request.incumbent.name, against, missing),
                _worth(answer, rival[place].errors if rival else None),
            )
        elif first:
            # Each at 95 %: a version must be better than every baseline, so that asking of several makes it no easier (Berger 1982).
            errors = baseline_errors(request.ws, exam_set.ref, exam_set.cameras[place[1]], request.version.size)
            baselines = Baselines({NAMES[name]: _compare(answer.errors, of_name, 1) for name, of_name in errors.items()})
            effective = min((worth for of_name in errors.values() if (worth := _worth(answer, of_name)) is not None), default=None)
        measurement = Measurement(_place(request, exam_set, place, answer), answer.values, len(answer.errors.ids), effective)
        gathered.append({Measurement: measurement, Incumbent: incumbent, Baselines: baselines})
    return gathered


def _results(request: Request, version: Version, sets: Sequence[ExamSet]) -> dict[Place, Result]:
    return results(
        request.ws,
        request.registry,
        version,
        sets,
        truth_size=request.version.size,
        record=not request.dry_run,
        on_progress=request.on_progress,
    )


def _rival(
    request: Request, incumbent: Version, sets: Sequence[ExamSet], rules: Sequence[Strict]
) -> tuple[dict[Place, Result] | None, str]:
    """What the incumbent came to, or why that cannot be known: its weights are gone, and nothing is stored of it on this exam."""
    if not any(isinstance(rule, NotWorse) for rule in rules):
        return None, ""
    try:
        return _results(request, incumbent, sets), ""
    except VortexError as error:
        return None, f"{incumbent.name} was not measured on this exam, and cannot be: {error.message}"


def _compare(ours: FrameErrors, theirs: FrameErrors, comparisons: int) -> Compare:
    """How one stands against the other; `comparisons` intervals are to hold at once."""

    def compare(metric: str, margin: float) -> Comparison:
        try:
            verdict = judge_frames(ours, theirs, metric, margin=margin, comparisons=comparisons)
        except VortexError as error:  # nothing to judge by, or an error that is not finite
            return Comparison("open", error.message, share_of(ours, metric))
        because = f" ({verdict.reason})" if verdict.reason else ""
        numbers = f"{verdict.text(verdict.a)} against {verdict.text(verdict.b)}, difference {verdict.range_text}"
        return Comparison(verdict.word, f"{verdict.words}{because}: {numbers}; {verdict.basis}", share_of(ours, metric))

    return compare


def _worth(answer: Result, other: FrameErrors | None) -> float | None:
    """How many independent frames the judged ones are worth; None where nothing says."""
    if other is None:
        return None
    try:
        return judge_frames(answer.errors, other).effective_frames
    except VortexError:
        return None


def _place(request: Request, exam_set: ExamSet, place: Place, answer: Result) -> str:
    """Domain, camera, set, frames and protocol, and both input sizes where they differ."""
    height, width = request.version.size
    theirs = request.incumbent.size if request.incumbent else request.version.size
    sizes = (
        f", {theirs[0]}x{theirs[1]} and {height}x{width}, both against truth at {height}x{width}" if theirs != request.version.size else ""
    )
    return f"{request.channel.domain} · {place[1]} ({exam_set.name}, {len(answer.errors.ids)} frames, {answer.protocol}{sizes})"
