"""How a field of a class of options is said on a command line, which is built from it: nothing of it is written a second time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Option:
    """Stands in the `Annotated[…]` of a field; what the field says itself, its name, type and default, is not said again.

    A field that is True or False is a flag, a `tuple[str, …]` may be repeated, and a `tuple[int, int]` is a size, typed as HxW.
    """

    help: str
    metavar: str | None = None
    name: str | None = None
    """The option's name where it is not the field's, such as `--from`."""
    least: int | None = None
    most: int | None = None
    example: str = ""
    argument: bool = False
    """A word without a name, such as the recipe in `vortex train v6`."""
    completes: Literal["datasets", "domains", "recipes", "versions"] | None = None
    """Of what a shell offers the names."""
