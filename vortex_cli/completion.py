"""What a shell offers while a command is typed: names of recipes, versions and runs. An error would be printed into the line."""

from __future__ import annotations

from core.errors import VortexError
from core.shipped import SHIPPED
from vortex_cli import console


def complete_recipes(incomplete: str) -> list[str]:
    """Names of shipped recipes."""
    return [name for name in SHIPPED if name.startswith(incomplete)]


def complete_versions(incomplete: str) -> list[str]:
    """Names of versions; none outside a workspace."""
    from pipelines.hub.open import hub

    try:
        names = sorted(hub(console.workspace()).recorded(), key=lambda name: int(name[1:]))
        return [name for name in names if name.startswith(incomplete)]
    except VortexError:
        return []


def complete_runs(incomplete: str) -> list[str]:
    """Names of runs; none where there is no workspace."""
    from pipelines.runs.folder import runs_folder

    try:
        return sorted(path.parent.name for path in runs_folder(console.workspace()).glob(f"{incomplete}*/plan.json"))
    except Exception:  # whatever is wrong with the workspace, the command that is being typed will say so
        return []
