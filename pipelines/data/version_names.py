"""Names for a version of `data/`: a registered version, a `.dir` hash or the beginning of one, a commit, or `now`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from core.errors import VortexError
from pipelines import git
from pipelines.data import listings
from pipelines.data.pointer import EMPTY_DIR, data_hash, pointer, recorded_hash
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.edges import DataEdge

if TYPE_CHECKING:
    from dvc.repo import Repo

    from registry.records import DataUse, Version

NOW: Final = "now"
_VERSION: Final = re.compile(r"v[1-9][0-9]*")
_HASH: Final = re.compile(r"([0-9a-f]{4,32})(?:\.dir)?")
ALLOWED: Final = "a version such as v9, a .dir hash or at least its first 4 digits, or a commit of data.dvc such as HEAD~1"


@dataclass(frozen=True)
class Named:
    """What a name stands for: the `.dir` hash, and for a registered version what it recorded about the datasets it saw."""

    name: str
    hash: str
    uses: tuple[DataUse, ...] = ()


def resolve(ws: Workspace, repo: Repo, what: str) -> Named:
    """The version of `data/` that `what` names. Raises VortexError when there is none, or more than one."""
    if _VERSION.fullmatch(what):
        return _of_version(hub(ws).get(what))
    match = _HASH.fullmatch(what)
    if match:
        digits = match[1]
        hashes = [hash_ for hash_ in _hashes(ws, repo) if hash_.startswith(digits)]
        if len(hashes) == 1:
            return Named(what, hashes[0])
        if len(hashes) > 1:
            raise VortexError(
                f"{what!r} begins {len(hashes)} hashes of data/: {', '.join(hash_[:12] for hash_ in hashes[:5])}", "give more of its digits"
            )
        if len(digits) == 32:  # whole: a remote may hold what nobody here has seen
            return Named(what, f"{digits}.dir")
    text = _committed(ws, what)
    if text is not None:
        return Named(what, recorded_hash(text, pointer(ws)))
    raise VortexError(
        f"{what[:80]!r} names no version of data/, allowed: {ALLOWED}",
        "`vortex versions` lists versions, `vortex show v9` the hash that one recorded, `git log data.dvc` the commits",
    )


def _of_version(version: Version) -> Named:
    inside = [use for use in version.data if use.dvc]
    hashes = sorted({str(use.dvc) for use in inside})
    if len(hashes) == 1:
        return Named(version.name, hashes[0], tuple(inside))
    if not hashes:
        names = ", ".join(use.name for use in version.data) or "none that it recorded"
        raise VortexError(
            f"{version.name} saw no data of data/: its frames ({names}) came from a manifest outside, which DVC does not keep",
            "the digest in `vortex show` says whether a manifest is the one it saw",
        )
    hashes_by_use = [f"{use.name}: {use.dvc}" for use in inside]
    raise VortexError(
        f"{version.name} saw {len(hashes)} versions of data/, one stage after the other",
        f"name one by its hash, for example: vortex data checkout {str(inside[-1].dvc)[:12]}",
        hashes_by_use,
    )


def _hashes(ws: Workspace, repo: Repo) -> list[str]:
    """Every `.dir` hash that the pointer, the cache or the registry speaks of."""
    edges = [edge for version in hub(ws).summaries() for edge in version.parents if isinstance(edge, DataEdge)]
    # A dataset outside of data/ is recorded by its digest, which is no hash of data/.
    recorded = [edge.hash for edge in edges if edge.hash.endswith(".dir")]
    return sorted({data_hash(ws) or EMPTY_DIR, EMPTY_DIR, *listings.cached(repo), *recorded})


def _committed(ws: Workspace, revision: str) -> str | None:
    """`data.dvc` as a commit has it; None where git has no such thing."""
    if revision.startswith("-") or ":" in revision or not revision.isprintable():
        return None
    try:
        if not git.in_repository(ws.data.parent):
            return None
        return git.ask(ws.data.parent, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") and _pointer_at(ws, revision)
    except git.GitRefused as refusal:
        raise git.GitRefused(f"{revision!r} may be a commit, but {refusal.message}", refusal.hint) from refusal


def _pointer_at(ws: Workspace, revision: str) -> str | None:
    listed = git.ask(ws.data.parent, "ls-tree", "--name-only", revision, pointer(ws).name)
    return git.ask(ws.data.parent, "show", f"{revision}:./{pointer(ws).name}") if listed else None
