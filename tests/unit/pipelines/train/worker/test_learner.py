"""What learns, and its step: switches change how it computes, not what."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from core.errors import UsageError
from models.losses import LossTerms, MultiTaskLoss
from models.student import Prediction, Student, StudentConfig, UpBlock
from pipelines.recipes.recipe import load
from pipelines.train.plan.switches import Switches
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.learner import Float32Conv2d, Learner, Task, _compiled, prepare_student
from pipelines.train.worker.loop import train_step
from pipelines.train.worker.optimizer import make_optimizer
from pipelines.workspace import Workspace
from pipelines.workspace import load as load_workspace
from tests.unit.pipelines.training_runs import planned
from tests.unit.pipelines.training_set import publish

Tensors = dict[str, Tensor]
CPU = torch.device("cpu")
CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible to torch"))
PLAIN = Switches.eager()
QUICK = {"cpp.vec_isa_ok": True, "cpp_cache_precompile_headers": False}
"""Without the compiler's trials of the processor, and headers for the next time: 5 of 18 s on one core (2026-11-30)."""


class Watched(MultiTaskLoss):
    """Keeps the last prediction that it judged."""

    seen: Prediction

    def forward(self, prediction: Prediction, batch: Tensors) -> LossTerms:
        self.seen = prediction
        return super().forward(prediction, batch)


def batch_on(device: torch.device = CPU) -> Tensors:
    generator = torch.Generator().manual_seed(1)
    depth = torch.rand(4, 1, 64, 96, generator=generator) * 4 + 0.5
    tensors = {
        "rgb": torch.rand(4, 3, 64, 96, generator=generator), "teacher_depth": depth, "tof_depth": depth, "reference": depth,
        "tof_confidence": torch.ones_like(depth), "has_teacher": torch.ones(4, dtype=torch.bool),
        "segmentation": torch.randint(0, 6, (4, 64, 96), generator=generator),
    }  # fmt: skip
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def task_of(switches: Switches, device: torch.device = CPU, notes: list[str] | None = None) -> Task:
    torch.manual_seed(0)
    student = prepare_student(Student(StudentConfig("mobilenetv3_small_100", (64, 96))).to(device), switches).train()
    return Task(student, Watched().to(device), switches, (notes if notes is not None else []).append)


def trained(switches: Switches, steps: int = 3, device: torch.device = CPU, notes: list[str] | None = None) -> tuple[list[float], Task]:
    """Total of each step, and what was trained."""
    task, batch = task_of(switches, device, notes), batch_on(device)
    learner = Learner(task, make_optimizer(load("v5"), task.student, task.loss, fused=switches.fused))
    group = ProcessGroup(0, 1, device)
    return [train_step(learner, batch, group).losses["loss"] for _ in range(steps)], task


@pytest.fixture(scope="module")
def plain() -> list[float]:
    return trained(PLAIN)[0]


@pytest.mark.parametrize("device", ["cpu", CUDA])
@pytest.mark.parametrize(("text", "tolerance"), [("channels_last=on", 1e-3), ("fused=on", 1e-3), ("autocast=on", 0.02)])
def test_a_switch_changes_the_rounding_and_nothing_else(plain: list[float], text: str, tolerance: float, device: str) -> None:
    totals, _ = trained(PLAIN.changed(text), device=torch.device(device))
    # A GPU's convolutions round float32 to 10 bits (TF32) from the start.
    assert totals == pytest.approx(plain, rel=tolerance if device == "cpu" else 0.02)


def test_heads_and_loss_see_float32_whatever_the_network_computes_in() -> None:
    task = task_of(PLAIN.changed("autocast=on"))
    task(batch_on())
    depth, logits = task.loss.seen
    assert depth.dtype == logits.dtype == torch.float32
    # In bfloat16 every depth would be one of its 8-bit numbers.
    assert (depth != depth.bfloat16().float()).float().mean() > 0.9


def test_convolutions_that_are_slow_in_bfloat16_stay_in_float32() -> None:
    student = task_of(PLAIN.changed("autocast=on")).student
    slow = [name for name, module in student.named_modules() if isinstance(module, Float32Conv2d)]
    assert len(slow) == 10  # of eleven depthwise ones: one is 3×3 with stride 1
    plain = task_of(PLAIN).student
    assert not any(isinstance(module, Float32Conv2d) for module in plain.modules())
    assert student.state_dict().keys() == plain.state_dict().keys()
    conv = student.get_submodule(slow[-1])
    assert isinstance(conv, Float32Conv2d)
    x = torch.rand(1, conv.in_channels, 8, 8).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        output = conv(x)
    exact = nn.functional.conv2d(x.float(), conv.weight, None, conv.stride, conv.padding, groups=conv.groups)
    assert torch.equal(output, exact.bfloat16())
    copied = copy.deepcopy(student)
    with torch.no_grad():
        copied.get_submodule(slow[-1]).weight.zero_()
    rgb = batch_on()["rgb"]
    assert not torch.equal(copied.eval()(rgb).depth, student.eval()(rgb).depth)


def test_the_switches_of_this_device_train_to_the_same_bits_twice() -> None:
    switches = Switches.for_device("cpu")
    first, second = (trained(switches)[1].state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def block_of(device: str) -> tuple[UpBlock, Callable[[UpBlock | Callable[..., Tensor]], tuple[Tensor, Tensor]]]:
    """A piece of the student's decoder, for the whole takes minutes to compile on a CPU, and how its output and a gradient are had."""
    torch.manual_seed(0)
    block = UpBlock(8, 4, 4).to(device)
    x, skip = torch.rand(2, 8, 6, 8, device=device), torch.rand(2, 4, 12, 16, device=device)

    def results(run: UpBlock | Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        block.zero_grad()
        out = run(x, skip)
        out.square().sum().backward()
        assert block.up.weight.grad is not None
        return out.detach(), block.up.weight.grad.clone()

    return block, results


@pytest.mark.endurance
@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_a_compiled_network_computes_the_same(device: str) -> None:
    import torch._inductor.config

    torch.compiler.reset()
    notes: list[str] = []
    block, results = block_of(device)
    with torch._inductor.config.patch(QUICK):
        found = results(_compiled(block, notes.append))
    if notes and "InvalidCxxCompiler" in notes[0]:
        pytest.skip(f"no C++ compiler for torch.compile: {notes[0]}")
    assert notes == []
    for ours, eager in zip(found, results(block), strict=True):
        torch.testing.assert_close(ours, eager, rtol=1e-3, atol=1e-4)


@torch.compiler.config.patch(force_disable_caches=True)
def test_a_compiler_that_fails_is_said_once_and_the_network_runs_as_it_is(tmp_path: Path) -> None:
    import torch._inductor.config

    torch.compiler.reset()
    notes: list[str] = []
    block, results = block_of("cpu")
    run = _compiled(block, notes.append)
    # Not by monkeypatch, which leaves torch's settings without what it has put back.
    with torch._inductor.config.patch({"cpp.cxx": (None, str(tmp_path / "no-such-compiler"))}):
        for _ in range(2):
            for ours, eager in zip(results(run), results(block), strict=True):
                torch.testing.assert_close(ours, eager)
    assert len(notes) == 1 and notes[0].startswith("torch.compile failed, the step goes on without it: ")


@pytest.mark.endurance
@torch.compiler.config.patch(force_disable_caches=True)
def test_a_compiler_that_fails_at_the_backward_pass_is_noticed_in_the_forward_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor.compile_fx
    import torch._inductor.config

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(torch._inductor.compile_fx, "compile_fx_backward", fail)
    torch.compiler.reset()
    notes: list[str] = []
    block, results = block_of("cpu")
    with torch._inductor.config.patch(QUICK):
        found = results(_compiled(block, notes.append))
    for ours, eager in zip(found, results(block), strict=True):
        torch.testing.assert_close(ours, eager)
    assert len(notes) == 1 and notes[0] == "torch.compile failed, the step goes on without it: RuntimeError: no such kernel"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible to torch")
def test_the_whole_step_of_a_gpu_compiles_also_after_thawing(plain: list[float]) -> None:
    notes: list[str] = []
    device = torch.device("cuda")
    totals, task = trained(Switches.for_device("cuda"), 2, device, notes)
    assert notes == [] and totals == pytest.approx(plain[:2], rel=0.02)
    for frozen in (True, False):
        task.student.freeze_encoder(frozen)
        task.zero_grad()
        task(batch_on(device)).total.backward()
        assert all((weight.grad is None) == frozen for weight in task.student.encoder_parameters())
    assert notes == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eager", {"channels_last": False, "fused": False}),
        ("eager,autocast=on", {"channels_last": False, "fused": False, "autocast": True}),
        (" compile = on , prefetch=4 ", {"compile": True, "prefetch": 4}),
    ],
)
def test_switches_are_set_by_name(text: str, expected: dict[str, object]) -> None:
    assert Switches().changed(text) == Switches(**expected)


@pytest.mark.parametrize("text", ["", "fast", "compile", "compile=yes", "prefetch=on", "prefetch=9", "speed=on", "compile=on,,fused=off"])
def test_a_switch_that_is_not_one_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(UsageError, match="is not a switch") as refused:
        Switches().changed(text)
    assert "compile=on|off" in refused.value.hint and "prefetch=0..8" in refused.value.hint


def test_a_plan_from_before_the_switches_keeps_its_rounding(workspace: Workspace) -> None:
    publish(workspace, "small")
    options = {"recipe": "v6", "domain": "rooms", "encoder_weights": "none", "device": "cpu", "allow_unvalidated": True}
    made = planned(load_workspace(workspace.root), **options, step="eager,compile=on")
    assert made.step == Switches.eager().changed("compile=on") and "step     compile" in made.inferred
    kept = made.model_dump(mode="json")
    del kept["step"]
    assert not any((TrainPlan.model_validate(kept).step.autocast, TrainPlan.model_validate(kept).step.compile))
    assert planned(load_workspace(workspace.root), **options).step == Switches.for_device("cpu")
    with pytest.raises(UsageError, match="'fast' is not a switch"):
        planned(load_workspace(workspace.root), **options, step="fast")


@pytest.mark.parametrize(
    ("instructions", "autocast"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_defaults_use_bfloat16_on_a_cpu_only_where_it_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, instructions: dict[str, object], autocast: bool
) -> None:
    # No machine has all of these CPUs.
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert Switches.for_device("cpu") == Switches(autocast=autocast, compile=False, prefetch=0)


def test_defaults_compile_and_send_ahead_on_a_gpu() -> None:
    switches = Switches.for_device("cuda")
    assert (switches.compile, switches.prefetch, switches.channels_last, switches.fused) == (True, 2, True, True)
