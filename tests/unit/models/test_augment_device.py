"""Augmentation on the device: joint, a function of the seed alone, and with the distributions of the one on the CPU."""

from __future__ import annotations

from typing import Any

import albumentations.augmentations.pixel.functional as albumentations
import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor

from core.errors import VortexError
from models import augment, augment_device
from models.augment_device import _CHANGES

SIZE = (24, 32)
PLACE = torch.arange(SIZE[0] * SIZE[1], dtype=torch.float32).view(1, 1, *SIZE)
V5: dict[str, Any] = {
    "hflip": 0.5,
    "color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
    "random_crop_resize": {"probability": 0.5, "scale": [0.7, 1.0]},
}
CROPS: dict[str, Any] = {"hflip": 0.5, "random_crop_resize": {"probability": 1.0, "scale": [0.5, 1.0]}}
JITTER: dict[str, Any] = {"hflip": 0.0, "color_jitter": V5["color_jitter"]}
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible to torch")),
]


def batch(count: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    place = PLACE.expand(count, -1, -1, -1)
    return {
        "rgb": torch.rand(count, 3, *SIZE, generator=generator).contiguous(memory_format=torch.channels_last),
        "teacher_depth": place.clone(),
        "tof_depth": place * 2,
        "tof_confidence": place / PLACE.numel(),
        "reference": place,
        "segmentation": place[:, 0].long() % 7,
        "has_teacher": torch.tensor([True, False] * count)[:count],
    }


def alone(whole: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    return {name: each[index : index + 1] for name, each in whole.items()}


@pytest.mark.parametrize("device", DEVICES)
def test_a_frame_depends_on_its_seed_and_on_nothing_beside_it(device: str) -> None:
    change, whole = augment_device.build(V5), {name: each.to(device) for name, each in batch(8).items()}
    made = change(whole, range(8))
    assert not torch.equal(made["rgb"], whole["rgb"])
    for index in (5, 0):
        own = change(alone(whole, index), [index])
        for name, each in own.items():
            torch.testing.assert_close(each[0], made[name][index], rtol=0, atol=1e-6 if name == "rgb" else 0)


def test_the_same_batch_twice_is_bitwise_the_same_and_the_source_stays() -> None:
    change, whole = augment_device.build(V5), batch(6)
    before = {name: each.clone() for name, each in whole.items()}
    first, second = change(whole, range(6)), change(whole, range(6))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(whole[name], before[name]) for name in before)


@pytest.mark.parametrize("device", DEVICES)
def test_maps_move_together_with_their_values_and_types_and_as_the_image_does(device: str) -> None:
    whole = {name: each.to(device) for name, each in batch(32).items()}
    # An image that is a plane says at every pixel where it was taken, to a fraction of a pixel.
    rows, columns = torch.arange(SIZE[0]) / SIZE[0], torch.arange(SIZE[1]) / SIZE[1]
    whole["rgb"] = torch.stack([rows[:, None].expand(SIZE), columns.expand(SIZE), torch.zeros(SIZE)]).expand(32, -1, -1, -1).to(device)
    made = augment_device.build(CROPS)(whole, range(32))
    source = made["teacher_depth"].long()
    for name in ("tof_depth", "tof_confidence", "reference", "segmentation"):
        assert made[name].dtype == whole[name].dtype and made[name].shape == whole[name].shape
        expected = whole[name].view(32, -1).gather(1, source.view(32, -1)).view(whole[name].shape)
        assert torch.equal(made[name], expected)
    assert torch.equal(made["has_teacher"], whole["has_teacher"])
    row, column = source[:, 0] // SIZE[1], source[:, 0] % SIZE[1]
    assert (made["rgb"][:, 0] * SIZE[0] - row).abs().max() <= 0.51
    assert (made["rgb"][:, 1] * SIZE[1] - column).abs().max() <= 0.51
    assert (column[:, :, 0] > column[:, :, -1]).any() and (column[:, :, 0] < column[:, :, -1]).any()


def test_a_mirrored_whole_frame_is_exactly_mirrored() -> None:
    whole = batch(2)
    made = augment_device.build({"hflip": 1.0})(whole, (0, 1))
    torch.testing.assert_close(made["rgb"], whole["rgb"].flip(-1), rtol=0, atol=1e-5)
    for name in ("teacher_depth", "segmentation"):
        assert torch.equal(made[name], whole[name].flip(-1))


def test_jitter_moves_nothing_and_no_steps_change_nothing() -> None:
    whole = batch(3)
    made = augment_device.build(JITTER)(whole, range(3))
    assert made["teacher_depth"] is whole["teacher_depth"] and not torch.equal(made["rgb"], whole["rgb"])
    assert made["rgb"].min() >= 0 and made["rgb"].max() <= 1
    assert augment_device.build({})(whole, range(3))["rgb"] is whole["rgb"]


@pytest.mark.parametrize(("name", "factor"), [("brightness", 1.2), ("contrast", 0.7), ("saturation", 1.4), ("hue", 0.1), ("hue", -0.3)])
def test_each_change_of_colour_is_that_of_the_library(name: str, factor: float) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    theirs = getattr(albumentations, f"adjust_{name}_torchvision")(image, factor).astype(float)
    rgb = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    ours = _CHANGES[name](rgb, torch.full((1, 1, 1, 1), factor)).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255
    # Theirs rounds to bytes, and a hue to two degrees: 8.5 of 255 on a pure colour.
    assert np.abs(ours - theirs).max() <= (11.0 if name == "hue" else 1.5)
    assert np.abs(ours - theirs).mean() <= (1.5 if name == "hue" else 0.5)


def test_boxes_and_mirrors_are_distributed_as_on_the_cpu() -> None:
    count = 500
    place = PLACE[0, 0].numpy()
    cpu, rgb = augment.build(CROPS, SIZE), np.zeros((*SIZE, 3), np.uint8)
    theirs = np.array([_box(cpu(rgb, {"teacher_depth": place}, seed)[1]["teacher_depth"]) for seed in range(count)])
    whole = {"rgb": torch.zeros(1, 3, *SIZE), "teacher_depth": PLACE}
    device = augment_device.build(CROPS)
    ours = np.array([_box(device(whole, [seed])["teacher_depth"][0, 0].numpy()) for seed in range(count)])
    for number, quantity in enumerate(("top", "left", "height", "width", "aspect")):
        assert ks_2samp(theirs[:, number], ours[:, number]).pvalue > 0.001, quantity
    assert abs(theirs[:, 5].mean() - ours[:, 5].mean()) < 0.12


def test_colours_are_distributed_as_on_the_cpu() -> None:
    image = np.random.default_rng(1).integers(20, 200, (*SIZE, 3), dtype=np.uint8)
    cpu, device = augment.build(JITTER, SIZE), augment_device.build(JITTER)
    theirs = np.stack([cpu(image, {}, seed)[0] for seed in range(400)]) / 255
    whole = {"rgb": (torch.from_numpy(image).permute(2, 0, 1)[None] / 255).expand(400, -1, -1, -1)}
    ours = device(whole, range(400))["rgb"].permute(0, 2, 3, 1).numpy()
    for name, statistic in (("brightness", lambda x: x.mean((1, 2, 3))), ("contrast", lambda x: x.std((1, 2, 3)))):
        assert ks_2samp(statistic(theirs), statistic(ours)).pvalue > 0.001, name


def test_what_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(VortexError, match="unknown key 'blur'"):
        augment_device.build({"blur": 1})


def _box(place: np.ndarray) -> tuple[float, ...]:
    """Top, left, height, width, aspect and whether it is mirrored, from a map whose values are the places they came from."""
    rows, columns = place.astype(int) // SIZE[1], place.astype(int) % SIZE[1]
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    return rows.min(), columns.min(), height, width, width / height, float(columns[0, 0] > columns[0, -1])
