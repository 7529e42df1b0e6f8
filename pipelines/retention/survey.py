"""Everything that could go: what lies in `build/` and among the artifacts, of what kind it is, and why it stays where something needs it.

The ledger decides about artifacts: what any event names stays, for whatever reason it was named. All else is derived from something that
stays, or was left by a process that ended within. What was touched lately always stays: somebody may be about to name it.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from core.errors import VortexError
from core.stages import STAGES
from pipelines.data import datasets
from pipelines.hub.open import hub
from pipelines.pack.layout import PackError, read_index
from pipelines.pack.preparing import packs_folder
from pipelines.runs import listing
from pipelines.runs.folder import WEIGHTS, runs_folder
from pipelines.runs.state import RunState
from pipelines.validate.cached import statistics_path
from pipelines.workspace import Workspace
from registry import artifacts, database
from registry.chain import canonical
from registry.edges import VersionEdge
from registry.events import reading
from registry.ledger import Ledger
from registry.state import State

Kind = Literal["artifact", "checkpoint", "pack", "copy", "picture", "page", "staging"]
KINDS: Final[Mapping[Kind, str]] = {
    "artifact": "stored files that no event names",
    "checkpoint": "checkpoints of runs that became versions",
    "pack": "packs of data as it no longer is",
    "copy": "copies of stored files in build/",
    "picture": "pictures and contact sheets",
    "page": "validation pages and statistics of sets that are gone",
    "staging": "what ended processes were still writing",
}
"""Kind → what goes of it."""
STORED: Final = re.compile(r"(?P<run>[0-9a-f]{32})/artifacts/[a-z-]+/(?P<sha256>[0-9a-f]{64})/[^/]+")
"""Below the artifact root: what Vortex stores. MLflow's own files, and a user's, look otherwise and are not looked at."""
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
DAY_S: Final = 86_400.0
RECENT: Final = "touched lately"
ACTIVE: Final = "a run is at work"
PRESENT: Final = "of a dataset as it is"


@dataclass(frozen=True)
class Item:
    """A file, or a folder that goes as a whole. `stays` says what needs it; empty where nothing does."""

    path: Path
    kind: Kind
    bytes: int
    stays: str = ""


@dataclass(frozen=True)
class Needs:
    """Of the ledger: artifact → why it stays, by its path below the artifact root; and the runs that became versions → their names."""

    artifacts: Mapping[str, str]
    versions: Mapping[str, str]
    digests: frozenset[str] = frozenset()
    """Every SHA-256 that stands anywhere in an event, so that an artifact of a kind of event that names it in its own way stays too."""
    weights: Mapping[str, str] = field(default_factory=dict)
    """Run that became a version → where its weights are stored, below the artifact root."""


def survey(ws: Workspace, older_s: float = DAY_S) -> list[Item]:
    """All of it, by kind and path. What was touched within `older_s` seconds stays.

    Raises VortexError where the ledger's chain is broken: what an event named can then not be told.
    """
    registry = hub(ws)
    registry.ledger.verify()
    needs = needs_of(registry.ledger)
    runs = {run.run: run for run in listing.runs(ws)}
    busy = any(run.state in listing.ACTIVE for run in runs.values())
    items = [
        *_artifacts(ws, needs, _unfinished(ws, needs), older_s),
        *_checkpoints(ws, needs, runs, older_s),
        *_packs(ws, busy, older_s),
        *_copies(ws, needs, older_s),
        *_derived(ws, older_s),
        *_staging(ws, runs, older_s),
    ]
    order = list(KINDS)
    return sorted(items, key=lambda item: (order.index(item.kind), item.path))


def needs_of(ledger: Ledger) -> Needs:
    """What the ledger's events need."""
    entries = list(ledger.each())
    state = reading.fold(entries)
    reasons = _reasons(state)
    needed: dict[str, str] = {}
    for entry in entries:
        name = entry.subject if entry.subject in state.versions else None
        for artifact in reading.parse(entry).artifacts():
            # A registry that was moved has its artifacts below another root, at the same place there.
            needed.setdefault(artifacts.key(artifact.uri) or artifact.uri, reasons[name] if name else f"named by event {entry.seq}")
    digests = frozenset(digest for entry in entries for digest in DIGEST.findall(canonical([entry.head, entry.body])))
    whole = [version for version in state.whole_versions() if not version.truncated]
    weights = {version.run: artifacts.key(version.checkpoint.uri) or version.checkpoint.uri for version in whole}
    return Needs(needed, {version.run: version.name for version in whole}, digests, weights)


def _reasons(state: State) -> dict[str, str]:
    """Version → the strongest reason why it stays."""
    reasons = {name: f"{name} is registered" for name in state.versions}
    for version in state.versions.values():
        for edge in version.parents:
            if isinstance(edge, VersionEdge) and edge.version in reasons:
                reasons[edge.version] = f"{edge.version} is a parent"
    for channel, moved in state.channels.items():
        reasons |= {name: f"{name} can be rolled back to on {channel}" for name in moved.earlier}
    for channel, moved in state.channels.items():
        reasons |= {
            moved.current[stage]: f"{moved.current[stage]} is in {stage} on {channel}" for stage in STAGES if stage in moved.current
        }
    return reasons


def own_artifacts(ws: Workspace) -> Path | None:
    """The artifact root where nobody else's artifacts can lie: a folder of this workspace, beside its embedded MLflow; else None."""
    root = ws.artifact_root
    own = isinstance(root, Path) and root.is_dir() and root.resolve().is_relative_to(ws.root.resolve())
    store = database.sqlite_path(ws.tracking_uri)
    return root if own and isinstance(root, Path) and store and store.is_file() else None


def _artifacts(ws: Workspace, needs: Needs, unfinished: Mapping[str, str], older_s: float) -> Iterator[Item]:
    root, store = own_artifacts(ws), database.sqlite_path(ws.tracking_uri)
    # An empty ledger needs nothing, and where it is empty by mistake everything would go.
    if root is None or store is None or not needs.artifacts:
        return
    ours: dict[str, bool] = {}
    for path in root.glob("*/artifacts/*/*/*"):
        place = path.relative_to(root).as_posix()
        stored = STORED.fullmatch(place)
        if not stored or not _plain(path):
            continue
        run = stored["run"]
        if run not in ours:
            ours[run] = artifacts.has_run(store, run)
        if ours[run]:
            pending = f"run {unfinished[run]} is not finished" if run in unfinished else ""
            named = "named by an event" if stored["sha256"] in needs.digests else ""
            stays = needs.artifacts.get(place) or named or pending
            yield _item(path, "artifact", stays, older_s)


def _unfinished(ws: Workspace, needs: Needs) -> dict[str, str]:
    """MLflow run → the run that logs into it and has not become its version yet."""
    unfinished: dict[str, str] = {}
    for folder in _folders(runs_folder(ws)):
        with suppress(VortexError):
            state = RunState.read(folder)
            if folder.name not in needs.versions:
                unfinished |= dict.fromkeys(state.mlflow.values(), folder.name)
    return unfinished


def _checkpoints(ws: Workspace, needs: Needs, runs: Mapping[str, listing.Run], older_s: float) -> Iterator[Item]:
    root = own_artifacts(ws)
    for folder in _folders(runs_folder(ws)):
        run = runs.get(folder.name)
        if run is None or run.state in listing.ACTIVE:
            reason = ACTIVE if run else "it is no run that can be read"
        elif run.state != "finished" or folder.name not in needs.versions:
            reason = f"a run that is {run.state} can go on"
        elif root is not None and not (root / needs.weights[folder.name]).is_file():
            reason = f"the stored weights of {needs.versions[folder.name]} are gone"
        else:
            reason = ""
        for path in sorted(folder.rglob(WEIGHTS)):
            if _plain(path) and not any(parent.is_symlink() for parent in path.relative_to(folder).parents):
                yield _item(path, "checkpoint", reason, older_s)


def _packs(ws: Workspace, busy: bool, older_s: float) -> Iterator[Item]:
    packs = packs_folder(ws)
    digests = _digests(ws)
    for folder in _folders(packs):
        if folder.name.startswith("."):
            continue
        try:
            index = read_index(folder)
        except PackError:
            continue  # whoever needs it builds it anew, and knows better what it is
        unknown = index.name in digests and digests[index.name] is None
        same = digests.get(index.name) == index.digest
        outside = index.name.startswith(datasets.OUTSIDE) and Path(index.manifest).is_file()
        reason = PRESENT if same or unknown or outside else ACTIVE if busy else ""
        yield _item(folder, "pack", reason, older_s)


def _digests(ws: Workspace) -> dict[str, str | None]:
    """Dataset → the digest of what it is now; None where that cannot be told."""
    digests: dict[str, str | None] = {}
    for dataset in datasets.listing(ws):
        digests[dataset.name] = None
        with suppress(VortexError):
            digests[dataset.name] = datasets.resolve(ws, name_or_manifest=dataset.name).digest
    return digests


def _copies(ws: Workspace, needs: Needs, older_s: float) -> Iterator[Item]:
    """What `export` and `evaluate` left in `build/` of what is stored. An export stays while its version is on a channel or a way back."""
    root = own_artifacts(ws)
    stored = {Path(uri).name: (uri, reason) for uri, reason in needs.artifacts.items()}
    for folder in ("exports", "evaluations"):
        for path in sorted((ws.build / folder).glob("*/*")):
            uri, reason = stored.get(path.name, ("", ""))
            if not _plain(path) or not uri or root is None or not (root / uri).is_file():
                continue
            serves = folder == "exports" and (" is in " in reason or "rolled back" in reason)
            yield _item(path, "copy", reason if serves else "", older_s)


def _derived(ws: Workspace, older_s: float) -> Iterator[Item]:
    for folder in ("sheets", "pictures"):
        for path in sorted((ws.build / folder).rglob("*.png")):
            if _plain(path):
                yield _item(path, "picture", "", older_s)
    names = {dataset.name for dataset in datasets.listing(ws)}
    validation = ws.build / "validation"
    for path in sorted(validation.rglob("*.html")):
        if _plain(path):
            yield _item(path, "page", PRESENT if path.parent == validation and path.stem in names else "", older_s)
    tables = {_table(ws, name) for name in names}
    for path in sorted((validation / "statistics").glob("*.parquet")):
        if _plain(path):
            yield _item(path, "page", PRESENT if path in tables else "", older_s)


def _table(ws: Workspace, name: str) -> Path | None:
    with suppress(VortexError):
        return statistics_path(ws, datasets.resolve(ws, name_or_manifest=name))
    return None


def _staging(ws: Workspace, runs: Mapping[str, listing.Run], older_s: float) -> Iterator[Item]:
    """Files and folders that were never made whole. In the folder of a run that is at work they are its own."""
    root = own_artifacts(ws)
    for place in (ws.build, *((root,) if root else ())):
        for parent, folders, files in os.walk(place):
            for name in [*folders, *files]:
                path = Path(parent, name)
                if not (name.startswith(".") and name.endswith(".staging")) or path.is_symlink():
                    continue
                owner = runs.get(_run_of(ws, path))
                yield _item(path, "staging", ACTIVE if owner and owner.state in listing.ACTIVE else "", older_s)
            folders[:] = [name for name in folders if not name.endswith(".staging") and not Path(parent, name).is_symlink()]


def _run_of(ws: Workspace, path: Path) -> str:
    folder = runs_folder(ws)
    return path.relative_to(folder).parts[0] if path.is_relative_to(folder) else ""


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir() and not path.is_symlink()) if place.is_dir() else []


def _plain(path: Path) -> bool:
    with suppress(OSError):
        return stat.S_ISREG(path.lstat().st_mode)
    return False


def _item(path: Path, kind: Kind, stays: str, older_s: float) -> Item:
    """An item, which stays where `stays` says why, or where it was touched within `older_s` seconds."""
    size, touched = measured(path)
    return Item(path, kind, size, stays or (RECENT if time.time() - touched < older_s else ""))


def measured(path: Path) -> tuple[int, float]:
    """The bytes of a file or a folder, and when anything in it was last touched. A file that another name has too frees nothing."""
    paths: Iterable[Path] = path.rglob("*") if path.is_dir() and not path.is_symlink() else ()
    size, touched = 0, 0.0
    for each in (path, *paths):
        with suppress(OSError):  # another process may remove it meanwhile
            state = each.lstat()
            touched = max(touched, state.st_mtime)
            size += state.st_size // state.st_nlink if stat.S_ISREG(state.st_mode) else 0
    return size, touched
