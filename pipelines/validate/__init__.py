"""`vortex validate`: run the data gate on a data set and remember the answer, which training asks for."""

from pipelines.validate.formats import github, junit
from pipelines.validate.gate_run import validate
from pipelines.validate.validation_report import DataReport, Reference, Verdict, by_weight, passed, verdict

__all__ = ["DataReport", "Reference", "Verdict", "by_weight", "github", "junit", "passed", "validate", "verdict"]
