"""How a student in training is judged: on the validation frames of the plan's target domain, as `vortex evaluate` judges."""

from __future__ import annotations

from collections.abc import Callable

from models.student import Student
from pipelines.data.datasets import DataRef
from pipelines.evaluate.student import Evaluation, evaluate_student, pooled_rmse
from pipelines.train.plan.sources import DataPlan
from pipelines.train.plan.train_plan import TrainPlan


def judged_by(plan: TrainPlan) -> list[DataPlan]:
    """The datasets of the target domain that have validation frames."""
    found = {data.digest: data for stage in plan.stages for data in stage.data if data.domain == plan.target and data.frames["val"]}
    return list(found.values())


def evaluations(
    plan: TrainPlan, data: list[DataPlan], student: Student, device: str, on_progress: Callable[[int, int], None] | None = None
) -> list[tuple[DataRef, Evaluation]]:
    """Judge a student on the validation frames of `data`, at the plan's size."""
    batch = plan.recipe.optimizer.batch_size
    return [
        (item.ref, evaluation)
        for item in data
        for evaluation in evaluate_student(student, item.ref, item.load()["val"], plan.size, plan.packs, device, batch, on_progress)
    ]


def headline(measured: list[tuple[DataRef, Evaluation]]) -> dict[str, float]:
    """One line of metrics: the RMSE that picks the best epoch, and every other figure where one camera was measured alone."""
    alone = measured[0][1].values if len(measured) == 1 else {f"rmse/{ref.name}/{one.camera}": one.values["rmse"] for ref, one in measured}
    return {**alone, "rmse": pooled_rmse([one for _, one in measured])}
