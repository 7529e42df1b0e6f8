"""Errors of frames that are asked for again and again while many versions are weighed against each other."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from pipelines.compare.frame_errors import FrameErrors
from pipelines.compare.versions import frame_errors
from registry.records import Metrics
from registry.versions import Hub

MOST: Final = 64
"""Versions whose errors are held at once: a set of 500 frames takes about 0.3 MB."""


@dataclass
class ErrorsAtHand:
    """Reads each stored file once, and hashes it once, as long as few others are asked for in between."""

    registry: Hub
    _files: OrderedDict[str, FrameErrors] = field(default_factory=OrderedDict)

    def of(self, version: str, metrics: Metrics) -> FrameErrors:
        """The errors behind a measurement of a version. Raises VortexError where none were kept, or they are gone or not whole."""
        key = metrics.errors.uri if metrics.errors else ""
        if key not in self._files:
            self._files[key] = frame_errors(self.registry, version, metrics)
        self._files.move_to_end(key)
        while len(self._files) > MOST:
            self._files.popitem(last=False)
        return self._files[key]
