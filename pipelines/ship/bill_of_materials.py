"""What a version is made of, as CycloneDX 1.6 writes a bill of materials for machine learning (cyclonedx.org/docs/1.6/json).

Written by hand: the library for it knows no model cards, which are what a bill of a model is about.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from core.printable import clean
from registry.edges import TeacherEdge, WeightsEdge
from registry.records import Version

SCHEMA: Final = "http://cyclonedx.org/schema/bom-1.6.schema.json"
NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/vortex")
"""The serial number follows from what is in the bill: the same bill has the same."""
METRICS: Final = ("rmse", "abs_rel", "delta1", "miou", "rmse_near", "iou_glass")


def bill_of_materials(version: Version, models: Mapping[str, str]) -> bytes:
    """The bill of a version whose exported `models` are path → SHA-256: its data, its parents, its teachers, and how good it is measured to be."""
    model = _reference(version.name)
    data = [_dataset(use.name, use.digest, use.domain) for use in version.data]
    teachers = [_component("machine-learning-model", edge.teacher) for edge in version.parents if isinstance(edge, TeacherEdge)]
    files = [_component("file", path) | {"hashes": [{"alg": "SHA-256", "content": sha256}]} for path, sha256 in sorted(models.items())]
    components = list({part["bom-ref"]: part for part in [*data, *teachers, *files]}.values())
    document = {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, version.checkpoint.sha256 + ''.join(sorted(models.values())))}",
        "version": 1,
        "metadata": {
            "timestamp": version.created_at,
            "tools": {"components": [{"type": "application", "name": "vortex"}]},
            "component": _model(version, model, [part["bom-ref"] for part in data]),
        },
        "components": components,
        "dependencies": [{"ref": model, "dependsOn": [part["bom-ref"] for part in components]}],
    }
    return (json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _model(version: Version, reference: str, data: list[str]) -> dict[str, Any]:
    height, width = version.size
    ancestors = [{"type": "machine-learning-model", "name": edge.version} for edge in version.parents if isinstance(edge, WeightsEdge)]
    figures = [
        {"type": name, "value": f"{metrics.values[name]:.6g}", "slice": clean(str(metrics.series))}
        for metrics in version.metrics
        if metrics.series.exam
        for name in METRICS
        if name in metrics.values
    ]
    card = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "metric depth and semantic segmentation from one colour picture",
            "architectureFamily": "encoder and decoder with two heads",
            "modelArchitecture": clean(str(version.recipe_config.get("student", {}).get("encoder", "not recorded"))),
            "datasets": [{"ref": name} for name in dict.fromkeys(data)],
            "inputs": [{"format": f"rgb, 1x3x{height}x{width}, float32 in [0, 1]"}],
            "outputs": [{"format": f"depth 1x1x{height}x{width} in metres"}, {"format": f"logits 1x6x{height}x{width}"}],
        },
        "quantitativeAnalysis": {"performanceMetrics": figures},
    }
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": version.name,
        "version": version.checkpoint.sha256[:12],
        "hashes": [{"alg": "SHA-256", "content": version.checkpoint.sha256}],
        "modelCard": card,
    }
    return component | ({"pedigree": {"ancestors": ancestors}} if ancestors else {})


def _dataset(name: str, digest: str, domain: str) -> dict[str, Any]:
    return _component("data", f"{name}@{digest[:12]}") | {
        "data": [{"type": "dataset", "name": clean(name), "classification": clean(domain)}],
        "hashes": [{"alg": "SHA-256", "content": digest}] if len(digest) == 64 else [],
    }


def _component(kind: str, name: str) -> dict[str, Any]:
    return {"type": kind, "bom-ref": _reference(name), "name": clean(name)}


def _reference(name: str) -> str:
    return f"vortex:{clean(name)}"
