"""The recipe that is really trained: a shipped or inherited one, after the data it gets and the options it was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.errors import UsageError
from pipelines.data.datasets import DataRef
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import Optimizer, Rates, Recipe, RecipeParent, Stage, StageData
from pipelines.train.plan.options import TrainOptions

if TYPE_CHECKING:
    from registry.records import Version

FINE_TUNING_EPOCHS = 50
FINE_TUNING = Rates(encoder_lr=3e-5, decoder_lr=3e-4, freeze_encoder_epochs=5, batch_size=8)
"""The protocol of V7 and V9: cosine, two rates, batch 8, 50 epochs."""
DERIVED = "derived"
ENCODER_SHARE = 0.1
"""The encoder's part of a rate given as `--lr`, as in the lineage's 3e-5 and 3e-4."""


def fine_tuning(base: Recipe, parent: Version) -> Recipe:
    """The recipe of a version under the fine-tuning schedule, with the version's weights as its parent."""
    stage = base.stages[-1].model_copy(update={"epochs": FINE_TUNING_EPOCHS, "stopped_at": None})
    return base.model_copy(
        update={
            "codename": "",
            "summary": f"The weights and recipe of {parent.name}, fine-tuned.",
            "lesson": "",
            "status": DERIVED,
            "parents": (RecipeParent(kind="weights", version=parent.name),),
            "student": base.student.model_copy(update={"size": parent.size}),
            "optimizer": Optimizer(**FINE_TUNING.model_dump(), weight_decay=base.optimizer.weight_decay),
            "stages": (stage,),
            "anchor": None,  # it held the parent to weights of its own past
            "variants": (),
            "assumed": (),
        }
    )


def effective(
    base: Recipe, data: Sequence[Sequence[DataRef]], options: TrainOptions, frames: Mapping[DataRef, int], scratch: bool
) -> Recipe:
    """`base` on `data` (one list of datasets a stage, each with so many training `frames`) with every option applied.

    Data of its own makes it one stage, its last; from `scratch` it has the scratch rates.
    """
    originals = (base.stages[-1].model_copy(update={"name": "train", "stopped_at": None}),) if options.own_data else base.stages
    stages = tuple(_stage(stage, refs, options.epochs, frames) for stage, refs in zip(originals, data, strict=True))
    rates = base.scratch if scratch else base.optimizer
    # A shortened schedule keeps the share of it for which the encoder is frozen, and always trains it in the end.
    frozen = min(round(rates.freeze_encoder_epochs * stages[-1].epochs / originals[-1].epochs), stages[-1].epochs - 1)
    optimizer = Optimizer(
        encoder_lr=rates.encoder_lr if options.lr is None else options.lr * ENCODER_SHARE,
        decoder_lr=rates.decoder_lr if options.lr is None else options.lr,
        freeze_encoder_epochs=frozen,
        batch_size=options.batch_size or rates.batch_size,
        weight_decay=base.optimizer.weight_decay,
        layer_decay=base.optimizer.layer_decay,
    )
    student = base.student.model_copy(update={"size": options.size or base.student.size})
    # What the lineage published and how its jobs ended are facts of another run.
    description: dict[str, object] = {"published": (), "history": ()}
    if options.own_data and base.status != DERIVED:
        description["summary"] = f"The last stage of {base.name}, on {' + '.join(ref.name for ref in data[0])}."
    return base.model_copy(update={"optimizer": optimizer, "stages": stages, "student": student, **description})


def _stage(stage: Stage, refs: Sequence[DataRef], epochs: int | None, frames: Mapping[DataRef, int]) -> Stage:
    """A stage on the datasets it really gets. Shares hold only where those are the recipe's own; datasets of a domain divide its share by size."""
    shares = {data.dataset: data.share for data in stage.data if data.share is not None}
    names = [ref.name if ref.name in shares else ref.domain for ref in refs]
    own = bool(shares) and set(names) == set(shares)
    size = {ref: max(frames[ref], 1) for ref in refs}
    whole: Counter[str] = Counter()
    for name, ref in zip(names, refs, strict=True):
        whole[name] += size[ref]
    data = tuple(
        StageData(dataset=ref.name, share=shares[name] * (size[ref] / whole[name]) if own else None)
        for name, ref in zip(names, refs, strict=True)
    )
    return stage.model_copy(update={"data": data} | ({"epochs": epochs, "stopped_at": None} if epochs else {}))


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The effective recipe with `--set` applied, so that keys and stage numbers are those that are really trained.

    Raises UsageError for a key that another option is for, another encoder than that of the weights, or an anchor without weights to be held to.
    """
    changed = recipes.with_settings(recipe, settings)
    if [_datasets(stage) for stage in changed.stages] != [_datasets(stage) for stage in recipe.stages]:
        raise UsageError("--set cannot change which datasets a stage has", "name them with --manifest, --domain or --replay")
    if changed.weights_parent and changed.student.encoder != recipe.student.encoder:
        raise UsageError(
            f"--set student.encoder={changed.student.encoder} does not fit the weights of {changed.weights_parent}, which are of {recipe.student.encoder}",
            "train a recipe anew with it, from ImageNet weights or none",
        )
    if changed.anchor and changed.weights_parent is None and len(changed.stages) == 1:
        raise UsageError(
            f"anchor: recipe {changed.name} starts from no version's weights, and its one stage has none before it to be held to",
            "train on from a version: vortex train --from vK --domain DOMAIN; or leave the anchor out: --set anchor=null",
        )
    return changed


def _datasets(stage: Stage) -> list[str]:
    return [data.dataset for data in stage.data]
