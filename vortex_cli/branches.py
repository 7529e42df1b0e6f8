"""A forest as lines of text: what stands to the left of each line, and the line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeAlias, TypeVar

if TYPE_CHECKING:
    from rich.text import Text

Line: TypeAlias = "list[str | tuple[str, str] | Text]"
"""Parts of a line, with their styles. Making a text of each, which a pipe would not show, took a sixth of the time of long listings."""

BRANCH, DOWN = "├─ ", "↓ "
INDENTS: Final = {BRANCH: "│  "}
"""What stands to the left of all that is below such a mark."""


class Branching(Protocol):
    """What hangs in a tree."""

    @property
    def children(self) -> Sequence[Self]:
        """What hangs below it."""


Branch = TypeVar("Branch", bound=Branching)


def every(forest: Sequence[Branch]) -> list[Branch]:
    """All that hangs in a forest, from top to bottom."""
    branches: list[Branch] = []
    waiting = list(reversed(forest))
    while waiting:
        branch = waiting.pop()
        branches.append(branch)
        waiting.extend(reversed(branch.children))
    return branches


def plain(line: Line) -> str:
    """A line without its styles."""
    return "".join([part if isinstance(part, str) else part[0] if isinstance(part, tuple) else part.plain for part in line])


def lines(forest: Sequence[Branch], label: Callable[[Branch], Line], below: Callable[[Branch], Line | None]) -> Iterator[tuple[str, Line]]:
    """The forest from top to bottom; `below` gives a branch a second line.

    Of a branch's children the one with most below it goes on straight under it, and only the others are indented. So a line of
    descent of any length has one column, and every step to the right halves what is left: ten thousand need 13 at most.
    """
    sizes = _sizes(forest)
    waiting = [("", "", root) for root in reversed(forest)]
    while waiting:
        guide, mark, branch = waiting.pop()
        yield guide + mark, label(branch)
        left = guide + INDENTS.get(mark, "")
        main = max(reversed(branch.children), key=lambda child: sizes[id(child)], default=None)
        if second := below(branch):
            yield left + ("│   " if main else "    "), second
        if main is not None:
            waiting.append((left, DOWN, main))
            waiting.extend((left, BRANCH, child) for child in reversed(branch.children) if child is not main)


def _sizes(forest: Sequence[Branch]) -> dict[int, int]:
    """How many there are in each one's part of the forest, itself counted, by its identity."""
    sizes: dict[int, int] = {}
    for branch in reversed(every(forest)):  # children before their parents
        sizes[id(branch)] = 1 + sum(sizes[id(child)] for child in branch.children)
    return sizes
