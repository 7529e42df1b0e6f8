"""An anchored stage keeps its anchor beside its start, is held by it, and a recipe of two stages holds its second to its first."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from models import checkpoint
from models.tensors import CheckpointError, digest, read_tensors
from pipelines import workspace as workspaces
from pipelines.runs.events import TrainEvent
from pipelines.runs.folder import START
from pipelines.train.driver.run import train
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.anchor import ANCHOR, is_anchored, lay_anchor, read_anchor
from pipelines.train.worker.checkpoints import STUDENT, Checkpoints
from pipelines.workspace import Workspace
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import publish, recipe_file

Tensors = dict[str, torch.Tensor]


def ignore(event: TrainEvent) -> None:
    pass


@pytest.fixture(scope="module")
def ws(empty_workspace: Workspace, fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A version v10 that was trained on the rooms for one epoch, and a corridor."""
    root = shutil.copytree(empty_workspace.root, tmp_path_factory.mktemp("anchored") / "workspace")
    shutil.copytree(fresh_store, root / "mlruns", dirs_exist_ok=True)
    made = workspaces.load(root)
    publish(made, "old")
    publish(made, "new", domain="corridor", seed=1)
    made = workspaces.load(root)
    recipe_file(root / "tiny.yaml")
    train(made, eager(made, recipe=str(root / "tiny.yaml"), domain="rooms", encoder_weights="none", epochs=1), ignore)
    return made


def eager(ws: Workspace, **options: Any) -> TrainPlan:
    return planned(ws, device="cpu", allow_unvalidated=True, step="eager", **options)


def specialised(ws: Workspace, *settings: str) -> TrainPlan:
    """Three epochs on the corridor from v10's weights, registered as nothing."""
    fast = ("optimizer.encoder_lr=1e-3", "optimizer.decoder_lr=1e-3", "optimizer.batch_size=4")
    plan = eager(ws, from_version="v10", domain="corridor", epochs=3, settings=(*fast, *settings))
    train(ws, plan, ignore, register=False)
    return plan


def moved(ws: Workspace, plan: TrainPlan, stage: int = 0) -> float:
    """Mean squared distance of the last weights from those that the stage started with."""
    folder = plan.stage_folder(plan.folder(ws), stage)
    latest = Checkpoints(folder).latest
    assert latest is not None
    start, end = (dict(checkpoint.load(path)[0].named_parameters()) for path in (folder / START, latest / STUDENT))
    return sum(float((end[name] - start[name]).square().sum().detach()) for name in start)


def test_a_stronger_anchor_keeps_the_weights_nearer_to_the_parents(ws: Workspace) -> None:
    free = specialised(ws)
    held = specialised(ws, "anchor={kind: l2sp, strength: 1.0}")
    assert moved(ws, held) < 0.5 * moved(ws, free)
    assert not (free.stage_folder(free.folder(ws), 0) / ANCHOR).exists()
    tensors, about = read_tensors(held.stage_folder(held.folder(ws), 0) / ANCHOR)
    start, _ = checkpoint.load(held.stage_folder(held.folder(ws), 0) / START)
    assert about == {"kind": "l2sp", "digest": digest(tensors)}
    assert {name: bool(torch.equal(value, tensors[f"reference.{name}"])) for name, value in start.named_parameters()} == dict.fromkeys(
        dict(start.named_parameters()), True
    )


def test_ewc_measures_importance_on_the_parents_frames_once(ws: Workspace) -> None:
    plan, told = specialised(ws, "anchor={kind: ewc, strength: 1.0}"), list[str]()
    path = plan.stage_folder(plan.folder(ws), 0) / ANCHOR
    tensors, _ = read_tensors(path)
    importance: Tensors = {name: value for name, value in tensors.items() if name.startswith("importance.")}
    count = sum(value.numel() for value in importance.values())
    assert float(sum(value.sum() for value in importance.values())) == pytest.approx(count, rel=1e-3)
    assert all(bool((value >= 0).all()) for value in importance.values())
    # Classes and depth of the rooms both depend on the neck; the importance of its weights is not all alike.
    assert float(importance["importance.neck.0.weight"].std()) > 0
    stamp = path.stat().st_mtime_ns
    lay_anchor(plan, 0, path.parent, path.parent / START, told.append)
    assert path.stat().st_mtime_ns == stamp and told == []
    path.unlink()
    lay_anchor(plan, 0, path.parent, path.parent / START, told.append)
    assert told == ["measuring which weights matter for the old data, on up to 256 of its frames"]


def test_a_damaged_anchor_is_refused(ws: Workspace) -> None:
    plan = specialised(ws, "anchor={kind: l2sp, strength: 1.0}")
    path = plan.stage_folder(plan.folder(ws), 0) / ANCHOR
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    student, _ = checkpoint.load(path.parent / START)
    with pytest.raises(CheckpointError, match="the anchor of the stage is not what was written"):
        read_anchor(plan, 0, path.parent, student)


def test_the_second_stage_is_held_to_the_first(ws: Workspace, tmp_path: Path) -> None:
    publish(ws, "small", domain="attic", seed=2)
    stages = [
        {"name": name, "data": [{"dataset": data}], "mixing": "within_batch", "epochs": 1}
        for name, data in (("one", "old"), ("two", "small"))
    ]
    path = recipe_file(tmp_path / "two.yaml", stages=stages, anchor={"kind": "ewc", "strength": 1.0})
    loaded = workspaces.load(ws.root)
    plan = eager(loaded, recipe=str(path), encoder_weights="none")
    assert [is_anchored(plan, number) for number in range(2)] == [False, True]
    train(loaded, plan, ignore, register=False)
    first, second = (plan.stage_folder(plan.folder(ws), number) for number in range(2))
    assert not (first / ANCHOR).exists()
    tensors, _ = read_tensors(second / ANCHOR)
    best, _ = checkpoint.load(Checkpoints(first).best)
    assert all(torch.equal(tensors[f"reference.{name}"], value) for name, value in best.named_parameters())
