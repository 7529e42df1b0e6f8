"""What a set looks like as a whole, in a few histograms, and how far a delivery lies from the reference of its domain.

Distances are Wasserstein-1 (earth mover's): how far the shares have to be moved, in the histogram's own unit. Of depth it is taken
in the logarithm, where it is the mean factor by which depth moved: halved scale is ln 2 = 0.69 whatever the place. Class shares
are compared by total variation (half the sum of the differences), cameras by their focal lengths and centres.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError

from core.classes import CLASSES
from core.errors import VortexError
from validation.checks import Check
from validation.pixels import BINS, FARTHEST, NEAREST, bin_edges
from validation.policies import DriftLimits

if TYPE_CHECKING:
    from validation.statistics import Statistics

VERSION: Final = 1
LEVELS: Final = tuple(float(edge) for edge in np.linspace(0, 256, 33))
SHARPNESS: Final = tuple(float(edge) for edge in np.geomspace(0.1, 1e5, 41))
"""Edges of the histograms of brightness (grey levels) and blur (variance of the Laplacian)."""
SHOWN: Final = 5
_MAPS: Final = ("depth", "tof", "teacher")
Shares = tuple[float, ...]


@dataclass(frozen=True)
class Camera:
    """One camera of the set: medians, as shares of the picture's width (`fx`, `cx`) and height (`fy`, `cy`)."""

    name: str
    fx: float
    fy: float
    cx: float
    cy: float


@dataclass(frozen=True)
class Profile:
    """A set in histograms of shares: log-spaced depth by map, brightness, blur, classes (empty where there are none), cameras."""

    version: int
    domain: str
    name: str
    digest: str
    kind: str
    made: str
    frames: int
    depth: dict[str, Shares]
    brightness: Shares
    blur: Shares
    classes: Shares
    cameras: tuple[Camera, ...]

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)

    def json(self) -> str:
        """As the file `references/DOMAIN.json` holds it."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


@dataclass(frozen=True)
class Drift:
    """One comparison. `ours` and `theirs` are shares over `labels`, or over the bins between `edges`; empty where nothing is drawn."""

    name: str
    measure: str
    distance: float
    limit: float
    unit: str
    edges: tuple[float, ...] = ()
    labels: tuple[str, ...] = ()
    ours: Shares = ()
    theirs: Shares = ()

    @property
    def passed(self) -> bool:
        """Whether the distance keeps its limit."""
        return self.distance <= self.limit


def profile(statistics: Statistics, *, domain: str, name: str, digest: str, kind: str, made: str) -> Profile:
    """The profile of a measured set; who it is and when it was `made` are told along."""
    table = statistics.table
    depth = {}
    for role in _MAPS:
        counts = statistics.counts[role]
        if counts.sum():
            depth[role] = _shares(counts)
    classes = table[list(CLASSES)].mean().to_numpy()
    cameras = []
    for camera, rows in table[table["fx"].notna()].groupby("camera", sort=True):
        width, height = rows["camera_width"], rows["camera_height"]
        usual = (
            (rows["fx"] / width).median(),
            (rows["fy"] / height).median(),
            (rows["cx"] / width).median(),
            (rows["cy"] / height).median(),
        )
        cameras.append(Camera(str(camera), *(round(float(value), 6) for value in usual)))
    return Profile(
        version=VERSION,
        domain=domain,
        name=name,
        digest=digest,
        kind=kind,
        made=made,
        frames=len(table),
        depth=depth,
        brightness=_histogram(table["brightness"].to_numpy(), LEVELS),
        blur=_histogram(table["blur"].to_numpy(), SHARPNESS),
        classes=() if np.isnan(classes).any() else tuple(round(float(share), 6) for share in classes),
        cameras=tuple(cameras),
    )


def parse(text: str, where: str) -> Profile:
    """A profile from its JSON. Raises VortexError when it is damaged or of another version of Vortex."""
    hint = "restore it with git, or make it anew from a set that passed: vortex validate NAME --as-reference"
    try:
        raw = json.loads(text)
        if isinstance(raw, dict) and raw.get("version") != VERSION:
            raise VortexError(f"{where}: a reference of version {raw.get('version')!r}, allowed: {VERSION}", hint)
        parsed = TypeAdapter(Profile).validate_json(text)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors()]
        raise VortexError(f"{where}: is not a reference, {len(faults)} fault(s), the first: {faults[0]}", hint, faults) from error
    except (ValueError, RecursionError) as error:
        raise VortexError(f"{where}: is not a reference ({error})", hint) from error
    for name, shares, length in (
        *((f"depth.{role}", shares, BINS) for role, shares in parsed.depth.items()),
        ("brightness", parsed.brightness, len(LEVELS) - 1),
        ("blur", parsed.blur, len(SHARPNESS) - 1),
        ("classes", parsed.classes, len(CLASSES)),
    ):
        if len(shares) not in (length, 0) or not all(0 <= share <= 1 for share in shares):
            raise VortexError(f"{where}: {name} has {len(shares)} numbers, allowed: {length} shares from 0 to 1", hint)
    return parsed


def compare(ours: Profile, reference: Profile, limits: DriftLimits) -> tuple[Drift, ...]:
    """Every comparison that both sets can answer."""
    drifts: list[Drift] = []
    edges = tuple(round(float(edge), 4) for edge in bin_edges())
    for role in _MAPS:
        if role in ours.depth and role in reference.depth:
            depth, reference_depth = ours.depth[role], reference.depth[role]
            moved = _moved(depth, reference_depth, math.log(FARTHEST / NEAREST) / BINS)
            measure = role if role == "depth" else f"{role} depth"
            drifts.append(Drift("drift-depth", measure, moved, limits.depth, "in ln m", edges, (), depth, reference_depth))
    if ours.brightness and reference.brightness:
        moved = _moved(ours.brightness, reference.brightness, LEVELS[1])
        drifts.append(
            Drift(
                "drift-brightness", "brightness", moved, limits.brightness, "grey levels", LEVELS, (), ours.brightness, reference.brightness
            )
        )
    if ours.blur and reference.blur:
        moved = _moved(ours.blur, reference.blur, math.log(SHARPNESS[1] / SHARPNESS[0]))
        drifts.append(Drift("drift-blur", "blur", moved, limits.blur, "in ln variance", SHARPNESS, (), ours.blur, reference.blur))
    if ours.classes and reference.classes:
        moved = 0.5 * sum(abs(share - reference_share) for share, reference_share in zip(ours.classes, reference.classes, strict=True))
        drifts.append(
            Drift("drift-classes", "class shares", round(moved, 4), limits.classes, "", (), CLASSES, ours.classes, reference.classes)
        )
    if ours.cameras and reference.cameras:
        moved, worst = max((_nearest(camera, reference.cameras), camera.name) for camera in ours.cameras)
        drifts.append(Drift("drift-intrinsics", f"camera {worst}", round(moved, 4), limits.intrinsics, "of the picture"))
    return tuple(drifts)


def checks(drift: tuple[Drift, ...], statistics: Statistics, reference: Profile) -> tuple[Check, ...]:
    """One check a name, the worst comparison deciding; the examples are the frames farthest from the reference's middle."""
    answers: list[Check] = []
    for name in dict.fromkeys(item.name for item in drift):
        worst = max((item for item in drift if item.name == name), key=lambda item: item.distance / item.limit)
        question = f"at most {worst.limit:g} {worst.unit} from {reference.name} ({reference.made})".replace("  ", " ")
        answer = f"{worst.measure}: {worst.distance:.3g} {worst.unit}".rstrip()
        examples = {} if worst.passed else _examples(worst, statistics)
        answers.append(Check(name, question, answer, worst.passed, tuple(examples), tuple(examples.values())))
    return tuple(answers)


def _examples(drift: Drift, statistics: Statistics) -> dict[str, str]:
    table = statistics.table
    kind: Literal["depth", "brightness", "blur"] | None = None
    column = ""
    if drift.name == "drift-depth":
        kind, column = "depth", f"{drift.measure.partition(' ')[0]}_median"
    elif drift.name in ("drift-brightness", "drift-blur"):
        kind = column = drift.measure  # type: ignore[assignment]
    if drift.name == "drift-intrinsics":
        of_camera = table[table["camera"] == drift.measure.removeprefix("camera ")].head(SHOWN)
        return {str(row.id): f"fx {row.fx:.5g} of {row.camera_width:.0f} pixels" for row in of_camera.itertuples()}
    if drift.name == "drift-classes":
        worst = max(range(len(CLASSES)), key=lambda place: abs(drift.ours[place] - drift.theirs[place]))
        column, middle = CLASSES[worst], drift.theirs[worst]
        far = (table[column] - middle).abs()
    else:
        middle = _middle(drift.theirs, drift.edges)
        far = (table[column] - middle).abs() if kind == "brightness" else np.log(table[column].clip(lower=1e-3) / middle).abs()
    rows = table.loc[far.dropna().sort_values(ascending=False).index[:SHOWN]]
    return {str(name): f"{column} {value:.3g}, usual {middle:.3g}" for name, value in zip(rows["id"], rows[column], strict=True)}


def _middle(shares: Shares, edges: tuple[float, ...]) -> float:
    place = int(np.searchsorted(np.cumsum(shares), 0.5))
    return float(edges[min(place, len(edges) - 2)])


def _nearest(camera: Camera, cameras: tuple[Camera, ...]) -> float:
    """Largest difference of focal lengths (relative) and centres (in picture sides) from the camera that is nearest."""
    return min(
        max(abs(camera.fx / other.fx - 1), abs(camera.fy / other.fy - 1), abs(camera.cx - other.cx), abs(camera.cy - other.cy))
        for other in cameras
    )


def _moved(ours: Shares, theirs: Shares, width: float) -> float:
    return round(float(np.abs(np.cumsum(np.subtract(ours, theirs))).sum() * width), 4)


def _histogram(values: NDArray[Any], edges: tuple[float, ...]) -> Shares:
    values = values[~np.isnan(values)]
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return _shares(counts) if len(values) else ()


def _shares(counts: NDArray[Any]) -> Shares:
    return tuple(round(float(share), 6) for share in counts / counts.sum())
