"""Which classes a version was trained on: those of its own training frames, and of every version whose weights are in it."""

from __future__ import annotations

from core.classes import CLASSES
from registry.records import Version
from registry.versions import Hub


def class_pixels(registry: Hub, version: Version) -> dict[str, int] | None:
    """Class → labelled pixels of it, over the version's line of weights; None where of one of them that was not counted."""
    pixels = dict.fromkeys(CLASSES, 0)
    for ancestor in registry.weights_line(version).values():
        if not isinstance(ancestor, Version) or ancestor.class_pixels is None:
            return None
        for name, count in ancestor.class_pixels.items():
            pixels[name] += count
    return pixels


def untaught(pixels: dict[str, int] | None) -> bool:
    """Whether no class was ever trained, so that the class output means nothing. What was not counted gets the benefit of the doubt."""
    return pixels is not None and not any(pixels.values())


def trained_on(pixels: dict[str, int] | None) -> str:
    """On how many labelled pixels of which classes a version was trained, in words."""
    if pixels is None:
        return "labelled pixels were not counted"
    taught = [f"{name} {count:,}" for name, count in pixels.items() if count]
    without = [name for name, count in pixels.items() if not count]
    if not taught:
        return "none trained: the class output means nothing"
    return f"trained on labelled pixels: {', '.join(taught)}" + (f"; none of {', '.join(without)}" if without else "")
