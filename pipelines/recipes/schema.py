"""What a recipe may say: one typed block a subject. Options beyond the lineage are off by default, so that older records still parse."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from models.encoders import ENCODERS

Rate = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Epochs = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=32, le=4096)]
Factor = Annotated[float, Field(ge=0)]
LARGEST_BATCH = 4096


def _rising(low: float, high: float) -> AfterValidator:
    """A check that a pair of numbers is (least, greatest), both within bounds."""

    def check(pair: tuple[float, float]) -> tuple[float, float]:
        if not low <= pair[0] <= pair[1] <= high:
            raise ValueError(f"allowed is (least, greatest) within {low:g} to {high:g}")
        return pair

    return AfterValidator(check)


def _around_zero(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] <= 0 <= pair[1]:
        raise ValueError("allowed are bounds with 0 between them, where log σ² starts")
    return pair


def _is_flag(value: object) -> bool:
    return isinstance(value, bool) or (isinstance(value, (list, tuple)) and any(map(_is_flag, value)))


class _Part(BaseModel):
    # An infinite number is null in JSON: a plan that held one could not be read again.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_flags(cls, raw: object) -> object:
        """Nothing in a recipe is true or false, and pydantic would take `true` for 1."""
        flags = [str(key) for key, value in raw.items() if _is_flag(value)] if isinstance(raw, dict) else []
        if flags:
            raise ValueError(f"{', '.join(flags)}: true and false are no values of a recipe")
        return raw


class RecipeParent(_Part):
    """What a version came from: a recipe's configuration, trained anew, or a version's weights, trained on."""

    kind: Literal["recipe", "weights"]
    version: str


class StudentRecipe(_Part):
    """The network: a timm encoder, and the size (H, W) it is trained at."""

    encoder: str
    size: tuple[Side, Side]

    @field_validator("encoder")
    @classmethod
    def _exists(cls, encoder: str) -> str:
        if encoder not in ENCODERS:
            raise ValueError(f"unknown encoder, allowed: {', '.join(ENCODERS)}")
        return encoder


class TeacherRecipe(_Part):
    """The foundation model whose depth is the target. `relative` depth against metric truth is the trap of V1 and V2."""

    name: str
    unit: Literal["m", "relative"]


class LossWeights(_Part):
    """Factors of the terms; with Kendall weighting the learnt variances multiply the first two. `silog` and `gradient` are off at 0."""

    depth: Factor
    segmentation: Factor
    smoothness: Factor
    silog: Factor = 0.0
    gradient: Factor = 0.0


class Kendall(_Part):
    """Form of the uncertainty weights, and the bounds of log σ² that a projection after each step keeps."""

    form: Literal["regression_half", "both_half"]
    clamp: Annotated[tuple[float, float], _rising(-50, 50), AfterValidator(_around_zero)]


class LossRecipe(_Part):
    """What is minimised: names are those of `models.losses`."""

    depth: Literal["berhu", "mse"]
    berhu_threshold: Literal["p80", "max20"]
    depth_target: Literal["per_frame", "per_pixel"]
    weighting: Literal["kendall", "fixed"]
    weights: LossWeights
    kendall: Kendall


class Rates(_Part):
    """AdamW's two learning rates, the encoder's frozen warm-up and the batch. Used from the `scratch` block when nothing is pretrained."""

    encoder_lr: Rate
    decoder_lr: Rate
    freeze_encoder_epochs: Annotated[int, Field(ge=0)]
    batch_size: Annotated[int, Field(ge=1, le=LARGEST_BATCH)]


class Optimizer(Rates):
    """The rates for an encoder that starts from trained weights.

    `layer_decay` multiplies the rate once more for each step from the encoder's deepest stage towards its stem; 1 is off.
    """

    weight_decay: Factor
    layer_decay: Rate = 1.0


class Schedule(_Part):
    """Annealing of both rates to zero over a stage."""

    kind: Literal["cosine"]
    per: Literal["epoch", "step"]


class ColorJitter(_Part):
    """Ranges of torchvision's ColorJitter."""

    brightness: Probability
    contrast: Probability
    saturation: Probability
    hue: Annotated[float, Field(ge=0, le=0.5)]


class Crop(_Part):
    """A random crop of this share of the area, resized back."""

    probability: Probability
    scale: Annotated[tuple[float, float], _rising(0.001, 1)]


class AugmentationRecipe(_Part):
    """Joint augmentation of image, depth and classes; null switches a part off."""

    hflip: Probability
    color_jitter: ColorJitter | None
    random_crop_resize: Crop | None


class EmaRecipe(_Part):
    """A running average of the weights, which is what is validated and kept as the best."""

    decay: Annotated[float, Field(gt=0, lt=1)]


class AnchorRecipe(_Part):
    """A pull towards the weights that a stage starts from: the same for all (L2-SP), or by their importance for the old data (EWC)."""

    kind: Literal["l2sp", "ewc"]
    strength: Annotated[float, Field(gt=0)]


class StageData(_Part):
    """One dataset (or domain) of a stage; `share` is its part of every batch, null means by its size."""

    dataset: str
    share: Annotated[float, Field(gt=0, lt=1)] | None = None


class Stage(_Part):
    """One training run. `stopped_at` is the epoch at which the published run was ended before its schedule was.

    Every batch holds at least `labelled_per_batch` frames with classes; 0, which the lineage trained with, leaves it to chance.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]
    data: Annotated[tuple[StageData, ...], Field(min_length=1)]
    mixing: Literal["within_batch", "alternating"]
    epochs: Epochs
    stopped_at: Epochs | None = None
    labelled_per_batch: Annotated[int, Field(ge=0, le=LARGEST_BATCH)] = 0

    @model_validator(mode="after")
    def _check(self) -> Stage:
        shares = [data.share for data in self.data]
        stated = [share for share in shares if share is not None]
        if stated and (len(stated) < len(shares) or abs(sum(stated) - 1) > 1e-6):
            raise ValueError("shares must be given for every dataset of the stage and sum to 1, or for none")
        if self.stopped_at is not None and self.stopped_at >= self.epochs:
            raise ValueError(f"stopped_at {self.stopped_at} must be below epochs {self.epochs}")
        return self


class PublishedMetric(_Part):
    """A number that the lineage published; it means nothing without its dataset and camera."""

    dataset: str
    camera: str
    metric: Literal["rmse", "miou"]
    value: float


class Job(_Part):
    """A cluster job of the published run, and how it ended."""

    job: str
    stage: str
    outcome: str


class Variant(_Part):
    """A paired control that differs from the recipe in its loss weighting alone."""

    name: str
    weighting: Literal["kendall", "fixed"]
    summary: str


class Told:
    """Marks a field in which a recipe tells of itself: nothing that is trained changes with it."""


class Recipe(_Part):
    """A whole recipe. `assumed` names the values that the published sources do not state."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    codename: Annotated[str, Told]
    summary: Annotated[str, Told]
    lesson: Annotated[str, Told]
    status: Annotated[str, Told]
    parents: tuple[RecipeParent, ...]
    student: StudentRecipe
    teacher: TeacherRecipe
    loss: LossRecipe
    optimizer: Optimizer
    scratch: Rates
    schedule: Schedule
    augmentation: AugmentationRecipe
    ema: EmaRecipe | None = None
    anchor: AnchorRecipe | None = None
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    published: Annotated[tuple[PublishedMetric, ...], Told]
    history: Annotated[tuple[Job, ...], Told] = ()
    variants: Annotated[tuple[Variant, ...], Told] = ()
    assumed: Annotated[tuple[str, ...], Told] = ()

    @field_validator("stages")
    @classmethod
    def _distinct(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if len({stage.name for stage in stages}) < len(stages):
            raise ValueError("stages must have different names")
        return stages

    @model_validator(mode="after")
    def _anchored(self) -> Recipe:
        if self.anchor and self.weights_parent is None and len(self.stages) == 1:
            raise ValueError(
                "anchor pulls towards the weights of a parent or of an earlier stage, and there is neither: set anchor to null"
            )
        return self

    @property
    def weights_parent(self) -> str | None:
        """The version whose weights training starts from, if any."""
        return next((parent.version for parent in self.parents if parent.kind == "weights"), None)

    @property
    def truncated(self) -> str | None:
        """What the published version says of its truncated stages."""
        stopped = [f"{stage.name} stopped at {stage.stopped_at}/{stage.epochs} epochs" for stage in self.stages if stage.stopped_at]
        return ", ".join(stopped) or None


TOLD: Final = tuple(name for name, field in Recipe.model_fields.items() if Told in field.metadata)
"""Blocks in which a recipe tells of itself."""
