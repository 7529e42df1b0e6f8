"""The options of a training, checked before anything is read: whether they fit each other, and are within their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from core.errors import UsageError
from pipelines.recipes.schema import LARGEST_BATCH

LARGEST_SEED = 2**63 - 1
"""What every random generator that is seeded here takes."""
CHECKPOINT_MINUTES = 10.0
SAYS: Final = {"--lr": "optimizer.decoder_lr", "--batch-size": "optimizer.batch_size", "--size": "student.size"}
"""Options → the key of the recipe that they set."""
BAD_BATCHES = 5
"""Batches in a row that are not finite, after which training stops: one is bad luck, five are a diverged network."""


def check_source(recipe: str | None, from_version: str | None, own_data: bool, encoder_weights: str | None) -> None:
    """Raise UsageError unless it is clear what is trained, from which weights, and on what."""
    if (recipe is None) == (from_version is None):
        given = "both a recipe and --from were given" if recipe else "neither a recipe nor --from was given"
        example = "vortex train v6 --domain DOMAIN, or: vortex train --from v6 --domain DOMAIN"
        raise UsageError(f"{given}: a recipe is trained anew, --from trains a version's weights on", example)
    if from_version and not own_data:
        raise UsageError(f"--from {from_version} needs data to train on", f"vortex train --from {from_version} --domain DOMAIN")
    if from_version and encoder_weights is not None:
        raise UsageError("--encoder-weights does not fit --from: the version's weights hold the encoder", "leave one of the two out")


def check_numbers(lr: float | None, batch_size: int | None, limit: int | None, seed: int) -> None:
    """Raise UsageError for a number that no training can have."""
    if limit is not None and limit < 2:
        raise UsageError(f"--limit {limit} leaves no batch", "use 2 frames or more")
    if lr is not None and not 0 < lr <= 1:  # NaN fails every comparison, and so is refused too
        raise UsageError(f"--lr {lr:g} is not a learning rate, allowed: above 0, up to 1", "the recipes use 3e-4, and 1e-3 from scratch")
    if batch_size is not None and not 1 <= batch_size <= LARGEST_BATCH:
        raise UsageError(f"--batch-size {batch_size} is out of range, allowed: 1 to {LARGEST_BATCH}", "the recipes use 8 and 16")
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"--seed {seed} is out of range, allowed: 0 to {LARGEST_SEED}", "any small number will do")


def check_said_once(settings: Sequence[str], given: Mapping[str, object]) -> None:
    """Raise UsageError when an option and a setting say the same thing: the setting would win, and nobody would be told."""
    keys = {setting.partition("=")[0].strip() for setting in settings}
    for option, value in given.items():
        key = next((key for key in keys if SAYS[option] == key or SAYS[option].startswith(f"{key}.")), None)
        if value is not None and key is not None:
            raise UsageError(
                f"{option} and the recipe's key {key} say the same thing twice",
                "leave one out: the option, or the key of --set or --vary",
            )


def check_patience(checkpoint_minutes: float, max_bad_batches: int) -> None:
    """Raise UsageError for checkpoints that would never be written, or a training that would give up before it begins."""
    if not 0 < checkpoint_minutes <= 24 * 60:
        found = f"--checkpoint-minutes {checkpoint_minutes:g} is out of range, allowed: above 0, up to a day"
        raise UsageError(found, f"{CHECKPOINT_MINUTES:g} is the default")
    if max_bad_batches < 1:
        raise UsageError(f"--max-bad-batches {max_bad_batches} is out of range, allowed: 1 or more", f"{BAD_BATCHES} is the default")
