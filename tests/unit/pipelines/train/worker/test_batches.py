"""A stage that asks for labels in every batch gets them, or is refused before it starts; frames are packed once and said so."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from core.errors import UsageError, VortexError
from pipelines import workspace as workspaces
from pipelines.pack import packs_folder
from pipelines.runs.events import TrainEvent
from pipelines.train.driver.run import lay_out
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.loop import StageLoop
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import fill, publish, recipe_file
from validation.manifest import write_manifest


@pytest.fixture
def ws(workspace: Workspace, fresh_store: Path) -> Workspace:
    shutil.copytree(fresh_store, workspace.root / "mlruns", dirs_exist_ok=True)
    publish(workspace, "small")
    return workspaces.load(workspace.root)


def staged(ws: Workspace, least: int, *data: str, mixing: str = "within_batch", share: float | None = None) -> TrainPlan:
    stage = {"name": "one", "data": [{"dataset": name, "share": share} for name in data], "mixing": mixing, "epochs": 1}
    path = recipe_file(ws.root / "labels.yaml", stages=[stage | {"labelled_per_batch": least}])
    return planned(ws, recipe=str(path), encoder_weights="none", device="cpu", allow_unvalidated=True)


def started(ws: Workspace, plan: TrainPlan, events: list[TrainEvent]) -> StageLoop:
    lay_out(plan, plan.folder(ws))
    return StageLoop(plan, 0, plan.stage_folder(plan.folder(ws), 0), events.append, lambda: False)


def test_every_batch_of_the_loop_has_its_labels(ws: Workspace) -> None:
    plan = staged(ws, 2, "small")
    assert any("every batch holds at least 2" in line for line in plan.inferred)
    made = started(ws, plan, [])
    for epoch in range(4):
        made.sampler.restore(dataclasses.replace(made.sampler.state(), epoch=epoch))
        assert made.data.labelled[made.sampler.order()].sum(axis=1).min() >= 2


def test_frames_are_packed_by_the_first_training_and_said_so(ws: Workspace) -> None:
    first: list[TrainEvent] = []
    second: list[TrainEvent] = []
    started(ws, staged(ws, 0, "small"), first)
    started(ws, staged(ws, 0, "small"), second)
    assert [event.message.partition(":")[0].rpartition(" in ")[0] for event in first if event.message] == ["small at 64x96 packed"]
    assert first[0].kind == "reading" and not second
    assert len([path for path in packs_folder(ws).iterdir() if path.is_dir()]) == 1


def test_what_no_batch_can_hold_is_refused(ws: Workspace) -> None:
    bare = [dataclasses.replace(frame, segmentation=None, supervision="none") for frame in fill(ws.root / "bare", seed=1)]
    write_manifest(ws.root / "bare" / "manifest.jsonl", bare)
    publish(ws, "other", seed=2)
    with pytest.raises(UsageError, match=r"5 labelled frame.* of 4 frames at most 4 can be"):
        staged(ws, 5, "small")
    with pytest.raises(UsageError, match="of 4 frames at most 4 can be"):
        staged(ws, 5, "small", "other", share=0.5)
    assert staged(ws, 4, "small", "other", share=0.5)
    recipe = recipe_file(ws.root / "one.yaml")
    recipe.write_text(recipe.read_text().replace("labelled_per_batch: 0", "labelled_per_batch: 1"))
    with pytest.raises(VortexError, match="none of bare has labels"):
        planned(ws, recipe=str(recipe), manifest=[str(ws.root / "bare" / "manifest.jsonl")], encoder_weights="none", allow_unvalidated=True)
