"""Which versions were trained on a picture: its content is looked for in the fingerprints of training frames that versions have kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.errors import VortexError
from pipelines.validate.fingerprints import Fingerprints
from registry.state import State
from registry.versions import Hub
from validation.frames import measure
from validation.rows import Frame


def versions_taught(registry: Hub, state: State, frames: Sequence[tuple[Path, Frame]]) -> list[str]:
    """The versions among whose training frames is the very picture of one of these frames, each with the folder of its dataset.

    Versions of one training set share one file of fingerprints, which is read once.
    """
    contents = [content for root, frame in frames if (content := measure(root, frame).content)]  # 0: its picture cannot be read
    hits: dict[str, bool] = {}
    versions = []
    for version in state.versions.values():
        artifact = version.material.fingerprints
        if artifact is None:
            continue
        if artifact.sha256 not in hits:
            try:
                trained = Fingerprints.load(registry.artifact_path(artifact, verify=False))
            except VortexError:  # gone: `vortex audit verify` says so, and the dataset's content may still tell
                continue
            hits[artifact.sha256] = bool(np.isin(np.array(contents, np.uint64), trained.content).any())
        if hits[artifact.sha256]:
            versions.append(version.name)
    return versions
