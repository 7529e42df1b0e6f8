"""What a shell offers while a command is typed: names of recipes, versions, datasets, domains and runs. An error would be printed into the line."""

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


def complete_datasets(incomplete: str) -> list[str]:
    """Names of datasets, which are the folders of `data/`; none outside a workspace."""
    try:
        return sorted(path.name for path in console.workspace().data.glob("[!.]*/") if path.name.startswith(incomplete))
    except VortexError:
        return []


def complete_domains(incomplete: str) -> list[str]:
    """Names of the domains of `vortex.toml`; none outside a workspace."""
    try:
        return sorted(name for name in console.workspace().config.domains if name.startswith(incomplete))
    except VortexError:
        return []


def complete_versions_and_datasets(incomplete: str) -> list[str]:
    """Both, for what takes either."""
    return [*complete_versions(incomplete), *complete_datasets(incomplete)]


def complete_runs(incomplete: str) -> list[str]:
    """Names of runs; none where there is no workspace."""
    from pipelines.runs.folder import runs_folder

    try:
        return sorted(path.parent.name for path in runs_folder(console.workspace()).glob(f"{incomplete}*/plan.json"))
    except Exception:  # whatever is wrong with the workspace, the command that is being typed will say so
        return []
