"""What a gate says about one question; every gate speaks in these."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One question of a gate and its answer; `frames` are ids of examples that speak against it."""

    name: str
    asked: str
    found: str
    passed: bool
    frames: tuple[str, ...] = ()
