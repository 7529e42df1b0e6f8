from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from core.errors import VortexError
from models.augment import MAPS, build

SIZE = (24, 32)
V5: dict[str, Any] = {
    "hflip": 0.5,
    "color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
    "random_crop_resize": {"probability": 0.5, "scale": [0.7, 1.0]},
}

pytestmark = pytest.mark.filterwarnings("error")


def frame(seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    g = np.random.default_rng(seed)
    # Every pixel says where it came from, in every map, so that a map that moved differently from another is caught.
    place = np.arange(SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE) / 100
    maps: dict[str, np.ndarray] = {
        "teacher_depth": place,
        "tof_depth": place.astype(np.float16),
        "tof_confidence": (place % 1).astype(np.float32),
        "reference": (place * 100).astype(np.uint16),
        "segmentation": (g.integers(0, 7, SIZE)).astype(np.uint8),
    }
    maps["segmentation"][maps["segmentation"] == 6] = 255
    return g.integers(0, 256, (*SIZE, 3), dtype=np.uint8), maps


def test_the_same_seed_gives_the_same_item_whatever_came_before() -> None:
    rgb, maps = frame()
    first, second = build(V5, SIZE), build(V5, SIZE)
    for seed in range(5):
        second(rgb, maps, seed)
    a, b = first(rgb, maps, 2), second(rgb, maps, 2)
    np.testing.assert_array_equal(a[0], b[0])
    for name in MAPS:
        np.testing.assert_array_equal(a[1][name], b[1][name])
    assert any(not np.array_equal(a[0], first(rgb, maps, seed)[0]) for seed in range(3, 6))


def test_global_seeds_have_no_say() -> None:
    rgb, maps = frame()
    augment = build(V5, SIZE)
    np.random.seed(1)
    a = augment(rgb, maps, 7)[0]
    np.random.seed(2)
    np.testing.assert_array_equal(a, augment(rgb, maps, 7)[0])


def test_maps_move_together_by_nearest_neighbour_and_keep_dtype_and_values() -> None:
    rgb, maps = frame()
    augment = build(V5, SIZE)
    moved = 0
    for seed in range(20):
        out_rgb, out = augment(rgb, maps, seed)
        assert out_rgb.shape == (*SIZE, 3) and out_rgb.dtype == np.uint8
        source = np.rint(out["teacher_depth"] * 100).astype(int)
        moved += not np.array_equal(out["teacher_depth"], maps["teacher_depth"])
        for name, array in maps.items():
            assert out[name].dtype == array.dtype and out[name].shape == SIZE
            np.testing.assert_array_equal(out[name], array.reshape(-1)[source])
    assert 8 <= moved <= 20


def test_hflip_mirrors_image_and_maps() -> None:
    rgb, maps = frame()
    out_rgb, out = build({"hflip": 1.0, "color_jitter": None, "random_crop_resize": None}, SIZE)(rgb, maps, 0)
    np.testing.assert_array_equal(out_rgb, rgb[:, ::-1])
    np.testing.assert_array_equal(out["segmentation"], maps["segmentation"][:, ::-1])
    assert maps["reference"][0, 0] == 0 and out["reference"][0, 0] == SIZE[1] - 1


def test_color_jitter_leaves_the_maps_alone_and_always_acts() -> None:
    rgb, maps = frame()
    augment = build({"color_jitter": V5["color_jitter"]}, SIZE)
    for seed in range(5):
        out_rgb, out = augment(rgb, maps, seed)
        assert not np.array_equal(out_rgb, rgb)
        assert all(np.array_equal(out[name], maps[name]) for name in maps)


def test_a_crop_of_a_larger_frame_comes_out_at_the_size_asked_for() -> None:
    rgb, maps = frame()
    crop = {"random_crop_resize": {"probability": 1.0, "scale": (0.5, 0.8)}}
    out_rgb, out = build(crop, (12, 16))(rgb, maps, 3)
    assert out_rgb.shape == (12, 16, 3) and all(array.shape == (12, 16) for array in out.values())
    assert set(np.unique(out["teacher_depth"])) <= set(np.unique(maps["teacher_depth"]))


def test_without_steps_nothing_changes() -> None:
    rgb, maps = frame()
    for config in ({}, {"hflip": 0.0, "color_jitter": None, "random_crop_resize": None}):
        out_rgb, out = build(config, SIZE)(rgb, maps, 5)
        assert out_rgb is rgb and out == maps


def test_some_maps_may_be_absent_and_unknown_ones_are_refused() -> None:
    rgb, maps = frame()
    augment = build(V5, SIZE)
    assert set(augment(rgb, {"reference": maps["reference"]}, 0)[1]) == {"reference"}
    with pytest.raises(VortexError, match="normals"):
        augment(rgb, {"normals": maps["reference"]}, 0)
    with pytest.raises(VortexError, match="int64"):
        augment(rgb, {"segmentation": maps["segmentation"].astype(np.int64)}, 0)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"vflip": 0.5}, "vflip"),
        ({"hflip": 1.5}, "hflip"),
        ({"hflip": True}, "hflip"),
        ({"color_jitter": [0.2, 0.2, 0.2, 0.1]}, "color_jitter"),
        ({"color_jitter": {**V5["color_jitter"], "hue": 0.6}}, "hue"),
        ({"random_crop_resize": {"probability": 0.5}}, "random_crop_resize"),
        ({"random_crop_resize": {"probability": 2, "scale": [0.5, 1.0]}}, "probability"),
        ({"random_crop_resize": {"probability": 1, "scale": [0.9, 0.5]}}, "scale"),
    ],
)
def test_bad_settings_are_refused_by_name(config: dict[str, Any], word: str) -> None:
    with pytest.raises(VortexError, match=word):
        build(config, SIZE)


def test_all_faults_are_told_together() -> None:
    with pytest.raises(VortexError) as caught:
        build({"vflip": 1, "hflip": 2}, SIZE)
    assert len(caught.value.details) == 2


def test_the_library_still_only_warns_of_bad_arguments_so_our_check_is_needed() -> None:
    import albumentations as A

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            A.HorizontalFlip(prob=0.5)


def test_steps_are_drawn_independently_of_each_other() -> None:
    """Seeded step by step with one number, a frame was flipped just when it was cropped."""
    rgb, _ = frame()
    numbered = np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE)
    augment = build({"hflip": 0.5, "random_crop_resize": {"probability": 0.5, "scale": (0.5, 0.6)}}, SIZE)
    seen = set()
    for seed in range(60):
        place = augment(rgb, {"reference": numbered}, seed)[1]["reference"].astype(int)
        seen.add((bool(place[0, 0] > place[0, -1]), len(np.unique(place)) < place.size))
    assert len(seen) == 4


@pytest.mark.parametrize("steps", [V5, {}])
def test_into_writes_what_a_call_returns(steps: dict[str, Any]) -> None:
    rgb, maps = frame()
    augment = build(steps, SIZE)
    rgb_out, maps_out = np.empty_like(rgb), {name: np.empty_like(array) for name, array in maps.items()}
    for seed in range(4):
        augment.into(rgb, maps, seed, rgb_out, maps_out)
        expected_rgb, expected = augment(rgb, maps, seed)
        np.testing.assert_array_equal(rgb_out, expected_rgb)
        for name in MAPS:
            np.testing.assert_array_equal(maps_out[name], expected[name])
    with pytest.raises(VortexError, match="normals"):
        augment.into(rgb, {"normals": rgb[..., 0]}, 0, rgb_out, maps_out)
