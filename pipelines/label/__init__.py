"""`vortex label`: teachers label the frames of a dataset, once, frame by frame, and the result is published in one step."""

from __future__ import annotations

from pipelines.label.plan import LabelPlan
from pipelines.label.run import LabelReport, label

__all__ = ["LabelPlan", "LabelReport", "label"]
