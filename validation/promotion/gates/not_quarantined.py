"""Neither the version, nor one whose weights are in it, nor data that they were trained on, stands in quarantine."""

from __future__ import annotations

from typing import Final, Literal

from validation.checks import Check
from validation.promotion.evidence import Quarantines
from validation.promotion.gate import Gate
from validation.strict import Strict


class NotQuarantined(Strict):
    """Nothing that the version has its weights or its data from is in quarantine."""

    check: Literal["not-quarantined"]


def judge(rule: NotQuarantined, quarantines: Quarantines) -> Check:
    """No override helps: whoever disagrees lifts the quarantine, which the history keeps."""
    question = f"nothing in quarantine of {', '.join(quarantines.line)} and their data"
    answer = f"{'; '.join(quarantines.bars)}; it ends with: vortex quarantine --lift" if quarantines.bars else "nothing"
    return Check(rule.check, question, answer, not quarantines.bars)


GATE: Final = Gate(NotQuarantined, (Quarantines,), judge)
