"""What builds and runs engines here: the chip, its GPU, TensorRT, CUDA, and the power mode. An engine is of use to this very machine alone.

It is asked in a child process, for TensorRT without a driver ends the process that loads it:

    python -m vortex_jetson.engines.machine     (prints it, as JSON)
"""

from __future__ import annotations

import platform
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from vortex_jetson import child
from vortex_jetson.engines import tensorrt
from vortex_jetson.errors import LibraryMissing, RobotError, plain
from vortex_jetson.limits import LIMITS, Limits

COMPATIBLE: Final = Path("/proc/device-tree/compatible")
POWER_MODE: Final = Path("/var/lib/nvpmodel/status")
"""Written by NVIDIA's nvpmodel, as pmode:0002."""
POWER_MODES: Final = Path("/etc/nvpmodel.conf")
"""Its modes: < POWER_MODEL ID=2 NAME=MAXN_SUPER >."""
NO_MODE: Final = "none"
MODEL: Final = Path("/proc/device-tree/model")
LONGEST_NAME: Final = 200
PROCESSOR: Final = Path("/proc/cpuinfo")
WORD: Final = r"[a-z0-9._]{1,40}"


@dataclass(frozen=True)
class Machine:
    """Words of `WORD` each, so that they make a folder's name."""

    soc: str
    """As tegra234; where there is none, the GPU's name."""
    sm: str
    """Version of the GPU's multiprocessors, as sm87."""
    tensorrt: str
    cuda: str
    power_mode: str
    """Its name, its number where it has none, or `NO_MODE`. An engine of another mode runs too, and may not be the fastest."""

    @property
    def library(self) -> str:
        """All that an engine depends on to be taken at all."""
        return f"{self.soc}-{self.sm}-trt{self.tensorrt}-cuda{self.cuda}"

    @property
    def key(self) -> str:
        """All that it depends on."""
        return f"{self.library}-{self.power_mode}"


def ask(limits: Limits = LIMITS) -> Machine:
    """The machine that builds engines here. Raises LibraryMissing where TensorRT, CUDA or the GPU's driver is not here, or does not start."""
    try:
        fields = child.ask("vortex_jetson.engines.machine", (), limits.machine_s, "asking TensorRT what it is")
        return Machine(*(fields.text(name, WORD) for name in Machine.__dataclass_fields__))
    except child.Died as death:
        raise LibraryMissing(
            f"TensorRT cannot be asked what it is: {death.reason}", "look at its installation: its driver may be another one's"
        ) from None


def choose(runtime: str, limits: Limits = LIMITS) -> Machine | None:
    """The machine whose TensorRT runs models by this setting; None is ONNX Runtime, which needs no engine. `auto` takes TensorRT where it starts.

    Raises LibraryMissing where the setting asks for a TensorRT that does not start.
    """
    if runtime == "onnxruntime":
        return None
    try:
        return ask(limits)
    except LibraryMissing:
        if runtime == "auto":
            return None
        raise


def soc(gpu: str, compatible: Path = COMPATIBLE) -> str:
    """The chip as the device tree names it, most general last; a machine without one is known by its GPU."""
    names = _text(compatible).rstrip("\0").split("\0")
    return word(names[-1].removeprefix("nvidia,") or gpu)


def power_mode(status: Path = POWER_MODE, modes: Path = POWER_MODES) -> str:
    """The mode that nvpmodel set last."""
    number = re.search(r"pmode:0*([0-9]{1,4})", _text(status))
    if number is None:
        return NO_MODE
    name = re.search(rf"<\s*POWER_MODEL\s+ID={number[1]}\s+NAME=(\S+)\s*>", _text(modes))
    return word(name[1]) if name else f"mode{number[1]}"


def computer(model: Path = MODEL, processor: Path = PROCESSOR) -> str:
    """What this computer calls itself: its board, else its processor."""
    line = re.search(r"^model name\s*:\s*(.+)$", _text(processor), re.MULTILINE)
    return plain(_text(model).strip("\0\n ") or (line[1].strip() if line else "") or platform.machine() or "unknown", LONGEST_NAME)


def _text(path: Path) -> str:
    """What a file says; nothing where there is none."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def word(text: str) -> str:
    """A text as part of a name: nothing but `WORD`."""
    return re.sub(r"[^a-z0-9._]+", "_", text.lower()).strip("_")[:40] or "none"


def main() -> str:
    """The child's work: what it prints."""
    try:
        gpu = tensorrt.gpu()
        version = tensorrt.library().__version__
        machine = Machine(soc(gpu.name), f"sm{gpu.sm}", word(version), word(tensorrt.cuda_version()), power_mode())
    except RobotError as error:
        return child.refusal(error)
    return child.answer(asdict(machine))


if __name__ == "__main__":
    sys.stdout.write(main())
