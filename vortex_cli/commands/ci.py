"""`vortex ci`: a pipeline for GitHub or GitLab."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from core.errors import VortexError
from core.stages import Stage
from vortex_cli import console
from vortex_cli.completion import complete_versions
from vortex_cli.parameters import ChannelDevice, ChannelDomain


class CiHost(StrEnum):
    """Whose pipelines it is written for."""

    github = "github"
    gitlab = "gitlab"


def ci(
    host: Annotated[CiHost, typer.Argument(metavar="HOST", help="github or gitlab.")],
    version: Annotated[
        str | None,
        typer.Option("--version", metavar="VERSION", help="The version to judge; default: the newest.", autocompletion=complete_versions),
    ] = None,
    stage: Annotated[Stage, typer.Option("--stage", help="The stage that it is judged for.")] = "production",
    device: ChannelDevice = None,
    domain: ChannelDomain = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there, where nothing is yet; default: print it.")
    ] = None,
) -> None:
    """Write a pipeline: the data gate with its JUnit report, and `promote --dry-run` as a check that can be required.

    Example: vortex ci github -o .github/workflows/vortex.yml
    """
    from core.files import write_atomic
    from pipelines.ci import pipeline

    text = pipeline(console.workspace(), host.value, version=version, stage=stage, device=device, domain=domain)
    if output is None:
        console.emit({"host": host.value, "file": None, "text": text}, text.rstrip())
        return
    if output.exists():
        raise VortexError(f"{output} is there already", "look at what would be written with: vortex ci " + host.value)
    write_atomic(output, text)
    console.emit({"host": host.value, "file": output, "text": text}, f"written to {output}")
