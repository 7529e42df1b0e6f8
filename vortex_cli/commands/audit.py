"""`vortex audit`: the ledger's head, to be kept elsewhere, and everything compared with what the ledger says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import VortexError
from vortex_cli import console
from vortex_cli.parameters import SigningKey


def head(
    sign: SigningKey = None,
) -> None:
    """Print where the ledger ends: keep it elsewhere, and `vortex audit verify --head FILE` finds a ledger that was cut off or rewritten.

    Example: vortex audit head --sign release.pem > head.json
    """
    import json

    from pipelines.hub.audit import head as ledger_head

    console.write(json.dumps(ledger_head(console.workspace(), sign)))


def verify(
    head_file: Annotated[
        Path | None, typer.Option("--head", metavar="FILE", help="A head that `vortex audit head` printed earlier.")
    ] = None,
    key: Annotated[
        list[Path] | None, typer.Option("--key", metavar="PUB", help="Public key (PEM) of who may have signed it; may be repeated.")
    ] = None,
    mlflow: Annotated[bool, typer.Option("--mlflow", help="Compare MLflow too: its tag, the model's versions, the aliases.")] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Put right what follows from the events: claims, triggers, MLflow's aliases, what robots pull."),
    ] = False,
) -> None:
    """Compare the ledger with the heads that were noted, and everything else with the ledger; exit 1 when something is wrong.

    Every stored file is hashed again.

    Example: vortex audit verify --mlflow
    """
    from pipelines.hub.audit import verify as audit
    from pipelines.ship.publish import publish_after

    ws = console.workspace()
    report = audit(ws, head_file=head_file, key_files=key or (), mlflow=mlflow, repair=repair)
    repaired = [console.CheckLine("repaired", "green", f"{fault.area}: {fault.found}") for fault in report.repaired]
    faults = [console.CheckLine("WRONG", "bold red", f"{fault.area}: {fault.found}", f"→ {fault.remedy}") for fault in report.faults]
    console.emit_checks(report, [*repaired, *faults])
    if not console.session.json:
        console.write(report.sentence())
    for line in publish_after(ws) if repair else ():
        console.note(line)
    if report.faults:
        areas = ", ".join(dict.fromkeys(fault.area for fault in report.faults))
        raise VortexError(
            f"{len(report.faults)} fault{'s' if len(report.faults) > 1 else ''}: {areas}",
            "follow the remedies, shown after each arrow above",
        )
