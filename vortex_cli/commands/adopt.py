"""`vortex adopt`: a checkpoint that was trained elsewhere becomes a version."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console, wording
from vortex_cli.completion import complete_domains, complete_recipes, complete_versions
from vortex_cli.parameters import Reason

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.hub.adopt import AdoptionReport


def adopt(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A .pt file of before Vortex: a state dict, or one under model.")
    ],
    name: Annotated[
        str, typer.Option("--as", metavar="vN", help="The name: a declared version's, the recipe's own, or the next free one.")
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", metavar="RECIPE", help="The recipe that it was trained by.", autocompletion=complete_recipes)
    ],
    class_order: Annotated[
        str, typer.Option("--class-order", metavar="A,B,…", help="The order of the file's logits; default: that of the published ones.")
    ] = "floor,wall,person,furniture,glass,other",
    metrics: Annotated[
        Path | None,
        typer.Option("--metrics", metavar="FILE", help="Declared figures, as `published:` of a lineage file; no gate takes them."),
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="D", help="The domain that it is for.", autocompletion=complete_domains)
    ] = None,
    parent: Annotated[
        list[str] | None,
        typer.Option(
            "--parent", metavar="VERSION", help="A version whose weights it has; default: the recipe's.", autocompletion=complete_versions
        ),
    ] = None,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and examine the file, and record nothing.")] = False,
) -> None:
    """Register a checkpoint that was trained elsewhere: examined tensor by tensor, stored as safetensors, its classes in Vortex's order.

    Only tensors are read: a file that carries code is refused, and none of it is run. What it was trained on is declared, not proven, so
    that it can be evaluated, compared, exported and trained on from, and no stage of a channel takes it.

    Example: vortex adopt best_depth_v6.pt --as v6 --recipe v6
    """
    from pipelines.hub.adopt import adopt as bring

    order = [word.strip() for word in class_order.split(",")]
    report = bring(
        console.workspace(), checkpoint, name, recipe, class_order=order, metrics=metrics, domain=domain, parents=parent or (), reason=reason,
        dry_run=dry_run,
    )  # fmt: skip
    console.emit(report, _table(report))
    if report.twins:
        console.note(f"its weights are those of {wording.several(report.twins)}: what holds of these, a quarantine too, holds of {name}")
    if report.already:
        console.note(f"{name} was adopted from this file before: nothing was changed")
    elif not dry_run:
        console.note(f"{name} is not measured here yet: vortex evaluate {name}" + ("" if domain else " --domain DOMAIN"))


def _table(report: AdoptionReport) -> Table:
    adoption, version = report.adoption, report.version
    rows = [
        ("file", f"{adoption.source}, sha256 {adoption.sha256[:12]}" + (f", its entry {adoption.key!r}" if adoption.key else "")),
        ("recipe", report.recipe),
        ("made from", wording.descent(report.parents) or None),
        ("classes", f"{', '.join(adoption.class_order)}, put into Vortex's order"),
        ("trained on", f"{', '.join(report.data)} (declared, not proven)"),
        ("cut short", report.truncated),
        ("checkpoint", f"{version.checkpoint.uri}, {wording.megabytes(version.checkpoint.bytes)}" if version else None),
    ]
    title = f"{report.name} would be adopted" if report.dry_run and not report.already else f"{report.name} is adopted"
    return wording.snug(console.table(["", title], [row for row in rows if row[1] is not None]))
