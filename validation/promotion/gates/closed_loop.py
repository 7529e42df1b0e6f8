"""In a simulator the version reaches its goals, and collides, no worse than the same robot on ground-truth depth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final, Literal

from pydantic import Field

from validation.checks import Check
from validation.evidence.parity import Pairs
from validation.promotion.evidence import ClosedLoopRuns
from validation.promotion.gate import Gate, Undecided
from validation.strict import Strict


class ClosedLoopParity(Strict):
    """Parity in a closed loop: of the seeds, at most the share `margin` fewer reach the goal, and are without a collision.

    By itself only a report counts that a key of the workspace signed. `simulator` names the one that counts, if it matters.
    """

    check: Literal["closed-loop"]
    margin: Annotated[float, Field(gt=0, lt=1)]
    signed: bool = True
    simulator: str | None = None


def judge(rule: ClosedLoopParity, runs: ClosedLoopRuns) -> Iterable[Check]:
    """The newest report that counts is judged; more seeds are one report, not several to choose from."""
    which = f"{'signed ' if rule.signed else ''}closed-loop report{f' of {rule.simulator}' if rule.simulator else ''}"
    counting = [run for run in runs.runs if (run.trusted or not rule.signed) and rule.simulator in (None, run.simulator)]
    if not counting:
        others = f"none that counts, of {len(runs.runs)}: {'; '.join(run.text for run in runs.runs)}" if runs.runs else "none"
        yield Check(
            rule.check, f"a {which} of {runs.version}", f"{others}: vortex evidence add {runs.version} REPORT --kind closed-loop", False
        )
        return
    newest = counting[-1]
    for question, pairs in (("reaches the goal", newest.reached), ("drives without a collision", newest.unhurt)):
        asked = f"{question} as with ground-truth depth, within {100 * rule.margin:g} points (newest of {len(counting)}, {newest.text})"
        yield _answer(rule, asked, pairs)


def _answer(rule: ClosedLoopParity, asked: str, pairs: Pairs) -> Check:
    word = pairs.word(rule.margin)
    kind = Undecided if word == "open" else Check
    return kind(rule.check, asked, pairs.text(rule.margin), word == "parity")


GATE: Final = Gate(ClosedLoopParity, (ClosedLoopRuns,), judge)
