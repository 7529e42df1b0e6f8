"""Which agent this is."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Of the installed distribution; `of a checkout` where none is."""
    try:
        return metadata.version("vortex-jetson")
    except metadata.PackageNotFoundError:
        return "of a checkout"
