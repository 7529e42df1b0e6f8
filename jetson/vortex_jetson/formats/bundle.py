"""What is shipped to a device: the manifest, which names every file by its SHA-256, and the folder that has to be exactly that.

The manifest is written and read here alone. Its digest stands in the channel's document, so that whoever trusts the channel trusts the files.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from vortex_jetson.errors import BadBundle, BadDocument
from vortex_jetson.formats.document import CHANNEL, SHA256, TIME, VERSION, Fields, canonical, read
from vortex_jetson.limits import LIMITS

FORMAT: Final = 1
PART: Final = r"[a-z0-9][a-z0-9._-]{0,99}"
PATH: Final = f"{PART}(/{PART}){{0,2}}"
"""Of a file in a bundle: relative, at most three parts, none of which is `..`, starts with a dot or differs in case alone."""
WORD: Final = r"[a-z0-9][a-z0-9_-]{0,31}"
KEY: Final = r"[a-z][a-z0-9._]{0,63}"
"""Of metadata in an ONNX file."""
MOST_CLASSES: Final = 64
MOST_MODELS: Final = 16
LARGEST_SIDE: Final = 8192
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class File:
    """One file of a bundle."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Model:
    """One ONNX file of the version."""

    file: str
    precision: str
    """fp32, fp16, int8, …: the precision lies in the file."""
    target: str
    """What it was made for: host or jetson."""
    preferred: bool
    """The one to take of those for its target."""


@dataclass(frozen=True)
class Fusion:
    """From which confidence on, and between which distances in metres, a pixel of the ToF camera is believed."""

    confident: float
    nearest_m: float
    farthest_m: float


@dataclass(frozen=True)
class HealthFrame:
    """Files of one frame with truth: uint8 HxWx3 RGB, uint16 HxW depth in mm (0: unknown), uint8 HxW classes (255: unknown) or None."""

    rgb: str
    depth: str
    classes: str | None


@dataclass(frozen=True)
class Bounds:
    """How far the answers may be off on the health frames."""

    rmse_m: float
    """Over all frames together."""
    worst_rmse_m: float
    """Of each frame."""
    class_agreement: float | None
    """Smallest share of labelled pixels whose class is right; None where classes are not judged."""


@dataclass(frozen=True)
class Health:
    """The task by which a device judges a bundle before it relies on it."""

    frames: tuple[HealthFrame, ...]
    bounds: Bounds


@dataclass(frozen=True)
class Bundle:
    """A version as it is shipped."""

    version: str
    channel: str
    checkpoint_sha256: str
    created_at: str
    size: tuple[int, int]
    """Height and width of the models' input."""
    models: tuple[Model, ...]
    classes: tuple[str, ...]
    """In the order of the logits."""
    classes_trained: tuple[str, ...]
    """Those that the version learned; the logits of others mean nothing."""
    preprocessing: Mapping[str, str]
    """As in the metadata of the ONNX files."""
    fusion: Fusion
    inflation: Mapping[str, float]
    """Metres of distance that a planner keeps, by class."""
    health: Health
    files: Mapping[str, File] = field(repr=False)

    def model_for(self, target: str) -> Model | None:
        """The preferred model of a target, else the first one of it, else None."""
        models = sorted((model for model in self.models if model.target == target), key=lambda model: not model.preferred)
        return models[0] if models else None

    @property
    def total_bytes(self) -> int:
        """Of all files together."""
        return sum(entry.bytes for entry in self.files.values())


def digest(content: bytes) -> str:
    """The SHA-256 of a manifest's bytes: the name by which a bundle is known."""
    return hashlib.sha256(content).hexdigest()


def dump(bundle: Bundle) -> bytes:
    """The manifest. Raises BadDocument for one that `parse` would refuse, so that it is never published."""
    content = canonical({"format": FORMAT, **asdict(bundle)})
    if parse(content) != bundle:
        raise BadDocument(f"the manifest of {bundle.version} does not survive being written", "give every value in its own type")
    return content


def parse(content: bytes) -> Bundle:
    """The bundle of a manifest. Raises BadDocument."""
    fields = read(content, LIMITS.manifest_bytes, "the manifest")
    fields.format(FORMAT)
    size = fields.items("size", 2, 2)
    if not all(type(length) is int and 1 <= length <= LARGEST_SIDE for length in size):
        fields.refuse("size", "height and width in pixels")
    bundle = Bundle(
        version=fields.text("version", VERSION),
        channel=fields.text("channel", CHANNEL),
        checkpoint_sha256=fields.text("checkpoint_sha256", SHA256),
        created_at=fields.text("created_at", TIME),
        size=(size[0], size[1]),
        models=tuple(map(_model, fields.parts("models", 1, MOST_MODELS))),
        classes=fields.texts("classes", WORD, 1, MOST_CLASSES),
        classes_trained=fields.texts("classes_trained", WORD, 0, MOST_CLASSES),
        preprocessing=_lines(fields.part("preprocessing")),
        fusion=_fusion(fields.part("fusion")),
        inflation=_metres(fields.part("inflation")),
        health=_health(fields.part("health")),
        files=_files(fields.part("files")),
    )
    fields.end()
    _consistent(bundle)
    return bundle


def verify(folder: Path, bundle: Bundle) -> None:
    """See that `folder` holds the files of `bundle`, each with its bytes, and nothing else.

    A symbolic link, a device, a pipe, a folder that no file is in, and a file that changes while it is read are refused like a wrong one.
    Raises BadBundle, which names the file.
    """
    paths = _listed(folder, {parent for path in bundle.files for parent in _parents(path)})
    missing, surplus = sorted(set(bundle.files) - set(paths)), sorted(set(paths) - set(bundle.files))
    if missing or surplus:
        difference = f"{missing[0]} is missing" if missing else f"{surplus[0]!r} is not in the manifest"
        raise BadBundle(f"{folder}: {difference}; {len(paths)} files are there, the manifest names {len(bundle.files)}", _AGAIN)
    for path, entry in bundle.files.items():
        _verify_file(folder, path, entry)


_AGAIN: Final = "fetch the bundle again; it was not used"


def _listed(folder: Path, folders: set[str]) -> list[str]:
    """Relative paths of the plain files below `folder`. Raises BadBundle for what is neither one of them nor one of `folders`."""
    paths: list[str] = []
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(folder / parent) as entries:
                for entry in entries:
                    path = f"{parent}/{entry.name}" if parent else entry.name
                    if entry.is_dir(follow_symlinks=False) and path in folders:
                        waiting.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        paths.append(path)
                    else:
                        kind = "a link" if entry.is_symlink() else "a folder" if entry.is_dir() else "no plain file"
                        raise BadBundle(f"{folder}: {path!r} is {kind}, allowed: the files of the manifest", _AGAIN)
        except OSError as error:
            raise BadBundle(f"{folder / parent}: cannot be read ({error.strerror or error})", _AGAIN) from error
    return paths


def _verify_file(folder: Path, path: str, entry: File) -> None:
    hashed, length = hashlib.sha256(), 0
    try:
        with os.fdopen(os.open(folder / path, _FLAGS), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise BadBundle(f"{folder}: {path} is no plain file", _AGAIN)
            while length <= entry.bytes and (chunk := stream.read(LIMITS.chunk_bytes)):
                hashed.update(chunk)
                length += len(chunk)
    except OSError as error:
        raise BadBundle(f"{folder}: {path} cannot be read ({error.strerror or error})", _AGAIN) from error
    if length != entry.bytes:
        more = "more than " if length > entry.bytes else ""
        raise BadBundle(f"{folder}: {path} has {more}{min(length, entry.bytes):,} bytes, the manifest says {entry.bytes:,}", _AGAIN)
    if hashed.hexdigest() != entry.sha256:
        raise BadBundle(f"{folder}: {path} has SHA-256 {hashed.hexdigest()[:12]}…, the manifest says {entry.sha256[:12]}…", _AGAIN)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _model(fields: Fields) -> Model:
    model = Model(fields.text("file", PATH), fields.text("precision", WORD), fields.text("target", WORD), fields.flag("preferred"))
    fields.end()
    return model


def _lines(fields: Fields) -> dict[str, str]:
    for name in fields.document:
        if not re.fullmatch(KEY, name):
            raise BadDocument(f"{fields.where}: {name!r:.80} is no key, allowed: {KEY}", "nothing of it was used")
    return {name: fields.line(name) for name in fields.document}


def _fusion(fields: Fields) -> Fusion:
    fusion = Fusion(fields.number("confident", 0, 1), fields.number("nearest_m", 0, 100), fields.number("farthest_m", 0, 100))
    fields.end()
    if not fusion.nearest_m < fusion.farthest_m:
        fields.refuse("farthest_m", "more than nearest_m")
    return fusion


def _metres(fields: Fields) -> dict[str, float]:
    return {name: fields.number(name, 0, 10) for name in fields.document}


def _health(fields: Fields) -> Health:
    frames = tuple(map(_frame, fields.parts("frames", 1, LIMITS.health_frames)))
    part = fields.part("bounds")
    bounds = Bounds(
        part.number("rmse_m", 0, 100),
        part.number("worst_rmse_m", 0, 100),
        part.optional("class_agreement", lambda name: part.number(name, 0, 1)),
    )
    part.end()
    fields.end()
    return Health(frames, bounds)


def _frame(fields: Fields) -> HealthFrame:
    frame = HealthFrame(
        fields.text("rgb", PATH), fields.text("depth", PATH), fields.optional("classes", lambda name: fields.text(name, PATH))
    )
    fields.end()
    return frame


def _files(fields: Fields) -> dict[str, File]:
    if not 1 <= len(fields.document) <= LIMITS.bundle_files:
        raise BadDocument(
            f"{fields.where}: {len(fields.document)} are named, allowed: 1 to {LIMITS.bundle_files}", "nothing of it was used"
        )
    files = {}
    for path in fields.document:
        if not re.fullmatch(PATH, path):
            raise BadDocument(f"{fields.where}: {path!r:.80} is no path in a bundle, allowed: {PATH}", "nothing of it was used")
        part = fields.part(path)
        files[path] = File(part.text("sha256", SHA256), part.count("bytes", 0, LIMITS.bundle_bytes))
        part.end()
    return files


def _consistent(bundle: Bundle) -> None:
    """Raises BadDocument where two fields contradict each other."""
    named = [model.file for model in bundle.models]
    for frame in bundle.health.frames:
        named += [path for path in (frame.rgb, frame.depth, frame.classes) if path is not None]
    faults = [
        *(f"{path} is not among its files" for path in named if path not in bundle.files),
        *(f"{path} is a file and a folder" for other in bundle.files for path in _parents(other) if path in bundle.files),
        *(f"class {name} is not among its classes" for name in (*bundle.classes_trained, *bundle.inflation) if name not in bundle.classes),
        *(
            f"two models are preferred for {target}"
            for target in sorted({model.target for model in bundle.models})
            if sum(model.preferred for model in bundle.models if model.target == target) > 1
        ),
    ]
    if len({model.file for model in bundle.models}) != len(bundle.models):
        faults.append("one file is two models")
    if bundle.total_bytes > LIMITS.bundle_bytes:
        faults.append(f"its files have {bundle.total_bytes:,} bytes, allowed: {LIMITS.bundle_bytes:,}")
    if faults:
        raise BadDocument(f"the manifest: {faults[0]}", "it was not written by Vortex; nothing of it was used")
