"""The exports that the registry has of a version: which one counts, which one a device is sent, and whether it answers as the network does."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

from core.errors import UsageError, VortexError
from pipelines.hub.evidence import reports
from pipelines.workspace import Device, Workspace
from registry.records import Export, Version
from registry.versions import Hub
from validation.checks import Check
from validation.evidence.device_bench import DeviceBench
from validation.policies import load_policies
from validation.promotion.evidence import Comparison, ExportParity, HostSpeed, ShippedFile
from validation.promotion.gates import engine_builds, int8_speed, task_parity
from validation.promotion.gates.engine_builds import EngineBuilds
from validation.promotion.gates.int8_speed import Int8Speed
from validation.promotion.gates.onnx_parity import OnnxParity, judge
from validation.promotion.gates.task_parity import TaskParity
from validation.strict import Strict

FORMAT: Final = "onnx"
PARITY_DOMAIN: Final = "parity_domain"
"""In an export's detail: the domain of the frames that its parity was measured on, None for noise."""
TASK: Final = "task"
"""In an export's detail: how the file did on the exam beside the network (`pipelines.ship.export.parity.TaskResult` as JSON)."""
BUILDS: Final = "builds"
"""In an export's detail: what NVIDIA's parser and builder said of the file, None where they were not asked."""
FP32_PARTS: Final = "fp32_parts"
"""In an export's detail: the parts of the network that stay in fp32 in a half-precision file."""

Precision = Literal["fp32", "fp16", "int8"]
Target = Literal["host", "jetson"]
R = TypeVar("R", bound=Strict)


class Form(NamedTuple):
    """A precision, and what runs the file."""

    precision: Precision = "fp32"
    target: Target = "host"

    @property
    def lossy(self) -> bool:
        """Whether the file cannot answer as the network does to the last digit."""
        return self.precision != "fp32"

    @property
    def suffix(self) -> str:
        """What the file's name says of it: nothing for fp32 on the host."""
        words = [self.precision] * self.lossy + [self.target] * (self.target != "host")
        return "".join(f"-{word}" for word in words)

    def __str__(self) -> str:
        return f"{self.precision} for {self.target}"


HOST: Final = Form()
INT8_HOST: Final = Form("int8", "host")


@dataclass(frozen=True)
class TaskResult:
    """How a file did on the exam of `domain` beside the trained network: one judgement a metric and place.

    `exam` names the sets with their contents; `margin`, `iou` and `least` are those of the rule that it was judged by (`TaskParity`);
    `least` is None where that was before there was one.
    """

    domain: str
    exam: tuple[str, ...]
    margin: float
    iou: float
    least: float | None
    judgements: tuple[tuple[str, str, Comparison], ...]

    def as_json(self) -> dict[str, Any]:
        """As an export's detail keeps it."""
        judgements = [{"metric": metric, "place": place, **dataclasses.asdict(comparison)} for metric, place, comparison in self.judgements]
        rule = {"margin": self.margin, "iou": self.iou, "least": self.least}
        return {"domain": self.domain, "exam": list(self.exam), **rule, "judgements": judgements}

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> TaskResult:
        """From an export's detail."""
        judgements = tuple((entry["metric"], entry["place"], Comparison(entry["word"], entry["text"])) for entry in raw["judgements"])
        return cls(raw["domain"], tuple(raw["exam"]), raw["margin"], raw["iou"], raw.get("least"), judgements)

    def judged_by(self, rule: TaskParity) -> bool:
        """Whether this is what the rule asks."""
        return (self.margin, self.iou, self.least) == (rule.margin, rule.iou, rule.least)

    @property
    def passed(self) -> bool:
        """Whether it is nowhere worse than the network, nor too little to say."""
        return bool(self.judgements) and all(comparison.word in ("better", "equivalent") for _, _, comparison in self.judgements)


def form_named(precision: str, target: str) -> Form:
    """The form of these words. Raises UsageError naming what is allowed."""
    for option, word, words in (("precision", precision, get_args(Precision)), ("target", target, get_args(Target))):
        if word not in words:
            raise UsageError(f"unknown {option} {word!r}, allowed: {', '.join(words)}", f"leave --{option} out for {words[0]}")
    return Form(precision, target)  # type: ignore[arg-type]


def form_of(device: Device) -> Form:
    """What a device is sent: fp16 to TensorRT and fp32 to ONNX Runtime, unless `vortex.toml` names another precision."""
    if device.runtime == "tensorrt":
        return Form(device.precision or "fp16", "jetson")
    return Form(device.precision or "fp32", "host")


def form_of_export(exported: Export) -> Form:
    """The precision of an export, and what runs it."""
    return Form(exported.precision, exported.target)  # type: ignore[arg-type]


def newest(version: Version, form: Form = HOST) -> Export | None:
    """The version's recorded ONNX export of this form at its trained size, or None."""
    exports = [
        entry
        for entry in version.exports
        if (entry.format, entry.size, entry.precision, entry.target) == (FORMAT, version.size, form.precision, form.target)
    ]
    return exports[-1] if exports else None


def parity_evidence(exported: Export) -> ExportParity | None:
    """How far the export is from the student, as the parity gate reads it; None where that was not measured."""
    if exported.parity_m is None or exported.class_agreement is None:
        return None
    return ExportParity(
        exported.parity_m, exported.class_agreement, exported.frames, exported.parity_on, exported.detail.get(PARITY_DOMAIN) is None
    )


def parity_checks(exported: Export) -> list[Check]:
    """The parity of an export against the bound that promotion to staging asks for."""
    return [judge(rule, parity_evidence(exported)) for rule in _rules(OnnxParity)]


def answers_alike(exported: Export) -> bool:
    """Whether an export answers as its network does within the bounds of promotion to staging, on one real frame or more."""
    evidence = parity_evidence(exported)
    return all(judge(rule.model_copy(update={"frames": 1}), evidence).passed for rule in _rules(OnnxParity))


def shipped_file(exported: Export, speed: HostSpeed | None = None) -> ShippedFile:
    """The export as the gates read it that ask of the very file."""
    form = form_of_export(exported)
    judgements = TaskResult.from_json(exported.detail[TASK]).judgements if TASK in exported.detail else ()
    builds = exported.detail.get(BUILDS)
    outcome = (builds["passed"], builds["text"]) if builds else None
    return ShippedFile(str(form), form.lossy, judgements, "" if judgements else "its domain has no exam here", outcome, speed)


def host_speed(ws: Workspace, registry: Hub, version: Version, exported: Export) -> HostSpeed | None:
    """What the newest report of the version says of this very file, run by what a host runs it with, on one thread; None of a file that is
    not int8 for the host."""
    if form_of_export(exported) != INT8_HOST:
        return None
    try:
        benches = reports(ws, registry, version, DeviceBench, "device-bench")
    except VortexError as error:  # what cannot be read may be the newest
        return HostSpeed(None, error.message)
    of_file = [
        report
        for report, _ in benches
        if report.export_sha256 == exported.artifact.sha256
        and report.over_eager is not None
        and report.runtime.startswith("onnxruntime ")
        and report.threads == 1
    ]
    if not of_file:
        return HostSpeed(None, "not measured: run `vortex bench --precision int8 --record`")
    return HostSpeed(of_file[-1].over_eager, f"{of_file[-1].device}, {of_file[-1].made_at:%Y-%m-%d}")


def speed_checks(ws: Workspace, registry: Hub, version: Version, exported: Export) -> list[Check]:
    """What promotion to staging asks of the speed of this very file, by the version's reports: of int8 for the host, and of no other."""
    file = shipped_file(exported, host_speed(ws, registry, version, exported))
    return [check for rule in _rules(Int8Speed) for check in int8_speed.judge(rule, file)]


def file_checks(exported: Export) -> list[Check]:
    """What promotion to staging asks of this very file: an fp32 one is held to the network's tensors, every other to its task."""
    file = shipped_file(exported)
    checks = [] if file.lossy else parity_checks(exported)
    checks += [check for rule in _rules(TaskParity) for check in task_parity.judge(rule, file)]
    return checks + [check for rule in _rules(EngineBuilds) for check in engine_builds.judge(rule, file)]


def on_too_few_frames(exported: Export) -> bool:
    """Whether an export answers as its network does, but on fewer real frames than promotion to staging asks for."""
    return answers_alike(exported) and not all(check.passed for check in parity_checks(exported))


def task_rules() -> list[TaskParity]:
    """What promotion to staging asks of a file that is not fp32."""
    return _rules(TaskParity)


def _rules(kind: type[R]) -> list[R]:
    return [rule for rule in load_policies().promotion.stage("staging") if isinstance(rule, kind)]
