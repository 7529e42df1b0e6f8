"""What a promotion is judged by: one record a kind. Whoever promotes gathers them; a gate names the kinds that it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from validation.evidence.parity import Pairs

DataState = Literal["passed", "failed", "never validated", "allowed unvalidated", "declared"]
"""`allowed unvalidated`: an older ledger says that the training was started with --allow-unvalidated, and not why. `declared`: somebody
says so of a checkpoint that was adopted."""


@dataclass(frozen=True)
class TrainingData:
    """What `vortex validate` had said of the data that the version and all whose weights are in it, its `line`, were trained on.

    `uses` are (version, dataset, state); of the versions in `unrecorded` no data is recorded.
    """

    line: tuple[str, ...]
    uses: tuple[tuple[str, str, DataState], ...]
    unrecorded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quarantines:
    """What of the version's line of weights, and of the data that it was trained on, stands in quarantine, in words with who said so and why."""

    line: tuple[str, ...]
    bars: tuple[str, ...]


@dataclass(frozen=True)
class ExamLeaks:
    """Exam frames among the training frames of the version's line of weights, in words; `unknown` says of whom that cannot be told, and why."""

    line: tuple[str, ...]
    leaks: tuple[str, ...]
    unknown: Mapping[str, str]


@dataclass(frozen=True)
class Exam:
    """The sets that judge the channel, each with its name and content, the frames that are judged, and what `vortex validate` said of it.

    `passed` is None for a set that was not validated as it is now. `changed` says what of it is not in `data/` as `data.dvc` records it.
    `earlier` has the sets and frames by which `holder` came into production on the channel; it is empty where nothing did.
    """

    domain: str
    sets: tuple[tuple[str, int, bool | None], ...]
    changed: tuple[str, ...] = ()
    holder: str = ""
    earlier: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Measurement:
    """What the version was measured to be at `place`, which names domain, camera, set, frames and protocol; None where it was not measured there."""

    place: str
    values: Mapping[str, float] | None
    frames: int = 0
    effective_frames: float | None = None


Word = Literal["better", "worse", "equivalent", "open"]


@dataclass(frozen=True)
class Comparison:
    """How the version stands against another on the same frames, by one metric: the verdict's word, and its numbers and grounds as text.

    `share` is how many of the pixels with truth the metric is about: those of glass, or those nearby; 1 for one that is about all.
    """

    word: Word
    text: str
    share: float = 1.0


Compare = Callable[[str, float], Comparison]
"""(metric, margin as a share of the other's value) → how the version stands."""


@dataclass(frozen=True)
class Incumbent:
    """The version that holds the channel, and how the asking version stands against it at the place of its `Measurement`.

    `compare` is None where it cannot be judged there, and `missing` says why.
    """

    version: str
    compare: Compare | None
    missing: str = ""


@dataclass(frozen=True)
class Baselines:
    """What knows nothing of a picture, by name, and how the asking version stands against each at the place of its `Measurement`."""

    compare: Mapping[str, Compare]


@dataclass(frozen=True)
class TrainedClasses:
    """The classes that the domain requires, and the labelled pixels of each class that the version's line of weights was trained on.

    `pixels` is None where they were not counted.
    """

    required: tuple[str, ...]
    pixels: Mapping[str, int] | None


@dataclass(frozen=True)
class ExportParity:
    """How far the exported network is from the trained one: largest depth difference in metres, share of pixels with the same class.

    Measured on so many `frames` of the sets that `source` names, or on seeded `noise`.
    """

    depth_m: float
    class_agreement: float
    frames: int
    source: str
    noise: bool


@dataclass(frozen=True)
class HostSpeed:
    """How many times as fast as torch eager a file is on a host, by the report that `text` names; None where there is none, and why."""

    over_eager: float | None
    text: str


@dataclass(frozen=True)
class ShippedFile:
    """The very file that the channel's device is sent: its precision and target in words, and whether it is `lossy`, less than fp32.

    `judgements` are (metric, place, how the file stands there against the trained network); where there are none, `missing` says why.
    `builds` is whether NVIDIA's parser and builder take it and what they said, None where they were not asked. `speed` is that of an int8 file
    for the host, None of any other.
    """

    form: str
    lossy: bool
    judgements: tuple[tuple[str, str, Comparison], ...] = ()
    missing: str = ""
    builds: tuple[bool, str] | None = None
    speed: HostSpeed | None = None


@dataclass(frozen=True)
class DeviceInput:
    """The input size (H, W) of the version, and the runtime of the channel's device that would take it."""

    size: tuple[int, int]
    runtime: str


@dataclass(frozen=True)
class ClosedLoopRun:
    """A closed-loop report: of each seed, whether the version and ground truth reached the goal and drove without a collision.

    `trusted` is whether a key that the workspace trusts signed it; `text` says which report it is.
    """

    simulator: str
    reached: Pairs
    unhurt: Pairs
    trusted: bool
    text: str


@dataclass(frozen=True)
class ClosedLoopRuns:
    """The closed-loop reports about the version's own checkpoint, in the order in which they were made."""

    version: str
    runs: tuple[ClosedLoopRun, ...]


@dataclass(frozen=True)
class DeviceRun:
    """A report of a device about the export that the channel's devices are sent: 99 of 100 of its `frames` took `p99_ms` at the most.

    `device` is the enrolled device whose key signed it, one of those that the channel is for; empty where none did. `text` says which report
    it is.
    """

    p99_ms: float
    frames: int
    device: str
    text: str


@dataclass(frozen=True)
class DeviceRuns:
    """The device-bench reports about the version's export `export_sha256`, in the order in which they were made."""

    version: str
    export_sha256: str | None
    runs: tuple[DeviceRun, ...]


@dataclass(frozen=True)
class ShadowRun:
    """A version that ran beside the one in production on an enrolled `device` of the channel (empty: none's key): how often the two agreed,
    over `frames`, and whether its process died (`crashes`)."""

    device: str
    frames: int
    depth_within_10_percent: float
    same_class: float | None
    text: str
    crashes: int = 0


@dataclass(frozen=True)
class ShadowRuns:
    """The shadow reports about the version's own checkpoint, in the order in which they were made."""

    version: str
    runs: tuple[ShadowRun, ...]


Evidence: TypeAlias = Mapping[type, object]
"""Each kind that was gathered, and its record: None where there is none (nothing holds the channel, nothing was exported)."""
