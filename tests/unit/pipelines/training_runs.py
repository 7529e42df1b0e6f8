"""Small trainings for tests: the plan, the loop without its driver, and everything that a run ends with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from models.tensors import read_tensors
from pipelines.runs.events import TrainEvent
from pipelines.train.driver.run import lay_out
from pipelines.train.plan.decide import decide
from pipelines.train.plan.gather import gather
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.checkpoints import STATE, STUDENT, Checkpoints
from pipelines.train.worker.loop import StageLoop
from pipelines.workspace import Workspace


def planned(ws: Workspace, **options: Any) -> TrainPlan:
    """The plan of a training with these options."""
    train_options = TrainOptions(**options)
    return decide(train_options, gather(ws, train_options))


def tiny(ws: Workspace, **options: Any) -> TrainPlan:
    """The plan of a training of seconds."""
    own = {"recipe": str(ws.root / "tiny.yaml"), "domain": "rooms", "encoder_weights": "none", "epochs": 3, "device": "cpu"}
    return planned(ws, **own | {"allow_unvalidated": True} | options)


def ignore(event: TrainEvent) -> None:
    """Hear nothing."""


def loop(
    ws: Workspace, plan: TrainPlan, emit: Callable[[TrainEvent], None] = ignore, should_stop: Callable[[], bool] = lambda: False
) -> StageLoop:
    """The loop of a plan's first stage, laid out when it is not yet."""
    folder = plan.folder(ws)
    if not folder.exists():
        lay_out(plan, folder)
    return StageLoop(plan, 0, plan.stage_folder(folder, 0), emit, should_stop)


def final_state(ws: Workspace, plan: TrainPlan) -> dict[str, torch.Tensor]:
    """Everything that the last checkpoint holds: weights, moments, average, log variances, random state, best weights."""
    latest = Checkpoints(plan.stage_folder(plan.folder(ws), len(plan.stages) - 1)).latest
    assert latest is not None
    best = {f"best.{name}": value for name, value in read_tensors(latest / "best.safetensors")[0].items()}
    return read_tensors(latest / STUDENT)[0] | read_tensors(latest / STATE)[0] | best


def different(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """The names of tensors that are not the same bits in both."""
    return [name for name in one.keys() | other.keys() if name not in one or name not in other or not torch.equal(one[name], other[name])]
