"""What the registry records about a version: plain, frozen, and the same in memory, in the ledger and under `--json`."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from registry import stored
from registry.channels import Channel
from registry.declarations import Adoption, Declaration, DeclaredMetric
from registry.edges import Edge

_EXAM: Final = re.compile(r"(val|test)-[a-z0-9-]+/\d+(\+tof|\+teacher)?")


@dataclass(frozen=True)
class RunRecord:
    """All that MLflow has about a run but its files, so that another store can have it too. `run_id` is that of the ledger."""

    run_id: str
    name: str
    status: str
    started_ms: int
    ended_ms: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: tuple[tuple[str, float, int, int], ...]
    """Name, value, time in ms and step of every point."""
    inputs: tuple[Mapping[str, Any], ...]
    """Name, digest, source_type, source and tags of every dataset."""


@dataclass(frozen=True)
class Artifact:
    """A stored file: `uri` is relative to the artifact root when that is a folder, so that a repository can be moved; else a full URI."""

    uri: str
    sha256: str
    bytes: int


DataState = Literal["passed", "failed", "never validated", "allowed unvalidated", "declared"]
"""What the data gate had said of a dataset when a training began. Older ledgers tell only passed from allowed unvalidated.

`declared` is what somebody says that a checkpoint was trained on, which came from elsewhere: nothing here has seen that data.
"""


@dataclass(frozen=True)
class DataUse:
    """One dataset as a run saw it: `digest` over manifest and files, `dvc` the `.dir` hash of `data.dvc`, frames per split.

    `validated` says whether it had passed its gate, and `state` what the gate had said; a ledger from before the state has the first alone.
    """

    name: str
    domain: str
    kind: str
    digest: str
    dvc: str | None
    validated: bool
    frames: dict[str, int]
    state: DataState | Literal[""] = ""

    def __post_init__(self) -> None:
        if not self.state:
            object.__setattr__(self, "state", "passed" if self.validated else "allowed unvalidated")


@dataclass(frozen=True)
class Series:
    """What makes numbers comparable: the frames (`digest`), one domain and camera of them, one protocol.

    Two measurements of one series are measurements of the same thing, and the later one counts. What the dataset was called then makes
    no other series: it is no part of being equal.
    """

    domain: str
    camera: str
    protocol: str
    dataset: str = field(compare=False)
    digest: str

    @property
    def exam(self) -> bool:
        """Whether a version may be judged by it; see `is_exam`."""
        return is_exam(self.protocol)

    @property
    def place(self) -> str:
        """Where its numbers hold, for people: domain, camera, and the dataset where its name says more."""
        return f"{self.domain} · {self.camera}" + (f" ({self.dataset})" if self.dataset != self.domain else "")

    def __str__(self) -> str:
        dataset = f"{self.dataset}, " if self.dataset != self.domain else ""
        return f"{self.domain} · {self.camera} ({dataset}{self.protocol})"

    def difference(self, other: Series) -> str | None:
        """What keeps two from being compared, in words; None for the same frames by the same protocol, whatever the dataset is called."""
        for what in ("domain", "camera", "protocol"):
            ours, theirs = getattr(self, what), getattr(other, what)
            if ours != theirs:
                return f"{what} differs ({ours} against {theirs})"
        if self.digest != other.digest:
            return f"data differs ({self.dataset}@{self.digest[:12]} against {other.dataset}@{other.digest[:12]})"
        return None


@dataclass(frozen=True)
class Metrics:
    """The values of one series; the numbers mean nothing without it."""

    domain: str
    camera: str
    protocol: str
    dataset: str
    digest: str
    values: dict[str, float]
    frames: int
    errors: Artifact | None = None

    @property
    def series(self) -> Series:
        """What was measured."""
        return Series(self.domain, self.camera, self.protocol, self.dataset, self.digest)


@dataclass(frozen=True)
class Export:
    """A form of the student for a runtime, with how far it is from the student that it came from.

    `parity_m` is the largest depth difference in metres, `class_agreement` the share of pixels with the same class,
    `parity_on` says what was compared: the name of a dataset, or `noise`. `target` is what the file is made for: `host`, or `jetson`.
    """

    artifact: Artifact
    format: str = "onnx"
    size: tuple[int, int] | None = None
    precision: str = "fp32"
    opset: int | None = None
    parity_m: float | None = None
    class_agreement: float | None = None
    parity_on: str = ""
    frames: int = 0
    detail: dict[str, Any] = field(default_factory=dict)
    target: str = "host"

    @property
    def form(self) -> str:
        """Format and precision, and the target where that is not the host."""
        return f"{self.format} {self.precision}" + ("" if self.target == "host" else f" for {self.target}")


@dataclass(frozen=True)
class Evidence:
    """A report of how a version did outside of Vortex, about its checkpoint, and about one export where `export_sha256` says which.

    `artifact` is the report, or the signed envelope around it; `signers` are the ids of the keys that signed it. Whether they are trusted
    is not recorded: it depends on who reads.
    """

    kind: str
    artifact: Artifact
    report: str
    report_sha256: str
    made_at: str
    made_by: str
    summary: str
    export_sha256: str | None = None
    signers: tuple[str, ...] = ()


@dataclass(frozen=True)
class NewVersion:
    """A finished run, as it asks for a name.

    `recipe` is the shipped recipe v1…v9 whose name it claims, or None; a `derived` one (trained from weights) never takes a recipe's name.
    """

    recipe: str | None
    derived: bool
    recipe_config: dict[str, Any]
    parents: tuple[Edge, ...]
    domain: str | None
    data: tuple[DataUse, ...]
    size: tuple[int, int]
    run_id: str
    run: str
    checkpoint: Artifact
    truncated: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    codename: str = ""
    fingerprints: Artifact | None = None
    """The training frames' fingerprints (`pipelines.validate.fingerprints`), by which a leak into an exam is seen; None for older versions."""
    class_pixels: dict[str, int] | None = None
    """Class → labelled pixels of it in the training frames; None for older versions."""


class Material(NamedTuple):
    """What a version was trained on, and where the fingerprints of those frames are."""

    data: tuple[DataUse, ...] = ()
    fingerprints: Artifact | None = None


Outcome = Literal["committed", "rolled back", "held", "failed"]
"""What a device did with what its channel asked for."""


@dataclass(frozen=True)
class DeviceStatus:
    """What a device said of itself, signed with its key: `counter` rises with each report, `at` is by its own clock."""

    counter: int
    at: str
    outcome: Outcome
    version: str | None
    bundle: str | None
    """SHA-256 of the manifest of what it runs."""
    slot: str | None
    engine: str | None
    """Key of the engine that it built."""
    reason: str = ""
    about: str | None = None
    """SHA-256 of the manifest that it was to run, or that was rolled back; None where the report does not say."""

    @property
    def words(self) -> str:
        """What came of what it was asked, and what it runs now."""
        runs = self.version or "nothing"
        return {
            "committed": f"runs {runs}",
            "held": f"holds {runs}",
            "rolled back": f"rolled back, and runs {runs}",
            "failed": f"failed, and runs {runs}",
        }[self.outcome]

    @property
    def because(self) -> str:
        """Why, without what it runs, which a device's reason says too: it is read on the device alone."""
        runs = f"{self.version or 'nothing'} runs"
        reason = self.reason.removesuffix(f"; {runs}").removesuffix(f"; {runs} on")
        for opening in (f"{runs} on: ", f"{runs}: ", f"{runs}, "):
            if reason.startswith(opening):
                return reason.removeprefix(opening)
        return "" if reason == runs else reason

    @property
    def sentence(self) -> str:
        """`words`, and why."""
        return f"{self.words}{',' if self.outcome == 'committed' else ':'} {self.because}" if self.because else self.words


@dataclass(frozen=True)
class EnrolledDevice:
    """A device that is known by its key, and the channel that it pulls. `revoked_at` is when it stopped to be; its history stays."""

    name: str
    channel: Channel
    keyid: str
    key: str
    """The public key, as PEM."""
    enrolled_at: str
    revoked_at: str | None = None
    status: DeviceStatus | None = None
    seen_at: str | None = None
    """When its newest report was collected here."""


@dataclass(frozen=True)
class Quarantine:
    """A version or a dataset from which nothing is promoted until that is lifted: who said so, when (UTC), and why.

    `subject` is v9, `rooms` for every content that ever had that name, or `rooms@CONTENT` for one. `contents` are the digests of data
    that were known under it then, so that it is known again under another name.
    """

    scope: Literal["version", "data"]
    subject: str
    reason: str
    actor: str
    at: str
    contents: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The version's or the dataset's name."""
        return self.subject.partition("@")[0]

    def __str__(self) -> str:
        """What stands in quarantine: the content's digest shortened, as listings have it."""
        name, at, content = self.subject.partition("@")
        return f"{name}{at}{content[:12]}"

    def holds_data(self, name: str, content: str) -> bool:
        """Whether it is about the dataset of this name and content, whatever either of them was called."""
        return self.scope == "data" and (content in self.contents or self.subject == name)


@dataclass(frozen=True)
class Headline:
    """The numbers that a listing shows, with the domain and the camera they hold for."""

    domain: str
    camera: str
    rmse: float | None
    miou: float | None


@dataclass(frozen=True)
class Summary:
    """A version as listings show it: folded from the ledger's small parts alone, so that thousands are quick."""

    name: str
    number: int
    codename: str
    recipe: str | None
    parents: tuple[Edge, ...]
    domain: str | None
    size: tuple[int, int]
    truncated: str | None
    unproven: tuple[str, ...]
    """Datasets that it was trained on without their having passed the gate, each with what the gate had said."""
    headlines: tuple[Headline, ...]
    exports: int
    stages: tuple[tuple[str, str], ...]
    created_at: str
    actor: str
    reason: str
    commit: str | None

    @property
    def headline(self) -> Headline | None:
        """The newest measurement by an exam's protocol on the version's own domain, else on any."""
        own = [line for line in self.headlines if line.domain == self.domain]
        return own[-1] if own else (self.headlines[-1] if self.headlines else None)


@dataclass(frozen=True)
class Version(NewVersion):
    """A registered version: everything that was recorded about it, then and since.

    `stages` pairs each channel (`device/domain`) with the highest stage that this version holds there.
    """

    name: str = ""
    number: int = 0
    metrics: tuple[Metrics, ...] = ()
    exports: tuple[Export, ...] = ()
    created_at: str = ""
    actor: str = ""
    reason: str = ""
    commit: str | None = None
    stages: tuple[tuple[str, str], ...] = ()
    mlflow_version: int = 0
    declaration: Declaration | None = None
    """What was published of it, where that was imported."""
    adoption: Adoption | None = None
    """Where its weights came from, where they were not trained here."""
    evidence: tuple[Evidence, ...] = ()
    """Reports of how it did outside of Vortex, in the order in which they were added."""

    @property
    def published(self) -> tuple[DeclaredMetric, ...]:
        """Numbers that were declared and not measured here."""
        return tuple(
            dict.fromkeys([*(self.declaration.metrics if self.declaration else ()), *(self.adoption.metrics if self.adoption else ())])
        )

    @cached_property
    def headline(self) -> Headline | None:
        """The newest measurement by an exam's protocol on the version's own domain, else on any."""
        exams = [metrics for metrics in self.metrics if metrics.series.exam]
        own = [metrics for metrics in exams if metrics.domain == self.domain]
        metrics = own[-1] if own else (exams[-1] if exams else None)
        return None if metrics is None else Headline(metrics.domain, metrics.camera, metrics.values.get("rmse"), metrics.values.get("miou"))

    def metrics_for(self, domain: str, camera: str | None = None) -> Metrics | None:
        """The newest measurement on `domain` (and `camera`), or None."""
        return next((metrics for metrics in reversed(self.metrics) if metrics.domain == domain and camera in (None, metrics.camera)), None)


def to_json(value: Any) -> Any:
    """A record as JSON knows it. A number that is not finite becomes the text that `float` reads back, since JSON has none."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_json(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_json(item) for item in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if isinstance(value, (bool, int)) else str(value)


def is_exam(protocol: str) -> bool:
    """Whether a protocol is that of an exam: the whole held-out split of a dataset that passed its gate, at the version's own size.

    Everything else (training frames, a part of the split, data that was not validated or is no dataset) carries a mark in its name.
    """
    return _EXAM.fullmatch(protocol) is not None


def artifact(raw: object) -> Artifact:
    """An artifact from its JSON."""
    return stored.record(Artifact, raw)


def optional_artifact(raw: object) -> Artifact | None:
    """An artifact or nothing from its JSON."""
    return None if raw is None else artifact(raw)


def data_use(raw: object) -> DataUse:
    """How a run used a dataset, from its JSON. Raises ValueError for a state that is none."""
    state = stored.mapping(raw).get("state", "")
    if state not in ("", *get_args(DataState)):
        raise ValueError(f"{state!r:.60} is nothing that a gate says")
    return stored.record(DataUse, raw, state=state)


def metrics(raw: object) -> Metrics:
    """Metrics from their JSON; `nan` and `inf` come back as numbers, so that a gate sees them."""
    return stored.record(Metrics, raw, errors=optional_artifact(stored.mapping(raw)["errors"]))


def export(raw: object) -> Export:
    """An export from its JSON."""
    return stored.record(Export, raw, artifact=artifact(stored.mapping(raw)["artifact"]))


def evidence(raw: object) -> Evidence:
    """Evidence from its JSON."""
    return stored.record(Evidence, raw, artifact=artifact(stored.mapping(raw)["artifact"]))


def device_status(raw: Mapping[str, Any]) -> DeviceStatus:
    """What a device said of itself, from its JSON. Raises TypeError or ValueError, naming it, for a field of another kind."""
    outcome = stored.text(raw["outcome"])
    if outcome not in get_args(Outcome):
        raise ValueError(f"{outcome!r:.60} is no outcome")
    version, bundle, slot, engine = (stored.optional_text(raw[name]) for name in ("version", "bundle", "slot", "engine"))
    counter, at, reason = stored.count(raw["counter"]), stored.text(raw["at"]), stored.text(raw.get("reason", ""))
    return DeviceStatus(counter, at, cast(Outcome, outcome), version, bundle, slot, engine, reason, stored.optional_text(raw.get("about")))
