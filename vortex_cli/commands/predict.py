"""`vortex predict`: what a version sees in pictures of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console
from vortex_cli.parameters import ComputeDevice, Every, PredictionRuntime, VersionName

if TYPE_CHECKING:
    from pipelines.predict.run import Predictions


def predict(
    version: VersionName,
    source: Annotated[
        str, typer.Argument(metavar="IMAGE|FOLDER|VIDEO|DATASET", help="A PNG or JPEG, a folder of them, a video, a dataset.")
    ],
    out: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where to write; default: build/predictions/VERSION/NAME.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="Of depth: png, 16-bit millimetres, or npy, float32 metres.")] = "png",
    split: Annotated[str | None, typer.Option("--split", help="Of a dataset: train, gap, val or test; default: all its frames.")] = None,
    every: Every = 1,
    runtime: PredictionRuntime = "auto",
    device: ComputeDevice = "auto",
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Also draw picture, depth and classes side by side.")] = True,
) -> None:
    """Run a version over pictures: write depth, classes, and both beside the picture.

    Every picture keeps its name and its size: depth/NAME.png holds millimetres (0 where nothing is said), classes/NAME.png class ids where
    the classes were trained. A folder is searched with all below it; a name that is a dataset's means the dataset.

    Example: vortex predict v9 ~/photos -o depth-of-photos
    """
    from pipelines.predict.run import predict as run

    ws = console.workspace()
    with console.progress() as display:
        task = display.add_task(f"predicting {source}", total=None)
        predictions = run(
            ws,
            version,
            source,
            out=out,
            depth_format=format_,
            split=split,
            every=every,
            runtime=runtime,
            device=device,
            pictures=pictures,
            on_progress=lambda count, total: display.update(task, completed=count, total=total),
        )
    _show(predictions, pictures)


def _show(predictions: Predictions, pictures: bool) -> None:
    medians = [entry.median_m for entry in predictions.pictures if entry.median_m is not None]
    depths = list(dict.fromkeys(f"{metres:.2f}" for metres in (min(medians), max(medians)))) if medians else []
    depth = f", median depth {' to '.join(depths)} m" if depths else ""
    console.emit(
        predictions,
        f"{predictions.version} on {predictions.source}: {_counted(len(predictions.pictures), 'picture')} in {predictions.seconds:.1f} s by"
        f" {'ONNX Runtime' if predictions.runtime == 'onnx' else 'torch'}{depth}",
    )
    if predictions.remark:
        console.note(f"by torch because {predictions.remark}")
    if not predictions.classes:
        console.note(f"no class maps: no class of {predictions.version} was ever trained")
    if predictions.others:
        others, are = _counted(len(predictions.others), "file"), "is" if len(predictions.others) == 1 else "are"
        console.note(f"{others} {are} no PNG or JPEG, for example {predictions.others[0]}")
    console.note(f"files: {predictions.folder}" + ("; look at pictures/ first" if pictures else ""))


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
