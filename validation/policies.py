"""`policies.yaml`, typed: the bounds that frames are judged by; what each promotion stage asks for stands in `promotion/`."""

from __future__ import annotations

import hashlib
import math
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError

from core import strict_yaml
from core.errors import VortexError
from core.files import read_text_of_user
from validation.promotion.policies import PromotionPolicy
from validation.strict import Strict

FILE = Path(__file__).with_name("policies.yaml")


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"[{low}, {high}] is not a range: give [low, high], both finite")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]


class Bounds(Strict):
    """Ranges for one statistic: of `every` frame, of `most` frames (`most_share`), and of the `median` over the frames."""

    every: Range | None = None
    most: Range | None = None
    median: Range | None = None


class MapBounds(Strict):
    """Bounds of one depth map: valid fraction in [0, 1], median and 95th percentile of its valid pixels in metres.

    `near` is the share of valid pixels below 0.15 m, `rough` the share of neighbours with a jump above 10 %.
    """

    valid: Bounds
    median: Bounds
    p95: Bounds
    near: Bounds
    rough: Bounds


class CameraBounds(Strict):
    """What a pinhole may be: focal lengths over the picture's width, fy/fx, the principal point over the picture's sides.

    `spread` is how far (as a share of the median) the focal lengths and centres of one camera's frames may lie apart.
    """

    focal: Range
    aspect: Range
    centre: Range
    spread: float = Field(gt=0, le=1)


class RegistrationLimits(Strict):
    """How far depth may lie beside its colour picture: `offset` in pixels of a picture of 640 columns, and sizes that differ by `scale`, a share."""

    offset: float = Field(gt=0)
    scale: float = Field(gt=0, le=1)


class RegistrationBounds(Strict):
    """`registered` for depth that should lie on colour, `declared` for formats whose depth is known not to."""

    registered: RegistrationLimits
    declared: RegistrationLimits


class ClassBounds(Strict):
    """Mean share of each class among the labelled pixels of the set, and where the floor lies: its mean row, 0 (top) to 1.

    `blank` is the largest share of frames with a mask that may hold no labelled pixel.
    """

    floor: Range
    wall: Range
    glass: Range
    person: Range
    furniture: Range
    other: Range
    floor_row: Bounds
    blank: float = Field(ge=0, le=1)


class Twins(Strict):
    """Perceptual hashes: how many of 128 bits twins may differ in, and the largest shares of frames that may be twins."""

    copy_bits: int = Field(ge=0, le=3)
    copies: float = Field(ge=0, le=1)
    leak_bits: int = Field(ge=0, le=3)
    leaks: float = Field(ge=0, le=1)


class DriftLimits(Strict):
    """How far a delivery may lie from its domain's reference (see `validation.profile` for each distance)."""

    depth: float = Field(gt=0)
    brightness: float = Field(gt=0)
    blur: float = Field(gt=0)
    classes: float = Field(gt=0, le=1)
    intrinsics: float = Field(gt=0)


class Kind(Strict):
    """What frames of one kind of place look like. `sizes: aspect` lets maps differ in resolution, not in shape."""

    description: str
    sizes: Literal["equal", "aspect"]
    depth: MapBounds
    tof: MapBounds
    teacher: MapBounds
    teacher_to_sensor: Bounds
    teacher_rank: Bounds
    tof_to_depth: Bounds
    tof_rank: Bounds
    tof_over_depth: Bounds
    brightness: Bounds
    blur: Bounds
    camera: CameraBounds
    registration: RegistrationBounds
    classes: ClassBounds
    twins: Twins
    drift: DriftLimits


class DataPolicy(Strict):
    """What the data gate asks."""

    most_share: float = Field(gt=0, le=1)
    required_splits: tuple[Literal["train", "gap", "val", "test"], ...]
    gap_steps: int = Field(ge=1)
    kinds: dict[str, Kind] = Field(min_length=1)

    def kind(self, name: str) -> Kind:
        """The bounds of a kind. Raises VortexError naming the known ones."""
        if name not in self.kinds:
            raise VortexError(
                f"unknown kind of data {name!r}; policies.yaml has: {', '.join(sorted(self.kinds))}",
                "name one of them with --kind or as the domain's `kind` in vortex.toml, or add its bounds to validation/policies.yaml",
            )
        return self.kinds[name]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what this policy asks; comments and spacing do not count."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class Policies(Strict):
    """The whole file."""

    data: DataPolicy
    promotion: PromotionPolicy

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the file asks; comments and spacing do not count."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def load_policies(path: Path | None = None) -> Policies:
    """Read `policies.yaml` (default: the one beside this module). Raises VortexError listing every fault of the file."""
    path = path or FILE
    try:
        return _policies(read_text_of_user(path))
    except FileNotFoundError as error:
        raise VortexError(f"{path} does not exist", "restore it from the repository: git checkout validation/policies.yaml") from error
    except ValidationError as error:
        faults = strict_yaml.faults(error)
        raise VortexError(
            f"{path}: {len(faults)} fault(s)", "every key is written out in the repository's own validation/policies.yaml", faults
        ) from error
    except (OSError, ValueError) as error:
        raise VortexError(f"{path}: not readable as YAML ({error})", "mend the line it names") from error


@lru_cache(maxsize=1)
def _policies(text: str) -> Policies:
    """What a file with this text asks. A promotion asks for it several times, and parsing takes 50 ms each (measured)."""
    return Policies.model_validate(strict_yaml.parse(text))
