"""What a stage of dvc.yaml made, as a small JSON file without times or paths: the same work leaves the same bytes.

A stage changes a workspace (a dataset, a registry), and DVC watches files. So each stage ends by writing down the digest of what it made,
and the next one depends on that: `python -m pipelines.receipt FOLDER FILE dataset rooms`, or `versions v6 v10`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from core.errors import UsageError, VortexError
from core.files import write_atomic
from pipelines import workspace
from pipelines.data.datasets import find, resolve
from pipelines.hub.open import hub
from pipelines.workspace import Workspace

USAGE = "python -m pipelines.receipt FOLDER FILE dataset|metrics|exports|versions NAME…"


def receipt(ws: Workspace, kind: str, names: list[str]) -> dict[str, Any]:
    """The digests of datasets, or of versions with what they measured or were exported to. Raises VortexError for an unknown name."""
    if kind == "dataset":
        return {name: _dataset(ws, name) for name in names}
    if kind not in ("versions", "metrics", "exports"):
        raise UsageError(f"{kind!r} is no kind of receipt", USAGE)
    return {name: _version(hub(ws).get(name), kind) for name in names}


def _dataset(ws: Workspace, name: str) -> dict[str, Any]:
    card = find(ws, name).card
    return {"digest": resolve(ws, name_or_manifest=name).digest, "frames": card.frames, "segmentation": card.segmentation}


def _version(version: Any, kind: str) -> dict[str, Any]:
    if kind == "metrics":
        return {record.domain: {key: round(value, 4) for key, value in sorted(record.values.items())} for record in version.metrics}
    if kind == "exports":
        return {record.format if record.precision == "fp32" else record.form: record.artifact.sha256 for record in version.exports}
    return {"checkpoint": version.checkpoint.sha256, "data": {use.name: use.digest for use in version.data}, "size": list(version.size)}


def main(words: list[str]) -> None:
    """Write one receipt. Exit 1 with one line when what it is about is not there."""
    try:
        if len(words) < 4:
            raise UsageError("too few words", USAGE)
        folder, file, kind, *names = words
        digests = receipt(workspace.load(Path(folder)), kind, names)
        write_atomic(Path(file), json.dumps(digests, indent=2, sort_keys=True) + "\n")
    except VortexError as error:
        sys.stderr.write(f"error: {error.message}\n  try: {error.hint}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main(sys.argv[1:])
