"""`vortex data checkout`: bring `data/` back to exactly the frames that a version was trained on."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import VortexError
from core.progress import NamedProgress
from pipelines.data import version_names
from pipelines.data.contents import require_all
from pipelines.data.datasets import resolve
from pipelines.data.listings import Listing, present, read
from pipelines.data.pointer import EMPTY_DIR, data_hash, pointer
from pipelines.data.publication import settle
from pipelines.data.remote import fetch
from pipelines.data.repository import repository
from pipelines.data.switch import switch
from pipelines.data.versioning import data_lock, refuse_unversionable
from pipelines.workspace import Workspace

LOCK_SECONDS = 5.0
"""A person waits for the answer: another command that changes data/ is named, not waited for."""


@dataclass(frozen=True)
class Checkout:
    """`data/` was `before` and is `data` (both `.dir` hashes); `verified` are the datasets whose digest is the one the version recorded."""

    what: str
    data: str
    before: str
    written: int
    removed: int
    fetched: int
    datasets: dict[str, int]
    verified: dict[str, str]


def checkout(ws: Workspace, what: str, *, remote: str | None = None, on_file: NamedProgress | None = None) -> Checkout:
    """Make `data/` and `data.dvc` the version `what`: a registered version, a `.dir` hash (or its beginning), or a commit.

    What DVC's cache lacks is fetched from the remote first. Raises VortexError, and leaves everything as it was, when the name is not one,
    the remote lacks frames, or `data/` has changes that no version holds.
    """
    refuse_unversionable(ws)
    settle(ws)
    with repository(ws) as repo:
        target = version_names.resolve(ws, repo, what)
        recorded = read(repo, data_hash(ws) or EMPTY_DIR)
        require_all(ws, repo, recorded.files if recorded else ())
        refuse_changes(data_hash(ws), recorded, present(repo, ws))
        goal, _, fetched = fetch(repo, target.hash, remote, on_file)
        with data_lock(ws, LOCK_SECONDS), repo.lock:
            before = data_hash(ws)
            refuse_changes(before, read(repo, before or EMPTY_DIR), present(repo, ws))
            written, removed = switch(ws, repo, goal, on_file and (lambda done, total: on_file("writing", done, total)))
    verified = _verify(ws, target)
    return Checkout(target.name, goal.hash, before or EMPTY_DIR, written, removed, len(fetched), goal.datasets, verified)


def refuse_changes(recorded: str | None, listing: Listing | None, now: Listing) -> None:
    """Raise VortexError when `data/` is not what its pointer records, naming the datasets. Where nothing is, nothing can be lost."""
    if not now.files or (listing is not None and now.files == listing.files):
        return
    unversioned = _changes(listing, now)
    datasets = sorted({name.partition("/")[0] for name in unversioned})
    raise VortexError(
        f"data/ has changes that no version holds, in {', '.join(datasets)} "
        f"({len(unversioned)} file{'' if len(unversioned) == 1 else 's'}); nothing was changed",
        remedy(recorded),
        [f"{name}: {how}" for name, how in unversioned.items()][:10],
    )


def remedy(recorded: str | None) -> str:
    """What to do about changes of `data/`, whose pointer records `recorded`."""
    drop = "`dvc checkout data.dvc`" if recorded not in (None, EMPTY_DIR) else "`rm -r` on those folders"
    return f"keep them as a version with `dvc add data`, or drop them with {drop}"


def changes(ws: Workspace) -> dict[str, str]:
    """File of `data/` → `not versioned`, `removed` or `changed`, against what `data.dvc` records; works in a workspace without git too."""
    with repository(ws) as repo:
        return _changes(read(repo, data_hash(ws) or EMPTY_DIR), present(repo, ws))


def require_versionable(ws: Workspace) -> None:
    """Raise VortexError when a pattern of a `.dvcignore` keeps files of datasets out of versions, and `data.dvc` has them not either."""
    with repository(ws) as repo:
        recorded = read(repo, data_hash(ws) or EMPTY_DIR)
        require_all(ws, repo, recorded.files if recorded else ())


def _changes(listing: Listing | None, now: Listing) -> dict[str, str]:
    recorded = listing.files if listing else {}
    different = sorted(name for name in now.files.keys() | recorded.keys() if now.files.get(name) != recorded.get(name))
    return {name: "not versioned" if name not in recorded else "removed" if name not in now.files else "changed" for name in different}


def _verify(ws: Workspace, target: version_names.Named) -> dict[str, str]:
    """Dataset → digest, for each one that the version recorded. Raises VortexError when a digest is another."""
    digests = {use.name: resolve(ws, name_or_manifest=use.name).digest for use in target.uses}
    wrong = [
        f"{use.name}: recorded {use.digest[:12]}, found {digests[use.name][:12]}" for use in target.uses if digests[use.name] != use.digest
    ]
    if wrong:
        raise VortexError(
            f"data/ is what {pointer(ws).name} recorded for {target.name}, but not what {target.name} saw: "
            "its frames were changed before it was trained, without a new version of data/",
            "nothing has the frames that it saw; `vortex show` says what it measured",
            wrong,
        )
    return digests
