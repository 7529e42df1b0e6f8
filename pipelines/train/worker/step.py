"""One training step: the network and its loss as one module, and batches that wait on the device when they are asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from models.losses import LossTerms, MultiTaskLoss
from models.student import Student
from pipelines.pack.loader import Batch
from pipelines.train.plan.switches import Switches

__all__ = ["Augment", "Switches", "Task", "device_batches", "prepare"]

Say = Callable[[str], None]
Tensors = dict[str, Tensor]


class Augment(Protocol):
    """What `models.augment_device.build` makes."""

    def __call__(self, batch: Tensors, seeds: tuple[int, ...]) -> Tensors:
        """Augment a batch that is on the device; each frame as its seed has it."""


class Task(nn.Module):
    """The student and its loss as one module, so that a team averages the gradients of both.

    Make it once a stage: with `compile` the network is compiled at the first batch, and again after freezing or thawing. Where it
    cannot be compiled, `say` hears of it once and the network runs as it is.
    """

    def __init__(self, student: Student, loss: MultiTaskLoss, switches: Switches, say: Say) -> None:
        super().__init__()
        self.student, self.loss, self.switches = student, loss, switches
        self._features = _compiled(student.features, say) if switches.compile else student.features

    def forward(self, batch: Mapping[str, Tensor]) -> LossTerms:
        """Predict, and judge the prediction. In bfloat16 a depth of 2 m has steps of 1.6 cm: heads and loss never run in it."""
        rgb = batch["rgb"].contiguous(memory_format=_format(self.switches))
        with torch.autocast(rgb.device.type, torch.bfloat16, enabled=self.switches.autocast):
            depth, segmentation = self._features(rgb)
        prediction = self.student.heads(depth.float(), segmentation.float(), rgb.shape[-2:])
        terms: LossTerms = self.loss(prediction, batch)
        return terms


class Float32Conv2d(nn.Conv2d):
    """A convolution that computes in its weights' float32 within an autocast, and gives its result in the type that it was given."""

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)


def prepare(student: Student, switches: Switches) -> Student:
    """Lay a student that is on its device out as the switches have it; do so before its optimiser is made. Weights keep their values."""
    student.to(memory_format=_format(switches))
    if switches.autocast and next(student.parameters()).device.type == "cpu":
        for module in student.modules():
            if type(module) is nn.Conv2d and _slow_in_bfloat16(module):
                # Not wrapped or patched: names of the weights stay, and a copy of the student stands on its own.
                module.__class__ = Float32Conv2d
    return student


def device_batches(
    batches: Iterable[Batch], device: torch.device, switches: Switches, augment: Augment | None = None
) -> Iterator[tuple[Batch, Tensors]]:
    """Each batch with its tensors on the device (see `Batch.to`), augmented there when `augment` is given.

    Of the batch itself only what needs no buffer (`ids`, `seeds`) is still good: on a GPU the next ones are already being read.
    """

    def moved(batch: Batch) -> Tensors:
        tensors = batch.to(device)
        return augment(tensors, batch.seeds) if augment else tensors

    if device.type != "cuda" or not switches.prefetch:
        for batch in batches:
            yield batch, moved(batch)
        return
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    source = iter(batches)
    ahead: deque[tuple[Batch, Tensors, torch.cuda.Event]] = deque()
    while True:
        while len(ahead) < switches.prefetch and (coming := next(source, None)) is not None:
            with torch.cuda.stream(stream):
                ahead.append((coming, moved(coming), stream.record_event()))
        if not ahead:
            return
        batch, tensors, arrived = ahead.popleft()
        computing = torch.cuda.current_stream(device)
        computing.wait_event(arrived)
        for tensor in tensors.values():
            # They were made on the other stream: their memory must not be given to a later batch while this one is computed.
            tensor.record_stream(computing)
        yield batch, tensors


def _slow_in_bfloat16(conv: nn.Conv2d) -> bool:
    """Depthwise ones but 3×3 of stride 1: on a CPU their backward pass takes 2 to 40 times as long as in float32 (torch 2.15)."""
    return conv.groups == conv.in_channels > 1 and (conv.stride != (1, 1) or conv.kernel_size != (3, 3))


def _format(switches: Switches) -> torch.memory_format:
    return torch.channels_last if switches.channels_last else torch.contiguous_format


def _compiled(function: Callable[..., Any], say: Say) -> Callable[..., Any]:
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
            say(f"torch.compile failed, the step goes on without it: {reason}")
            run = function
            return run(*arguments)

    return call
