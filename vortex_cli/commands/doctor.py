"""`vortex doctor`: is this machine and workspace ready?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import VortexError
from vortex_cli import console

if TYPE_CHECKING:
    from pipelines.doctor import Finding


def doctor() -> None:
    """Check what is installed and reachable, each with a remedy; exits 1 when something needed is missing.

    Example: vortex doctor
    """
    from pipelines.doctor import doctor as examine

    findings = examine(console.session.workspace_dir)
    mark = {"ok": "[green]ok[/green]", "optional": "[yellow]optional[/yellow]", "missing": "[bold red]MISSING[/bold red]"}
    console.emit(
        findings,
        # The remedy stands below what was found: a column of its own leaves neither room enough on 80 columns.
        console.table(
            ["check", "state", "found, and what to do"], [(f.name, console.markup(mark[f.state]), _finding_and_remedy(f)) for f in findings]
        ),
    )
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if missing:
        failed = f"{len(missing)} check{'s' if len(missing) > 1 else ''} failed"
        raise VortexError(f"{failed}: {', '.join(missing)}", "follow the remedies, shown after each arrow above")


def _finding_and_remedy(finding: Finding) -> str:
    return f"{finding.found}\n→ {finding.remedy}" if finding.remedy else finding.found
