"""The facts that the old ledger holds, told once more to the registry of today. The only room here that knows the registry's own names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.channels import Channel
from registry.edges import DataEdge, RecipeEdge, TeacherEdge, WeightsEdge
from registry.records import Artifact, DataUse, Export, Metrics, NewVersion
from registry.stages import StageJudgement, channel_state, record_promotion, rollback
from registry.versions import Hub

ADA: dict[str, Any] = {"actor": "Ada <ada@example.org>", "reason": "first of its kind", "commit": "c0" * 20}
GRACE: dict[str, Any] = {"actor": "Grace", "reason": "nächtliche Fahrt, „glass door“\n", "commit": None}
ROOMS = DataUse("small", "rooms", "room", "ab" * 32, "0123456789abcdef0123456789abcdef.dir", True, {"train": 12, "gap": 1, "val": 4})
HALL = DataUse("hall", "corridor", "corridor", "cd" * 32, None, True, {"train": 72, "val": 20})
NAN, INFINITE = float("nan"), float("inf")


def record(root: Path) -> None:
    """Write down the life of three versions: every kind of event, and every kind of parent."""
    places = root / "mlruns"
    registry = Hub.open(f"sqlite:///{places / 'mlflow.db'}", places / "artifacts", f"sqlite:///{places / 'ledger.db'}")

    def run(number: int) -> str:
        return registry.store.start_run(f"run {number}")

    base = NewVersion(
        recipe="v5",
        derived=False,
        recipe_config=json.loads((Path(__file__).parent / "old_ledger" / "recipe.json").read_text()),
        parents=(
            RecipeEdge("v4"),
            TeacherEdge("da3-metric-large", "sha256 0123"),
            DataEdge("small", ROOMS.dvc or ""),
            DataEdge("hall", HALL.digest),
        ),
        domain="rooms",
        data=(ROOMS, replace(HALL, validated=False)),
        size=(48, 64),
        run_id=run(1),
        run="v5-rooms-20261128-120000-0a1b",
        checkpoint=Artifact("one/artifacts/checkpoint/student.safetensors", "11" * 32, 6_154_244),
        environment={"python": "3.11.7", "torch": "2.15.0", "cuda": None, "workers": 0},
        codename="Atlas",
    )
    registry.register(base, **ADA)
    config = base.recipe_config
    tuned = NewVersion(
        recipe=None,
        derived=True,
        recipe_config=config | {"name": "v5", "optimizer": config["optimizer"] | {"encoder_lr": 1e-05, "batch_size": 8}},
        parents=(
            WeightsEdge("v5", "11" * 32),
            TeacherEdge("yolo"),
            TeacherEdge("sam2", "tiny"),
            DataEdge("hall", HALL.digest),
        ),
        domain="corridor",
        data=(HALL,),
        size=(48, 64),
        run_id=run(2),
        run="from-v5-corridor-20261128-130000-2c3d",
        checkpoint=Artifact("two/artifacts/checkpoint/student.safetensors", "22" * 32, 6_154_252),
        truncated="3 of 5 epochs",
        environment={"python": "3.11.7"},
    )
    registry.register(tuned, **GRACE)
    bare = NewVersion(
        recipe=None,
        derived=True,
        recipe_config={},
        parents=(WeightsEdge("v10"), WeightsEdge("v5"), RecipeEdge("v5")),
        domain=None,
        data=(),
        size=(240, 320),
        run_id=run(3),
        run="bare",
        checkpoint=Artifact("three/artifacts/checkpoint/student.safetensors", "33" * 32, 7),
    )
    registry.register(bare, actor="ci")

    def measured(domain: str, camera: str, use: DataUse, errors: Artifact | None = None, **values: float) -> Metrics:
        return Metrics(domain, camera, "val-pooled-10m/1", use.name, use.digest, values, use.frames["val"], errors)

    registry.add_metrics("v5", measured("rooms", "kinect", ROOMS, rmse=0.75, mae=0.5), **ADA)
    errors = Artifact("one/artifacts/errors/rooms.npz", "44" * 32, 512)
    classes = {"miou": 0.637, "iou_glass": 0.25, "iou_floor": 0.9, "pixel_accuracy": 0.875}
    figures = {"rmse": 0.572, "mae": 0.41, "abs_rel": 0.125, "delta1": 0.8125, "rmse_near": 0.3, "rmse_mid": 0.5, "rmse_far": 1e-05}
    registry.add_metrics("v5", measured("rooms", "kinect", ROOMS, errors, **figures, **classes), **(ADA | {"reason": ""}))
    registry.add_metrics("v5", measured("corridor", "femto-bolt", HALL, **(figures | {"rmse": 2.186, "miou": NAN})), **ADA)
    registry.add_metrics(
        "v10",
        measured("corridor", "femto-bolt", HALL, **(figures | {"rmse": 1.982})),
        measured("rooms", "kinect", ROOMS, **(figures | {"rmse": 1.315, "silog": INFINITE, "pixels": 12288.0})),
        **GRACE,
    )

    def onnx(letter: str, **other: Any) -> Export:
        values = {"size": (48, 64), "opset": 20, "parity_m": 1.5e-05, "class_agreement": 1.0, "parity_on": "small", "frames": 4}
        return Export(Artifact(f"exports/{letter}.onnx", letter * 64, 6_200_000), **{**values, **other})

    registry.add_export("v5", onnx("5", detail={"host_only": True}), **ADA)
    registry.add_export("v10", onnx("6", parity_m=NAN, class_agreement=None, parity_on="noise"), **GRACE)
    registry.add_export("v10", onnx("7"), **GRACE)
    registry.add_export("v10", Export(Artifact("exports/8.engine", "8" * 64, 9), "tensorrt", None, "int8"), actor="ci")

    rooms, corridor = Channel("host", "rooms"), Channel("host", "corridor")
    passed: dict[str, Any] = {"name": "data-passed", "asked": "the training data passed", "found": "passed", "passed": True}
    failed: dict[str, Any] = {"name": "not-worse-rmse", "asked": "rmse not worse than v5", "found": "1.315 against 0.572", "passed": False}
    ways = [StageJudgement(stage, True, (passed,)) for stage in ("candidate", "staging", "production")]
    record_promotion(registry.ledger, rooms, "v5", ways, 0, **ADA)
    record_promotion(registry.ledger, corridor, "v5", [StageJudgement("production", True)], 0, **ADA)
    record_promotion(registry.ledger, rooms, "v10", [*ways[:2], StageJudgement("production", False, (passed, failed))], 3, **GRACE)
    record_promotion(registry.ledger, corridor, "v10", [StageJudgement("production", True, (passed,))], 1, **GRACE)
    rollback(registry.ledger, corridor, expected_seq=2, **GRACE)


def promote_again(root: Path) -> None:
    """One more promotion on the corridor of the old ledger: what it would be judged on lies in no workspace any more."""
    registry = Hub.open("sqlite://", root / "mlruns" / "artifacts", f"sqlite:///{root / 'mlruns' / 'ledger.db'}")
    channel = Channel("host", "corridor")
    state = channel_state(registry.ledger, channel)
    record_promotion(registry.ledger, channel, "v10", [StageJudgement("production", True)], state.seq, **ADA)
