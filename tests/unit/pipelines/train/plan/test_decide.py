"""A training is decided by its options and what there is, without a workspace, a registry or a disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import GateRefused, UsageError, VortexError
from pipelines.recipes.recipe import load
from pipelines.recipes.schema import AnchorRecipe
from pipelines.train.plan.decide import decide
from pipelines.train.plan.gather import World
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.sources import DataPlan, Start
from pipelines.train.plan.switches import Switches
from pipelines.train.plan.train_plan import TrainPlan
from registry.records import Artifact, DataUse, Version

NOWHERE = Path("/nowhere")


def data(name: str, domain: str = "rooms", train: int = 8, val: int = 4, **more: Any) -> DataPlan:
    fields: dict[str, Any] = {
        "name": name, "manifest": NOWHERE / name / "manifest.jsonl", "root": NOWHERE / name, "domain": domain, "kind": "room",
        "digest": name, "dvc": None, "validated": True, "frames": {"train": train, "val": val}, "labelled": train,
        "targets": {"reference": train} if train else {}, "relative": False, "limit": None,
    }  # fmt: skip
    return DataPlan(**fields | more)


def world(*stages: tuple[DataPlan, ...], replayed: tuple[DataPlan, ...] = (), parents: tuple[DataPlan, ...] = (), **more: Any) -> World:
    """What there is: these datasets, V6's recipe, ImageNet's weights and a CPU."""
    fields: dict[str, Any] = {
        "recipe": load("v6"), "parent": None, "start": Start(kind="imagenet", ref="efficientvit_b1"),
        "datasets": tuple(tuple(item.ref for item in stage) for stage in stages), "replayed": tuple(item.ref for item in replayed),
        "parents_datasets": tuple(item.ref for item in parents),
        "data": {item.ref: item for stage in (*stages, replayed, parents) for item in stage},
        "leaks": (), "failed": frozenset(), "present": (), "device": "cpu", "switches": Switches(), "number": "v6", "packs": NOWHERE / "packs",
        "source": "v6", "stamp": "20261128-101500-3f2a",
    }  # fmt: skip
    return World(**fields | more)


def version(name: str = "v5", *datasets: DataPlan) -> Version:
    uses = tuple(DataUse(item.name, item.domain, item.kind, item.digest, None, True, {}) for item in datasets)
    config, checkpoint = load(name).model_dump(mode="json"), Artifact("student.safetensors", "0" * 64, 1)
    return Version(name, False, config, (), "rooms", uses, (64, 96), "run-id", "run", checkpoint, name=name)


def from_v5(*stage: DataPlan, parents: tuple[DataPlan, ...] = (), **more: Any) -> World:
    parent = version("v5", *parents)
    return world(
        stage, parents=parents, recipe=load("v5"), parent=parent, start=Start(kind="version", ref="v5", path=NOWHERE), source=None, **more
    )


def shares(plan: TrainPlan) -> dict[str, float | None]:
    return {item.dataset: item.share for item in plan.recipe.stages[-1].data}


def test_a_recipe_on_data_of_its_own_is_its_last_stage() -> None:
    plan = decide(TrainOptions(recipe="v6", domain="rooms", epochs=40, lr=1e-3, size=(64, 96)), world((data("a"), data("b"))))
    assert (plan.run, plan.claim, plan.derived, plan.number) == ("v6-rooms-20261128-101500-3f2a", "v6", False, "v6")
    assert [(stage.stage.name, stage.stage.epochs, [item.name for item in stage.data]) for stage in plan.stages] == [
        ("train", 40, ["a", "b"])
    ]
    rates = plan.recipe.optimizer
    # A fifth of V6's 200 epochs keeps a fifth of its 5 frozen ones; the encoder's rate is a tenth.
    assert (rates.freeze_encoder_epochs, rates.encoder_lr, rates.decoder_lr) == (1, pytest.approx(1e-4), 1e-3)
    assert plan.recipe.summary == "The last stage of v6, on a + b." and plan.size == (64, 96)
    assert (plan.read, plan.source) == (load("v6"), "v6")


def test_a_recipe_on_its_own_data_is_trained_stage_by_stage_as_published() -> None:
    nyu = data("nyu", "nyu")
    plan = decide(TrainOptions(recipe="v6"), world((data("sunrgbd", "sunrgbd"), data("diode", "diode"), nyu), (nyu,)))
    assert [stage.last_epoch for stage in plan.stages] == [38, 154] and plan.target == "nyu"
    assert plan.truncated == "pretrain stopped at 38/50 epochs, nyu stopped at 154/200 epochs"


def test_without_weights_the_scratch_rates_are_used_and_remarked_on() -> None:
    plan = decide(TrainOptions(recipe="v6", domain="rooms", encoder_weights="none"), world((data("a"),), start=Start(kind="none")))
    assert plan.recipe.optimizer.encoder_lr == plan.recipe.optimizer.decoder_lr == load("v6").scratch.decoder_lr
    assert "note     nothing is pretrained, so the recipe's scratch rates are used" in plan.inferred


def test_a_version_is_trained_on_under_the_fine_tuning_schedule() -> None:
    plan = decide(TrainOptions(from_version="v5", domain="rooms"), from_v5(data("a"), number="v10"))
    assert (plan.run, plan.claim, plan.derived, plan.number, plan.read) == ("from-v5-rooms-20261128-101500-3f2a", None, True, "v10", None)
    rates = plan.recipe.optimizer
    assert (rates.encoder_lr, rates.decoder_lr, rates.batch_size, plan.stages[0].stage.epochs) == (3e-5, 3e-4, 8, 50)
    assert plan.size == (64, 96) and plan.recipe.weights_parent == "v5"


def test_replayed_data_has_its_share_and_the_rest_is_divided_by_size() -> None:
    options = TrainOptions(recipe="v6", manifest=("new", "few"), replay=("old:0.25",))
    plan = decide(options, world((data("new"), data("few", train=4)), replayed=(data("old", "attic"),)))
    assert shares(plan) == {"new": pytest.approx(0.5), "few": pytest.approx(0.25), "old": 0.25}
    assert plan.target == "rooms", "old data is not what the student is judged by"
    assert any("old (domain attic)" in line and "25% of every batch" in line for line in plan.inferred)


def test_batches_without_a_label_are_foreseen() -> None:
    plan = decide(TrainOptions(recipe="v6", domain="rooms", batch_size=8), world((data("a", labelled=4),)))
    # (1 − 4/8) to the power of 8.
    assert "classes  a batch without any label has probability 0.0039; such batches train depth alone" in plan.inferred
    plan = decide(TrainOptions(recipe="v6", domain="rooms"), world((data("a", labelled=0),)))
    assert "classes  no frame is labelled: depth alone is trained" in plan.inferred


def test_switches_are_the_devices_unless_they_are_named() -> None:
    there = world((data("a"),), switches=Switches(compile=True))
    assert decide(TrainOptions(recipe="v6", domain="rooms"), there).step == Switches(compile=True)
    assert decide(TrainOptions(recipe="v6", domain="rooms", step="eager"), there).step == Switches.eager()


def test_an_anchor_of_kind_ewc_is_measured_on_what_is_left_of_the_parents_data() -> None:
    options = TrainOptions(from_version="v5", domain="rooms", settings=("anchor={kind: ewc, strength: 0.1}",))
    old = data("old")
    plan = decide(options, from_v5(data("a"), parents=(old,)))
    assert plan.anchor_data == (old,) and plan.remarks == ()
    assert plan.recipe.anchor == AnchorRecipe(kind="ewc", strength=0.1)
    there = from_v5(data("a"), parents=(old,))
    changed = old.model_copy(update={"digest": "another"})
    later = replace(there, parents_datasets=(changed.ref,), data={**there.data, changed.ref: changed})
    assert decide(options, later).remarks == ("old has changed since v5 was trained on it; the anchor is measured on what it is now",)
    with pytest.raises(VortexError, match=r"v5 was trained on \(old\), and none is in this workspace \(datasets here: a\)"):
        decide(options, replace(there, parents_datasets=(), present=("a",)))
    softer = replace(options, settings=("anchor={kind: l2sp, strength: 0.1}",))
    assert decide(softer, there).anchor_data == ()


@pytest.mark.parametrize(
    ("options", "stage", "error", "message"),
    [
        ({}, (data("a", validated=False),), GateRefused, "^a has not been validated: training needs data that has passed$"),
        ({}, (data("a"), data("a")), VortexError, "^a is named twice"),
        ({}, (data("a"), data("b", digest="a")), VortexError, "^a and b hold the same frames"),
        ({}, (data("a", train=0),), VortexError, "^a: no frame has the split 'train'$"),
        ({}, (data("a", val=0),), VortexError, "^a: no frame has the split 'val'"),
        ({}, (data("a", targets={"nothing": 8}),), VortexError, "^a: frames without teacher, ToF or reference depth"),
        ({"domain": "moon"}, (data("a"),), VortexError, "^no data of the target domain 'moon'; the data are of: rooms$"),
        ({"workers": 3}, (data("a"),), UsageError, "^batches of 16 cannot be divided among 3 workers$"),
        ({"batch_size": 1, "size": (32, 32)}, (data("a"),), UsageError, "^one frame of 32x32 at a time cannot be normalised"),
        ({"settings": ("mixing=alternating",)}, (data("a"),), UsageError, "nearest are: stages.1.mixing"),
        ({"settings": ("anchor={kind: l2sp, strength: 1}",)}, (data("a"),), VortexError, "1 fault"),
        ({"step": "warp=on"}, (data("a"),), UsageError, "^--step: 'warp=on' is not a switch$"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    options: dict[str, Any], stage: tuple[DataPlan, ...], error: type[VortexError], message: str
) -> None:
    with pytest.raises(VortexError, match=message) as caught:
        decide(TrainOptions(**{"recipe": "v6", "domain": "rooms", **options}), world(stage))
    assert isinstance(caught.value, error) and caught.value.hint


def test_data_that_was_refused_is_told_from_data_that_was_never_validated() -> None:
    seen, unseen = data("seen", validated=False), data("unseen", validated=False)
    there = world((seen, unseen), failed=frozenset({seen.ref}))
    options = TrainOptions(recipe="v6", domain="rooms")
    with pytest.raises(GateRefused, match="seen failed validation; unseen has not been validated"):
        decide(options, there)
    assert decide(replace(options, allow_unvalidated=True), there).stages[0].data == (seen, unseen)


def test_the_digest_of_a_plan_is_that_which_profiles_were_kept_under() -> None:
    """What lies in workspaces is named by these values: they change with what is trained, and with nothing else."""
    plan = TrainPlan(
        run="v6-rooms-20260101-000000-abcd", recipe=load("v6"), claim="v6", derived=False, target="nyu", stages=(),
        start=Start(kind="imagenet", ref="efficientvit_b1"), device="cpu", workers=0, seed=3, number="v6", packs=NOWHERE,
        anchor_data=(data("old"),), remarks=("a remark",), source="v6", read=load("v6"),
    )  # fmt: skip
    assert plan.digest() == "a3c717597c9cdd96e859cf43b768486381a868ce66c5517b57d8eff2ab5c4566"
    of_another_run = {"run": "other", "claim": None, "derived": True, "number": "v12", "packs": NOWHERE / "packs", "address": "auto",
                      "source": None, "read": None, "remarks": (), "inferred": ("a line",), "resumed": True}  # fmt: skip
    assert plan.model_copy(update=of_another_run).digest() == plan.digest()
    for name, value in (("seed", 4), ("workers", 2), ("device", "cuda"), ("checkpoint_minutes", 1.0), ("max_bad_batches", 1)):
        changed = plan.model_copy(update={name: value})
        assert changed.digest() != plan.digest() and changed.digest(without=(name,)) == plan.digest(without=(name,))
