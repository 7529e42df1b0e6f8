"""What several commands ask for: the parameter is written once, here, so that it reads the same everywhere. Options of planned work are in `options.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex_cli.completion import complete_datasets, complete_domains, complete_versions

VersionName = Annotated[str, typer.Argument(metavar="VERSION", help="A registered version.", autocompletion=complete_versions)]
DatasetName = Annotated[str, typer.Argument(metavar="NAME", help="A dataset of `vortex data list`.", autocompletion=complete_datasets)]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")]
SigningKey = Annotated[Path | None, typer.Option("--sign", metavar="KEY", help="Sign it with this ed25519 key (PEM), as a DSSE envelope.")]

ChannelDevice = Annotated[str | None, typer.Option("--device", metavar="X", help="Device of the channel; default: the only one.")]
ChannelDomain = Annotated[
    str | None,
    typer.Option("--domain", metavar="D", help="Domain of the channel; default: the version's own.", autocompletion=complete_domains),
]

ComputeDevice = Annotated[str, typer.Option("--device", help="What torch computes on: auto, cpu or cuda.")]
PredictionRuntime = Annotated[
    str, typer.Option("--runtime", help="onnx, torch, or auto: ONNX where an export that answers alike is there.")
]
Every = Annotated[int, typer.Option("--every", metavar="N", min=1, help="Take one frame of N.")]

Precision = Annotated[str, typer.Option("--precision", help="Of the exported file: fp32, fp16 or int8.")]
Target = Annotated[str, typer.Option("--target", help="What the exported file is made for: host or jetson.")]

JudgedMetrics = Annotated[
    list[str] | None, typer.Option("--metric", metavar="NAME", help="What two versions are judged by; may be repeated; default: rmse.")
]
Margin = Annotated[float, typer.Option("--margin", min=0.0, max=1.0, help="Share of a value within which two versions are equivalent.")]
