"""All nine recipes train in one workspace, on tiny sets that carry the names the recipes ask for, and know where they came from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines import workspace as workspaces
from pipelines.hub.open import hub
from pipelines.runs.events import TrainEvent
from pipelines.train.driver.run import train
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace
from registry.edges import VersionEdge
from registry.records import Version
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import SIZE, publish

NAMES = [f"v{number}" for number in range(1, 10)]
RELATIVE = {"teacher": "da2-large", "relative": True}
METRIC = {"teacher": "da3-metric-large"}
PARENTS = {
    "v1": [],
    **{f"v{number}": [("recipe", f"v{number - 1}")] for number in range(2, 7)},
    "v7": [("weights", "v5")],
    "v8": [("weights", "v5")],
    "v9": [("weights", "v6")],
}
STAGES = {
    **{name: [("nyu", ["nyu"])] for name in NAMES[:5]},
    "v6": [("pretrain", ["sunrgbd", "diode", "nyu"]), ("nyu", ["nyu"])],
    "v7": [("corridor", ["lilocbench"])],
    "v8": [("joint", ["lilocbench", "nyu"])],
    "v9": [("corridor", ["lilocbench"])],
}
TRUNCATED = ("stages.1.epochs=2", "stages.1.stopped_at=1", "stages.2.epochs=2", "stages.2.stopped_at=1")
"""The shape of V6's two stages, both ended before their schedules were, in two epochs instead of 192."""


class Lineage:
    """A workspace in which the recipes are trained one after the other."""

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.plans: dict[str, TrainPlan] = {}
        self.events: dict[str, list[TrainEvent]] = {name: [] for name in NAMES}

    def train(self, name: str) -> None:
        """Train a recipe as `vortex train NAME` does, small and short."""
        first: dict[str, Any] = {} if name in ("v7", "v8", "v9") else {"encoder_weights": "none"}
        length: dict[str, Any] = {"settings": TRUNCATED} if name == "v6" else {"epochs": 1}
        plan = planned(self.ws, recipe=name, device="cpu", size=SIZE, batch_size=4, allow_unvalidated=True, step="eager", **first, **length)
        self.plans[name] = plan
        train(self.ws, plan, self.events[name].append)

    def version(self, name: str) -> Version:
        return hub(self.ws).get(name)


@pytest.fixture(scope="module")
def lineage(empty_workspace: Workspace, fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Lineage:
    """V1 to V9, trained in order. NYU is labelled by the relative teacher first, and anew by the metric one before V3."""
    root = shutil.copytree(empty_workspace.root, tmp_path_factory.mktemp("nine") / "workspace")
    shutil.copytree(fresh_store, root / "mlruns", dirs_exist_ok=True)
    ws = workspaces.load(root)
    publish(ws, "nyu", domain="nyu", **RELATIVE)
    for seed, name in enumerate(("sunrgbd", "diode"), 1):
        publish(ws, name, domain=name, labelled=False, seed=seed, **METRIC)
    publish(ws, "lilocbench", domain="corridor", camera="d455", seed=3, **METRIC)
    made = Lineage(workspaces.load(root))
    for name in NAMES:
        if name == "v3":
            shutil.rmtree(ws.data / "nyu")
            publish(ws, "nyu", domain="nyu", **METRIC)
        made.train(name)
    return made


def test_every_recipe_becomes_the_version_of_its_name(lineage: Lineage) -> None:
    assert [summary.name for summary in hub(lineage.ws).summaries()] == NAMES
    for name in NAMES:
        assert lineage.version(name).number == int(name[1:])


@pytest.mark.parametrize("name", NAMES)
def test_parents_are_those_of_the_lineage(lineage: Lineage, name: str) -> None:
    found = [edge.triple()[:2] for edge in lineage.version(name).parents if isinstance(edge, VersionEdge)]
    assert found == PARENTS[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_is_trained_on_its_own_data(lineage: Lineage, name: str) -> None:
    planned = [(stage.stage.name, [data.name for data in stage.data]) for stage in lineage.plans[name].stages]
    assert planned == STAGES[name]
    done = [(event.stage, event.epoch) for event in lineage.events[name] if event.kind == "epoch"]
    assert done == [(stage, 1) for stage, _ in STAGES[name]]
    assert {use.name for use in lineage.version(name).data} == {data for _, names in STAGES[name] for data in names}


def test_a_specialist_starts_where_its_parent_ended(lineage: Lineage) -> None:
    from models import checkpoint

    for child, parent in (("v7", "v5"), ("v8", "v5"), ("v9", "v6")):
        plan = lineage.plans[child]
        start, _ = checkpoint.load(plan.stage_folder(plan.folder(lineage.ws), 0) / "start.safetensors")
        registry = hub(lineage.ws)
        ended, _ = checkpoint.load(registry.artifacts.path(registry.get(parent).checkpoint))
        assert (start.neck[0].weight == ended.neck[0].weight).all(), child  # type: ignore[union-attr, operator]


def test_the_unit_of_the_targets_comes_from_the_data(lineage: Lineage) -> None:
    """V1 is told of metres by nobody: its recipe is the same whatever labels NYU has, and the frames say that theirs are relative."""
    for name in NAMES:
        relative = [data.relative for stage in lineage.plans[name].stages for data in stage.data]
        assert set(relative) == {name in ("v1", "v2")}, name
    assert any("finding F1" in line for line in lineage.plans["v1"].inferred)
    used = {name: {use.name: use.digest for use in lineage.version(name).data}["nyu"] for name in ("v1", "v2", "v3")}
    assert used["v1"] == used["v2"] != used["v3"]
    errors = {name: lineage.version(name).metrics_for("nyu") for name in ("v1", "v3")}
    assert all(found is not None for found in errors.values())


def test_a_recipe_taught_by_relative_depth_says_so_on_metric_frames(lineage: Lineage) -> None:
    plan = planned(lineage.ws, recipe="v1", device="cpu", size=SIZE, encoder_weights="none", allow_unvalidated=True)
    assert any("its failure is not repeated" in line for line in plan.inferred)


def test_v6_says_that_both_its_stages_were_truncated(lineage: Lineage) -> None:
    assert lineage.version("v6").truncated == "pretrain stopped at 1/2 epochs, nyu stopped at 1/2 epochs"
    assert all(lineage.version(name).truncated is None for name in NAMES if name != "v6")


def test_v8_mixes_both_domains_half_and_half_in_every_batch(lineage: Lineage) -> None:
    stage = lineage.plans["v8"].stages[0]
    assert ([data.share for data in stage.stage.data], stage.stage.mixing) == ([0.5, 0.5], "within_batch")
    assert sum("50% of every batch" in line for line in lineage.plans["v8"].inferred) == 2


def test_auxiliary_sets_without_classes_train_depth_alone(lineage: Lineage) -> None:
    pretrain = lineage.plans["v6"].stages[0]
    assert {data.name: data.labelled for data in pretrain.data} == {"sunrgbd": 0, "diode": 0, "nyu": 4}
    assert not any(event.kind == "note" for event in lineage.events["v6"])
