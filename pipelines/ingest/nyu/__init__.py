"""NYU Depth V2 (Silberman et al., ECCV 2012) in its three layouts: the labelled .mat, png pairs, and raw Kinect dumps."""

from __future__ import annotations

from pipelines.ingest.nyu.labelled import NyuLabelled
from pipelines.ingest.nyu.raw import NyuRaw
from pipelines.ingest.nyu.sync import NyuSync

__all__ = ["NyuLabelled", "NyuRaw", "NyuSync"]
