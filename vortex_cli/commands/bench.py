"""`vortex bench`: how fast a version runs here, in how much memory, and how good its answers are on that very engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console, wording
from vortex_cli.parameters import Precision, Target, VersionName

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.ship.bench import Bench
    from validation.evidence.device_bench import Latency

HEADINGS = {"rmse": "RMSE m", "rmse_near": "near m", "miou": "mIoU %", "iou_glass": "glass %"}


def bench(
    version: VersionName,
    runtime: Annotated[str, typer.Option("--runtime", help="torch, onnx, openvino or tensorrt.")] = "onnx",
    precision: Precision = "fp32",
    target: Target = "host",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads that compute.")] = 1,
    frames: Annotated[int, typer.Option("--frames", min=1, help="How many are timed, after a warm-up of ten.")] = 200,
    task: Annotated[bool, typer.Option("--task/--no-task", help="Measure the exam of its domain on the same engine.")] = True,
    record: Annotated[bool, typer.Option("--record", help="Add the report to the version's evidence, as one of this host.")] = False,
) -> None:
    """Time a version on this machine, one frame at a time: median, the slowest of ten and of a hundred, memory, and what its answers are worth.

    `compute` is from a picture in memory to depth and classes in memory; `end to end` is with reading the file, decoding and resizing
    before it. torch runs the network, every other runtime the exported file. On a processor the file takes turns with torch eager too, and a
    host is sent an int8 file only where that is recorded, and fast enough. Times of a busy machine are times of a busy machine.

    Example: vortex bench v10 --runtime onnx --precision int8
    """
    from pipelines.hub.exports import form_named
    from pipelines.ship.bench import bench as measure

    measured = measure(
        console.workspace(),
        version,
        runtime=runtime,
        form=form_named(precision, target),
        threads=threads,
        frames=frames,
        task=task,
        record=record,
        on_step=console.note,
    )
    console.emit(measured, *_lines(measured))
    if measured.over_eager is not None:
        threads_text = "one thread" if threads == 1 else f"{threads} threads"
        console.note(f"{measured.over_eager:.2f} times as fast as torch eager on {threads_text}, the median of interleaved rounds")
    if measured.remark:
        console.note(measured.remark)
    if measured.recorded:
        console.note(f"recorded: vortex evidence list {version}")


def _lines(measured: Bench) -> list[Table | str]:
    file = "" if measured.runtime == "torch" else f", {measured.form}"
    lines: list[Table | str] = [
        f"{measured.version} at {wording.size(measured.size)} on {measured.library}{file}",
        console.table(
            ("", ("p50 ms", "right"), ("p90 ms", "right"), ("p99 ms", "right")),
            [_row("compute", measured.compute), *([_row("end to end", measured.end_to_end)] if measured.end_to_end else [])],
        ),
        f"{measured.frames} frames of {measured.pictures}, {measured.threads} thread(s); {measured.machine}",
    ]
    if measured.memory_bytes is not None:
        lines.append(f"loading and running it added {wording.megabytes(measured.memory_bytes)} to this process, its library included")
    if measured.task:
        names = list(dict.fromkeys(name for values in measured.task.values() for name in values))
        rows = [(place, *(_figure(name, values.get(name)) for name in names)) for place, values in measured.task.items()]
        columns: list[console.Column] = ["the same engine on", *((HEADINGS[name], "right") for name in names)]
        lines.append(console.table(columns, rows))
    return lines


def _row(name: str, latency: Latency) -> tuple[str, str, str | None, str]:
    return name, f"{latency.p50:.2f}", None if latency.p90 is None else f"{latency.p90:.2f}", f"{latency.p99:.2f}"


def _figure(name: str, value: float | None) -> str | None:
    return wording.metres(value) if name.startswith("rmse") else wording.percent(value)
