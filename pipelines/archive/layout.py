"""What an archive looks like, and the check that it is whole: nothing changed, nothing missing, nothing more than its manifest names."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from core.errors import VortexError
from core.files import inside, read_regular, sha256_file
from core.progress import Progress
from pipelines.workspace import Device, Domain
from registry.chain import COLUMNS, ChainHead
from registry.records import Artifact, RunRecord, to_json

MANIFEST: Final = "manifest.json"
README: Final = "README.md"
LEDGER: Final = "ledger"
ARTIFACTS: Final = "artifacts"
ERRORS: Final = "errors"
RUNS: Final = "runs"
FORMAT: Final = 1
"""A reader refuses an archive of a later one."""
LARGEST_MANIFEST: Final = 1 << 30
OURS: Final = re.compile(
    rf"{LEDGER}/\d{{9}}-\d{{9}}\.jsonl|{ARTIFACTS}/[0-9a-f]{{64}}(\.[A-Za-z0-9]+)?|{ERRORS}/[0-9a-f]{{64}}\.parquet|{RUNS}/[0-9a-f]{{64}}\.json|{README}"
    rf"|(\w+/)?\.[^/]+\.staging"
)
"""Paths that writing an archive makes. What else lies there is somebody's own, and never touched."""
HEX: Final = r"^[0-9a-f]{64}$"
RUN_ID: Final = re.compile(r"[0-9a-f]{32}")
_RUN: Final = TypeAdapter(RunRecord)

README_TEXT: Final = """\
# A registry of distilled perception models

Vortex wrote this folder, and nothing here needs Vortex to be read.

- `manifest.json` names every file with its SHA-256 and its length. It is written last: a folder without it is not whole.
  It also has the head of the ledger, the domains and devices of the workspace, and a line a version with its files.
- `ledger/*.jsonl`, in the order of their names: one event a line, oldest first, everything that ever happened. `head` and `body` are
  JSON, kept as text because the hash is taken over that very text.
- `artifacts/SHA256.EXTENSION`: weights (safetensors), exported networks (ONNX), errors and fingerprints by frame (npz, numpy arrays).
  Each is named by the SHA-256 of its bytes, by which the ledger's events name it too.
- `runs/SHA256.json`: a training run as MLflow has it: parameters, tags, datasets, and every point of its curves as name, value, time in
  milliseconds and step. `run_id` is the one that the ledger names; of a run that went on there are several files, the longest is the last.
- `errors/SHA256.parquet`: the errors by frame of `artifacts/SHA256.npz` once more, as a table. Sums over a frame's valid pixels:
  `count` pixels, `squared` in square metres, and so on; RMSE is the root of the sum of `squared` over the sum of `count`.

## The chain

The `hash` of an event is the SHA-256 over all its other fields, as JSON with sorted keys, no spaces, and letters that are not ASCII as
they are, in UTF-8. `previous` is the hash of the event before it; the first one has 64 zeros. In Python:

    import hashlib, json, pathlib
    previous = "0" * 64
    for part in sorted(pathlib.Path("ledger").glob("*.jsonl")):
        for line in open(part, encoding="utf-8", newline="\\n"):
            event = json.loads(line)
            digest = event.pop("hash")
            text = json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            assert event["previous"] == previous and hashlib.sha256(text.encode()).hexdigest() == digest
            previous = digest
    assert previous == json.load(open("manifest.json"))["head"]["hash"]

## What is not here

Frames: each version names its data by hash, and a DVC remote has them.

`vortex init NEW` and `vortex restore THIS_FOLDER --workspace NEW` make a workspace of it again, with the same hashes.
"""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArchivedFile(_Part):
    """A file of an archive."""

    sha256: str = Field(pattern=HEX)
    bytes: int = Field(ge=0)


class Manifest(_Part):
    """What an archive holds. `head` is the ledger's, `files` are by path, in POSIX spelling."""

    format: int
    head: dict[str, str | int]
    data: str | None = None
    """The hash that `data.dvc` recorded."""
    domains: dict[str, Domain] = Field(default_factory=dict)
    devices: dict[str, Device] = Field(default_factory=dict)
    versions: list[dict[str, Any]] = Field(default_factory=list)
    """A line a version, for people: all of it follows from the ledger."""
    files: dict[str, ArchivedFile]

    @property
    def chain_head(self) -> ChainHead:
        """Where the archived ledger ends. Raises VortexError when that is not a head."""
        return ChainHead.parse(json.dumps(self.head), MANIFEST)

    @property
    def ledger_files(self) -> list[str]:
        """The parts of the ledger, oldest first."""
        return sorted(path for path in self.files if path.startswith(f"{LEDGER}/"))

    @property
    def run_files(self) -> list[str]:
        """The runs; of one that went on there are several."""
        return [path for path in self.files if path.startswith(f"{RUNS}/")]


def artifact_path(artifact: Artifact) -> str:
    """Where an archive has an artifact: under its SHA-256, with the extension of its name."""
    suffix = Path(artifact.uri).suffix
    return f"{ARTIFACTS}/{artifact.sha256}{suffix if re.fullmatch(r'[.][A-Za-z0-9]+', suffix) else ''}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an archive. Raises VortexError for a folder that has none, and for one of a newer format."""
    path = folder / MANIFEST
    try:
        content = read_regular(path, LARGEST_MANIFEST)
        raw = json.loads(content)
        newer = isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > FORMAT
        manifest = None if newer else Manifest.model_validate(raw)
    except FileNotFoundError as error:
        raise VortexError(
            f"{folder} is no whole archive: it has no {MANIFEST}, which is written last",
            "name the folder that `vortex archive` wrote; where that was interrupted, run it again",
        ) from error
    except (OSError, ValueError, RecursionError, ValidationError) as error:
        reason = str(error).splitlines()[0][:200]
        raise VortexError(f"{path}: not readable as the manifest of an archive ({reason})", "take another copy of the archive") from error
    if manifest is None:
        raise VortexError(
            f"{path}: the archive has format {raw['format']}, and this vortex knows formats up to {FORMAT}", "update this vortex"
        )
    return manifest


def files_of(folder: Path) -> Iterator[str]:
    """The path of everything in an archive that is no folder, links among them, without the manifest."""
    for parent, folders, names in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in (*names, *links):
            path = Path(parent, name).relative_to(folder).as_posix()
            if path != MANIFEST:
                yield path


def verify(folder: Path, manifest: Manifest, on_file: Progress | None = None) -> None:
    """Hash every file. Raises VortexError naming those that are changed, missing, or more than the manifest names."""
    faults = [f"{path}: is not in the manifest" for path in sorted(set(files_of(folder)) - manifest.files.keys())]
    unnamed = len(faults)
    for count, (path, recorded) in enumerate(sorted(manifest.files.items()), 1):
        faults += [f"{path}: {fault}" for fault in [fault_of(folder, path, recorded)] if fault]
        if on_file:
            on_file(count, len(manifest.files))
    if faults:
        remedy = (
            "take another copy of it" if len(faults) > unnamed else "move that away, which an addition that was cut short may have left"
        )
        raise VortexError(
            f"{folder}: the archive is not what was written: {faults[0]}" + (f", and {len(faults) - 1} more" if len(faults) > 1 else ""),
            f"{remedy}, or run `vortex archive` again where the registry still is; nothing was restored",
            faults if len(faults) > 1 else [],
        )


def fault_of(folder: Path, path: str, recorded: ArchivedFile) -> str | None:
    """What is wrong with a file of an archive, or None."""
    try:
        place = inside(folder, path)
        state = place.lstat()
        if not stat.S_ISREG(state.st_mode):
            return "is no plain file"
        if state.st_size != recorded.bytes:
            return f"has {state.st_size} bytes, not {recorded.bytes}"
        return None if sha256_file(place) == recorded.sha256 else "its content was changed"
    except FileNotFoundError:
        return "is missing"
    except (OSError, VortexError) as error:
        return f"cannot be read ({error})"


def run_content(record: RunRecord) -> bytes:
    """A run as the content of a file: the same for the same run."""
    points = sorted(record.metrics, key=lambda point: (point[0], point[3], point[2], str(point[1])))
    record = replace(record, metrics=tuple(points), inputs=tuple(sorted(record.inputs, key=str)))
    return (json.dumps(to_json(record), indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def run_of(content: bytes, where: str) -> RunRecord:
    """The run in a file. Raises VortexError naming `where` it is, also where its id is none: artifacts lie in a folder of that name."""
    try:
        run = _RUN.validate_json(content)
        if not RUN_ID.fullmatch(run.run_id):
            raise VortexError(
                f"{where}: {run.run_id[:80]!r} is no id of a run, allowed: 32 hexadecimal digits", "take another copy of the archive"
            )
        return run
    except ValidationError as error:
        raise VortexError(f"{where}: is no run ({str(error.errors()[0]['msg'])[:200]})", "take another copy of the archive") from error


def line_of(row: tuple[Any, ...]) -> str:
    """An event as a line of the archived ledger."""
    return json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False, sort_keys=True) + "\n"


def row_of(line: str, where: str) -> tuple[Any, ...]:
    """The event in a line, as a row of the ledger's table. Raises VortexError naming `where` it stands."""
    try:
        event = json.loads(line)
        if event.keys() != set(COLUMNS):
            raise ValueError(f"its fields are not {', '.join(COLUMNS)}")
        return tuple(event[name] for name in COLUMNS)
    except (ValueError, AttributeError, RecursionError) as error:
        raise VortexError(f"{where}: is no event of a ledger ({error})", "take another copy of the archive") from error


def recorded_file(content: bytes) -> ArchivedFile:
    """The record of a file with this content."""
    return ArchivedFile(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
