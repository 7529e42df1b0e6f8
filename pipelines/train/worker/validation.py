"""How a student in training is validated: on the validation frames of the plan's target domain, as `vortex evaluate` measures."""

from __future__ import annotations

from collections.abc import Callable

from models.student import Student
from pipelines.data.datasets import DataRef
from pipelines.evaluate.student import Evaluation, evaluate_student, pooled_rmse
from pipelines.runs.stop import Stopped
from pipelines.train.plan.sources import DataPlan
from pipelines.train.plan.train_plan import TrainPlan


def validation_data(plan: TrainPlan) -> list[DataPlan]:
    """The datasets of the target domain that have validation frames."""
    by_digest = {data.digest: data for stage in plan.stages for data in stage.data if data.domain == plan.target and data.frames["val"]}
    return list(by_digest.values())


def evaluations(
    plan: TrainPlan, data: list[DataPlan], student: Student, device: str, on_progress: Callable[[int, int], None] | None = None
) -> list[tuple[DataRef, Evaluation]]:
    """Measure a student on the validation frames of `data`, at the plan's size."""
    return [
        (item.ref, evaluation)
        for item in data
        for evaluation in evaluate_student(student, item.ref, item.load()["val"], plan.size, plan.packs, device, on_progress=on_progress)
    ]


def validate(plan: TrainPlan, student: Student, device: str, should_stop: Callable[[], bool]) -> dict[str, float]:
    """The metrics of a student: the RMSE that picks the best epoch, and every other figure where one camera was measured alone.

    Empty when a stop was asked for meanwhile.
    """

    def stop_if_asked(_done: int, _total: int) -> None:
        if should_stop():
            raise Stopped

    try:
        measured = evaluations(plan, validation_data(plan), student, device, stop_if_asked)
    except Stopped:
        return {}
    if len(measured) == 1:
        figures = measured[0][1].values
    else:
        figures = {f"rmse/{ref.name}/{evaluation.camera}": evaluation.values["rmse"] for ref, evaluation in measured}
    return {**figures, "rmse": pooled_rmse([evaluation for _, evaluation in measured])}
