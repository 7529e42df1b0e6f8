"""Which versions were trained on a picture: its content is looked for in the fingerprints of training frames that versions have kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from pipelines.validate.fingerprints import Fingerprints
from registry.records import Artifact
from registry.versions import Hub


@dataclass(frozen=True)
class Taught:
    """`versions` have one of the pictures among their training frames, whatever its set was called; of those in `unknown` that cannot be
    told, because they are older than fingerprints, or theirs are gone or changed."""

    versions: tuple[str, ...]
    unknown: tuple[str, ...]


def versions_taught(registry: Hub, fingerprints: Mapping[str, Artifact | None], contents: Iterable[int]) -> Taught:
    """Which of the versions, each with where its fingerprints are, were trained on pictures of these contents; 0 is a picture that cannot be read.

    Versions of one training set share one file of fingerprints, which is read once.
    """
    pictures = np.array([content for content in contents if content], np.uint64)
    hits: dict[str, bool | None] = {}
    versions, unknown = [], []
    for name, artifact in fingerprints.items():
        if artifact is not None and artifact.sha256 not in hits:
            hits[artifact.sha256] = _holds(registry, artifact, pictures)
        hit = hits[artifact.sha256] if artifact else None
        if hit is None:
            unknown.append(name)
        elif hit:
            versions.append(name)
    return Taught(tuple(versions), tuple(unknown))


def _holds(registry: Hub, artifact: Artifact, pictures: NDArray[np.uint64]) -> bool | None:
    """Whether one of the pictures is among the training frames; None where that cannot be told."""
    try:
        trained = Fingerprints.load(registry.artifact_path(artifact))
    except VortexError:  # gone or changed: `vortex audit verify` says so
        return None
    return bool(np.isin(pictures, trained.content).any())
