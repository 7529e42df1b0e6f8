"""The options of a training are refused by themselves, where they cannot be; what each command takes is made from them."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import UsageError
from pipelines.train.plan.options import TrainOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": None}, "neither a recipe nor --from was given: a recipe is trained anew, --from trains a version's weights on"),
        ({"from_version": "v6"}, "both a recipe and --from were given: a recipe is trained anew, --from trains a version's weights on"),
        ({"recipe": None, "from_version": "v6", "domain": None}, "--from v6 needs data to train on"),
        (
            {"recipe": None, "from_version": "v6", "encoder_weights": "none"},
            "--encoder-weights does not fit --from: the version's weights hold the encoder",
        ),
        ({"limit": 1}, "--limit 1 leaves no batch"),
        ({"lr": 0.0}, "--lr 0 is not a learning rate, allowed: above 0, up to 1"),
        ({"lr": float("nan")}, "--lr nan is not a learning rate, allowed: above 0, up to 1"),
        ({"batch_size": 4097}, "--batch-size 4097 is out of range, allowed: 1 to 4096"),
        ({"seed": 2**63}, "--seed 9223372036854775808 is out of range, allowed: 0 to 9223372036854775807"),
        ({"checkpoint_minutes": 0.0}, "--checkpoint-minutes 0 is out of range, allowed: above 0, up to a day"),
        ({"max_bad_batches": 0}, "--max-bad-batches 0 is out of range, allowed: 1 or more"),
        ({"lr": 1e-3, "settings": ("optimizer.decoder_lr=1",)}, "--lr and the recipe's key optimizer.decoder_lr say the same thing twice"),
        ({"size": (32, 32), "settings": ("student={}",)}, "--size and the recipe's key student say the same thing twice"),
        ({"replay": ("old",)}, "--replay 'old' is not NAME:SHARE with a share between 0 and 1"),
        ({"replay": ("a:0.5", "b:0.5")}, "--replay: the shares sum to 1, which leaves nothing for the new data"),
    ],
)
def test_options_that_no_training_can_have_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        TrainOptions(**{"recipe": "v6", "domain": "rooms", **options}).validate()
    assert caught.value.message == message and caught.value.hint


def test_options_that_fit_are_taken() -> None:
    TrainOptions(recipe="v6").validate()
    options = TrainOptions(from_version="v6", manifest=("rooms",), replay=("a:b:0.25", "c:0.5"), settings=("optimizer.encoder_lr=1e-5",))
    options.validate()
    assert options.replay_shares == (("a:b", 0.25), ("c", 0.5)) and options.own_data and options.claim is None
    assert TrainOptions(recipe="v9").claim == "v9" and TrainOptions(recipe="mine.yaml").claim is None
