from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.errors import VortexError
from models.losses import (
    BERHU_FLOOR_M,
    HybridDepthLoss,
    MultiTaskLoss,
    hybrid_target,
    percentile,
    segmentation_loss,
    smoothness_loss,
)
from models.student import Prediction, Student, StudentConfig

H, W = 6, 8


def batch(n: int = 2, size: tuple[int, int] = (H, W), labelled: bool = True, depth: bool = True, seed: int = 0) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    maps = {name: torch.rand(n, 1, *size, generator=g) * 4 + 0.5 for name in ("teacher_depth", "tof_depth", "reference")}
    if not depth:
        maps = {name: torch.zeros_like(value) for name, value in maps.items()}
    return {
        **maps,
        "rgb": torch.rand(n, 3, *size, generator=g),
        "has_teacher": torch.full((n,), depth),
        "tof_confidence": torch.rand(n, 1, *size, generator=g),
        "segmentation": torch.randint(0, 6, (n, *size), generator=g) if labelled else torch.full((n, *size), 255),
    }


def leaves(n: int = 2, size: tuple[int, int] = (H, W), seed: int = 1) -> Prediction:
    g = torch.Generator().manual_seed(seed)
    return Prediction((torch.rand(n, 1, *size, generator=g) * 5).requires_grad_(), torch.randn(n, 6, *size, generator=g).requires_grad_())


def gradients(prediction: Prediction) -> tuple[Tensor, Tensor]:
    assert prediction.depth.grad is not None and prediction.logits.grad is not None
    return prediction.depth.grad, prediction.logits.grad


# --- the hybrid target -------------------------------------------------------------------------------------------------------------


def test_per_frame_target_takes_teacher_then_tof_then_reference() -> None:
    b = batch(3)
    b["has_teacher"] = torch.tensor([True, False, False])
    b["tof_depth"][2] = 0.0
    b["tof_depth"][1, 0, 0, 0] = float("nan")
    target = hybrid_target(b, "per_frame")
    assert torch.equal(target[0], b["teacher_depth"][0])
    assert target[1, 0, 0, 0] == 0 and torch.equal(target[1, 0, 1:], b["tof_depth"][1, 0, 1:])
    assert torch.equal(target[2], b["reference"][2])


def test_per_pixel_target_takes_confident_tof_else_teacher() -> None:
    b = batch(3)
    b["has_teacher"] = torch.tensor([True, False, False])
    b["tof_depth"][2] = float("inf")
    confident = b["tof_confidence"] >= 0.5
    target = hybrid_target(b, "per_pixel")
    assert torch.equal(target[0], torch.where(confident[0], b["tof_depth"][0], b["teacher_depth"][0]))
    assert torch.equal(target[1], torch.where(confident[1], b["tof_depth"][1], 0.0))
    assert torch.equal(target[2], b["reference"][2])


def test_reference_never_fills_holes_of_a_frame_that_has_another_source() -> None:
    b = batch(1)
    b["teacher_depth"][0, 0, 0] = 0.0
    for policy in ("per_frame", "per_pixel"):
        b["tof_confidence"].zero_()
        assert (hybrid_target(b, policy)[0, 0, 0] == 0).all()


# --- berHu -------------------------------------------------------------------------------------------------------------------------


def naive_berhu(residuals: list[float], c: float) -> float:
    return sum(r if r <= c else (r * r + c * c) / (2 * c) for r in residuals) / len(residuals)


@pytest.mark.parametrize("threshold", ["p80", "max20"])
def test_berhu_agrees_with_its_definition(threshold: str) -> None:
    b, p = batch(), leaves()
    loss, pixels = HybridDepthLoss(berhu_threshold=threshold)(p.depth, b)  # type: ignore[arg-type]
    residuals = (p.depth - b["teacher_depth"]).abs().flatten().tolist()
    c = float(np.percentile(residuals, 80)) if threshold == "p80" else 0.2 * max(residuals)
    assert pixels == 2 * H * W
    assert loss.item() == pytest.approx(naive_berhu(residuals, c), rel=1e-5)


def test_mse_agrees_with_its_definition_on_valid_pixels_only() -> None:
    b, p = batch(), leaves()
    b["teacher_depth"][:, :, 0] = float("nan")
    loss, pixels = HybridDepthLoss(kind="mse")(p.depth, b)
    assert pixels == 2 * (H - 1) * W
    assert loss.item() == pytest.approx((p.depth - b["teacher_depth"])[:, :, 1:].square().mean().item(), rel=1e-6)


def test_a_perfect_prediction_with_few_outliers_stays_finite() -> None:
    b = batch()
    depth = b["teacher_depth"].clone()
    depth[0, 0, 0, 0] += 1.0
    loss, pixels = HybridDepthLoss()(depth, b)
    assert loss.item() == pytest.approx((1.0 + BERHU_FLOOR_M**2) / (2 * BERHU_FLOOR_M) / pixels, rel=1e-3)


@settings(deadline=None)
@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=40))
def test_percentile_is_that_of_numpy(values: list[float]) -> None:
    assert percentile(torch.tensor(values), 0.8).item() == pytest.approx(np.percentile(np.float32(values), 80), rel=1e-5, abs=1e-6)


def test_percentile_of_more_than_2_to_24_values() -> None:
    n = 2**24 + 8
    assert percentile(torch.arange(n, dtype=torch.float32), 0.8).item() == pytest.approx(0.8 * (n - 1), abs=2)


def test_percentile_of_the_largest_is_that_of_the_selected() -> None:
    size = torch.rand(2, 1, 30, 40)
    size[:, :, :7] = 0.0  # without a target
    selected = size[size > 0]
    assert torch.equal(percentile(size.flatten(), 0.8, len(selected)), percentile(selected, 0.8))


# --- Kendall -----------------------------------------------------------------------------------------------------------------------


def test_kendall_forms_differ_in_the_classification_term() -> None:
    b, p = batch(), leaves()
    full, half = MultiTaskLoss(kendall_form="regression_half"), MultiTaskLoss(kendall_form="both_half")
    for loss in (full, half):
        loss.log_variance_depth.data.fill_(0.7)
        loss.log_variance_segmentation.data.fill_(-0.4)
    terms = full(p, b)
    rest = 0.5 * math.exp(-0.7) * terms.depth + 0.35 + 0.1 * terms.smoothness - 0.2
    assert terms.total.item() == pytest.approx((rest + math.exp(0.4) * terms.segmentation).item(), rel=1e-6)
    assert half(p, b).total.item() == pytest.approx((rest + 0.5 * math.exp(0.4) * terms.segmentation).item(), rel=1e-6)


def test_fixed_weights() -> None:
    b, p = batch(), leaves()
    terms = MultiTaskLoss(use_kendall=False, weights={"depth": 2.0, "segmentation": 0.5, "smoothness": 0.0})(p, b)
    assert terms.total.item() == pytest.approx((2 * terms.depth + 0.5 * terms.segmentation).item(), rel=1e-6)


def test_log_variance_outside_its_bounds_is_projected_and_still_moves() -> None:
    loss = MultiTaskLoss()
    optimiser = torch.optim.SGD(loss.parameters(), lr=1.0)
    loss.log_variance_depth.data.fill_(9.0)
    loss.project()
    assert loss.log_variance_depth.item() == 2.0
    b, p = batch(depth=True), leaves()
    b["teacher_depth"] = p.depth.detach().clone()
    loss(p, b).total.backward()
    optimiser.step()
    loss.project()
    assert loss.log_variance_depth.item() == pytest.approx(1.5)


def test_bad_settings_name_what_is_allowed() -> None:
    for make in (
        lambda: HybridDepthLoss(depth_target="sometimes"),  # type: ignore[arg-type]
        lambda: HybridDepthLoss(berhu_threshold="p90"),  # type: ignore[arg-type]
        lambda: HybridDepthLoss(kind="l1"),  # type: ignore[arg-type]
        lambda: MultiTaskLoss(kendall_form="third"),  # type: ignore[arg-type]
        lambda: MultiTaskLoss(weights={"normals": 1.0}),
        lambda: MultiTaskLoss(clamp=(1.0, 2.0)),
    ):
        with pytest.raises(VortexError) as caught:
            make()
        assert caught.value.hint


# --- smoothness --------------------------------------------------------------------------------------------------------------------


def test_smoothness_agrees_with_its_definition() -> None:
    g = torch.Generator().manual_seed(3)
    d, image = torch.rand(2, 1, H, W, generator=g), torch.rand(2, 3, H, W, generator=g)
    gx, gy = (d[..., 1:] - d[..., :-1]).abs(), (d[..., 1:, :] - d[..., :-1, :]).abs()
    ix = (image[..., 1:] - image[..., :-1]).abs().mean(1, keepdim=True)
    iy = (image[..., 1:, :] - image[..., :-1, :]).abs().mean(1, keepdim=True)
    wanted = (gx * torch.exp(-ix)).mean() + (gy * torch.exp(-iy)).mean()
    assert smoothness_loss(d, image).item() == pytest.approx(wanted.item(), rel=1e-5)


# --- batches without supervision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_kendall", [True, False])
@pytest.mark.parametrize(("labelled", "depth"), [(False, True), (True, False), (False, False)])
def test_unsupervised_batches_are_finite_and_connected(use_kendall: bool, labelled: bool, depth: bool) -> None:
    b, p = batch(labelled=labelled, depth=depth), leaves()
    loss = MultiTaskLoss(use_kendall=use_kendall)
    terms = loss(p, b)
    assert all(torch.isfinite(term) for term in terms[:4])
    assert (terms.labelled_pixels > 0, terms.valid_pixels > 0) == (labelled, depth)
    terms.total.backward()
    d, logits = gradients(p)
    assert torch.isfinite(d).all() and torch.isfinite(logits).all()
    assert bool(d.any()) == depth and bool(logits.any()) == labelled
    # Connected: with DDP every parameter must receive a gradient, of the log variances a zero one.
    if use_kendall:
        for parameter, used in ((loss.log_variance_depth, depth), (loss.log_variance_segmentation, labelled)):
            assert parameter.grad is not None and bool(parameter.grad != 0) == used


BAD = [float("inf"), float("-inf"), float("nan"), 3e38, -3e38]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    labelled=st.floats(0, 1),
    valid=st.floats(0, 1),
    bad=st.sampled_from(BAD),
    share=st.floats(0, 1),
    threshold=st.sampled_from(["p80", "max20"]),
    kind=st.sampled_from(["berhu", "mse"]),
    target=st.sampled_from(["per_frame", "per_pixel"]),
    form=st.sampled_from(["regression_half", "both_half"]),
    use_kendall=st.booleans(),
)
def test_bad_values_on_unsupervised_pixels_never_reach_total_or_gradient(
    seed: int, labelled: float, valid: float, bad: float, share: float, threshold: str, kind: str, target: str, form: str, use_kendall: bool
) -> None:
    g = torch.Generator().manual_seed(seed)
    b = batch(seed=seed)
    b["has_teacher"] = torch.rand(2, generator=g) < 0.7
    holes = [0.0, float("nan"), float("inf"), -1.0]
    for name in ("teacher_depth", "tof_depth", "reference"):
        empty = torch.rand(2, 1, H, W, generator=g) >= valid
        b[name] = torch.where(empty, holes[seed % 4], b[name])
    b["segmentation"][torch.rand(2, H, W, generator=g) >= labelled] = 255
    p = leaves(seed=seed)
    with torch.no_grad():
        free = ~(hybrid_target(b, target) > 0) & (torch.rand(2, 1, H, W, generator=g) < share)  # type: ignore[arg-type]
        p.depth[free] = bad
        unlabelled = (b["segmentation"] == 255).unsqueeze(1) & (torch.rand(2, 6, H, W, generator=g) < share)
        p.logits[unlabelled] = bad
    depth_loss = HybridDepthLoss(target, threshold, kind)  # type: ignore[arg-type]
    loss = MultiTaskLoss(use_kendall, kendall_form=form, depth_loss=depth_loss)  # type: ignore[arg-type]
    terms = loss(p, b)
    terms.total.backward()
    d, logits = gradients(p)
    assert torch.isfinite(terms.total), terms
    assert torch.isfinite(d).all() and torch.isfinite(logits).all()
    if not math.isfinite(bad):
        assert not logits[unlabelled].any() and not d[free].any()


@settings(max_examples=40, deadline=None)
@given(
    bad=st.sampled_from(BAD[:3]),
    place=st.sampled_from(["depth", "logits"]),
    threshold=st.sampled_from(["p80", "max20"]),
    kind=st.sampled_from(["berhu", "mse"]),
    pixels=st.integers(1, H * W),
)
def test_bad_values_on_supervised_pixels_stay_visible(bad: float, place: str, threshold: str, kind: str, pixels: int) -> None:
    b, p = batch(), leaves()
    with torch.no_grad():
        if place == "depth":
            p.depth[0].view(-1)[:pixels] = bad
        else:
            for pixel in range(pixels):
                # A logit of −∞ for a wrong class is an honest "never" and leaves the cross-entropy finite: spoil the true class's.
                y, x = divmod(pixel, W)
                p.logits[0, b["segmentation"][0, y, x], y, x] = bad
    loss = MultiTaskLoss(depth_loss=HybridDepthLoss(berhu_threshold=threshold, kind=kind))  # type: ignore[arg-type]
    assert not torch.isfinite(loss(p, b).total)


def test_cross_entropy_with_ignore_index_would_have_failed_here() -> None:
    _, p = batch(), leaves()
    target = torch.zeros(2, H, W, dtype=torch.long)
    target[0, 0, 0] = 255
    with torch.no_grad():
        p.logits[0, 0, 0, 0] = float("inf")
    torch.nn.functional.cross_entropy(p.logits, target, ignore_index=255).backward()
    assert p.logits.grad is not None and p.logits.grad.isnan().any()
    p.logits.grad = None
    loss, _ = segmentation_loss(p.logits, target)
    loss.backward()
    assert torch.isfinite(p.logits.grad).all()  # type: ignore[arg-type]


def test_a_label_outside_the_classes_is_one_clear_line() -> None:
    b, p = batch(), leaves()
    b["segmentation"][0, 0, 0] = 17
    with pytest.raises(VortexError, match=r"1 pixels .* outside 0\.\.5 and 255, such as 17"):
        MultiTaskLoss()(p, b)


# --- a team's loss --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["regression_half", "both_half"])
def test_a_team_minimises_the_mean_over_the_pixels_of_the_whole_batch(form: Literal["regression_half", "both_half"]) -> None:
    b, whole = batch(4), leaves(4)
    b["segmentation"][1:] = 255  # the second of two processes has no label at all
    b["reference"][3] = b["tof_depth"][3] = b["teacher_depth"][3] = 0.0
    alone = MultiTaskLoss(kendall_form=form, depth_loss=HybridDepthLoss(kind="mse"))
    wanted = alone(whole, b)
    wanted.total.backward()
    team, parts = MultiTaskLoss(kendall_form=form, depth_loss=HybridDepthLoss(kind="mse")), leaves(4)
    team.totals = lambda valid, labelled: (wanted.valid_pixels, wanted.labelled_pixels, 2)
    told = []
    for half in (slice(0, 2), slice(2, 4)):
        terms = team(Prediction(parts.depth[half], parts.logits[half]), {name: value[half] for name, value in b.items()})
        (terms.total / 2).backward()  # gradients are averaged over the processes
        told.append(terms)
    for ours, theirs in zip(gradients(parts), gradients(whole), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)
    for ours, theirs in zip(team.parameters(), alone.parameters(), strict=True):
        assert ours.grad is not None and theirs.grad is not None and torch.allclose(ours.grad, theirs.grad, atol=1e-6)
    for name in ("depth", "segmentation"):
        assert float(sum(getattr(terms, name) for terms in told)) / 2 == pytest.approx(float(getattr(wanted, name)), rel=1e-5)
    assert {(terms.valid_pixels, terms.labelled_pixels) for terms in told} == {(wanted.valid_pixels, wanted.labelled_pixels)}


# --- no drift over real steps ------------------------------------------------------------------------------------------------------


def train(student: Student, loss: MultiTaskLoss, b: dict[str, Tensor], steps: int, optimiser: torch.optim.Optimizer) -> None:
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        terms = loss(student(b["rgb"]), b)
        terms.total.backward()
        loss.after_backward(student, terms.labelled_pixels, terms.valid_pixels)
        optimiser.step()
        loss.project()


@pytest.mark.parametrize("missing", ["labels", "depth", "both"])
def test_twenty_steps_without_supervision_do_not_drift_that_branch(missing: str) -> None:
    torch.manual_seed(0)
    student = Student(StudentConfig(encoder="mobilenetv3_small_100")).train()
    loss = MultiTaskLoss()
    optimiser = torch.optim.AdamW([*student.parameters(), *loss.parameters()], lr=1e-3, weight_decay=0.05)
    size = (32, 32)
    # Two supervised steps first, so that AdamW has momentum that could carry the weights on.
    train(student, loss, batch(size=size), 2, optimiser)
    still = {
        "labels": [*student.segmentation_parameters(), loss.log_variance_segmentation],
        "depth": [*student.depth_parameters(), loss.log_variance_depth],
        "both": [*student.parameters(), *loss.parameters()],
    }[missing]
    before = [p.detach().clone() for p in still]
    other = [p.detach().clone() for p in student.neck.parameters()]
    train(student, loss, batch(size=size, labelled=missing == "depth", depth=missing == "labels"), 20, optimiser)
    assert all(torch.equal(a, b) for a, b in zip(before, still, strict=True))
    assert all(torch.isfinite(p).all() for p in student.parameters())
    if missing != "both":
        assert any(not torch.equal(a, b) for a, b in zip(other, student.neck.parameters(), strict=True))
