"""A batch that does not fit into memory: what to say of it, and how many frames would fit into a GPU's."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from core.errors import VortexError
from models.losses import by_itself
from pipelines.train.plan.train_plan import TrainPlan
from pipelines.train.worker.distributed import ProcessGroup
from pipelines.train.worker.learner import Learner

SPARE = 0.95
"""The part of the memory that is planned with: the allocator loses some of it to gaps between blocks."""
Peak = Callable[[int], int | None]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out. torch's own on a GPU is a RuntimeError too; on a CPU only its words tell."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def too_large(plan: TrainPlan, learner: Learner, batch: Mapping[str, Tensor], group: ProcessGroup, error: BaseException) -> VortexError:
    """What to say when memory ran out with `error`; `batch` is the last one of this process, empty when there was none.

    Training is over then: on a GPU smaller batches are tried with the learner, to say how many frames would fit.
    """
    (height, width), frames = plan.size, plan.recipe.optimizer.batch_size
    # Synchronised normalisation would wait for the others, of whom not all have run out of memory.
    alone = batch and not plan.sync_batch_norm
    learner.loss.totals = by_itself
    fitting = batch_that_fits(learner.task, batch, learner.optimizer, error) * group.size if alone else 0
    hint = f"about {fitting} frames would fit: train again with --batch-size {fitting}" if fitting else ""
    return VortexError(
        f"{plan.run}: a batch of {frames} frames of {height}x{width} does not fit into the memory",
        hint or "train again with a smaller --batch-size or --size",
    )


def frames_that_fit(points: tuple[tuple[int, int], ...], room: float, failed: int) -> int:
    """Frames whose peak is within `room` bytes, by the line through two measured points (frames, peak bytes); below `failed`.

    With one point, or points without a slope, the largest measured number is all that is known; 0 without any.
    """
    if not points:
        return 0
    largest = max(frames for frames, _ in points)
    (few, low), (many, high) = min(points), max(points)
    slope = (high - low) / (many - few) if many > few else 0.0
    if slope <= 0:
        return largest
    return max(1, min(int(few + (room - low) / slope), failed - 1))


def measure(peak: Peak, failed: int) -> tuple[tuple[int, int], ...]:
    """Halve a batch that failed until one goes through, and measure half of that beside it: up to two (frames, peak bytes).

    `peak` gives the peak of so many frames, None when they do not fit.
    """
    frames = failed // 2
    while frames and (high := peak(frames)) is None:
        frames //= 2
    if not frames:
        return ()
    half = frames // 2
    low = peak(half) if half else None
    return ((frames, high or 0),) if low is None else ((half, low), (frames, high or 0))


def batch_that_fits(task: nn.Module, tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, error: BaseException) -> int:
    """How many frames of a batch that failed with `error` would fit on its GPU, by trying fewer; 0 when nobody can say.

    Runs forward and backward passes, and leaves gradients and statistics of the network as they come: training is over.
    """
    device = tensors["rgb"].device
    if device.type != "cuda":
        return 0
    # The failed pass's feature maps hang on the error until its frames are cleared.
    traceback.clear_frames(error.__traceback__)
    optimizer.zero_grad(set_to_none=True)
    torch.cuda.empty_cache()
    weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.requires_grad]
    # The two moments of AdamW come with the first step that goes through.
    moments = 0 if optimizer.state else 2 * sum(weight.nbytes for weight in weights)
    room = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)

    def peak(frames: int) -> int | None:
        torch.cuda.reset_peak_memory_stats(device)
        try:
            task({name: tensor[:frames] for name, tensor in tensors.items()}).total.backward()
            return torch.cuda.max_memory_allocated(device)
        except torch.OutOfMemoryError as again:
            traceback.clear_frames(again.__traceback__)
            return None
        finally:
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()

    failed = len(tensors["rgb"])
    return frames_that_fit(measure(peak, failed), SPARE * room - moments, failed)
