"""Whether the exam that lies in `data/` is the one that `data.dvc` records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from core.errors import VortexError
from pipelines.data.datasets import CARD, DatasetCard, listing
from pipelines.data.listings import cache_path, present, read
from pipelines.data.pointer import data_hash, pointer
from pipelines.data.repository import repository
from pipelines.exam.sets import ExamSet
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from dvc.repo import Repo


def unrecorded(ws: Workspace, domain: str, sets: Sequence[ExamSet]) -> tuple[str, ...]:
    """What of the exam of a domain is not as `data.dvc` records it, in words; nothing where there is no `data.dvc`.

    Unless `vortex.toml` names the sets, every set of the domain counts, for frames that are held out no more judge no more; one that was taken
    out of `data/`, or given to another domain by hand, is looked up in DVC's cache.
    """
    hash_ = data_hash(ws)
    if hash_ is None:
        return ()
    remedy = f"bring it back with `dvc checkout {pointer(ws).name}`, or keep it as it is with `dvc add {ws.data.name}`"
    try:
        with repository(ws) as repo:
            now = present(repo, ws)
            if now.hash == hash_:
                return ()
            recorded = read(repo, hash_)
            if recorded is None:
                return (f"data/ is not what {pointer(ws).name} records: {remedy}",)
            members = {exam_set.ref.name for exam_set in sets}
            if ws.domain(domain).exam is None:
                members |= {dataset.name for dataset in listing(ws) if dataset.card.domain == domain}
                cards = {name: md5 for name, md5 in recorded.files.items() if name.endswith(f"/{CARD}") and now.files.get(name) != md5}
                members |= {name.partition("/")[0] for name, md5 in cards.items() if _domain(repo, md5) in (domain, None)}
    except VortexError as error:
        return (f"what {pointer(ws).name} records cannot be told: {error.message}",)
    # A file that lies beside those of a set is none of its frames; a whole set that nothing records is one that nobody can bring back.
    differing = [name for name, md5 in recorded.files.items() if now.files.get(name) != md5]
    differing += [name for name in now.files.keys() - recorded.files.keys() if name.endswith(f"/{CARD}")]
    counts = Counter(dataset for name in differing if (dataset := name.partition("/")[0]) in members)
    faults = (f"{name} is not as {pointer(ws).name} records it ({count} file{'' if count == 1 else 's'})" for name, count in counts.items())
    return tuple(f"{fault}: {remedy}" for fault in faults)


def _domain(repo: Repo, md5: str) -> str | None:
    """The domain that a recorded card names; None where the cache lacks it, or holds something else."""
    try:
        return DatasetCard.model_validate_json(Path(cache_path(repo, md5)).read_bytes()).domain
    except (OSError, ValidationError):
        return None
