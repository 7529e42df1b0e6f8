"""A robot that drove by a version in the world."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from validation.evidence.report import Count, Line, Report


class FieldRun(Report):
    """How far it drove, and how often somebody had to step in."""

    kind: Literal["field"]
    device: Line
    place: Line
    hours: Annotated[float, Field(gt=0, le=1e6)]
    distance_m: Annotated[float, Field(ge=0, le=1e9)]
    interventions: Count
    collisions: Count

    def summary(self) -> str:
        """Where, how far, and what went wrong."""
        return (
            f"{self.device}, {self.place}: {self.distance_m:g} m in {self.hours:g} h, {self.interventions} interventions,"
            f" {self.collisions} collisions"
        )
