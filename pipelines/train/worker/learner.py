"""What learns in a stage: the student and its loss as one module, their optimiser, and the average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import checkpoint
from models.anchor import Anchor
from models.ema import Ema
from models.losses import LossTerms, MultiTaskLoss
from models.student import Student
from pipelines.runs.folder import START
from pipelines.train.plan.switches import Switches
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.anchor import read_anchor
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.nonfinite import Guard
from pipelines.train.worker.optimizer import make_loss, make_optimizer

OnNote = Callable[[str], None]
"""Hears what a person should know."""


class Task(nn.Module):
    """The student and its loss as one module, so that a team averages the gradients of both.

    Make it once a stage: with `compile` the network is compiled at the first batch, and again after freezing or thawing. Where it
    cannot be compiled, `on_note` hears of it once and the network runs as it is.
    """

    def __init__(self, student: Student, loss: MultiTaskLoss, switches: Switches, on_note: OnNote) -> None:
        super().__init__()
        self.student, self.loss, self.switches = student, loss, switches
        self._features = _compiled(student.features, on_note) if switches.compile else student.features

    def forward(self, batch: Mapping[str, Tensor]) -> LossTerms:
        """Predict, and judge the prediction. In bfloat16 a depth of 2 m has steps of 1.6 cm: heads and loss never run in it."""
        rgb = batch["rgb"].contiguous(memory_format=_format(self.switches))
        with torch.autocast(rgb.device.type, torch.bfloat16, enabled=self.switches.autocast):
            depth, segmentation = self._features(rgb)
        prediction = self.student.heads(depth.float(), segmentation.float(), rgb.shape[-2:])
        terms: LossTerms = self.loss(prediction, batch)
        return terms


@dataclass
class Learner:
    """All that a training changes, besides its progress and the random generators; `anchor` holds the weights to where the stage began."""

    task: Task
    optimizer: torch.optim.Optimizer
    ema: Ema | None = None
    anchor: Anchor | None = None
    network: nn.Module = field(init=False)
    """The task as it computes now: by itself, or with its gradients averaged over a group."""
    guard: Guard = field(init=False)

    def __post_init__(self) -> None:
        self.network, self.guard = self.task, Guard(self.student)

    @property
    def student(self) -> Student:
        """The student that the steps change."""
        return self.task.student

    @property
    def loss(self) -> MultiTaskLoss:
        """Its loss, which may have weights of its own."""
        return self.task.loss

    @property
    def candidate(self) -> Student:
        """The student that is validated and may become the best: the average where there is one."""
        return self.ema.student if self.ema else self.student

    def begin_epoch(self, group: ProcessGroup, *, frozen: bool = False) -> None:
        """Train from here on, with the encoder `frozen` or not, and with the gradients of what is trained averaged over the group."""
        self.student.train()
        self.student.freeze_encoder(frozen)
        self.network = group.wrap(self.task)

    def state(self) -> dict[str, Tensor]:
        """Everything but the student's own weights, as tensors for a file; the optimiser's moments by the names of their parameters."""
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.task.named_parameters()}
        state = {
            f"optimizer.{names[parameter]}.{key}": torch.as_tensor(value)
            for parameter, moments in self.optimizer.state.items()
            for key, value in moments.items()
        }
        state |= {f"loss.{name}": value for name, value in self.loss.state_dict().items()}
        return state | ({f"ema.{name}": value for name, value in self.ema.state_dict().items()} if self.ema else {})

    def restore(self, student: Student, state: dict[str, Tensor]) -> None:
        """Become what was saved."""
        self.student.load_state_dict(student.state_dict())
        self.loss.load_state_dict(_part(state, "loss."))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": self._moments(_part(state, "optimizer."))})
        if self.ema:
            self.ema.load_state_dict(_part(state, "ema."))

    def _moments(self, state: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
        """The optimiser's state from a checkpoint, by the position of each parameter, and laid out in memory as that is.

        A file holds tensors row by row; the fused AdamW walks parameter and moments side by side in memory, so with a parameter that is
        channels-last it would silently pair each weight with another one's moments.
        """
        parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        position = {parameter: number for number, parameter in enumerate(parameters)}
        # Format 2 names them by their position.
        numbers = {str(number): number for number in position.values()}
        numbers |= {name: position[parameter] for name, parameter in self.task.named_parameters() if parameter in position}
        moments: dict[int, dict[str, Tensor]] = {}
        for path, tensor in state.items():
            name, _, key = path.rpartition(".")
            like = parameters[numbers[name]]
            value = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape and tensor.ndim else tensor
            moments.setdefault(numbers[name], {})[key] = value.detach()
        return moments


def load_learner(plan: TrainPlan, number: int, folder: Path, group: ProcessGroup, on_note: OnNote) -> Learner:
    """What learns in stage `number`, as it is before the first step; its starting weights and its anchor are in `folder`.

    Raises CheckpointError when one of them cannot be read or does not fit the recipe.
    """
    student, _ = checkpoint.load(folder / START, encoder=plan.recipe.student.encoder)
    prepare_student(student.to(group.device), plan.step)
    loss = make_loss(plan.recipe).to(group.device)
    loss.totals = group.pixels
    return Learner(
        Task(student, loss, plan.step, on_note),
        make_optimizer(plan.recipe, student, loss, fused=plan.step.fused),
        Ema(student, plan.recipe.ema.decay) if plan.recipe.ema else None,
        read_anchor(plan, number, folder, student),
    )


class Float32Conv2d(nn.Conv2d):
    """A convolution that computes in its weights' float32 within an autocast, and gives its result in the type that it was given."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)


def prepare_student(student: Student, switches: Switches) -> Student:
    """Lay a student that is on its device out as the switches have it; do so before its optimiser is made. Weights keep their values."""
    student.to(memory_format=_format(switches))
    if switches.autocast and next(student.parameters()).device.type == "cpu":
        for module in student.modules():
            if type(module) is nn.Conv2d and _slow_in_bfloat16(module):
                # Not wrapped or patched: names of the weights stay, and a copy of the student stands on its own.
                module.__class__ = Float32Conv2d
    return student


def _slow_in_bfloat16(conv: nn.Conv2d) -> bool:
    """Depthwise ones but 3×3 of stride 1: on a CPU their backward pass takes 2 to 40 times as long as in float32 (torch 2.15)."""
    return conv.groups == conv.in_channels > 1 and (conv.stride != (1, 1) or conv.kernel_size != (3, 3))


def _format(switches: Switches) -> torch.memory_format:
    return torch.channels_last if switches.channels_last else torch.contiguous_format


def _compiled(function: Callable[..., Any], on_note: OnNote) -> Callable[..., Any]:
    """`function`, compiled at its first call; itself from then on when the compiler fails."""
    import torch._functorch.config as functorch
    from torch._dynamo.exc import TorchDynamoException

    # Otherwise the backward pass is compiled when it is first run, where nobody could go on without the compiler.
    functorch.force_non_lazy_backward_lowering = True
    run: Callable[..., Any] = torch.compile(function, dynamic=False)

    def call(*arguments: Any) -> Any:
        nonlocal run
        try:
            return run(*arguments)
        except TorchDynamoException as error:
            # The first line says which part has raised, the next one what.
            reason = next((line for line in str(error).splitlines() if line.strip() and not line.endswith("raised:")), type(error).__name__)
            on_note(f"torch.compile failed, the step goes on without it: {reason}")
            run = function
            return run(*arguments)

    return call


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
