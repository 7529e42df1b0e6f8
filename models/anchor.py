"""Against forgetting: a pull of the weights towards those that a stage started from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

import torch
from torch import Tensor

from core.errors import VortexError
from models.student import Student

AnchorKind = Literal["l2sp", "ewc"]
_REFERENCE: Final = "reference."
_IMPORTANCE: Final = "importance."


class Anchor:
    """strength/2 · Σ Fᵢ(θᵢ − θ*ᵢ)² over the weights θ that are trained, with θ* those that the stage started from.

    `l2sp` holds all weights alike, Fᵢ = 1 (Li et al. 2018, eq. 3); `ewc` holds each by its importance for the old data, the diagonal of
    the Fisher information (Kirkpatrick et al. 2017, eq. 3). Statistics of batch normalisation are not weights and move freely.
    """

    def __init__(self, kind: AnchorKind, strength: float, reference: dict[str, Tensor], importance: dict[str, Tensor] | None) -> None:
        """`reference` and `importance` hold a tensor for each parameter by its name. Raises VortexError when `ewc` has no importance."""
        if kind == "ewc" and importance is None:
            raise VortexError("an anchor of kind ewc needs the importance of each weight", "compute it with fisher(), or use l2sp")
        self.kind, self.strength = kind, strength
        self.reference, self.importance = reference, importance

    @classmethod
    def at(cls, student: Student, kind: AnchorKind, strength: float, importance: dict[str, Tensor] | None = None) -> Anchor:
        """An anchor at the weights that `student` has now."""
        return cls(kind, strength, {name: value.detach().clone() for name, value in student.named_parameters()}, importance)

    def penalty(self, student: Student) -> Tensor:
        """A scalar to add to the loss before its backward; frozen weights have no part in it."""
        names = [name for name, value in student.named_parameters() if value.requires_grad]
        parameters = dict(student.named_parameters())
        apart = torch._foreach_sub([parameters[name] for name in names], [self.reference[name] for name in names])
        squares = torch._foreach_mul(apart, apart)
        if self.importance is not None:
            squares = torch._foreach_mul(squares, [self.importance[name] for name in names])
        return 0.5 * self.strength * torch.stack([square.sum() for square in squares]).sum()

    def tensors(self) -> dict[str, Tensor]:
        """All that the anchor is, for a file; `from_tensors` takes it back."""
        tensors = {f"{_REFERENCE}{name}": value for name, value in self.reference.items()}
        return tensors | {f"{_IMPORTANCE}{name}": value for name, value in (self.importance or {}).items()}

    @classmethod
    def from_tensors(cls, kind: AnchorKind, strength: float, tensors: Mapping[str, Tensor]) -> Anchor:
        """The anchor that `tensors` was made from."""
        parts = [
            {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            for prefix in (_REFERENCE, _IMPORTANCE)
        ]
        return cls(kind, strength, parts[0], parts[1] or None)

    def to(self, student: Student) -> Anchor:
        """This anchor on the device, and in the memory layout, of a student's parameters."""
        like = dict(student.named_parameters())

        def laid_out(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
            return {name: torch.empty_like(like[name]).copy_(value) for name, value in tensors.items()}

        importance = None if self.importance is None else laid_out(self.importance)
        return Anchor(self.kind, self.strength, laid_out(self.reference), importance)


def fisher(student: Student, loss: Callable[[Mapping[str, Tensor]], Tensor], batches: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """How much each weight matters to `batches`: the mean of the squared gradients of `loss(batch)`, scaled to a mean of 1.

    This is the diagonal of the empirical Fisher information, and holds only for batches of one frame: the square of a mean gradient is
    not the mean of squares. The student is judged as it predicts (in evaluation mode) and is left as it was. Its scale depends on units
    and loss, hence the scaling: a strength then means much the same from one student to the next. Raises VortexError when no batch has a gradient.
    """
    parameters = dict(student.named_parameters())
    importance = {name: torch.zeros_like(value) for name, value in parameters.items()}
    trained = {name: value.requires_grad for name, value in parameters.items()}
    was_training = student.training
    student.eval().requires_grad_(True)
    try:
        for batch in batches:
            gradients = torch.autograd.grad(loss(batch), list(parameters.values()), allow_unused=True)
            reached = [(total, gradient) for total, gradient in zip(importance.values(), gradients, strict=True) if gradient is not None]
            # One frame without a finite gradient would leave no importance finite.
            if all(bool(torch.isfinite(gradient).all()) for _, gradient in reached):
                for total, gradient in reached:
                    total += gradient.square()
    finally:
        student.train(was_training)
        for name, value in parameters.items():
            value.requires_grad_(trained[name])
    mean = torch.stack([value.sum() for value in importance.values()]).sum() / sum(value.numel() for value in importance.values())
    if not mean > 0:
        raise VortexError(
            "the importance of the weights cannot be measured: no frame of the old data gave a gradient", "use an anchor of kind l2sp"
        )
    return {name: value / mean for name, value in importance.items()}
