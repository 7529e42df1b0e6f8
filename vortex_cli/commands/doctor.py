"""`vortex doctor`: is this machine and workspace ready?"""

from __future__ import annotations

from core.errors import VortexError
from vortex_cli import console


def doctor() -> None:
    """Check what is installed and reachable, each with a remedy; exits 1 when something needed is missing.

    Example: vortex doctor
    """
    from pipelines.doctor import doctor as examine

    findings = examine(console.session.workspace_dir)
    mark = {"ok": "[green]ok[/green]", "optional": "[yellow]optional[/yellow]", "missing": "[bold red]MISSING[/bold red]"}
    console.emit(
        findings,
        console.table(
            ["check", "state", "found", "remedy"], [(f.name, console.markup(mark[f.state]), f.found, f.remedy) for f in findings]
        ),
    )
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if missing:
        raise VortexError(f"{len(missing)} check(s) failed: {', '.join(missing)}", "follow the remedies in the table")
