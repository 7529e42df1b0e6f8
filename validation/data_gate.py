"""The data gate: what is asked of a set of frames, and whether the answer is a yes. Pure judgement; refusing is the caller's part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from validation.checks import Check
from validation.policies import Policies
from validation.table import suite_table

if TYPE_CHECKING:
    from validation.statistics import Statistics


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


def judge_statistics(statistics: Statistics, kind: str, policies: Policies) -> DataJudgement:
    """Judge frames that were measured before. Raises VortexError for an unknown kind."""
    from validation.expectations import judge  # three seconds of great-expectations: a plan, and frames that are read, do without

    bounds = policies.data.kind(kind)

    table = suite_table(statistics, bounds, policies.data)
    splits = {str(name): int(count) for name, count in table["split"].value_counts().items()}
    evaluation = set(splits) == {"test"}
    labelled = table["labelled"] > 0
    train = labelled[table["split"] == "train"]
    share = float(train.mean()) if len(train) else 0.0
    checks = judge(table, bounds, policies.data, evaluation=evaluation)
    return DataJudgement(checks, len(table), int(labelled.sum()), share, splits, evaluation)


def all_ignore_batch(labelled_share: float, batch_size: int) -> float:
    """Probability that `batch_size` frames drawn one by one, with replacement as a mixture is, are all unlabelled.

    Judged by what the manifest declares; frames of a `partial` set that turn out to be unlabelled make it higher.
    """
    return float((1 - labelled_share) ** batch_size)
