"""A registry that holds the published lineage's figures, each with errors of frames that pool to it: no training, no MLflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.classes import CLASSES
from core.files import sha256_file
from core.shipped import SHIPPED
from pipelines.compare.frame_errors import FrameErrors
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry.edges import Edge, RecipeEdge, WeightsEdge
from registry.events.version import VersionMeasured
from registry.records import Artifact, DataUse, Metrics, NewVersion
from registry.versions import append_registration

FRAMES = 240
PIXELS = 100.0
NYU, FEMTO, LILOC = ("rooms", "kinect", "nyu"), ("corridor", "femto_bolt", "corridor_eval"), ("corridor", "realsense_d455", "lilocbench")
"""Domain, camera and dataset of the three sets that the lineage was measured on."""
Place = tuple[str, str, str]


@dataclass(frozen=True)
class Published:
    """A version as it was published: its parent, its training data (dataset, domain, frames), and RMSE in metres and mIoU by place."""

    name: str
    parent: Edge | None
    data: Sequence[tuple[str, str, int]]
    figures: Mapping[Place, tuple[float, float | None]]


LINEAGE = (
    Published("v3", None, [("nyu", "rooms", 1159)], {NYU: (1.160, 0.393)}),
    Published("v4", RecipeEdge("v3"), [("nyu", "rooms", 1159)], {NYU: (0.774, 0.510), FEMTO: (1.373, None)}),
    Published("v5", RecipeEdge("v4"), [("nyu", "rooms", 1159)], {NYU: (0.572, 0.637), FEMTO: (2.186, None)}),
    Published(
        "v6",
        RecipeEdge("v5"),
        [("sunrgbd", "indoor", 10000), ("diode", "indoor", 8000), ("nyu", "rooms", 1159)],
        {NYU: (0.519, 0.485), FEMTO: (2.158, None)},
    ),
    Published(
        "v7", WeightsEdge("v5"), [("lilocbench", "corridor", 5000)], {NYU: (1.315, 0.475), FEMTO: (1.982, None), LILOC: (0.445, None)}
    ),
    Published(
        "v8", WeightsEdge("v5"), [("nyu", "rooms", 1159), ("lilocbench", "corridor", 5000)], {NYU: (0.592, 0.629), FEMTO: (2.266, None)}
    ),
    Published(
        "v9", WeightsEdge("v6"), [("lilocbench", "corridor", 5000)], {NYU: (1.553, 0.316), FEMTO: (1.589, None), LILOC: (0.382, None)}
    ),
)
"""V3 to V9 of the published lineage; V1 and V2 miss by tens of metres."""


def register(ws: Workspace, versions: Sequence[Published] = LINEAGE, *, validated: bool = True) -> None:
    """Put versions and their measurements into the ledger of `ws`."""
    ledger = hub(ws).ledger
    for version in versions:
        number = int(version.name.removeprefix("v"))
        checkpoint = Artifact(f"{number}/artifacts/checkpoint/none.safetensors", "0" * 64, 0)
        uses = tuple(
            DataUse(name, domain, "room", f"{name}-digest".ljust(64, "0"), None, validated, {"train": frames})
            for name, domain, frames in version.data
        )
        derived = isinstance(version.parent, WeightsEdge)
        new = NewVersion(
            version.name if version.name in SHIPPED else None, False, {}, (version.parent,) if version.parent else (), "corridor" if derived else "rooms", uses, (240, 320),
            f"{number:032x}", "run", checkpoint,
        )  # fmt: skip
        with ledger.transaction() as tx:
            assert append_registration(tx, new, number, actor="test") == version.name
            for place, figures in version.figures.items():
                tx.append(VersionMeasured(version.name, measurement(ws, number, place, *figures)), actor="test")


def measurement(
    ws: Workspace,
    number: int,
    place: Place,
    rmse: float,
    miou: float | None = None,
    *,
    protocol: str = "val-pooled-10m/1",
    digest: str = "",
) -> Metrics:
    """Figures of a place, with stored errors of independent frames that pool to exactly them."""
    domain, camera, dataset = place
    errors = frame_errors(number, rmse, miou)
    assert not isinstance(ws.artifact_root, str)
    uri = f"{number:032x}/artifacts/evaluations/{dataset}-{camera}-{protocol.replace('/', '_')}-{digest}.npz"
    errors.save(ws.artifact_root / uri)
    sha256, size = sha256_file(ws.artifact_root / uri), (ws.artifact_root / uri).stat().st_size
    values = {"rmse": rmse} | ({} if miou is None else {"miou": miou})
    return Metrics(
        domain, camera, protocol, dataset, (digest or dataset).ljust(64, "0"), values, FRAMES, Artifact(uri, sha256, size)
    )  # fmt: skip


def frame_errors(seed: int, rmse: float, miou: float | None = None) -> FrameErrors:
    """Errors of `FRAMES` independent frames: every frame has a share of the squared error that differs a little from version to version."""
    random = np.random.default_rng(seed)
    squared = 1 + 0.1 * random.standard_normal(FRAMES).clip(-2, 2)
    squared *= rmse**2 * PIXELS * FRAMES / squared.sum()
    sums = {"squared": squared, "count": np.full(FRAMES, PIXELS)}
    if miou is not None:
        # Of each class as many pixels right that its IoU is the mean: wrong ones are taken for the next class.
        right = 2 * miou / (1 + miou) * PIXELS
        confusion = np.zeros((FRAMES, len(CLASSES), len(CLASSES)))
        for label in range(len(CLASSES)):
            confusion[:, label, label] = right
            confusion[:, label, (label + 1) % len(CLASSES)] = PIXELS - right
        sums["confusion"] = confusion
    return FrameErrors(
        tuple(f"{number:04d}" for number in range(FRAMES)), sums, (240, 320), tuple(f"s{number % 24:02d}" for number in range(FRAMES))
    )
