"""`vortex recommend`: which version to take for a domain, with reasons."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console, wording
from vortex_cli.completion import complete_domains
from vortex_cli.parameters import Margin

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.compare.recommend import Recommendation


class Use(StrEnum):
    """What the version is wanted for."""

    deploy = "deploy"
    finetune = "finetune"


def recommend(
    domain: Annotated[str, typer.Option("--domain", metavar="D", help="Where the version is to work.", autocompletion=complete_domains)],
    for_: Annotated[Use, typer.Option("--for", help="Deploy it there, or fine-tune from it on the domain's data.")] = Use.deploy,
    margin: Margin = 0.01,
) -> None:
    """Say which version to deploy on a domain or to fine-tune from, with what speaks for it, and who was left out and why.

    To deploy, versions are weighed by the exam of the domain: depth, depth near the robot, classes. The one that gives up least against
    the best of each is taken. To fine-tune, those that forgot fewest domains are weighed by depth on other domains, and where these do
    not tell them apart, by how much data is in their weights. Where the frames say too little, that is the answer.

    Example: vortex recommend --domain corridor --for deploy
    """
    from pipelines.compare.recommend import recommend as decide

    result = decide(console.workspace(), domain, for_.value, margin=margin)
    console.emit({**vars(result), "sentence": result.sentence}, *_parts(result))


def _parts(result: Recommendation) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(result.sentence, "bold")
    yield from (f"  - {reason}" for reason in result.reasons)
    yield ""
    figures = [criterion.name.replace(" on ", "\n") for criterion in result.criteria]
    columns: list[Any] = ["candidate", ("gives up", "right"), *((figure, "right") for figure in figures), "production"]
    rows = [
        (
            candidate.version,
            f"{100 * candidate.gives_up:.1f} %",
            *(criterion.text(value) for criterion, value in zip(result.criteria, candidate.values, strict=True)),
            ", ".join(candidate.production) or None,
        )
        for candidate in result.candidates
    ]
    yield wording.snug(console.fitting(columns, rows, figures[::-1]))
    for series in dict.fromkeys(criterion.series for criterion in result.criteria):
        yield f"{series.dataset}: {series}, data {wording.digest(series.digest, 8)}"
    if result.excluded:
        yield "\nleft out:"
        yield from wording.left_out(result.excluded)
