"""The workspace of a replay: its own, because it claims the names v1 to v9."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from core.errors import VortexError
from core.files import write_atomic
from pipelines import workspace
from pipelines.experiments.replay.scales import Scale
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.workspace import FILE, Workspace

MARKER: Final = ".vortex-replay"
"""Names the scale that a workspace was begun with."""


def workspace_for(folder: Path | None, scale: Scale) -> Workspace:
    """The replay's workspace: `folder` (default `build/replay/SCALE` of the workspace here), made where it is not there yet.

    A workspace that holds datasets and no version may become one: that is how real sets come in. Raises VortexError for a folder that
    holds something else, versions of its own, or a replay of another scale.
    """
    folder = _default(scale) if folder is None else folder
    if not (folder / FILE).is_file() and folder.is_dir() and any(folder.iterdir()):
        raise VortexError(f"{folder} is not empty and no workspace", "name a new folder, or one that `vortex init` made")
    marker = folder / MARKER
    if not marker.exists():
        ws = init(folder)
        taken = [summary.name for summary in hub(ws).summaries()]
        if taken:
            raise VortexError(
                f"{folder} has versions of its own ({', '.join(taken[:9])}), and a replay claims v1 to v9",
                "give the replay a workspace of its own: leave --workspace out, or name a new folder",
            )
        write_atomic(marker, scale.name + "\n")
        return ws
    begun = marker.read_text(encoding="utf-8").strip()
    if begun != scale.name:
        raise VortexError(
            f"{folder} holds a replay of the scale {begun}, not {scale.name}", f"go on with it: --scale {begun}, or name a new folder"
        )
    return workspace.load(folder)


def _default(scale: Scale) -> Path:
    try:
        return workspace.find().build / "replay" / scale.name
    except VortexError:
        return Path("vortex-replay") / scale.name
