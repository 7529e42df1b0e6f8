"""`vortex evidence`: reports of how a version did outside of Vortex."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console, wording
from vortex_cli.parameters import Reason, SigningKey, VersionName

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.hub.evidence import EvidenceItem

KIND = "closed-loop, device-bench, shadow or field."


def add(
    version: VersionName,
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="The report as JSON, or a signed envelope around one.")],
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help=KIND)],
    sign: SigningKey = None,
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and judge the report, and record nothing.")] = False,
) -> None:
    """Add a report about a version, bound to the SHA-256 of its checkpoint, and of the exported file where it is about one.

    A report about other bytes is refused. Signatures are trusted by the keys that `[evidence] keys` in vortex.toml names.

    Example: vortex evidence add v9 gazebo.json --kind closed-loop --sign lab.pem
    """
    from pipelines.hub.evidence import add as record

    added = record(console.workspace(), version, report, kind, sign=sign, reason=reason, dry_run=dry_run)
    console.emit(added, lines([added.item]))
    outcome = "was added before: nothing was changed" if added.already else "would be added" if dry_run else "is added"
    console.note(f"{report.name} {outcome}, {added.item.signature}")


def list_(
    version: VersionName,
) -> None:
    """List the evidence of a version, each report read again: its bytes, what it is about, who signed it, and what it comes to.

    Example: vortex evidence list v9
    """
    from pipelines.hub.evidence import items
    from pipelines.hub.open import hub

    ws = console.workspace()
    registry = hub(ws)
    reports = items(ws, registry, registry.get(version))
    if not reports:
        console.note(f"no evidence of {version} yet; add some with: vortex evidence add {version} REPORT --kind KIND")
    console.emit(reports, *([lines(reports)] if reports else []))


def schema(kind: Annotated[str, typer.Argument(metavar="KIND", help=KIND)]) -> None:
    """Print the JSON schema of a kind of report.

    Example: vortex evidence schema closed-loop
    """
    import json

    from validation.evidence.reports import schema as schema_of

    console.write(json.dumps(schema_of(kind), indent=2))


def lines(items: list[EvidenceItem]) -> RenderableType:
    """Reports for people: kind, day and signature in a line, and below what each comes to."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    parts: list[RenderableType] = []
    for item in items:
        style = {"trusted": "green", "unsigned": "yellow", "unknown signer": "yellow"}[item.trust]
        heading = Text.assemble(
            (item.record.kind, "bold"), f"  {item.record.made_at[:10]}  {item.record.report}  ", (item.signature, style)
        )
        parts += [heading, *(Padding(Text(part), (0, 0, 0, 2)) for part in item.verdict)]
        if item.fault:
            parts.append(Padding(Text(f"WRONG: {item.fault}", "bold red"), (0, 0, 0, 2)))
        about = f"checkpoint of this version, sha256 of the report {wording.digest(item.record.report_sha256)}"
        about += f", export {wording.digest(item.record.export_sha256)}" if item.record.export_sha256 else ""
        parts.append(Padding(Text(f"about the {about}", "dim"), (0, 0, 0, 2)))
    return Group(*parts)
