"""What there is for a training, asked once: its recipe or parent, its weights, its datasets, its device. Nothing is decided here."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.data.datasets import DataRef, listing, resolve
from pipelines.device import Device, choose_device
from pipelines.exam.leaks import Leak, training_leaks
from pipelines.hub.open import commit_remarks, hub
from pipelines.pack.preparing import packs_folder
from pipelines.recipes import recipe as recipes
from pipelines.recipes.schema import Recipe
from pipelines.train.plan import sources
from pipelines.train.plan.mixing import replayed_dataset
from pipelines.train.plan.options import TrainOptions
from pipelines.train.plan.placement import require_team
from pipelines.train.plan.sources import DataPlan, Start
from pipelines.train.plan.switches import Switches
from pipelines.validate.validation_report import passed
from pipelines.workspace import Workspace
from registry.quarantine import bars_of, standing
from registry.records import DataState

if TYPE_CHECKING:
    from registry.records import Version
    from registry.versions import Hub


@dataclass(frozen=True)
class World:
    """What the registry, the workspace, the recipe's file and the machine say to a training's options."""

    recipe: Recipe
    """As it was read, or as the registry has it of the version that is trained on."""
    parent: Version | None
    """The version whose weights training starts from."""
    start: Start
    datasets: tuple[tuple[DataRef, ...], ...]
    """Stage by stage."""
    replayed: tuple[DataRef, ...]
    """In the order of the options."""
    parents_datasets: tuple[DataRef, ...]
    """What the parent was trained on, as far as it is here; none where no anchor can need it."""
    data: Mapping[DataRef, DataPlan]
    """What is in each of these datasets."""
    leaks: tuple[Leak, ...]
    """Exam frames of the target domain among those that would be trained on."""
    failed: frozenset[DataRef]
    """Those that validation refused."""
    present: tuple[str, ...]
    """Names of all datasets of the workspace."""
    device: Device
    switches: Switches
    """Those that pay on the device."""
    number: str
    """The name that a registration would take now."""
    packs: Path
    source: str | None
    """Where the recipe can be read again."""
    stamp: str
    """The time and a few random letters, which make a run's name its own."""
    remarks: tuple[str, ...] = ()
    """What git refused to say of the commit that the version will record, and what is in quarantine of that which it will be made from."""


def gather(ws: Workspace, options: TrainOptions, gpus: int | None = None) -> World:
    """Ask for all that `pipelines.train.plan.decide` decides by; nothing is written. `gpus` is how many the machine has that will train,
    where that is not this one.

    Raises UsageError for options that do not fit, VortexError for what does not exist, or a cluster that does not answer.
    """
    options.validate()
    registry = hub(ws)
    device = choose_device(options.device, gpus)
    require_team(options.workers, device, options.address, options.sync_batch_norm, gpus)
    parent: Version | None
    if options.from_version is None:
        recipe = recipes.load(str(options.recipe))
        start, parent = sources.recipe_start(registry, recipe, options.encoder_weights)
    else:
        start, parent = sources.version_start(registry, options.from_version)
        recipe = recipes.parse(parent.recipe_config, f"the recipe of {parent.name}")
    own = sources.named_data(ws, options.domain, options.manifest) if options.own_data else None
    datasets = sources.recipe_data(ws, recipe) if own is None else (own,)
    replayed = tuple(replayed_dataset(ws, name) for name, _ in options.replay_shares)
    present = tuple(dataset.name for dataset in listing(ws))
    parents = [use.name for use in parent.data if use.name in present] if parent and _may_anchor(recipe, options) else []
    parents_datasets = tuple(resolve(ws, name_or_manifest=name) for name in parents)
    verdicts = {ref: passed(ws, ref) for ref in dict.fromkeys(chain(*datasets, replayed, parents_datasets))}
    states: dict[bool | None, DataState] = {True: "passed", False: "failed", None: "never validated"}
    data = {ref: sources.describe(ref, options.limit, states[verdict]) for ref, verdict in verdicts.items()}
    trained = dict.fromkeys(chain(*datasets, replayed))
    return World(
        recipe=recipe,
        parent=parent,
        start=start,
        datasets=datasets,
        replayed=replayed,
        parents_datasets=parents_datasets,
        data=data,
        leaks=tuple(training_leaks(ws, options.domain or datasets[-1][-1].domain, [(ref, data[ref].training_ids()) for ref in trained])),
        failed=frozenset(ref for ref, verdict in verdicts.items() if verdict is False),
        present=present,
        device=device,
        switches=Switches.for_device(device),
        number=registry.next_name(options.claim, options.from_version is not None),
        packs=packs_folder(ws),
        source=options.recipe and recipes.source(options.recipe),
        stamp=f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        remarks=(*commit_remarks(ws), *_quarantine_remarks(registry, parent, tuple(trained))),
    )


def _quarantine_remarks(registry: Hub, parent: Version | None, datasets: tuple[DataRef, ...]) -> tuple[str, ...]:
    """What of the weights and the data is in quarantine, before hours are spent on what enters no stage."""
    bars = [str(bar) for bar in bars_of(registry.ledger, parent.name)] if parent else []
    held = [
        f"dataset {quarantine} is in quarantine: {quarantine.reason}"
        for quarantine in standing(registry.ledger)
        if any(quarantine.holds_data(ref.name, ref.digest) for ref in datasets)
    ]
    return tuple(f"{what}; a version of it enters no stage" for what in (*bars, *held))


def _may_anchor(recipe: Recipe, options: TrainOptions) -> bool:
    """Whether an anchor may be of kind ewc, which is measured on the parent's data: the recipe's own, or one that is set."""
    own = options.recipe is not None and recipe.anchor is not None and recipe.anchor.kind == "ewc"  # that of a version is not inherited
    return own or any("ewc" in setting for setting in options.settings)
