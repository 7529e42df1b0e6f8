"""Do NVIDIA's own parser and builder take a file? Asked of TensorRT-RTX, which runs without a GPU, in a process of its own.

It is not the Jetson's library, which is TensorRT: that it takes a file is a good sign and no proof. Its licence is NVIDIA's, so it is never
installed unless asked for (docs/ship.md).
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

from core.errors import VortexError
from core.printable import printable

MODULE: Final = "tensorrt_rtx_bindings"
INSTALL: Final = "uv sync --group tensorrt-rtx (the licence is NVIDIA's)"
CHILD: Final = Path(__file__).with_name("tensorrt_child.py")
LONGEST_S: Final = 600.0
_LONGEST_TEXT: Final = 300


class Builds(NamedTuple):
    """Whether an engine came of a file, and what the library said."""

    passed: bool
    text: str


def installed() -> bool:
    """Whether the library is there."""
    return importlib.util.find_spec(MODULE) is not None


def require_installed() -> None:
    """Raise VortexError where the library is not there."""
    if not installed():
        raise VortexError("--check asks TensorRT-RTX, which is not installed here", f"install it with: {INSTALL}")


def build(path: Path) -> Builds:
    """Parse the file and build an engine of it, which is thrown away."""
    try:
        child = subprocess.run([sys.executable, str(CHILD), str(path)], capture_output=True, text=True, timeout=LONGEST_S, check=False)
    except subprocess.TimeoutExpired:
        return Builds(False, f"TensorRT-RTX was still building after {LONGEST_S:.0f} s")
    try:
        answer = json.loads(child.stdout.strip().splitlines()[-1])
        return Builds(answer["passed"] is True, _line(str(answer["text"])))
    except (IndexError, ValueError, KeyError, TypeError):
        last = (child.stderr.strip().splitlines() or ["nothing"])[-1]
        how = f"was ended by signal {-child.returncode}" if child.returncode < 0 else f"ended with {child.returncode}"
        return Builds(False, f"TensorRT-RTX's process {how} and said: {_line(last)}")


def _line(text: str) -> str:
    return printable(" ".join(text.split()))[:_LONGEST_TEXT]
