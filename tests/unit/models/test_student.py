from __future__ import annotations

import logging
import re
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from core.errors import VortexError
from models.student import INITIAL_DEPTH_M, Student, StudentConfig, resize
from models.tensors import CheckpointError

SMALL = "mobilenetv3_small_100"


@pytest.fixture(scope="module")
def student() -> Student:
    torch.manual_seed(0)
    return Student(StudentConfig()).eval()


def test_efficientvit_student_has_the_published_parameter_count(student: Student) -> None:
    assert sum(p.numel() for p in student.parameters()) == 5_312_919


def test_mobilenet_student_has_about_1_52_million_parameters() -> None:
    small = Student(StudentConfig(encoder=SMALL))
    assert sum(p.numel() for p in small.parameters()) == 1_517_143
    assert small.encoder.feature_info.reduction() == [4, 8, 16, 32]
    depth, logits = small.eval()(torch.rand(1, 3, 64, 96))
    assert depth.shape == (1, 1, 64, 96) and logits.shape == (1, 6, 64, 96)


def test_state_dict_names_are_those_of_the_existing_checkpoints(student: Student) -> None:
    tail = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
    allowed = re.compile(
        rf"encoder\..+|neck\.[01]\.{tail}|(depth|seg)_d[123]\.(up|bn)\.{tail}|(depth|seg)_d[123]\.fuse\.[01]\.{tail}"
        r"|depth_head\.0\.(weight|bias)|seg_head\.(weight|bias)"
    )
    names = student.state_dict().keys()
    assert [name for name in names if not allowed.fullmatch(name)] == []
    assert {"depth_d1.up.bias", "seg_d3.fuse.1.running_var", "neck.1.weight", "depth_head.0.weight", "seg_head.bias"} <= set(names)
    shapes = {name: tuple(value.shape) for name, value in student.state_dict().items()}
    assert shapes["depth_d1.up.weight"] == (128, 64, 4, 4)
    assert shapes["seg_d2.fuse.0.weight"] == (32, 96, 3, 3)


@pytest.mark.parametrize("size", [(240, 320), (120, 160), (64, 96), (50, 70)])
def test_outputs_have_the_input_size(student: Student, size: tuple[int, int]) -> None:
    with torch.no_grad():
        prediction = student(torch.rand(1, 3, *size))
    assert prediction.depth.shape == (1, 1, *size)
    assert prediction.logits.shape == (1, 6, *size)
    assert (prediction.depth >= 0).all()


def test_heads_before_the_resize_equal_the_published_order(student: Student) -> None:
    rgb = torch.rand(2, 3, 64, 96)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        s4, s8, s16, s32 = student.encoder((rgb - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1))
        x = student.neck(s32)
        depth = resize(student.depth_d3(student.depth_d2(student.depth_d1(x, s16), s8), s4), (64, 96))
        seg = resize(student.seg_d3(student.seg_d2(student.seg_d1(x, s16), s8), s4), (64, 96))
        prediction = student(rgb)
        assert torch.allclose(prediction.depth, F.relu(student.depth_head[0](depth)), atol=1e-5)
        assert torch.allclose(prediction.logits, student.seg_head(seg), atol=1e-5)


def test_a_fresh_depth_head_passes_gradient_on_most_pixels() -> None:
    torch.manual_seed(1)
    depth = Student(StudentConfig(encoder=SMALL))(torch.rand(2, 3, 64, 96)).depth
    assert (depth > 0).float().mean() > 0.95
    assert 0.5 < depth.mean() < 2 * INITIAL_DEPTH_M


def test_parameter_groups_split_the_network() -> None:
    student = Student(StudentConfig(encoder=SMALL))
    encoder, decoder = list(student.encoder_parameters()), list(student.decoder_parameters())
    assert len(encoder) + len(decoder) == len(list(student.parameters()))
    assert not {id(p) for p in encoder} & {id(p) for p in decoder}
    depth, segmentation = {id(p) for p in student.depth_parameters()}, {id(p) for p in student.segmentation_parameters()}
    neck = {id(p) for p in student.neck.parameters()}
    assert depth | segmentation | neck == {id(p) for p in decoder} and not depth & segmentation


def test_a_frozen_encoder_keeps_its_weights_and_statistics() -> None:
    student = Student(StudentConfig(encoder=SMALL))
    student.freeze_encoder(True)
    student.train()
    before = {name: value.clone() for name, value in student.encoder.state_dict().items()}
    prediction = student(torch.rand(2, 3, 64, 96))
    (prediction.depth.mean() + prediction.logits.mean()).backward()
    assert all(p.grad is None for p in student.encoder_parameters())
    assert all(torch.equal(before[name], value) for name, value in student.encoder.state_dict().items())
    student.freeze_encoder(False)
    assert student.encoder.training and all(p.requires_grad for p in student.encoder_parameters())


def test_unknown_encoder_names_the_known_ones() -> None:
    with pytest.raises(VortexError, match="resnet18") as caught:
        Student(StudentConfig(encoder="resnet18"))
    assert "efficientvit_b1" in caught.value.hint


def test_imagenet_weights_without_network_fail_fast_quietly_and_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # A port of this machine that nobody listens on stands in for a hub out of reach.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/{filename}")
    started = time.monotonic()
    with caplog.at_level(logging.WARNING), pytest.raises(VortexError, match="ImageNet weights of mobilenetv3_small_100") as caught:
        Student(StudentConfig(encoder=SMALL), encoder_weights="imagenet")
    assert time.monotonic() - started < 10
    assert "--encoder-weights none" in caught.value.hint and "FILE" in caught.value.hint
    assert "\n" not in caught.value.message
    assert not [record for record in caplog.records if record.name.startswith(("huggingface_hub", "timm"))]


def test_a_file_that_holds_no_weights_is_answered_with_what_would(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("no weights")
    with pytest.raises(CheckpointError, match="words: not a whole weights file") as caught:
        Student(StudentConfig(encoder=SMALL), tmp_path / "words")
    assert "imagenet, or none" in caught.value.hint and "version" not in caught.value.hint


@pytest.mark.parametrize("encoder", [SMALL, "efficientvit_b1"])
def test_encoder_weights_from_timms_classifier_file(tmp_path: Path, encoder: str) -> None:
    import timm

    classifier = timm.create_model(encoder, pretrained=False)
    path = tmp_path / "classifier.safetensors"
    save_file(classifier.state_dict(), path)
    filled = Student(StudentConfig(encoder=encoder), path).encoder.eval()
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 64)
        indices = [0, 1, 2, 3] if encoder == "efficientvit_b1" else [1, 2, 3, 4]
        features = classifier.eval().forward_intermediates(image, indices=indices, intermediates_only=True)
        for ours, timms in zip(filled(image), features, strict=True):
            assert torch.equal(ours, timms)


def test_encoder_weights_from_another_student_and_a_pt(tmp_path: Path) -> None:
    donor = Student(StudentConfig(encoder=SMALL))
    save_file(donor.state_dict(), tmp_path / "donor.safetensors")
    torch.save({"epoch": 3, "model": donor.encoder.state_dict()}, tmp_path / "encoder.pt")
    for name in ("donor.safetensors", "encoder.pt"):
        taker = Student(StudentConfig(encoder=SMALL), tmp_path / name)
        assert all(torch.equal(a, b) for a, b in zip(donor.encoder_parameters(), taker.encoder_parameters(), strict=True))


def test_encoder_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(VortexError, match="not weights of mobilenetv3_small_100"):
        Student(StudentConfig(encoder=SMALL), tmp_path / "other.safetensors")
    with pytest.raises(VortexError, match="no such weights file"):
        Student(StudentConfig(encoder=SMALL), tmp_path / "absent.safetensors")
    wrong = {name: torch.zeros(1) for name in Student(StudentConfig(encoder=SMALL)).encoder.state_dict()}
    save_file(wrong, tmp_path / "shapes.safetensors")
    with pytest.raises(VortexError, match="shapes"):
        Student(StudentConfig(encoder=SMALL), tmp_path / "shapes.safetensors")
