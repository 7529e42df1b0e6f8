"""Seconds per training step on the CPU: eager fp32, channels_last, channels_last with bfloat16.

    make bench-step            (benchmarks/step.py [--size 120x160] [--batch 8] [--rounds 5] [--threads 2] [--encoder efficientvit_b1] [--smoke])

The variants take turns within each round, so that a drift of the machine meets all of them; the figure is the median over rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from models.losses import MultiTaskLoss
from models.student import Student, StudentConfig

VARIANTS = {"eager fp32": (False, False), "channels_last": (True, False), "channels_last + bf16": (True, True)}


def step_of(channels_last: bool, bf16: bool, encoder: str, size: tuple[int, int], batch_size: int) -> Callable[[], float]:
    """Build one variant with its own student and a resident synthetic batch; calling it makes one step and gives its seconds."""
    torch.manual_seed(0)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    student = Student(StudentConfig(encoder=encoder, size=size)).to(memory_format=memory_format).train()
    loss = MultiTaskLoss()
    optimiser = torch.optim.AdamW([*student.parameters(), *loss.parameters()], lr=1e-4)
    depth = torch.rand(batch_size, 1, *size) * 5 + 0.3
    batch = {
        "rgb": torch.rand(batch_size, 3, *size).contiguous(memory_format=memory_format),
        "teacher_depth": depth,
        "tof_depth": depth,
        "reference": depth,
        "tof_confidence": torch.ones_like(depth),
        "has_teacher": torch.ones(batch_size, dtype=torch.bool),
        "segmentation": torch.randint(0, 6, (batch_size, *size)),
    }

    def step() -> float:
        started = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            prediction = student(batch["rgb"])
        terms = loss(prediction, batch)
        terms.total.backward()
        loss.after_backward(student, terms.labelled_pixels, terms.valid_pixels)
        optimiser.step()
        loss.project()
        return time.perf_counter() - started

    return step


def main() -> None:
    """Run the rounds and print one line a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="240x320", help="height x width")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--encoder", default="efficientvit_b1")
    parser.add_argument("--smoke", action="store_true", help="one round of a tiny step: does it work at all?")
    options = parser.parse_args()
    if options.smoke:
        options.size, options.batch, options.rounds = "64x96", 2, 1
    torch.set_num_threads(options.threads)
    height, width = map(int, options.size.split("x"))
    steps = {name: step_of(*flags, options.encoder, (height, width), options.batch) for name, flags in VARIANTS.items()}
    for step in steps.values():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(options.rounds):
        for name, step in steps.items():
            seconds[name].append(step())
    print(f"{options.encoder} {height}x{width}, batch {options.batch}, {options.threads} threads, torch {torch.__version__}")
    # Without these instructions bfloat16 is emulated and slower than float32 (0.6x, measured).
    native = [name for name in ("avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(name)]
    print(f"native bfloat16: {', '.join(native) or 'none'}")
    plain = statistics.median(seconds["eager fp32"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:22} {median:7.3f} s/step  {options.batch / median:7.1f} frames/s  {plain / median:5.2f}x")


if __name__ == "__main__":
    main()
