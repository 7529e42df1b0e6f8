"""How large a replay is: sizes, frames and epochs. Everything else is the recipes'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from core.shipped import SHIPPED
from pipelines.recipes.schema import Recipe, Stage


@dataclass(frozen=True)
class Scale:
    """A size of replay.

    `size` is (H, W) in pixels and `frames` how many are rendered of each set that is not there. `train`, `pretrain` and `fine_tune` are
    the epochs of V1 to V6's training on NYU, of V6's first stage, and of V7 to V9; None leaves the recipe's own. `relative_lr` is the rate
    of V1 and V2, `tuned` are settings of V7 to V9: so that few steps get somewhere.
    """

    name: str
    size: tuple[int, int]
    frames: Mapping[str, int]
    train: int | None = None
    pretrain: int | None = None
    fine_tune: int | None = None
    relative_lr: float | None = None
    tuned: tuple[str, ...] = ()
    encoder_weights: str | None = "none"
    versions: tuple[str, ...] = SHIPPED
    measured: tuple[str, ...] = ("nyu", "lilocbench", "corridor_eval")
    """The sets that every version is measured on."""

    def settings(self, recipe: Recipe) -> tuple[str, ...]:
        """The recipe's settings at this scale, as `vortex train --set` takes them. A stage that was cut short keeps its share."""
        tuned = recipe.weights_parent is not None
        settings = list(self.tuned) if tuned else []
        for number, stage in enumerate(recipe.stages, 1):
            epochs = self.fine_tune if tuned else self.train if number == len(recipe.stages) else self.pretrain
            if epochs is not None:
                settings += [f"stages.{number}.epochs={epochs}", *_cut(number, stage, epochs)]
        return tuple(settings)


def _cut(number: int, stage: Stage, epochs: int) -> list[str]:
    if stage.stopped_at is None:
        return []
    return [f"stages.{number}.stopped_at={min(epochs - 1, round(epochs * stage.stopped_at / stage.epochs))}"]


FINE_TUNED: Final = ("optimizer.encoder_lr=3e-4", "optimizer.decoder_lr=1e-3", "optimizer.freeze_encoder_epochs=1")
"""The published 3e-5 and 3e-4 had 31,000 steps; here there are a few hundred, of which the encoder is frozen for one epoch."""
RELATIVE_LR: Final = 1e-2
"""Relative targets are around 64. AdamW moves a weight by its rate a step, and the head starts from 2 m: after a dozen epochs at 1e-3
students said 7, at 4e-3 19, at 1e-2 61 (measured at 64x96): only then is it the targets that are judged, and no longer the start."""


SCALES: Final[dict[str, Scale]] = {
    "tiny": Scale(
        "tiny",
        (64, 96),
        {"nyu": 300, "sunrgbd": 360, "diode": 300, "lilocbench": 240, "corridor_eval": 72},
        train=12,
        pretrain=5,
        fine_tune=8,
        relative_lr=RELATIVE_LR,
        tuned=FINE_TUNED,
    ),
    "small": Scale(
        "small",
        (120, 160),
        {"nyu": 1200, "sunrgbd": 3000, "diode": 2400, "lilocbench": 1200, "corridor_eval": 240},
        train=40,
        pretrain=10,
        fine_tune=12,
        relative_lr=RELATIVE_LR,
        tuned=FINE_TUNED,
    ),
    "full": Scale(
        "full",
        (240, 320),
        {"nyu": 4845, "sunrgbd": 10000, "diode": 8000, "lilocbench": 5000, "corridor_eval": 1000},
        encoder_weights=None,
    ),
}
