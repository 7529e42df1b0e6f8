"""Every bound that the agent holds to, as a named field: whoever serves a device can cost it no more than this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Limits:
    """Bytes, counts and seconds."""

    channel_bytes: int = 64_000
    """Of a channel document."""
    manifest_bytes: int = 1_000_000
    """Of a bundle's manifest."""
    bundle_files: int = 256
    bundle_bytes: int = 4 << 30
    """Of all files of a bundle together: the largest student has 200 MB a file."""
    health_frames: int = 64
    health_pixels: int = 1280 * 720
    """Of one health frame."""
    metadata_bytes: int = 512_000
    """Of one TUF metadata file."""
    root_rotations: int = 64
    """New roots that one pull follows: a year each."""

    attempts: int = 5
    """Tries of one file, while the server answers with 5xx or not at all."""
    back_off_s: float = 1.0
    """Before the second try; doubled before each further one."""
    back_off_longest_s: float = 60.0
    connect_s: float = 10.0
    read_s: float = 30.0
    """Of silence in the middle of an answer."""
    slowest_bytes_per_s: float = 256.0
    """Over `slow_after_s`: less is a server that keeps a device busy, and ends the attempt."""
    slow_after_s: float = 60.0
    surplus: float = 0.1
    """An attempt takes at most 1 + this times a file's bytes off the network, headers left out."""
    chunk_bytes: int = 1 << 16

    health_s: float = 120.0
    """All health frames together, the loading of the model with them."""
    health_crashes: int = 3
    """Health runs in which the health process itself died before its bundle is taken to be the reason."""
    machine_s: float = 60.0
    """To say what TensorRT, CUDA and GPU are here."""
    build_s: float = 1800.0
    """To build an engine: minutes on a Jetson."""
    build_memory_bytes: int = 3 << 30
    """That the process that builds may take; as much has to be free before it begins."""
    build_workspace_bytes: int = 1 << 30
    """Of the GPU's memory, in which TensorRT tries kernels out; on a Jetson it is the same memory."""
    engine_share: float = 4.0
    """An engine has at most so many times the bytes of its ONNX file; as much has to be free on the disk before it is built."""
    engine_bytes: int = 4 << 20
    """And so many besides: code for the GPU, which a small model needs too."""
    journal_bytes: int = 1_000_000
    """Then the older half is dropped."""
    outbox_reports: int = 1_000
    """Waiting reports; the oldest give way."""


LIMITS: Final = Limits()
