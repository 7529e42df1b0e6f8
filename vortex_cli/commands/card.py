"""`vortex card`: a version's card for the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vortex_cli import console
from vortex_cli.parameters import VersionName


def card(
    version: VersionName,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="The card; default: build/cards/VERSION/README.md.")
    ] = None,
    push: Annotated[str | None, typer.Option("--push", metavar="OWNER/NAME", help="Put it into this repository of the hub.")] = None,
) -> None:
    """Write a version's card for the Hugging Face hub: intended use, data, classes, results, limits, and the metadata that the hub reads.

    Exams are in the metadata; what was only published elsewhere stands apart in the text. `[huggingface]` in vortex.toml names the licence
    and what versions and datasets are called on the hub; for these .eval_results is written beside the card. `--push` needs HF_TOKEN or
    `hf auth login`, makes the repository private where there is none, and replaces its README.md.

    Example: vortex card v9
    """
    from pipelines.site import card as cards

    ws = console.workspace()
    result = cards.card(ws, version)
    paths = result.save(output or ws.build / "cards" / version / cards.README)
    url = cards.push(result, push) if push else None
    console.emit(
        {"version": version, "files": paths, "commit": url}, *(f"card: {path}" for path in paths), *([f"pushed: {url}"] if url else [])
    )
