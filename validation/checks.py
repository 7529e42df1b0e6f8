"""What a gate says about one question; every gate speaks in these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One question of a gate and its answer.

    `frames` are ids of examples that speak against it, and `reasons` says of each of them why. `waiver` is who lets a failure
    pass, why, and until when; a waived check keeps `passed` False, so that nobody takes it for a yes.
    """

    name: str
    asked: str
    found: str
    passed: bool
    frames: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    waiver: str = ""

    @property
    def ok(self) -> bool:
        """Whether the gate lets this pass: a yes, or a no that is waived."""
        return self.passed or bool(self.waiver)
