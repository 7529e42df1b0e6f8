"""The gates: what was asked, what was found, and whether that is a yes. Pure judgement; refusing is the caller's part."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from validation.checks import Check
from validation.policies import DataPassed, DeviceSize, MetricsPresent, NotWorse, OnnxParity, Policies, Rule

if TYPE_CHECKING:
    from validation.manifest import Frame
    from validation.statistics import Progress, Statistics


@dataclass(frozen=True)
class DataJudgement:
    """The data gate's answer for one set of frames.

    `labelled` counts frames with at least one labelled pixel; `train_labelled` is their share among the training frames; `splits`
    counts frames. `evaluation` is a set whose every frame is of split `test`: fit to measure on, never to train on.
    """

    checks: tuple[Check, ...]
    frames: int
    labelled: int
    train_labelled: float
    splits: Mapping[str, int]
    evaluation: bool

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


def data_checks(
    root: Path, frames: Iterable[Frame], kind: str, policies: Policies, progress: Progress | None = None, workers: int = 1
) -> DataJudgement:
    """Measure and judge the frames of one data set (files below `root`) by the bounds of `kind`.

    `progress` is called with the number of frames read so far. A bad file is a failed check, never an exception;
    VortexError is raised for an unknown kind.
    """
    policies.data.kind(kind)
    from validation.statistics import gather

    return judge_statistics(gather(root, frames, progress=progress, workers=workers)[0], kind, policies)


def judge_statistics(statistics: Statistics, kind: str, policies: Policies) -> DataJudgement:
    """Judge frames that were measured before. Raises VortexError for an unknown kind."""
    bounds = policies.data.kind(kind)
    from validation.expectations import judge
    from validation.table import judged

    table = judged(statistics, bounds, policies.data)
    splits = {str(name): int(count) for name, count in table["split"].value_counts().items()}
    evaluation = set(splits) == {"test"}
    labelled = table["labelled"] > 0
    train = labelled[table["split"] == "train"]
    share = float(train.mean()) if len(train) else 0.0
    checks = judge(table, bounds, policies.data, evaluation=evaluation)
    return DataJudgement(checks, len(table), int(labelled.sum()), share, splits, evaluation)


def all_ignore_probability(frames: Iterable[Frame], batch_size: int) -> float:
    """Probability that a batch drawn from `frames` (with replacement, as a mixture is) has no labelled frame.

    Judged by what the manifest declares; frames of a `partial` set that turn out to be unlabelled make it higher.
    """
    labelled = total = 0
    for frame in frames:
        total += 1
        labelled += frame.supervision != "none"
    return all_ignore_batch(labelled / total if total else 0.0, batch_size)


def all_ignore_batch(labelled_share: float, batch_size: int) -> float:
    """Probability that `batch_size` frames drawn one by one are all unlabelled; 6 % labelled and 16 frames give 0.37."""
    return float((1 - labelled_share) ** batch_size)


@dataclass(frozen=True)
class PromotionEvidence:
    """Everything that a promotion is judged by, gathered by the caller.

    `metrics` and `incumbent` were measured on one domain, camera and protocol, which `measured_on` names; None means
    that they were not measured there. `incumbent_version` is None when nothing holds the channel at that stage yet.
    """

    data_validated: bool | None
    metrics: Mapping[str, float] | None
    allowed_unvalidated: bool = False
    measured_on: str = ""
    incumbent: Mapping[str, float] | None = None
    incumbent_version: str | None = None
    onnx_parity_m: float | None = None
    class_agreement: float | None = None
    size: tuple[int, int] | None = None
    device_runtime: str = "onnxruntime"


def judge_promotion(stage: str, evidence: PromotionEvidence, policies: Policies) -> list[Check]:
    """Judge the evidence by the stage's list in `policies.yaml`. Raises VortexError for an unknown stage."""
    return [_judge(rule, evidence) for rule in policies.promotion.stage(stage)]


def _judge(rule: Rule, evidence: PromotionEvidence) -> Check:
    match rule:
        case DataPassed():
            return _data_passed(evidence)
        case MetricsPresent():
            return _metrics_present(rule, evidence)
        case OnnxParity():
            return _onnx_parity(rule, evidence)
        case DeviceSize():
            return _device_size(rule, evidence)
        case NotWorse():
            return _not_worse(rule, evidence)
        case _:
            assert_never(rule)


def _data_passed(evidence: PromotionEvidence) -> Check:
    asked = "the training data passed `vortex validate`"
    if evidence.allowed_unvalidated:
        return Check("data-passed", asked, "trained with --allow-unvalidated: train again on data that passes", False)
    found = {True: "passed", False: "it failed", None: "never validated: run `vortex validate` on it"}[evidence.data_validated]
    return Check("data-passed", asked, found, evidence.data_validated is True)


def _metrics_present(rule: MetricsPresent, evidence: PromotionEvidence) -> Check:
    asked = f"{', '.join(rule.metrics)} measured and finite{_on(evidence)}"
    if evidence.metrics is None:
        return Check("metrics-present", asked, "not measured: run `vortex evaluate` there", False)
    missing = [name for name in rule.metrics if name not in evidence.metrics]
    broken = [f"{name} = {evidence.metrics[name]}" for name in rule.metrics if not math.isfinite(evidence.metrics.get(name, 0.0))]
    faults = ([f"missing: {', '.join(missing)}"] if missing else []) + ([f"not finite: {', '.join(broken)}"] if broken else [])
    found = "; ".join(faults) or ", ".join(f"{name} {evidence.metrics[name]:.3f}" for name in rule.metrics)
    return Check("metrics-present", asked, found, not faults)


def _onnx_parity(rule: OnnxParity, evidence: PromotionEvidence) -> Check:
    asked = f"ONNX within {rule.depth_m:.1e} m of the trained network, classes agree on {rule.class_agreement:.2%}"
    depth, classes = evidence.onnx_parity_m, evidence.class_agreement
    if depth is None or classes is None:
        return Check("onnx-parity", asked, "not exported: run `vortex export`", False)
    # Written so that NaN fails: every comparison with it is false.
    passed = depth <= rule.depth_m and classes >= rule.class_agreement
    return Check("onnx-parity", asked, f"{depth:.1e} m, {classes:.2%}", passed)


def _device_size(rule: DeviceSize, evidence: PromotionEvidence) -> Check:
    wanted = rule.sizes.get(evidence.device_runtime)
    asked = f"input of {wanted[0]}x{wanted[1]} for {evidence.device_runtime}" if wanted else f"any input size for {evidence.device_runtime}"
    found = f"{evidence.size[0]}x{evidence.size[1]}" if evidence.size else "unknown"
    return Check("device-size", asked, found, wanted is None or evidence.size == wanted)


def _not_worse(rule: NotWorse, evidence: PromotionEvidence) -> Check:
    name, incumbent = f"not-worse-{rule.metric}", evidence.incumbent_version or "the incumbent"
    slack = f" by more than {rule.tolerance:.1%}" if rule.tolerance else ""
    asked = f"{rule.metric} ({rule.direction} is better) not worse than {incumbent}{slack}{_on(evidence)}"
    ours = (evidence.metrics or {}).get(rule.metric)
    if ours is None or not math.isfinite(ours):
        return Check(name, asked, f"{rule.metric} {'not measured' if ours is None else ours}", False)
    if evidence.incumbent_version is None and evidence.incumbent is None:
        return Check(name, asked.replace("the incumbent", "an incumbent"), f"{ours:.3f}; the channel is empty", True)
    theirs = (evidence.incumbent or {}).get(rule.metric)
    if theirs is None or not math.isfinite(theirs):
        state = "was not measured there" if theirs is None else f"has {theirs}"
        return Check(name, asked, f"{ours:.3f}, but {incumbent} {state}: run `vortex evaluate {incumbent}` on the same data", False)
    slack_value = rule.tolerance * abs(theirs)
    passed = ours <= theirs + slack_value if rule.direction == "lower" else ours >= theirs - slack_value
    return Check(name, asked, f"{ours:.3f} against {theirs:.3f}", passed)


def _on(evidence: PromotionEvidence) -> str:
    return f" on {evidence.measured_on}" if evidence.measured_on else ""
