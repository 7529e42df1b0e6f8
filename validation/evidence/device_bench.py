"""How fast an exported file runs on a device."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from validation.evidence.report import Count, Line, Part, Report, Sha256

Milliseconds = Annotated[float, Field(gt=0, le=1e6)]


class Latency(Part):
    """Of one frame, in milliseconds: median and the slowest of ten, of a hundred and of a thousand."""

    p50: Milliseconds
    p90: Milliseconds | None = None
    p99: Milliseconds
    p999: Milliseconds | None = None

    @model_validator(mode="after")
    def _rising(self) -> Latency:
        if not self.p50 <= (self.p90 or self.p50) <= self.p99 <= (self.p999 or self.p99):
            raise ValueError("p50, p90, p99 and p999 must rise")
        return self


class DeviceBench(Report):
    """Of one engine on one device. `export_sha256` is that of the ONNX file that the engine was built from.

    `latency_ms` is of the engine alone, from a picture in memory to its answers in memory; `end_to_end_ms` with reading, decoding and
    resizing it before. `memory_bytes` is what the engine added to its process. `task` is what the same engine came to on the exam:
    place → metric → value, RMSE in metres and IoU as shares. `over_eager` is how many times as fast as torch eager it is on the same machine
    and threads, the median of interleaved rounds; None where that was not measured.
    """

    kind: Literal["device-bench"]
    export_sha256: Sha256
    device: Line
    runtime: Line
    precision: Literal["fp32", "fp16", "int8"]
    input_size: Annotated[list[Count], Field(min_length=2, max_length=2)]
    power_mode: Line | None = None
    frames: Annotated[int, Field(ge=1, le=2**53)]
    latency_ms: Latency
    throughput_fps: Annotated[float, Field(gt=0, le=1e6)]
    end_to_end_ms: Latency | None = None
    threads: Annotated[int, Field(ge=1, le=4096)] | None = None
    memory_bytes: Count | None = None
    task: dict[Line, dict[Line, Annotated[float, Field(ge=0, le=1e6)]]] | None = Field(default=None, max_length=1000)
    over_eager: Annotated[float, Field(gt=0, le=1e6)] | None = None

    def summary(self) -> str:
        """Device, runtime and speed."""
        return (
            f"{self.device}, {self.runtime} {self.precision}: {self.latency_ms.p50:g} ms a frame (p99 {self.latency_ms.p99:g} ms),"
            f" {self.throughput_fps:g} frames/s over {self.frames} frames"
        )
