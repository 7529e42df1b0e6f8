"""Recipes: how a version is made, complete in one typed file each. Editing v2 can never change v3; `parents` is lineage, not inheritance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.errors import VortexError
from models.encoders import ENCODERS
from pipelines import strict_yaml

FOLDER = Path(__file__).parent / "recipes"
_EXAMPLE = f"a complete example is {FOLDER / 'v9.yaml'}"

Rate = Annotated[float, Field(gt=0, le=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Epochs = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=32, le=4096)]
Factor = Annotated[float, Field(ge=0)]
LARGEST_BATCH = 4096


class RecipeError(VortexError):
    """A recipe that does not exist or does not fit the schema."""


def _rising(low: float, high: float) -> AfterValidator:
    """A check that a pair of numbers is (least, greatest), both within bounds."""

    def check(pair: tuple[float, float]) -> tuple[float, float]:
        if not low <= pair[0] <= pair[1] <= high:
            raise ValueError(f"allowed is (least, greatest) within {low:g} to {high:g}")
        return pair

    return AfterValidator(check)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    def _known(cls, encoder: str) -> str:
        if encoder not in ENCODERS:
            raise ValueError(f"unknown encoder, allowed: {', '.join(ENCODERS)}")
        return encoder


class TeacherRecipe(_Part):
    """The foundation model whose depth is the target. `relative` depth against metric truth is the trap of V1 and V2."""

    name: str
    unit: Literal["m", "relative"]


class LossWeights(_Part):
    """Factors of the three terms; with Kendall weighting the learnt variances multiply the first two."""

    depth: Factor
    segmentation: Factor
    smoothness: Factor


class Kendall(_Part):
    """Form of the uncertainty weights, and the bounds of log σ² that a projection after each step keeps."""

    form: Literal["regression_half", "both_half"]
    clamp: Annotated[tuple[float, float], _rising(-50, 50)]


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
    """The rates for an encoder that starts from trained weights."""

    weight_decay: Factor


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
        given = [share for share in shares if share is not None]
        if given and (len(given) < len(shares) or abs(sum(given) - 1) > 1e-6):
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


class Recipe(_Part):
    """A whole recipe. `assumed` names the values that the published sources do not state."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    codename: str
    summary: str
    lesson: str
    status: str
    parents: tuple[RecipeParent, ...]
    student: StudentRecipe
    teacher: TeacherRecipe
    loss: LossRecipe
    optimizer: Optimizer
    scratch: Rates
    schedule: Schedule
    augmentation: AugmentationRecipe
    stages: Annotated[tuple[Stage, ...], Field(min_length=1)]
    published: tuple[PublishedMetric, ...]
    history: tuple[Job, ...] = ()
    variants: tuple[Variant, ...] = ()
    assumed: tuple[str, ...] = ()

    @field_validator("stages")
    @classmethod
    def _distinct(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        if len({stage.name for stage in stages}) < len(stages):
            raise ValueError("stages must have different names")
        return stages

    @property
    def weights_parent(self) -> str | None:
        """The version whose weights training starts from, if any."""
        return next((parent.version for parent in self.parents if parent.kind == "weights"), None)

    @property
    def truncated(self) -> str | None:
        """What the published version says of its truncated stages."""
        said = [f"{stage.name} stopped at {stage.stopped_at}/{stage.epochs} epochs" for stage in self.stages if stage.stopped_at]
        return ", ".join(said) or None


def names() -> list[str]:
    """The shipped recipes, in order."""
    return sorted((path.stem for path in FOLDER.glob("v*.yaml")), key=lambda name: int(name[1:]))


def load(name_or_path: str | Path) -> Recipe:
    """Read a shipped recipe by name, or any recipe file by path. Raises RecipeError listing every fault of the file."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        if str(name_or_path) not in names():
            raise RecipeError(
                f"unknown recipe {str(name_or_path)!r}; shipped are: {', '.join(names())}", "name one of them, or a recipe's .yaml file"
            )
        path = FOLDER / f"{name_or_path}.yaml"
    try:
        raw = strict_yaml.parse(path.read_text())
    except FileNotFoundError as error:
        raise RecipeError(f"{path} does not exist", f"shipped recipes are: {', '.join(names())}") from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror or error})", "name a recipe's .yaml file") from error
    except ValueError as error:
        raise RecipeError(f"{path}: not readable as YAML ({error})", "mend the file") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: holds {'nothing' if raw is None else f'a {type(raw).__name__}'}, wanted are a recipe's keys", _EXAMPLE)
    return parse(raw, str(path))


def parse(raw: object, where: str) -> Recipe:
    """A recipe from plain values. Raises RecipeError with every fault; `where` names the source in it."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        faults = strict_yaml.faults(error)
        raise RecipeError(f"{where}: {len(faults)} fault(s) in the recipe", _EXAMPLE, faults) from error


def differences(a: Recipe, b: Recipe) -> list[tuple[str, Any, Any]]:
    """What two recipes say differently, as (dotted key, value in a, value in b); a part that only one has is None in the other."""
    left, right = (dict(leaves(recipe)) for recipe in (a, b))
    keys = list(left) + [key for key in right if key not in left]
    return [(key, left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)]


def leaves(recipe: Recipe) -> list[tuple[str, Any]]:
    """Every setting of a recipe as (dotted key, value)."""
    return _flat("", recipe.model_dump(mode="json"))


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """Dotted leaves; a list of plain values is one leaf, a list of blocks is numbered."""
    if isinstance(value, dict) and value:
        return [leaf for key, item in value.items() for leaf in _flat(f"{prefix}.{key}" if prefix else key, item)]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return [leaf for index, item in enumerate(value, 1) for leaf in _flat(f"{prefix}.{index}", item)]
    return [(prefix, value or None if isinstance(value, (list, dict)) else value)]
