"""Which versions were trained on a picture: its content is looked for in the fingerprints of training frames that versions have kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import VortexError
from pipelines.validate.fingerprints import Fingerprints
from registry.records import Artifact
from registry.state import State
from registry.versions import Hub
from validation.frames import measure
from validation.rows import Frame


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


def trained_on(registry: Hub, state: State, frames: Sequence[tuple[Path, Frame]]) -> tuple[str, ...]:
    """The versions that were trained on the pictures of these frames, each given with the folder of its dataset."""
    fingerprints = {version.name: version.material.fingerprints for version in state.versions.values()}
    return versions_taught(registry, fingerprints, (measure(root, frame).content for root, frame in frames)).versions


def _holds(registry: Hub, artifact: Artifact, pictures: NDArray[np.uint64]) -> bool | None:
    """Whether one of the pictures is among the training frames; None where that cannot be told."""
    try:
        trained = Fingerprints.load(registry.artifacts.path(artifact))
    except VortexError:  # gone or changed: `vortex audit verify` says so
        return None
    return bool(np.isin(pictures, trained.content).any())
