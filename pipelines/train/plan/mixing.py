"""Old data in the batches of a new training (`--replay`): the plainest remedy against forgetting (Robins 1995)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import UsageError, VortexError
from pipelines.data.datasets import DataRef, listing, resolve
from pipelines.recipes.recipe import Recipe
from pipelines.recipes.schema import StageData
from pipelines.workspace import Workspace

_EXAMPLE = "for example --replay rooms:0.2, a fifth of every batch"


@dataclass(frozen=True)
class Replay:
    """A dataset of old data, and the share of the last stage's batches that it gets."""

    ref: DataRef
    share: float


def replays(ws: Workspace, texts: Sequence[str]) -> list[Replay]:
    """What `--replay NAME:SHARE` asks for. NAME is a dataset, a manifest or a domain of one dataset.

    Raises UsageError for a share that cannot be, VortexError naming the datasets there are.
    """
    found = []
    for text in texts:
        name, _, written = text.rpartition(":")
        try:
            share = float(written)
        except ValueError:
            share = 0.0
        if not name or not 0 < share < 1:
            raise UsageError(f"--replay {text!r} is not NAME:SHARE with a share between 0 and 1", _EXAMPLE)
        found.append(Replay(_dataset(ws, name), share))
    total = sum(replay.share for replay in found)
    if total >= 1:
        raise UsageError(f"--replay: the shares sum to {total:g}, which leaves nothing for the new data", "ask for less than 1 in all")
    return found


def _dataset(ws: Workspace, name: str) -> DataRef:
    """A dataset, a manifest, or the only dataset of a domain. Raises UsageError for a domain that has several."""
    datasets = listing(ws)
    of_domain = [one.name for one in datasets if one.card.domain == name]
    if not of_domain or name in {one.name for one in datasets}:
        return resolve(ws, name_or_manifest=name)
    if len(of_domain) > 1:
        raise UsageError(
            f"--replay {name}: that is a domain, and it has several datasets: {', '.join(of_domain)}",
            "give each that is to be replayed a share of its own",
        )
    return resolve(ws, name_or_manifest=of_domain[0])


def with_replay(recipe: Recipe, replayed: Sequence[Replay], frames: Sequence[int]) -> Recipe:
    """`recipe` with old data in its last stage; what that stage had shares the rest as it did, or by its size.

    `frames` counts the training frames of each of the stage's own datasets. Raises VortexError when one of them has none.
    """
    if not replayed:
        return recipe
    stage = recipe.stages[-1]
    empty = [data.dataset for data, count in zip(stage.data, frames, strict=True) if not count]
    if empty:
        raise VortexError(f"{', '.join(empty)}: no frame has the split 'train'", f"see what it holds: vortex data show {empty[0]}")
    rest = 1 - sum(replay.share for replay in replayed)
    own = [data.share or count / sum(frames) for data, count in zip(stage.data, frames, strict=True)]
    mixed = (
        *(StageData(dataset=data.dataset, share=rest * share) for data, share in zip(stage.data, own, strict=True)),
        *(StageData(dataset=replay.ref.name, share=replay.share) for replay in replayed),
    )
    return recipe.model_copy(update={"stages": (*recipe.stages[:-1], stage.model_copy(update={"data": mixed}))})
