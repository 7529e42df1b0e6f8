"""What is still to be done once a command has given its answer, and cannot change it any more: hooks are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from core.errors import Interrupted, VortexError

_tasks: Final[dict[str, Callable[[], Sequence[str]]]] = {}


def at_end(name: str, task: Callable[[], Sequence[str]]) -> None:
    """Have `task` run when the command has ended, once for this name. What it returns are remarks for a person."""
    _tasks[name] = task


def run() -> list[str]:
    """Run what was noted; the remarks. Whatever goes wrong is one of them: the command has ended as it has.

    After an interruption nothing is begun any more: who pressed Ctrl-C wants to be gone.
    """
    tasks = [] if isinstance(_cause(), (KeyboardInterrupt, Interrupted)) else list(_tasks.items())
    _tasks.clear()
    if tasks:
        with suppress(OSError, ValueError):
            sys.stdout.flush()  # whoever reads the answer need not wait for what follows
    remarks: list[str] = []
    for name, task in tasks:
        try:
            remarks += task()
        except KeyboardInterrupt:
            return [*remarks, f"{name}: interrupted"]
        except Exception as error:
            remarks.append(f"{name}: {error if isinstance(error, VortexError) else f'{type(error).__name__}: {error}'}")
    return remarks


def _cause() -> BaseException | None:
    """What the command ended with: the error behind the `SystemExit` that it was turned into."""
    error = sys.exc_info()[1]
    return error.__context__ if isinstance(error, SystemExit) else error
