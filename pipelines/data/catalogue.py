"""Which datasets there are in `data/`: one is taken out, or gets another name. What DVC has recorded stays, and brings it back.

Both go the way of `vortex data checkout`: file by file with a note, from which a kill at any moment is undone by the next command.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import VortexError
from core.files import write_atomic
from core.progress import Progress
from pipelines.data.checkout import LOCK_SECONDS, refuse_changes
from pipelines.data.contents import require_all
from pipelines.data.datasets import CARD, find, resolve
from pipelines.data.exam_names import exams_with
from pipelines.data.listings import Listing, cache_path, present, read
from pipelines.data.pointer import EMPTY_DIR, data_hash
from pipelines.data.publication import refuse_existing
from pipelines.data.repository import repository
from pipelines.data.switch import switch
from pipelines.data.versioning import data_lock, refuse_unversionable
from pipelines.hub.open import hub
from pipelines.runs.folder import PLAN, runs_folder
from pipelines.runs.listing import ACTIVE, runs
from pipelines.workspace import FILE, Workspace

if TYPE_CHECKING:
    from dvc.repo import Repo

GOES_ON: Final = ("planned", "stopped", "truncated", "failed", "dead", "cancelled")
"""States of a run that could be resumed."""


@dataclass(frozen=True)
class CatalogueChange:
    """`data/` was `before` and is `data` (both `.dir` hashes).

    `versions` were trained on the dataset, under this name or with this content under another: their history names it as it was called.
    `runs` had begun with it, and cannot be resumed.
    """

    name: str
    new_name: str | None
    before: str
    data: str
    files: int
    versions: tuple[str, ...]
    runs: tuple[str, ...]


def remove(ws: Workspace, name: str, on_file: Progress | None = None) -> CatalogueChange:
    """Take a dataset out of `data/`. Raises VortexError, changing nothing, where an exam or a run at work needs it, or `data/` is dirty."""
    find(ws, name)
    exams = exams_with(ws, name)
    if exams:
        raise VortexError(
            f"{name} is in the exam of {', '.join(exams)}: versions there are judged on it",
            f"take it out of `exam` in [domains.{exams[0]}] of {FILE} first",
        )
    return _change(ws, name, None, lambda _, files: {path: md5 for path, md5 in files.items() if not path.startswith(f"{name}/")}, on_file)


def rename(ws: Workspace, name: str, new_name: str, on_file: Progress | None = None) -> CatalogueChange:
    """Give a dataset another name; its manifest, its frames and so its digest stay, and what was judged of it holds.

    Exams that name it follow, in the same step. Raises VortexError, changing nothing, where the name is taken, a run at work needs it,
    or `data/` is dirty.
    """
    card = find(ws, name).card
    refuse_existing(ws, new_name)

    def renamed(repo: Repo, files: dict[str, str]) -> dict[str, str]:
        new = {f"{new_name}/{path.removeprefix(f'{name}/')}" if path.startswith(f"{name}/") else path: md5 for path, md5 in files.items()}
        text = card.model_copy(update={"name": new_name}).model_dump_json(indent=2) + "\n"
        return new | {f"{new_name}/{CARD}": _into_cache(repo, text.encode())}

    return _change(ws, name, new_name, renamed, on_file)


def _change(
    ws: Workspace, name: str, new_name: str | None, goal_of: Callable[[Repo, dict[str, str]], dict[str, str]], on_file: Progress | None
) -> CatalogueChange:
    refuse_unversionable(ws)
    begun = _begun_with(ws, name)
    digest = _content(ws, name)
    versions = tuple(
        version.name for version in hub(ws).versions() if any(use.name == name or use.digest == digest for use in version.data)
    )
    with repository(ws) as repo, data_lock(ws, LOCK_SECONDS), repo.lock:
        before = data_hash(ws) or EMPTY_DIR
        recorded = read(repo, before)
        require_all(ws, repo, recorded.files if recorded else ())
        now = present(repo, ws)
        refuse_changes(before, recorded, now)
        files = goal_of(repo, now.files)
        goal = Listing(_into_cache(repo, _listing_text(files), ".dir") if files else EMPTY_DIR, files)
        switch(ws, repo, goal, on_file, (name, new_name) if new_name and exams_with(ws, name) else None)
    count = sum(path.startswith(f"{name}/") for path in now.files)
    return CatalogueChange(name, new_name, before, goal.hash, count, versions, begun)


def _content(ws: Workspace, name: str) -> str | None:
    """The digest of a dataset's content; None for a broken one, which no version was trained on as it is, and which may go all the same."""
    try:
        return resolve(ws, name_or_manifest=name).digest
    except VortexError:
        return None


def _listing_text(files: dict[str, str]) -> bytes:
    """A listing as DVC writes it, byte for byte: its hash is over that."""
    return json.dumps([{"md5": files[path], "relpath": path} for path in sorted(files)], sort_keys=True).encode()


def _into_cache(repo: Repo, content: bytes, suffix: str = "") -> str:
    """Put bytes into DVC's cache, write-protected as it keeps them; returns the name that they have there."""
    oid = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
    path = cache_path(repo, oid)
    if not path.exists():
        write_atomic(path, content)
        path.chmod(0o444)
    return oid


def _begun_with(ws: Workspace, name: str) -> tuple[str, ...]:
    """Runs that began with a dataset and could go on. Raises VortexError where one is at work."""
    users = [run for run in runs(ws) if run.state in (*ACTIVE, *GOES_ON) and name in _datasets_of(runs_folder(ws) / run.run / PLAN)]
    active = [run.run for run in users if run.state in ACTIVE]
    if active:
        raise VortexError(f"{name} is used by {', '.join(active)}, which is at work", f"wait for it, or end it: vortex logs {active[0]} -f")
    return tuple(run.run for run in users)


def _datasets_of(plan: Path) -> set[str]:
    """The datasets that a plan names; all that a damaged one could mean is nothing that can be resumed."""
    try:
        raw = json.loads(plan.read_bytes())
        stages = [data for stage in raw.get("stages", []) for data in stage.get("data", [])]
        return {str(data["name"]) for data in [*stages, *raw.get("anchor_data", [])]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
