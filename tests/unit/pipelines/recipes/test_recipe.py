"""The shipped recipes say what the lineage says, and a faulty file is told all its faults at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import strict_yaml
from core.errors import UsageError
from core.shipped import SHIPPED
from pipelines.recipes import recipe
from pipelines.recipes.recipe import FOLDER, RecipeError
from pipelines.recipes.schema import Recipe

MOBILE, EFFICIENT = "mobilenetv3_small_100", "efficientvit_b1"
RELATIVE, METRIC = ("da2-large", "relative"), ("da3-metric-large", "m")

# codename, parent, encoder, teacher, augmented, stages as (datasets, epochs, stopped_at), NYU RMSE, NYU mIoU, corridor, LILocBench
LINEAGE: dict[str, tuple[object, ...]] = {
    "v1": ("Compass", None, MOBILE, RELATIVE, False, [(["nyu"], 100, None)], 75.37, None, None, None),
    "v2": ("Sextant", ("recipe", "v1"), MOBILE, RELATIVE, False, [(["nyu"], 100, None)], None, None, None, None),
    "v3": ("Anchor", ("recipe", "v2"), MOBILE, METRIC, False, [(["nyu"], 200, None)], 1.160, 0.393, None, None),
    "v4": ("Pivot", ("recipe", "v3"), EFFICIENT, METRIC, False, [(["nyu"], 200, None)], 0.774, 0.510, 1.373, None),
    "v5": ("Atlas", ("recipe", "v4"), EFFICIENT, METRIC, True, [(["nyu"], 200, None)], 0.572, 0.637, 2.186, None),
    "v6": (
        "Cornerstone",
        ("recipe", "v5"),
        EFFICIENT,
        METRIC,
        True,
        [(["sunrgbd", "diode", "nyu"], 50, 38), (["nyu"], 200, 154)],
        0.519,
        0.485,
        2.158,
        None,
    ),
    "v7": ("Tunnel", ("weights", "v5"), EFFICIENT, METRIC, True, [(["lilocbench"], 50, None)], 1.315, 0.475, 1.982, 0.445),
    "v8": ("Confluence", ("weights", "v5"), EFFICIENT, METRIC, True, [(["lilocbench", "nyu"], 50, None)], 0.592, 0.629, 2.266, None),
    "v9": ("Lighthouse", ("weights", "v6"), EFFICIENT, METRIC, True, [(["lilocbench"], 50, None)], 1.553, 0.316, 1.589, 0.382),
}
CAMERAS = {"nyu": "kinect", "corridor_eval": "femto_bolt", "lilocbench": "realsense_d455"}


def published(found: Recipe, dataset: str, metric: str) -> float | None:
    return next((one.value for one in found.published if (one.dataset, one.metric) == (dataset, metric)), None)


def test_nine_recipes_are_shipped() -> None:
    assert list(SHIPPED) == list(LINEAGE) == sorted(path.stem for path in FOLDER.glob("v*.yaml"))


@pytest.mark.parametrize("name", LINEAGE)
def test_recipe_states_its_row_of_the_lineage(name: str) -> None:
    found = recipe.load(name)
    codename, parent, encoder, teacher, augmented, stages, rmse, miou, corridor, liloc = LINEAGE[name]
    assert (found.name, found.codename) == (name, codename)
    assert [(p.kind, p.version) for p in found.parents] == ([parent] if parent else [])
    assert (found.student.encoder, found.student.size) == (encoder, (240, 320))
    assert (found.teacher.name, found.teacher.unit) == teacher
    assert (found.augmentation.hflip == 0.5) is augmented
    assert (found.augmentation.color_jitter is not None) is (found.augmentation.random_crop_resize is not None) is augmented
    assert [([data.dataset for data in stage.data], stage.epochs, stage.stopped_at) for stage in found.stages] == stages
    assert published(found, "nyu", "rmse") == rmse
    assert published(found, "nyu", "miou") == miou
    assert published(found, "corridor_eval", "rmse") == corridor
    assert published(found, "lilocbench", "rmse") == liloc
    assert all(one.camera == CAMERAS[one.dataset] for one in found.published)


@pytest.mark.parametrize("name", LINEAGE)
def test_recipe_file_is_complete(name: str) -> None:
    """Nothing comes from a default that a later edit could change: every field but the optional lists is written out."""
    written = strict_yaml.parse((FOLDER / f"{name}.yaml").read_text())
    assert set(Recipe.model_fields) - set(written) <= {"history", "variants", "assumed"}
    scratch = recipe.load(name).scratch
    assert (scratch.encoder_lr, scratch.decoder_lr, scratch.freeze_encoder_epochs, scratch.batch_size) == (1e-3, 1e-3, 0, 8)


def test_decisions_of_the_lineage() -> None:
    every = {name: recipe.load(name) for name in SHIPPED}
    assert [every[name].loss.depth for name in ("v1", "v2", "v3", "v9")] == ["mse", "mse", "berhu", "berhu"]
    assert all(one.loss.depth_target == "per_frame" and one.loss.berhu_threshold == "p80" for one in every.values())
    assert all(one.loss.kendall.form == "regression_half" and one.loss.kendall.clamp == (-2, 2) for one in every.values())
    assert all(one.loss.weights.smoothness == 0.1 for one in every.values())
    two_rates = [
        (one.optimizer.encoder_lr, one.optimizer.decoder_lr, one.optimizer.freeze_encoder_epochs) for one in list(every.values())[2:]
    ]
    assert two_rates == [(3e-5, 3e-4, 5)] * 7
    assert {name: one.optimizer.batch_size for name, one in every.items() if one.optimizer.batch_size != 16} == {"v7": 8, "v9": 8}
    assert [variant.weighting for variant in every["v2"].variants] == ["kendall", "fixed"]
    assert [job.job for job in every["v6"].history] == ["3084108", "3088530", "3093046", "3098656"]
    assert every["v6"].truncated == "pretrain stopped at 38/50 epochs, nyu stopped at 154/200 epochs"
    assert [data.share for data in every["v8"].stages[0].data] == [0.5, 0.5]
    assert every["v8"].stages[0].mixing == "within_batch"


def test_only_the_encoder_differs_between_v3_and_v4() -> None:
    described = {"name", "codename", "summary", "lesson", "status", "parents", "published", "assumed"}
    keys = {key for key, _, _ in recipe.differences(recipe.load("v3"), recipe.load("v4"), described)}
    assert keys == {"student.encoder"}


def test_differences_name_both_values() -> None:
    found = {key: (a, b) for key, a, b in recipe.differences(recipe.load("v5"), recipe.load("v6"))}
    assert found["stages.1.epochs"] == (200, 50)
    assert found["stages.2.stopped_at"] == (None, 154)
    assert "optimizer.decoder_lr" not in found
    assert recipe.differences(recipe.load("v5"), recipe.load("v5")) == []


def test_every_fault_is_reported_together(tmp_path: Path) -> None:
    raw = strict_yaml.parse((FOLDER / "v6.yaml").read_text())
    raw["loss"]["depth"] = "l1"
    raw["optimizer"]["decoder_lr"] = -1
    raw["colour"] = "blue"
    raw["stages"][0]["stopped_at"] = 60
    raw["stages"][1]["data"][0]["share"] = 0.4
    del raw["teacher"]
    path = tmp_path / "bad.yaml"
    path.write_text(json.dumps(raw))
    with pytest.raises(RecipeError) as caught:
        recipe.load(path)
    told = "\n".join(caught.value.details)
    for part in ("loss.depth", "optimizer.decoder_lr", "colour", "stopped_at 60", "shares", "teacher"):
        assert part in told
    assert str(path) in caught.value.message and "6 fault" in caught.value.message


def test_a_key_given_twice_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text((FOLDER / "v5.yaml").read_text() + "status: other\n")
    with pytest.raises(RecipeError, match="status appears twice"):
        recipe.load(path)


def test_an_unknown_recipe_lists_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"unknown recipe 'v12'.*v1, v2"):
        recipe.load("v12")
    with pytest.raises(RecipeError, match="does not exist"):
        recipe.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "holds nothing"),
        ("[1, 2]", "holds a list"),
        ("a: [1", "line 1, column 6"),
        ("- " * 5000 + "a", "nested too deeply"),
        ("date: 2026-99-99", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_recipe_says_what_it_holds(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=told) as caught:
        recipe.load(path)
    assert "unicode string" not in caught.value.message
    with pytest.raises(RecipeError, match=r"cannot be read \(a folder is not a file\)"):
        path.unlink()
        path.mkdir()
        recipe.load(path)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (("student", "encoder"), "resnet18", "efficientvit_b1, mobilenetv3_small_100, found 'resnet18'"),
        (("student", "size"), [100000, 64], "4096, found 100000"),
        (("augmentation", "random_crop_resize"), {"probability": 1, "scale": [0, 1]}, "least"),
        (("augmentation", "color_jitter"), {"brightness": 9, "contrast": 0, "saturation": 0, "hue": 0}, "brightness"),
        (("loss", "kendall"), {"form": "both_half", "clamp": [2, -2]}, "least"),
        (("optimizer", "batch_size"), 10**9, "4096"),
    ],
)
def test_what_would_only_fail_in_training_is_refused_before(key: tuple[str, str], value: object, told: str) -> None:
    raw = strict_yaml.parse((FOLDER / "v6.yaml").read_text())
    raw[key[0]][key[1]] = value
    with pytest.raises(RecipeError) as caught:
        recipe.parse(raw, "here")
    assert told in "\n".join(caught.value.details)


def test_a_stage_name_is_no_path() -> None:
    raw = strict_yaml.parse((FOLDER / "v6.yaml").read_text())
    raw["stages"][0]["name"] = "../../elsewhere"
    with pytest.raises(RecipeError) as caught:
        recipe.parse(raw, "here")
    assert caught.value.details[0].startswith("stages.1.name: ")


@pytest.mark.parametrize("key", ["stages.1.epochs", "stages.2.epochs", "stages.1.data.3.share", "stages.2.data.1.share"])
def test_a_fault_names_the_key_as_it_was_set(key: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.with_settings(recipe.load("v6"), [f"{key}=-1"])
    assert [fault.partition(":")[0] for fault in caught.value.details] == [key]


def test_settings_are_typed_as_in_a_file_and_change_nothing_else() -> None:
    settings = ["ema.decay=0.99", "loss.weighting=fixed", "stages.2.mixing=alternating", "optimizer.encoder_lr=1e-5"]
    settings += ["augmentation.color_jitter=null"]
    base = recipe.load("v6")
    found = {key: value for key, _, value in recipe.differences(base, recipe.with_settings(base, settings))}
    changed = {"ema.decay": 0.99, "loss.weighting": "fixed", "stages.2.mixing": "alternating", "optimizer.encoder_lr": 1e-5}
    jitter = {f"augmentation.color_jitter.{name}": None for name in ("brightness", "contrast", "saturation", "hue")}
    assert found == {**changed, **jitter}
    assert recipe.with_settings(base, []) is base


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("loss.weigting=fixed", "loss.weighting"),
        ("lr=1e-5", "nearest are:"),
        ("mixing=alternating", "stages.1.mixing, stages.2.mixing"),
        ("stages.3.epochs=2", "stages.1.epochs, stages.2.epochs"),
        ("name=v7", "--set name"),
        ("loss.depth.kind=mse", "loss.depth"),
        ("loss.weighting", "not KEY=VALUE"),
        ("loss.weights=[1", "not readable"),
    ],
)
def test_an_unknown_setting_names_the_nearest_keys(setting: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe.with_settings(recipe.load("v6"), [setting])
    assert told in caught.value.message and caught.value.hint


def test_faulty_settings_are_reported_together_and_overlapping_ones_are_refused() -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.with_settings(recipe.load("v6"), ["ema.decay=1", "loss.weighting=mean", "optimizer.layer_decay=0", "anchor.kind=l2sp"])
    told = "\n".join(caught.value.details)
    assert all(part in told for part in ("ema.decay", "loss.weighting", "optimizer.layer_decay", "anchor.strength"))
    for settings in (["ema=null", "ema.decay=0.5"], ["ema.decay=0.5", "ema.decay=0.6"], ["loss.weights.silog=1", "loss={}"]):
        with pytest.raises(UsageError, match="set the same thing"):
            recipe.with_settings(recipe.load("v6"), settings)


def test_an_anchor_needs_a_parents_weights_or_an_earlier_stage() -> None:
    anchored = ["anchor={kind: l2sp, strength: 0.1}"]
    assert recipe.with_settings(recipe.load("v7"), anchored).anchor is not None
    assert recipe.with_settings(recipe.load("v6"), anchored).anchor is not None
    with pytest.raises(RecipeError) as caught:
        recipe.with_settings(recipe.load("v5"), anchored)
    assert "earlier stage" in caught.value.details[0]


def test_records_from_before_the_options_still_parse() -> None:
    raw = recipe.load("v6").model_dump(mode="json")
    for name in ("ema", "anchor"):
        del raw[name]
    del raw["optimizer"]["layer_decay"], raw["loss"]["weights"]["silog"], raw["loss"]["weights"]["gradient"]
    assert recipe.parse(raw, "an old record") == recipe.load("v6")
