"""Old data in the batches of a new training (`--replay`): the plainest remedy against forgetting (Robins 1995)."""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import UsageError, VortexError
from pipelines.data.datasets import DataRef, listing, resolve
from pipelines.recipes.schema import Recipe, StageData
from pipelines.workspace import Workspace


def replayed_dataset(ws: Workspace, name: str) -> DataRef:
    """What `--replay NAME:SHARE` names: a dataset, a manifest, or the only dataset of a domain.

    Raises UsageError for a domain that has several, VortexError naming the datasets there are.
    """
    datasets = listing(ws)
    of_domain = [dataset.name for dataset in datasets if dataset.card.domain == name]
    if not of_domain or name in {dataset.name for dataset in datasets}:
        return resolve(ws, name_or_manifest=name)
    if len(of_domain) > 1:
        raise UsageError(
            f"--replay {name}: that is a domain, and it has several datasets: {', '.join(of_domain)}",
            "give each that is to be replayed a share of its own",
        )
    return resolve(ws, name_or_manifest=of_domain[0])


def with_replay(recipe: Recipe, replayed: Sequence[tuple[DataRef, float]], frames: Sequence[int]) -> Recipe:
    """`recipe` with old data, each with its share, in its last stage; what that stage had shares the rest as it did, or by its size.

    `frames` counts the training frames of each of the stage's own datasets. Raises VortexError when one of them has none.
    """
    if not replayed:
        return recipe
    stage = recipe.stages[-1]
    empty = [data.dataset for data, count in zip(stage.data, frames, strict=True) if not count]
    if empty:
        raise VortexError(f"{', '.join(empty)}: no frame has the split 'train'", f"see what it holds: vortex data show {empty[0]}")
    rest = 1 - sum(share for _, share in replayed)
    own = [data.share or count / sum(frames) for data, count in zip(stage.data, frames, strict=True)]
    mixture = (
        *(StageData(dataset=data.dataset, share=rest * share) for data, share in zip(stage.data, own, strict=True)),
        *(StageData(dataset=ref.name, share=share) for ref, share in replayed),
    )
    return recipe.model_copy(update={"stages": (*recipe.stages[:-1], stage.model_copy(update={"data": mixture}))})
