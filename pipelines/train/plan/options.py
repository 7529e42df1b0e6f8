"""The options of a training: each is one field here, and the commands that plan a training have it from here."""

# No `annotations` of __future__ here: every command would compile the fields' types from text, `--help` too.
from dataclasses import dataclass
from typing import Annotated, Final

from core.errors import UsageError
from core.option import Option
from core.shipped import SHIPPED
from pipelines.device import LOCAL

LARGEST_SEED: Final = 2**63 - 1
"""What every random generator that is seeded here takes."""
RECIPE_KEYS: Final = {"lr": "optimizer.decoder_lr", "batch_size": "optimizer.batch_size", "size": "student.size"}
"""Options → the key of the recipe that they set."""
REPLAY_EXAMPLE: Final = "for example --replay rooms:0.2, a fifth of every batch"


@dataclass(frozen=True)
class TrainOptions:
    """What a person says about a training; the rest is inferred, and told before it starts.

    `recipe` is a shipped name or a file, `from_version` a registered version to derive from: exactly one of them. `domain` and
    `manifest` (names of datasets or paths of manifests) replace the recipe's own datasets, which makes it one stage, its last.
    `replay` adds old data to the last stage, `settings` sets dotted keys of the recipe as it will be trained.
    """

    recipe: Annotated[
        str | None, Option("A shipped recipe (v1…v9) or a recipe file.", metavar="RECIPE", argument=True, completes="recipes")
    ] = None
    from_version: Annotated[str | None, Option("Fine-tune this version's weights.", name="--from", metavar="vK", completes="versions")] = (
        None
    )
    domain: Annotated[
        str | None, Option("Train on this domain's datasets, and judge by its validation frames.", metavar="D", completes="domains")
    ] = None
    manifest: Annotated[
        tuple[str, ...], Option("Train on this dataset or manifest; may be repeated.", metavar="NAME|PATH", completes="datasets")
    ] = ()
    epochs: Annotated[int | None, Option("Length of the schedule; default: the recipe's, 50 with --from.", least=1)] = None
    batch_size: Annotated[int | None, Option("Frames a step, over all workers.", least=1)] = None
    lr: Annotated[float | None, Option("Learning rate of the decoder; the encoder's is a tenth.")] = None
    device: Annotated[str, Option("Where to train; default: auto.", metavar="auto|cpu|cuda")] = "auto"
    workers: Annotated[int, Option("Worker processes; default: 0, in this one.", least=0, most=64)] = 0
    address: Annotated[str, Option("Ray cluster of the workers; default: local, one for this run.", metavar="auto|HOST:PORT|ray://…")] = (
        LOCAL
    )
    sync_batch_norm: Annotated[bool, Option("Normalise over the batch of all workers, not of each (GPUs only).")] = False
    size: Annotated[
        tuple[int, int] | None,
        Option("Size of the frames; default: the recipe's or the version's.", metavar="HxW", least=32, example="120x160"),
    ] = None
    limit: Annotated[int | None, Option("Use at most so many frames of each dataset's split.", least=2)] = None
    seed: Annotated[int, Option("Decides order, augmentation and random weights; default: 0.", least=0)] = 0
    encoder_weights: Annotated[
        str | None, Option("First weights of the encoder; none uses the recipe's scratch rates.", metavar="imagenet|none|FILE")
    ] = None
    replay: Annotated[tuple[str, ...], Option("Give this dataset a share of every batch; may be repeated.", metavar="NAME:SHARE")] = ()
    settings: Annotated[
        tuple[str, ...],
        Option("Set a key of the recipe, as ema.decay=0.99; may be repeated.", name="--set", metavar="KEY=VALUE"),
    ] = ()
    step: Annotated[
        str | None,
        Option("How a step is carried out, as compile=on,prefetch=4 or eager; default: what pays here.", metavar="SWITCHES"),
    ] = None
    checkpoint_minutes: Annotated[float, Option("Minutes between checkpoints within an epoch; default: 10. A kill costs no more.")] = 10.0
    max_bad_batches: Annotated[int, Option("Batches in a row that are not finite before training stops; default: 5.", least=1)] = (
        5  # one is bad luck, five are a diverged network
    )
    allow_unvalidated: Annotated[bool, Option("Train on data that has not passed; the version says so.")] = False

    @property
    def own_data(self) -> bool:
        """Whether the recipe's datasets are replaced by others."""
        return bool(self.domain or self.manifest)

    @property
    def claim(self) -> str | None:
        """The shipped recipe whose name a first training of it takes."""
        return self.recipe if self.recipe in SHIPPED else None

    @property
    def replay_shares(self) -> tuple[tuple[str, float], ...]:
        """What is replayed: the name of a dataset, a manifest or a domain of one dataset, and its share of every batch."""
        return tuple(_replay_share(text) for text in self.replay)

    def validate(self) -> None:
        """Raise UsageError for options that do not fit each other, or that no training can have."""
        self._require_source()
        self._require_numbers()
        self._require_said_once()
        self._require_patience()
        self._require_room_beside_replay()

    def _require_source(self) -> None:
        """It must be clear what is trained, from which weights, and on what."""
        if (self.recipe is None) == (self.from_version is None):
            both = "both a recipe and --from were given" if self.recipe else "neither a recipe nor --from was given"
            example = "vortex train v6 --domain DOMAIN, or: vortex train --from v6 --domain DOMAIN"
            raise UsageError(f"{both}: a recipe is trained anew, --from trains a version's weights on", example)
        if self.from_version and not self.own_data:
            example = f"vortex train --from {self.from_version} --domain DOMAIN"
            raise UsageError(f"--from {self.from_version} needs data to train on", example)
        if self.from_version and self.encoder_weights is not None:
            raise UsageError("--encoder-weights does not fit --from: the version's weights hold the encoder", "leave one of the two out")

    def _require_numbers(self) -> None:
        from pipelines.recipes.schema import LARGEST_BATCH  # here, so that `--help` does without pydantic

        if self.limit is not None and self.limit < 2:
            raise UsageError(f"--limit {self.limit} leaves no batch", "use 2 frames or more")
        if self.lr is not None and not 0 < self.lr <= 1:  # NaN fails every comparison, and so is refused too
            allowed = f"--lr {self.lr:g} is not a learning rate, allowed: above 0, up to 1"
            raise UsageError(allowed, "the recipes use 3e-4, and 1e-3 from scratch")
        if self.batch_size is not None and not 1 <= self.batch_size <= LARGEST_BATCH:
            allowed = f"--batch-size {self.batch_size} is out of range, allowed: 1 to {LARGEST_BATCH}"
            raise UsageError(allowed, "the recipes use 8 and 16")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise UsageError(f"--seed {self.seed} is out of range, allowed: 0 to {LARGEST_SEED}", "any small number will do")

    def _require_said_once(self) -> None:
        """An option and a setting must not say the same thing: the setting would win, and nobody would be told."""
        keys = {setting.partition("=")[0].strip() for setting in self.settings}
        for name, own in RECIPE_KEYS.items():
            key = next((key for key in keys if own == key or own.startswith(f"{key}.")), None)
            if getattr(self, name) is not None and key is not None:
                raise UsageError(
                    f"--{name.replace('_', '-')} and the recipe's key {key} say the same thing twice",
                    "leave one out: the option, or the key of --set or --vary",
                )

    def _require_patience(self) -> None:
        """Checkpoints must be written, and a training must not give up before it begins."""
        if not 0 < self.checkpoint_minutes <= 24 * 60:
            allowed = f"--checkpoint-minutes {self.checkpoint_minutes:g} is out of range, allowed: above 0, up to a day"
            raise UsageError(allowed, f"{TrainOptions.checkpoint_minutes:g} is the default")
        if self.max_bad_batches < 1:
            allowed = f"--max-bad-batches {self.max_bad_batches} is out of range, allowed: 1 or more"
            raise UsageError(allowed, f"{TrainOptions.max_bad_batches} is the default")

    def _require_room_beside_replay(self) -> None:
        total = sum(share for _, share in self.replay_shares)
        if total >= 1:
            raise UsageError(f"--replay: the shares sum to {total:g}, which leaves nothing for the new data", "ask for less than 1 in all")


def _replay_share(text: str) -> tuple[str, float]:
    name, _, written = text.rpartition(":")
    try:
        share = float(written)
    except ValueError:
        share = 0.0
    if not name or not 0 < share < 1:
        raise UsageError(f"--replay {text!r} is not NAME:SHARE with a share between 0 and 1", REPLAY_EXAMPLE)
    return name, share
