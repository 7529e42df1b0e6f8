"""Options beyond the lineage: settings, replay and anchors are planned, explained, and refused when they cannot be."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import UsageError, VortexError
from pipelines import workspace as workspaces
from pipelines.data.datasets import resolve
from pipelines.hub.open import hub
from pipelines.recipes import recipe
from pipelines.train.plan.sources import anchor_data, describe
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.workspace import Workspace
from registry.records import DataUse, NewVersion
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import SIZE, publish


@pytest.fixture(scope="module")
def six_sets(empty_workspace: Workspace, fresh_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ws` is a copy of."""
    from models.checkpoint import save
    from models.student import Student, StudentConfig

    folder = tmp_path_factory.mktemp("six_sets")
    workspace = workspaces.load(shutil.copytree(empty_workspace.root, folder / "workspace"))
    shutil.copytree(fresh_store, workspace.root / "mlruns", dirs_exist_ok=True)
    publish(workspace, "old")
    publish(workspace, "new", domain="corridor", seed=1)
    publish(workspace, "few", domain="corridor", train=4, seed=2)
    publish(workspace, "rear", domain="garden", seed=5)
    publish(workspace, "long", domain="cellar", train=60, seed=6)
    publish(workspace, "bare", domain="attic", train=0, seed=3)
    ws = workspaces.load(workspace.root)
    save(folder / "student.safetensors", Student(StudentConfig(size=SIZE)), {})
    registry = hub(ws)
    run = registry.store.start_run("test")
    artifact = registry.store.log_artifact(run, folder / "student.safetensors", "checkpoint")
    config = recipe.load("v5").model_dump(mode="json")
    uses = tuple(DataUse(name, "rooms", "room", "0", None, True, {}) for name in ("old", "gone"))
    registry.register(NewVersion("v5", False, config, (), "rooms", uses, SIZE, run, "run", artifact), actor="test")
    return ws.root


@pytest.fixture
def ws(six_sets: Path, tmp_path: Path) -> Workspace:
    """Three sets of eight training frames, one of sixty, four and none, and a version v5 that was trained on the rooms."""
    return workspaces.load(shutil.copytree(six_sets, tmp_path / "workspace", symlinks=True))


def made(ws: Workspace, **options: Any) -> TrainPlan:
    given = {"from_version": "v5", "domain": "corridor", "allow_unvalidated": True, "device": "cpu"} | options
    return planned(ws, **given)


def shares(planned: TrainPlan) -> dict[str, float | None]:
    return {data.dataset: data.share for data in planned.stages[-1].stage.data}


def test_replay_gets_its_share_and_the_others_divide_the_rest_by_size(ws: Workspace) -> None:
    found = made(ws, replay=("old:0.25",))
    # Eight frames of `new` against four of `few` share three quarters.
    assert shares(found) == {"few": pytest.approx(0.25), "new": pytest.approx(0.5), "old": 0.25}
    assert found.target == "corridor"
    assert [data.name for data in found.stages[-1].data] == list(shares(found))
    assert any("old (domain rooms)" in line and "25% of every batch" in line for line in found.inferred)


def test_the_only_dataset_of_a_domain_is_replayed_by_the_domains_name(ws: Workspace) -> None:
    assert shares(made(ws, replay=("rooms:0.25",))) == shares(made(ws, replay=("old:0.25",)))


def test_a_mixture_of_a_recipe_keeps_its_proportions_beside_replayed_data(ws: Workspace) -> None:
    publish(ws, "nyu", domain="nyu")
    publish(ws, "lilocbench", domain="lilocbench")
    found = planned(workspaces.load(ws.root), recipe="v8", replay=("old:0.2",), allow_unvalidated=True, device="cpu")
    assert shares(found) == {"lilocbench": pytest.approx(0.4), "nyu": pytest.approx(0.4), "old": 0.2}


def test_whole_batches_of_one_dataset_say_how_often_none_of_them_has_a_label(ws: Workspace) -> None:
    publish(ws, "unlabelled", domain="corridor", train=12, labelled=False, seed=4)
    found = made(workspaces.load(ws.root), settings=("stages.1.mixing=alternating",))
    told = "\n".join(found.inferred)
    assert "alone in its part by size of the batches" in told
    # Half of the 24 frames, and so every second batch, is of the set without labels; the others have one with near certainty.
    assert "without any label has probability 0.5;" in told
    asking = ("stages.1.mixing=alternating", "stages.1.labelled_per_batch=1")
    with pytest.raises(UsageError, match="whole batches come from unlabelled"):
        made(workspaces.load(ws.root), settings=asking)


def test_old_data_by_manifest_does_not_become_the_target(ws: Workspace) -> None:
    assert made(ws, domain=None, manifest=("new",), replay=("old:0.2",)).target == "corridor"


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"replay": ("old",)}, UsageError, "'old' is not NAME:SHARE"),
        ({"replay": ("old:1.5",)}, UsageError, "share between 0 and 1"),
        ({"replay": ("old:nan",)}, UsageError, "share between 0 and 1"),
        ({"replay": ("old:0.6", "bare:0.4")}, UsageError, "shares sum to 1, which leaves nothing"),
        ({"replay": ("shed:0.2",)}, VortexError, "shed.*bare, few, long, new, old, rear"),
        ({"replay": ("attic:0.2",)}, VortexError, "bare: no frame has the split 'train'"),
        ({"domain": "cellar", "replay": ("corridor:0.2",)}, UsageError, "is a domain, and it has several datasets: few, new"),
        ({"settings": ("=1",)}, UsageError, "--set '=1' is not KEY=VALUE"),
        (
            {"settings": ("student.encoder=mobilenetv3_small_100",)},
            UsageError,
            "does not fit the weights of v5, which are of efficientvit_b1",
        ),
        ({"step": ""}, UsageError, "--step: '' is not a switch"),
        ({"replay": ("bare:0.2",)}, VortexError, "bare: no frame has the split 'train'"),
        ({"replay": ("new:0.2",)}, VortexError, "new is named twice"),
        ({"replay": ("old:0.01",)}, UsageError, "cannot hold a share of each of 3 datasets"),
        ({"domain": None, "manifest": ("bare",), "replay": ("old:0.5",)}, VortexError, "bare: no frame has the split 'train'"),
        ({"domain": None, "manifest": ("bare", "new")}, VortexError, "mixes bare \\+ new, but bare: no frame has the split 'train'"),
        # Two shares of 0.65 frames are beaten to the last place of the batch by one of 0.7.
        (
            {"domain": None, "manifest": ("new",), "replay": ("old:0.08125", "rear:0.08125")},
            UsageError,
            "cannot hold a share of each of 3 datasets: none is left for rear",
        ),
        (
            {"domain": None, "manifest": ("long", "few"), "batch_size": 16, "settings": ("stages.1.mixing=alternating",)},
            UsageError,
            "alternates whole batches of 16, and few would never get one",
        ),
        ({"settings": ("mixing=alternating",)}, UsageError, "nearest are: stages.1.mixing"),
        ({"settings": ("stages.1.data.1.dataset=old",)}, UsageError, "cannot change which datasets"),
        ({"settings": ("loss.weighting=mean",)}, VortexError, "1 fault"),
        ({"settings": ("ema=null", "ema.decay=0.9")}, UsageError, "set the same thing"),
    ],
)
def test_a_mixture_or_setting_that_cannot_be_is_refused(
    ws: Workspace, options: dict[str, Any], error: type[VortexError], told: str
) -> None:
    with pytest.raises(VortexError, match=told) as caught:
        made(ws, **options)
    assert type(caught.value) is error or error is VortexError
    assert caught.value.hint


def test_a_copy_is_refused_under_any_name(ws: Workspace, tmp_path: Path) -> None:
    shutil.copytree(ws.data / "new", tmp_path / "copy")
    with pytest.raises(VortexError, match="new and outside:copy hold the same frames"):
        made(ws, domain=None, manifest=("new", str(tmp_path / "copy")), replay=("old:0.2",))


def test_two_manifests_in_folders_of_one_name_keep_their_own_sizes(ws: Workspace, tmp_path: Path) -> None:
    for source, place in (("new", "spring"), ("few", "autumn")):
        shutil.copytree(ws.data / source, tmp_path / place / "walk")
    manifests = (str(tmp_path / "spring" / "walk"), str(tmp_path / "autumn" / "walk"))
    found = made(ws, domain=None, manifest=manifests, replay=("old:0.25",))
    assert [data.share for data in found.stages[-1].stage.data] == [pytest.approx(0.5), pytest.approx(0.25), 0.25]
    assert [data.frames["train"] for data in found.stages[-1].data] == [8, 4, 8]


def test_workers_get_equal_parts_of_a_set_that_is_smaller_than_a_batch(ws: Workspace) -> None:
    assert made(ws, limit=4, domain=None, manifest=("new",), workers=2).workers == 2
    with pytest.raises(UsageError, match="3 training frames cannot be divided among 2 workers"):
        made(ws, limit=3, domain=None, manifest=("new",), workers=2)


def test_shares_that_do_not_sum_to_one_are_refused(ws: Workspace) -> None:
    with pytest.raises(VortexError) as caught:
        made(ws, replay=("old:0.2",), settings=("stages.1.data.3.share=0.5",))
    assert any("sum to 1" in fault for fault in caught.value.details)


def test_settings_hold_for_the_recipe_as_it_is_trained(ws: Workspace) -> None:
    found = made(
        ws, replay=("old:0.2",), settings=("stages.1.mixing=alternating", "optimizer.encoder_lr=1e-5", "optimizer.decoder_lr=1e-5")
    )
    assert found.stages[0].stage.mixing == "alternating"
    assert (found.recipe.optimizer.encoder_lr, found.recipe.optimizer.decoder_lr) == (1e-5, 1e-5)
    assert any("alone in 20% of the batches, which alternate" in line for line in found.inferred)
    # Without pretrained weights the scratch rates apply, and a setting still wins.
    scratch = planned(ws, recipe="v5", domain="rooms", encoder_weights="none", settings=("optimizer.batch_size=4",), allow_unvalidated=True)
    assert (scratch.recipe.optimizer.encoder_lr, scratch.recipe.optimizer.batch_size) == (1e-3, 4)


def test_every_option_that_is_on_is_said(ws: Workspace) -> None:
    settings = (
        "ema.decay=0.99",
        "optimizer.layer_decay=0.8",
        "anchor={kind: l2sp, strength: 0.1}",
        "loss.weights.silog=0.5",
        "loss.weights.gradient=0.3",
    )
    told = "\n".join(made(ws, settings=settings).inferred)
    for part in ("decay 0.99", "factor of 0.8", "held to the weights of v5 (L2-SP, strength 0.1)", "SILog 0.5", "gradients 0.3"):
        assert part in told
    plain = "\n".join(made(ws).inferred)
    for word in ("average", "anchor", "layers", "SILog"):
        assert word not in plain
    assert "berHu (p80) per frame, Kendall's weights (regression_half, log σ² in [-2, 2]), smoothness 0.1" in plain


def test_ewc_is_measured_on_what_is_left_of_the_parents_data(ws: Workspace) -> None:
    found = made(ws, settings=("anchor={kind: ewc, strength: 0.1}",))
    assert [data.name for data in found.anchor_data] == ["old"]
    assert any("by their importance for old" in line for line in found.inferred)
    # The fixture's version saw another state of it.
    changed = "old has changed since v5 was trained on it; the anchor is measured on what it is now"
    assert found.remarks == (changed,) and f"note     {changed}" in found.inferred
    assert TrainPlan.model_validate_json(found.model_dump_json()) == found
    assert made(ws, settings=("anchor={kind: l2sp, strength: 0.1}",)).anchor_data == ()
    shutil.rmtree(ws.data / "old")
    with pytest.raises(VortexError, match=r"v5 was trained on \(old, gone\), and none is in this workspace"):
        made(workspaces.load(ws.root), settings=("anchor={kind: ewc, strength: 0.1}",))


def test_data_that_is_as_the_parent_saw_it_is_not_remarked_on(ws: Workspace) -> None:
    parent = hub(ws).get("v5")
    old = describe(resolve(ws, name_or_manifest="old"), None, "never validated")
    seen = replace(parent.data[0], digest=old.digest)
    assert anchor_data(replace(parent, data=(seen,)), [old], ["old"]) == ((old,), ())


@pytest.mark.parametrize(
    ("options", "setting"),
    [({"batch_size": 4}, "optimizer.batch_size=8"), ({"lr": 1e-3}, "optimizer.decoder_lr=1e-4"), ({"size": SIZE}, "student.size=[64, 96]")],
)
def test_one_thing_is_not_said_by_an_option_and_a_setting(ws: Workspace, options: dict[str, Any], setting: str) -> None:
    with pytest.raises(UsageError, match=rf"and the recipe's key {setting.partition('=')[0]} say the same thing twice"):
        made(ws, settings=(setting,), **options)
    made(ws, settings=("optimizer.encoder_lr=1e-5",), **options)  # a part of --lr may be set apart


def test_a_block_of_settings_says_an_options_key_too(ws: Workspace) -> None:
    block = "optimizer={encoder_lr: 1e-5, decoder_lr: 1e-4, freeze_encoder_epochs: 0, batch_size: 2, weight_decay: 0.01}"
    with pytest.raises(UsageError, match="--batch-size and the recipe's key optimizer say the same thing twice"):
        made(ws, batch_size=4, settings=(block,))
    assert made(ws, settings=(block,)).recipe.optimizer.batch_size == 2


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("optimizer.weight_decay=.inf", "finite number"),
        ("loss.weights.depth=.nan", "finite number"),
        ("optimizer.encoder_lr=true", "true and false are no values"),
        ("augmentation.color_jitter={brightness: true, contrast: 0, saturation: 0, hue: 0}", "true and false are no values"),
        ("optimizer.encoder_lr=yes", "valid number, unable to parse string as a number, found 'yes'"),
        ("loss.kendall.clamp=[1, 2]", "0 between them"),
    ],
)
def test_values_that_no_training_survives_are_refused_before_anything_starts(ws: Workspace, setting: str, why: str) -> None:
    with pytest.raises(VortexError) as caught:
        made(ws, settings=(setting,))
    assert why in " ".join([caught.value.message, *caught.value.details])


def test_an_encoder_that_is_never_trained_is_remarked_on(ws: Workspace) -> None:
    told = made(ws, settings=("stages.1.epochs=4",)).inferred
    assert "note     stage train has 4 epoch(s) and the encoder is frozen for 5: it is never trained" in told
    assert not any("never trained" in line for line in made(ws).inferred)


def test_datasets_of_a_domain_divide_its_share_by_size(ws: Workspace) -> None:
    publish(ws, "nyu", domain="nyu")
    publish(ws, "front", domain="lilocbench", train=24)
    publish(ws, "back", domain="lilocbench", seed=7)
    found = planned(workspaces.load(ws.root), recipe="v8", allow_unvalidated=True, device="cpu")
    assert shares(found) == {"nyu": 0.5, "front": pytest.approx(0.375), "back": pytest.approx(0.125)}


def test_an_anchor_needs_weights_to_be_held_to(ws: Workspace) -> None:
    with pytest.raises(VortexError, match="anchor") as caught:
        planned(ws, recipe="v5", domain="rooms", settings=("anchor={kind: l2sp, strength: 0.1}",), allow_unvalidated=True)
    assert "neither" in "".join(caught.value.details)


def test_a_recipe_of_two_stages_loses_its_anchor_when_one_is_trained(ws: Workspace, tmp_path: Path) -> None:
    import json

    raw = recipe.load("v6").model_dump(mode="json") | {"name": "held", "anchor": {"kind": "l2sp", "strength": 0.1}}
    (tmp_path / "held.yaml").write_text(json.dumps(raw))
    with pytest.raises(UsageError, match="its one stage has none before it"):
        planned(ws, recipe=str(tmp_path / "held.yaml"), domain="rooms", allow_unvalidated=True)


def test_an_anchor_of_a_version_is_not_inherited(ws: Workspace) -> None:
    from pipelines.train.plan.effective import fine_tuning

    parent = hub(ws).get("v5")
    held = dict(parent.recipe_config) | {"anchor": {"kind": "l2sp", "strength": 1.0}, "parents": [{"kind": "weights", "version": "v4"}]}
    assert fine_tuning(recipe.parse(held, "v5"), parent).anchor is None
