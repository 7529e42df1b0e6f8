"""What long work calls on its way, so that a command can show how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with how many are done, and how many there are."""
NamedProgress = Callable[[str, int, int], None]
"""Called with the name of what is being done, how many of it are done, and how many there are."""
Notice = Callable[[str], None]
"""Called with one line for the user."""
