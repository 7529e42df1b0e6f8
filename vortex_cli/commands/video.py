"""`vortex video`: a version at work on a sequence, in six panels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from vortex_cli import console, wording
from vortex_cli.completion import complete_datasets
from vortex_cli.parameters import ComputeDevice, Every, PredictionRuntime, VersionName


def video(
    version: VersionName,
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="NAME|MANIFEST", help="The frames, in the order of their manifest.", autocompletion=complete_datasets
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="An .mp4 or .webm; default: build/videos/VERSION/NAME-SPLIT.mp4."),
    ] = None,
    fps: Annotated[float, typer.Option("--fps", min=0.1, max=240.0, help="Frames a second.")] = 10.0,
    split: Annotated[
        str | None, typer.Option("--split", help="Which frames: val, test, train or gap; default: val, or test where all are.")
    ] = None,
    every: Every = 1,
    runtime: PredictionRuntime = "auto",
    device: ComputeDevice = "auto",
) -> None:
    """Film a version on a sequence: RGB, raw ToF and reference above; student, ToF with reference and ToF with student below.

    Both fusions are the robot's; the reference is scaled to the ToF as the student is. The film is H.264 where the extra `video` is
    installed, else WebM; a browser plays either.

    Example: vortex video v10 --data hall
    """
    from pipelines.predict.six_panels import film_version

    ws = console.workspace()
    with console.progress() as display:
        task = display.add_task(f"filming {version}", total=None)

        def show(what: str) -> Callable[[int, int], None]:
            return lambda count, total: display.update(task, description=f"{what} {version}", completed=count, total=total or None)

        film = film_version(
            ws,
            version,
            data,
            path=out,
            split=split,
            rate=fps,
            every=every,
            runtime=runtime,
            device=device,
            on_progress=show("filming"),
            on_packing=show("packing frames for"),
        )
    height, width = film.size
    console.emit(
        film,
        f"{film.version} on {film.frames} {film.split} frames of {film.data}: {width}x{height}, {film.frames / film.rate:.1f} s of film,"
        f" made at {wording.rate(film.frames / max(film.seconds, 1e-9))} by {'ONNX Runtime' if film.runtime == 'onnx' else 'torch'}",
    )
    console.note(f"file: {film.path}")
