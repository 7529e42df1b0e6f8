"""The names of the shipped recipes: the first trainings of them take these names, and later versions are numbered after them."""

from __future__ import annotations

from typing import Final

SHIPPED: Final = tuple(f"v{number}" for number in range(1, 10))
