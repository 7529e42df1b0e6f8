"""`vortex doctor`: is this machine and workspace ready?"""

from __future__ import annotations

from core.errors import VortexError
from vortex_cli import console

STATES = {"ok": ("ok", "green"), "optional": ("optional", "yellow"), "due": ("due", "yellow"), "missing": ("MISSING", "bold red")}


def doctor() -> None:
    """Check what is installed and reachable, each with a remedy; exits 1 when something needed is missing.

    Example: vortex doctor
    """
    from pipelines.doctor import doctor as examine

    findings = examine(console.session.workspace_dir)
    console.emit_checks(
        findings,
        [
            console.CheckLine(*STATES[finding.state], f"{finding.name}: {finding.found}", f"→ {finding.remedy}" if finding.remedy else "")
            for finding in findings
        ],
    )
    missing = [finding.name for finding in findings if finding.state == "missing"]
    if missing:
        failed = f"{len(missing)} check{'s' if len(missing) > 1 else ''} failed"
        raise VortexError(f"{failed}: {', '.join(missing)}", "follow the remedies, shown after each arrow above")
