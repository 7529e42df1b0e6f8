"""The switches of a training step: what makes it fast, and which of it pays on which device. Needs no torch to be read."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.errors import UsageError

EAGER: Final = "eager"
MOST_PREFETCHED: Final = 8
_WORDS: Final = {"on": True, "off": False}
NATIVE_BF16: Final = ("avx512_bf16", "amx_bf16")
"""CPU instructions without which bfloat16 is emulated, and slower than float32."""


class Switches(BaseModel):
    """How a training step is carried out. None of it changes what is minimised; `autocast` and `compile` change the rounding.

    A run keeps the switches that it was planned with, on whatever machine it goes on, so that resuming it repeats the same arithmetic.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels_last: bool = True
    """Weights and feature maps with the channels innermost in memory."""
    autocast: bool = False
    """The network in bfloat16 where that is safe; heads, loss and optimiser stay in float32."""
    compile: bool = False
    """`torch.compile` of the network; where the compiler fails, the step goes on without."""
    fused: bool = True
    """AdamW's update of all weights in one kernel."""
    prefetch: int = Field(default=0, ge=0, le=MOST_PREFETCHED)
    """Batches that are sent to a GPU, on a stream of their own, before they are asked for."""
    augment_on_device: bool = False
    """Flip, crop and jitter whole batches on the device instead of single frames on the CPU."""

    @classmethod
    def for_device(cls, device: Literal["cpu", "cuda"]) -> Switches:
        """What pays on a device of this machine (`benchmarks/train.py` measures it)."""
        if device == "cuda":
            import torch

            # GPUs older than Ampere emulate bfloat16, and are slower with it.
            native = not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
            return cls(autocast=native, compile=True, prefetch=2)
        import torch

        units = torch.cpu.get_capabilities()
        return cls(autocast=any(units.get(name) for name in NATIVE_BF16))

    @classmethod
    def eager(cls) -> Switches:
        """Everything off: plain float32."""
        return cls(channels_last=False, fused=False)

    def changed(self, text: str) -> Switches:
        """These switches with some set: `compile=on,prefetch=4`; the word `eager` first turns all off.

        Raises UsageError naming the part that is not understood.
        """
        switches = self
        for part in text.split(","):
            name, _, value = (side.strip() for side in part.partition("="))
            switches = Switches.eager() if part.strip() == EAGER else switches.model_copy(update={name: _value(name, value, part)})
        return switches

    def __str__(self) -> str:
        on = [name if value is True else f"{name} {value}" for name, value in self if value]
        return ", ".join(on) or EAGER


def _value(name: str, value: str, part: str) -> bool | int:
    """What a switch is set to. Raises UsageError."""
    if name == "prefetch" and value.isascii() and value.isdigit() and int(value) <= MOST_PREFETCHED:
        return int(value)
    if name != "prefetch" and name in Switches.model_fields and value in _WORDS:
        return _WORDS[value]
    flags = ", ".join(f"{flag}=on|off" for flag in Switches.model_fields if flag != "prefetch")
    raise UsageError(f"--step: {part.strip()!r} is not a switch", f"allowed: {EAGER}, {flags}, prefetch=0..{MOST_PREFETCHED}")
