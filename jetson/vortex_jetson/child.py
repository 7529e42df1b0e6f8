"""Work that may crash, hang or take too much memory: in a process of its own, which answers with one JSON document and takes nobody along.

The child runs `python -m MODULE ARGUMENTS…` and prints `answer(…)` of what it came to, or `refusal(…)` of the error that it ended with.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from vortex_jetson.errors import DiskFull, EngineFailed, Interrupted, LibraryMissing, MemoryShort, RobotError, plain
from vortex_jetson.formats.document import LONGEST_LINE, Fields, read

LARGEST_ANSWER: Final = 100_000
STOPPED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals by which somebody ends a service; no fault of the work sends them."""
KINDS: Final[Mapping[str, type[RobotError]]] = {kind.__name__: kind for kind in (DiskFull, EngineFailed, LibraryMissing, MemoryShort)}
"""Errors that a child hands on as what they are; others are plain ones."""


class Died(Exception):
    """The child gave no answer: it was still at work at the end of its time (`hung`), or ended before, by `signal` where one ended it."""

    def __init__(self, reason: str, *, hung: bool = False, signal: int | None = None) -> None:
        self.reason = reason
        self.hung = hung
        self.signal = signal
        super().__init__(reason)


def ask(module: str, arguments: Sequence[object], seconds: float, work: str) -> Fields:
    """What a child came to; `work` names it in errors, as "the health check".

    Raises the RobotError that it ended with, Died without an answer, and Interrupted where the child was ended from outside.
    """
    try:
        child = run([sys.executable, "-m", module, *map(str, arguments)], seconds)
    except OSError as error:
        raise RobotError(f"{work} cannot be started ({error.strerror})", "free memory, and try again") from error
    except subprocess.TimeoutExpired:
        raise Died(f"it did not answer within {seconds:g} s", hung=True) from None
    if -child.returncode in STOPPED:
        raise Interrupted(f"{work} was ended from outside; it says nothing about the bundle", "run the same command again")
    if child.returncode < 0:
        raise Died(f"its process died of {signal.Signals(-child.returncode).name}", signal=-child.returncode)
    try:
        fields = read(child.stdout, LARGEST_ANSWER, f"the answer of {work}")
        kind = fields.optional("refusal", lambda name: fields.text(name, r"[A-Za-z]{1,40}"))
        message = fields.line("message") if kind else ""
    except RobotError:
        raise Died(f"its process ended with {child.returncode}: {_last_line(child.stderr)}") from None
    if kind is not None:
        raise KINDS.get(kind, RobotError)(message, fields.optional("hint", fields.line) or "")
    return fields


def run(command: list[str], seconds: float) -> subprocess.CompletedProcess[bytes]:
    """Run a program for so long at most. Raises OSError where it cannot be started, and TimeoutExpired once it was ended."""
    # Python looks for modules in the folder that it is called in: in / nobody puts any.
    return subprocess.run(command, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL, cwd="/", check=False)


def answer(document: Mapping[str, Any]) -> str:
    """What a child prints that came to an end."""
    return json.dumps({"refusal": None, **document})


def refusal(error: RobotError) -> str:
    """What a child prints that ended with an error."""
    hint = plain(error.hint, LONGEST_LINE) or None
    return json.dumps({"refusal": type(error).__name__, "message": plain(error.message, LONGEST_LINE) or "no word of why", "hint": hint})


def _last_line(text: bytes) -> str:
    return (text.decode("utf-8", "replace").strip().splitlines() or ["no word of why"])[-1][:200]
