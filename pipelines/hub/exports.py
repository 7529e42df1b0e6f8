"""The exports that the registry has of a version: which one counts, and whether it answers as the network does."""

from __future__ import annotations

from typing import Final

from registry.records import Export, Version
from validation.checks import Check
from validation.policies import load_policies
from validation.promotion.evidence import ExportParity
from validation.promotion.gates.onnx_parity import OnnxParity, judge

FORMAT: Final = "onnx"
PARITY_DOMAIN: Final = "parity_domain"
"""In an export's detail: the domain of the frames that its parity was measured on, None for noise."""


def newest(version: Version) -> Export | None:
    """The version's recorded ONNX export at its trained size, or None."""
    exports = [entry for entry in version.exports if (entry.format, entry.size, entry.precision) == (FORMAT, version.size, "fp32")]
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
    return [judge(rule, parity_evidence(exported)) for rule in _parity_rules()]


def answers_alike(exported: Export) -> bool:
    """Whether an export answers as its network does within the bounds of promotion to staging, on one real frame or more."""
    evidence = parity_evidence(exported)
    return all(judge(rule.model_copy(update={"frames": 1}), evidence).passed for rule in _parity_rules())


def on_too_few_frames(exported: Export) -> bool:
    """Whether an export answers as its network does, but on fewer real frames than promotion to staging asks for."""
    return answers_alike(exported) and not all(check.passed for check in parity_checks(exported))


def _parity_rules() -> list[OnnxParity]:
    return [rule for rule in load_policies().promotion.stage("staging") if isinstance(rule, OnnxParity)]
