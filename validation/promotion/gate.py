"""What a gate is: a rule of `policies.yaml`, the kinds of evidence that it reads, and the judgement."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from validation.checks import Check
from validation.strict import Strict


def _unaligned(metric: str) -> str:
    if metric.endswith("_median_scaled"):
        raise ValueError(f"{metric} is of predictions that were fitted to their truth, which a robot does not know: name {metric[:-14]}")
    return metric


JudgedMetric = Annotated[str, AfterValidator(_unaligned)]
"""A metric that a gate may judge by: of predictions as they are."""


@dataclass(frozen=True)
class Undecided(Check):
    """A no for want of evidence: there is too little to say, and a person may decide and answer for it."""


@dataclass(frozen=True)
class Gate:
    """One gate. `judge` takes a rule of type `rule` and the record of each kind in `reads`, in that order, and refuses nothing itself; one
    that asks several questions answers with several checks."""

    rule: type[Strict]
    reads: tuple[type, ...]
    judge: Callable[..., Check | Iterable[Check]]
