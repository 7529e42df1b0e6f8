"""A robot driven in a simulator by the student's depth, and by the simulator's own on the same seeds."""

from __future__ import annotations

from collections import Counter
from math import expm1, log, sqrt
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from validation.evidence.parity import Pairs
from validation.evidence.report import Count, Line, Part, Report, Seconds


class Simulator(Part):
    """What simulated, and where."""

    name: Line
    version: Line
    world: Line


class Outcome(Part):
    """How one drive ended. `time_to_goal_s` is None where the goal was not reached."""

    success: bool
    time_to_goal_s: Seconds | None
    collisions: Count

    @model_validator(mode="after")
    def _reached(self) -> Outcome:
        if self.success != (self.time_to_goal_s is not None):
            raise ValueError("time_to_goal_s is given where success is true, and null where it is false")
        return self


class Episode(Part):
    """The two drives of one seed."""

    seed: Count
    student: Outcome
    ground_truth: Outcome


class ClosedLoop(Report):
    """One line a seed, each with the run on ground-truth depth beside the student's: they are judged as pairs."""

    kind: Literal["closed-loop"]
    simulator: Simulator
    episodes: Annotated[list[Episode], Field(min_length=1, max_length=100_000)]

    @field_validator("episodes")
    @classmethod
    def _distinct(cls, episodes: list[Episode]) -> list[Episode]:
        counts = Counter(episode.seed for episode in episodes)
        twice = min((seed for seed, count in counts.items() if count > 1), default=None)
        if twice is not None:
            raise ValueError(f"seed {twice} is there {counts[twice]} times: the same drive again is no further evidence")
        return episodes

    @property
    def reached(self) -> Pairs:
        """Of each seed, whether the student and the ground truth reached the goal."""
        return Pairs.of((episode.student.success, episode.ground_truth.success) for episode in self.episodes)

    @property
    def unhurt(self) -> Pairs:
        """Of each seed, whether the student and the ground truth drove without a collision."""
        return Pairs.of((not episode.student.collisions, not episode.ground_truth.collisions) for episode in self.episodes)

    def time_text(self) -> str:
        """How much longer the student takes to the goal, over the seeds on which both reached it, with a 95 % interval.

        The mean of the logarithm of each pair's ratio, with Student's t over the pairs: a share, so that long ways weigh no more.
        """
        from scipy import stats

        pairs = [(episode.student.time_to_goal_s, episode.ground_truth.time_to_goal_s) for episode in self.episodes]
        ratios = np.array([log(ours / theirs) for ours, theirs in pairs if ours is not None and theirs is not None])
        if len(ratios) < 2:
            return f"time to goal: too few seeds on which both reached it ({len(ratios)})"
        half = float(stats.t.ppf(0.975, len(ratios) - 1)) * float(ratios.std(ddof=1)) / sqrt(len(ratios))
        low, middle, high = (100 * expm1(float(ratios.mean()) + shift) for shift in (-half, 0.0, half))
        return f"time to goal: {middle:+.0f} % ({low:+.0f} to {high:+.0f} %) over {len(ratios)} seeds on which both reached it"

    def summary(self) -> str:
        """Who reached the goal how often, and who collided."""
        reached = self.reached
        hits = [
            sum(drive.collisions for drive in drives)
            for drives in zip(*((each.student, each.ground_truth) for each in self.episodes), strict=True)
        ]
        return (
            f"{self.simulator.name}, {self.simulator.world}: reached {reached.both + reached.ours} of {reached.count} against"
            f" {reached.both + reached.theirs} with ground truth, collisions {hits[0]} against {hits[1]}"
        )
