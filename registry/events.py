"""What the ledger records: one class per kind of event, and nowhere else does a kind or a key of its head or body stand.

A class says which fields its event has, how they are written (`head` for what listings fold, `body` for the rest) and read back (`parse`),
which numbers it claims, what it folds into, and its sentence in the history. A new kind is a new class here.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal, Self

from core.errors import VortexError
from core.printable import one_line
from registry import records
from registry.channels import Channel, ChannelState
from registry.declarations import Adoption, Declaration, DeclaredJob, DeclaredVersion, declared_metrics
from registry.edges import VersionEdge, edges
from registry.ledger import Claim, Contradiction, Entry, NotUnderstood, Reader
from registry.records import (
    Artifact,
    DataUse,
    DeviceStatus,
    EnrolledDevice,
    Evidence,
    Export,
    Headline,
    Material,
    Metrics,
    NewVersion,
    Quarantine,
)
from registry.state import State, VersionState, WholeVersion

Role = Literal["name", "stage", "refused", "rolled back", "quarantined"]
"""What a part of a sentence is, so that a terminal and a page can each show it in their way."""
Sentence = tuple[str | tuple[str, Role], ...]

AUDIT: Final = (
    "it did not come from a promotion, a rollback, a registration, an import or an adoption: `vortex audit verify` says all that is wrong"
)
MALFORMED: Final = (VortexError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading an entry raises that was not written by its class, or that is about what no earlier entry made; VortexError for a subject that
is no channel."""
NEWER: Final = "it was written by a newer vortex: update this one"
Scope = Literal["version", "channel", "data", "device"]
"""What an event is about, which is what its subject names."""

KINDS: Final[dict[str, type[Event]]] = {}
"""Kind, as the ledger stores it → its class; each class enters itself."""


class Event(ABC):
    """One thing that happened. A subclass with a `kind` is one that the ledger stores: `class X(Event, kind="version.x")`."""

    kind: ClassVar[str]
    scope: ClassVar[Scope]
    shape: ClassVar[int] = 1
    """The version of head and body. It is stored from 2 on, and an event of a later shape than this is refused instead of misread."""
    folds: ClassVar[bool] = True
    """Whether it changes what is; one that does not is told in the history only, and reads leave it out."""

    def __init_subclass__(cls, kind: str = "") -> None:
        super().__init_subclass__()
        if kind:
            cls.kind = kind
            KINDS[kind] = cls

    @property
    @abstractmethod
    def subject(self) -> str:
        """What it is about: the name of a version or an enrolled device, a channel as `device/domain`, or a dataset as `NAME` or `NAME@CONTENT`."""

    def head(self) -> dict[str, Any]:
        """The small part that listings read, as JSON knows it; nothing but the subject, unless a kind says more."""
        return {}

    def body(self) -> dict[str, Any]:
        """The rest."""
        return {}

    def claims(self) -> tuple[Claim, ...]:
        """What it takes that no other event can take again."""
        return ()

    def artifacts(self) -> tuple[Artifact, ...]:
        """The stored files that it names."""
        return ()

    @classmethod
    @abstractmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""

    @staticmethod  # noqa: B027 (a kind may have nothing to fold)
    def fold_head(entry: Entry, state: State) -> None:
        """Put into `state` what the head says. Of the entry itself, because making thousands of events for a listing takes too long."""

    def fold_body(self, state: State) -> None:  # noqa: B027
        """Put into `state` what the body adds, after the head was folded."""

    @abstractmethod
    def sentence(self) -> Sentence:
        """What happened, as a sentence's core."""

    def concerns(self, version: str | None, device: str | None, domain: str | None) -> bool:
        """Whether it belongs to all of these that are given. What is of no version and no channel does where none is."""
        return version is None and device is None and domain is None


@dataclass(frozen=True)
class VersionEvent(Event):
    """Something about a version."""

    scope: ClassVar[Scope] = "version"
    version: str

    @property
    def subject(self) -> str:
        """The version's name."""
        return self.version

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject)

    def concerns(self, version: str | None, device: str | None, domain: str | None) -> bool:
        """Whether it is about `version`; it belongs to no channel."""
        return device is None and domain is None and version in (None, self.version)


@dataclass(frozen=True)
class ChannelEvent(Event):
    """A version and a stage of a channel. `seq` is the channel's move after it, `replaced` the version that held the stage before."""

    scope: ClassVar[Scope] = "channel"
    channel: Channel
    version: str
    stage: str
    seq: int
    replaced: str | None

    @property
    def subject(self) -> str:
        """The channel."""
        return str(self.channel)

    def head(self) -> dict[str, Any]:
        """All but the channel."""
        return {"version": self.version, "stage": self.stage, "seq": self.seq, "replaced": self.replaced}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(Channel.parse(entry.subject), *(entry.head[name] for name in ("version", "stage", "seq", "replaced")))

    def concerns(self, version: str | None, device: str | None, domain: str | None) -> bool:
        """Whether it is about this channel, and about `version` or replaced it."""
        return (
            version in (None, self.version, self.replaced)
            and device in (None, self.channel.device)
            and domain in (None, self.channel.domain)
        )


@dataclass(frozen=True)
class VersionRegistered(VersionEvent, kind="version.registered"):
    """A finished run got its name."""

    shape: ClassVar[int] = 2
    new: NewVersion
    mlflow_version: int

    HEAD: ClassVar[tuple[str, ...]] = ("recipe", "codename", "domain", "size", "truncated")

    @property
    def number(self) -> int:
        """The number in its name."""
        return int(self.version.removeprefix("v"))

    def head(self) -> dict[str, Any]:
        """What a listing shows of a version."""
        parents = [edge.triple() for edge in self.new.parents]
        unproven = [f"{use.name}: {use.state}" for use in self.new.data if use.state != "passed"]
        return {**{name: getattr(self.new, name) for name in self.HEAD}, "parents": parents, "number": self.number, "unproven": unproven}

    def body(self) -> dict[str, Any]:
        """All else that is known of the run."""
        names = [item.name for item in fields(NewVersion) if item.name not in (*self.HEAD, "parents")]
        return {**{name: getattr(self.new, name) for name in names}, "mlflow_version": self.mlflow_version}

    def claims(self) -> tuple[Claim, ...]:
        """The number, and the run: it is registered once."""
        return (("version", self.number), (run_scope(self.new.run_id), 0))

    def artifacts(self) -> tuple[Artifact, ...]:
        """The weights, and what tells the frames that they were trained on."""
        return (self.new.checkpoint, *([self.new.fingerprints] if self.new.fingerprints else []))

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        head, body = entry.head, entry.body or {}
        names = {item.name for item in fields(NewVersion)}
        parts = {name: value for name, value in (head | body).items() if name in names}
        new = NewVersion(
            **{
                **parts,
                "size": (head["size"][0], head["size"][1]),
                "parents": edges(head["parents"]),
                "data": tuple(DataUse(**use) for use in body["data"]),
                "checkpoint": Artifact(**body["checkpoint"]),
                "fingerprints": records.artifact(body.get("fingerprints")),
            }
        )
        return cls(entry.subject, new, body["mlflow_version"])

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """A new version, with nothing measured yet. Raises Contradiction where the name is taken."""
        head = entry.head
        if entry.subject in state.versions:
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: it registers {entry.subject}, which an earlier event has registered", AUDIT
            )
        state.versions[entry.subject] = VersionState(
            **{
                **{name: head[name] for name in VersionRegistered.HEAD},
                "number": records.count(head["number"]),
                "unproven": tuple(head.get("unproven", ())),
                "name": entry.subject,
                "size": (head["size"][0], head["size"][1]),
                "parents": edges(head["parents"]),
                "created_at": entry.at,
                "actor": entry.actor,
                "reason": entry.reason,
                "commit": entry.commit,
            }
        )

    def fold_body(self, state: State) -> None:
        """How it was made."""
        version = state.versions[self.version]
        version.whole = WholeVersion(self.new, self.mlflow_version)
        version.material = Material(self.new.data, self.new.fingerprints)

    @staticmethod
    def material_of(entry: Entry) -> Material:
        """What the body says of the training data, alone: for a lineage thousands are read, and the rest of them would take most of the time."""
        body = entry.body or {}
        return Material(tuple([DataUse(**use) for use in body["data"]]), records.artifact(body.get("fingerprints")))

    def sentence(self) -> Sentence:
        """What it was made from."""
        origins = " and ".join(f"{edge.kind} {edge.version}" for edge in self.new.parents if isinstance(edge, VersionEdge))
        return (self.version, "name"), " registered", f", from {origins}" if origins else ""


@dataclass(frozen=True)
class VersionMeasured(VersionEvent, kind="version.measured"):
    """A version was measured; a measurement of the same series replaces the earlier one."""

    metrics: Metrics

    def head(self) -> dict[str, Any]:
        """The headline, and by which protocol."""
        metrics = self.metrics
        figures = {"rmse": metrics.values.get("rmse"), "miou": metrics.values.get("miou")}
        return {"domain": metrics.domain, "camera": metrics.camera, "protocol": metrics.protocol, **figures}

    def body(self) -> dict[str, Any]:
        """Every value."""
        return {"metrics": self.metrics}

    def artifacts(self) -> tuple[Artifact, ...]:
        """The errors of single frames."""
        return (self.metrics.errors,) if self.metrics.errors else ()

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject, records.metrics((entry.body or {})["metrics"]))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """The headline, as the newest one. Only an exam makes one; heads of older ledgers name no protocol."""
        head = entry.head
        if "protocol" in head and not records.is_exam(head["protocol"]):
            return
        headlines = state.versions[entry.subject].headlines
        domain, camera, rmse, miou = head["domain"], head["camera"], head["rmse"], head["miou"]
        headlines.pop((domain, camera), None)
        headlines[domain, camera] = Headline(domain, camera, None if rmse is None else float(rmse), None if miou is None else float(miou))

    def fold_body(self, state: State) -> None:
        """The measurement, as the newest one."""
        metrics = state.whole(self.version).metrics
        metrics.pop(self.metrics.series, None)
        metrics[self.metrics.series] = self.metrics

    def sentence(self) -> Sentence:
        """Where and on what, and the error in depth."""
        metrics = self.metrics
        rmse = metrics.values.get("rmse")
        error = "" if rmse is None else f": RMSE {rmse:.3f} m"
        data = f"{metrics.dataset}@{metrics.digest[:12]}, {metrics.frames} frames, {metrics.protocol}"
        return (self.version, "name"), f" measured on {metrics.domain} · {metrics.camera} ({data}){error}"


@dataclass(frozen=True)
class VersionExported(VersionEvent, kind="version.exported"):
    """A version was written for a runtime; the newest export of a format, size, precision and target is the one that counts."""

    export: Export

    def head(self) -> dict[str, Any]:
        """Which form, and the hash of its file."""
        return {"format": self.export.format, "precision": self.export.precision, "sha256": self.export.artifact.sha256}

    def body(self) -> dict[str, Any]:
        """The whole record."""
        return {"export": self.export}

    def artifacts(self) -> tuple[Artifact, ...]:
        """The exported file."""
        return (self.export.artifact,)

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject, records.export((entry.body or {})["export"]))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """One export more."""
        state.versions[entry.subject].exports += 1

    def fold_body(self, state: State) -> None:
        """The export, as the newest one."""
        exports = state.whole(self.version).exports
        form = (self.export.format, self.export.size, self.export.precision, self.export.target)
        exports.pop(form, None)
        exports[form] = self.export

    def sentence(self) -> Sentence:
        """Which form."""
        return (self.version, "name"), f" exported to {self.export.form}"


@dataclass(frozen=True)
class VersionQuarantined(VersionEvent, kind="version.quarantined"):
    """A version came into quarantine: neither it nor what has its weights is promoted. Why is the entry's reason."""

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It stands in quarantine."""
        state.quarantines["version", entry.subject] = Quarantine("version", entry.subject, entry.reason, entry.actor, entry.at)

    def sentence(self) -> Sentence:
        """That it is in quarantine."""
        return (self.version, "name"), " ", ("quarantined", "quarantined")


@dataclass(frozen=True)
class VersionReleased(VersionEvent, kind="version.released"):
    """The quarantine of a version was lifted."""

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It stands in quarantine no more."""
        state.quarantines.pop(("version", entry.subject), None)

    def sentence(self) -> Sentence:
        """That its quarantine ended."""
        return (self.version, "name"), " released from quarantine"


@dataclass(frozen=True)
class VersionDeclared(VersionEvent, kind="version.declared"):
    """A version was described that has no weights here.

    It takes the name, unless a checkpoint was adopted under that name before: then it only says what was published of it.
    """

    declaration: Declaration
    takes_name: bool = True

    @property
    def number(self) -> int:
        """The number in its name."""
        return int(self.version.removeprefix("v"))

    def head(self) -> dict[str, Any]:
        """All of it: declared versions are few, and listings show what was published."""
        parents = [edge.triple() for edge in self.declaration.parents]
        return {**vars(self.declaration), "parents": parents, "takes_name": self.takes_name, "number": self.number}

    def claims(self) -> tuple[Claim, ...]:
        """The number."""
        return (("version", self.number),) if self.takes_name else ()

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        names = {item.name for item in fields(Declaration)}
        parts = {name: value for name, value in entry.head.items() if name in names}
        declaration = Declaration(
            **{
                **parts,
                "parents": edges(parts["parents"]),
                "data": tuple(parts["data"]),
                "jobs": tuple(DeclaredJob(**job) for job in parts["jobs"]),
                "metrics": declared_metrics(parts["metrics"]),
            }
        )
        return cls(entry.subject, declaration, entry.head["takes_name"])

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """What was said of it. Raises Contradiction where the name is taken, or is not where it should be."""
        event = VersionDeclared.parse(entry)
        if event.version in state.declared or event.takes_name == (event.version in state.versions):
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: it declares {event.version}, which it cannot after those before it", AUDIT
            )
        adopted = state.versions.get(event.version)
        if adopted:
            adopted.codename = adopted.codename or event.declaration.codename
        state.declared[event.version] = DeclaredVersion(
            event.version, event.number, event.declaration, entry.at, entry.actor, entry.reason, entry.commit, adopted is not None
        )

    def sentence(self) -> Sentence:
        """What it was made from, and the published error in depth."""
        declaration = self.declaration
        origins = " and ".join(f"{edge.kind} {edge.version}" for edge in declaration.parents if isinstance(edge, VersionEdge))
        figures = ", ".join(
            f"{metric.value:g} m on {metric.domain} · {metric.camera}" for metric in declaration.metrics if metric.metric == "rmse"
        )
        return (self.version, "name"), " declared", f", from {origins}" if origins else "", f"; published RMSE {figures}" if figures else ""


@dataclass(frozen=True)
class VersionAdopted(VersionRegistered, kind="version.adopted"):
    """A checkpoint that was made elsewhere got a name: a free one, or that of a declared version, which then has weights."""

    shape: ClassVar[int] = 1
    adoption: Adoption
    takes_name: bool

    def head(self) -> dict[str, Any]:
        """As of any version, and whether the name was free."""
        return {**super().head(), "takes_name": self.takes_name}

    def body(self) -> dict[str, Any]:
        """As of any version, and where the weights came from."""
        return {**super().body(), "adoption": self.adoption}

    def claims(self) -> tuple[Claim, ...]:
        """The run, and the number where no declaration has it."""
        return tuple(claim for claim in super().claims() if self.takes_name or claim[0] != "version")

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        plain, raw = VersionRegistered.parse(entry), (entry.body or {})["adoption"]
        parts = {
            "class_order": tuple(raw["class_order"]),
            "metrics": declared_metrics(raw["metrics"]),
            "sha256": records.text(raw["sha256"]),
        }
        return cls(plain.version, plain.new, plain.mlflow_version, Adoption(**{**raw, **parts}), entry.head["takes_name"])

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """A new version; a declared one of its name has weights now. Raises Contradiction where the name is taken, or is not declared."""
        declared = state.declared.get(entry.subject)
        if entry.head["takes_name"] == (declared is not None):
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: it adopts a checkpoint as {entry.subject[:60]}, which it cannot", AUDIT
            )
        VersionRegistered.fold_head(entry, state)
        if declared is not None:
            state.declared[entry.subject] = dataclasses.replace(declared, adopted=True)
            version = state.versions[entry.subject]
            version.codename = version.codename or declared.declaration.codename

    def fold_body(self, state: State) -> None:
        """How it was made, and where the weights came from."""
        super().fold_body(state)
        state.whole(self.version).adoption = self.adoption

    def sentence(self) -> Sentence:
        """From which file."""
        return (self.version, "name"), f" adopted from {self.adoption.source} ({self.adoption.sha256[:12]})"


@dataclass(frozen=True)
class VersionEvidenced(VersionEvent, kind="version.evidenced"):
    """A report of how a version did outside of Vortex was added."""

    evidence: Evidence

    def head(self) -> dict[str, Any]:
        """Which kind, the hash of the stored file, and who signed it."""
        return {"kind": self.evidence.kind, "sha256": self.evidence.artifact.sha256, "signers": self.evidence.signers}

    def body(self) -> dict[str, Any]:
        """The whole record."""
        return {"evidence": self.evidence}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject, records.evidence((entry.body or {})["evidence"]))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """Nothing that a listing shows."""

    def fold_body(self, state: State) -> None:
        """One report more."""
        state.whole(self.version).evidence.append(self.evidence)

    def artifacts(self) -> tuple[Artifact, ...]:
        """The stored report."""
        return (self.evidence.artifact,)

    def sentence(self) -> Sentence:
        """Of which kind, what it says, and whether it is signed."""
        signed = f"signed by {', '.join(signer[:12] for signer in self.evidence.signers)}" if self.evidence.signers else "unsigned"
        return (self.version, "name"), f" has {self.evidence.kind} evidence, {signed}: {self.evidence.summary}"


REGISTERING: Final = (VersionRegistered.kind, VersionAdopted.kind)
"""The kinds of event after which a version has weights."""
NAMING: Final = (VersionDeclared.kind, *REGISTERING)
"""The kinds of event that give a version its name: an adopted one folds only after its declaration."""


@dataclass(frozen=True)
class ChannelJudged(ChannelEvent):
    """A gate judged a version for a stage; `checks` are plain objects (name, asked, found, passed)."""

    checks: tuple[Mapping[str, Any], ...] = ()

    def body(self) -> dict[str, Any]:
        """What was asked and found."""
        return {"checks": self.checks}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return dataclasses.replace(super().parse(entry), checks=tuple(map(records.mapping, (entry.body or {})["checks"])))


@dataclass(frozen=True)
class ChannelPromoted(ChannelJudged, kind="channel.promoted"):
    """A version passed a stage's gate and holds the stage now. `share` of the devices take it, where that is less than all."""

    share: float = 1.0

    def head(self) -> dict[str, Any]:
        """As of any, and the share where it is not all."""
        return super().head() | ({"share": self.share} if self.share < 1 else {})

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return dataclasses.replace(super().parse(entry), share=entry.head.get("share", 1.0))

    def claims(self) -> tuple[Claim, ...]:
        """The channel's next move."""
        return ((channel_scope(self.channel), self.seq),)

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """The channel has moved; what was in production before is remembered. Raises Contradiction for a move that is not the next."""
        channel = _before_move(entry, state)
        version, stage = entry.head["version"], entry.head["stage"]
        replaces = stage == "production" and channel.production not in (None, version)
        earlier = (*channel.earlier, str(channel.production)) if replaces else channel.earlier
        moved = dataclasses.replace(channel, seq=entry.head["seq"], current={**channel.current, stage: version}, earlier=earlier)
        if stage == "production":
            moved = dataclasses.replace(
                moved,
                share=entry.head.get("share", 1.0),
                since=channel.since if version == channel.production else moved.seq,
                withdrawn=tuple(name for name in channel.withdrawn if name != version),
            )
        state.channels[entry.subject] = moved

    def sentence(self) -> Sentence:
        """To which stage, and instead of which version."""
        instead = f", instead of {self.replaced}" if self.stage == "production" and self.replaced not in (None, self.version) else ""
        instead += f", on {self.share:.0%} of the devices" if self.share < 1 else ""
        waived = dict.fromkeys(str(check.get("name")) for check in self.checks if check.get("waiver"))
        override = f", {', '.join(waived)} overridden" if waived else ""
        return (self.version, "name"), " to ", (self.stage, "stage"), f" on {self.channel}{instead}{override}"


@dataclass(frozen=True)
class ChannelRefused(ChannelJudged, kind="channel.refused"):
    """A version did not pass a stage's gate: it is recorded and moves nothing."""

    folds: ClassVar[bool] = False

    def sentence(self) -> Sentence:
        """For which stage, and which checks failed."""
        failed = [
            check
            for check in self.checks
            if not check.get("passed") and not check.get("waiver") and {"name", "asked", "found"} <= check.keys()
        ]
        reasons = "; ".join(f"{check['name']} (asked {check['asked']}, found {check['found']})" for check in failed)
        why = f": {reasons}" if reasons else ""
        return (self.version, "name"), " ", ("refused", "refused"), f" for {self.stage} on {self.channel}{why}"


@dataclass(frozen=True)
class ChannelRolledBack(ChannelEvent, kind="channel.rolled_back"):
    """The version that was in production before is there again."""

    def claims(self) -> tuple[Claim, ...]:
        """The channel's next move."""
        return ((channel_scope(self.channel), self.seq),)

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """The channel has moved back. Raises Contradiction for a move that is not the next, or leads to what was not there before."""
        channel = _before_move(entry, state)
        version = entry.head["version"]
        if version not in channel.earlier:
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: it takes channel {entry.subject} back to {one_line(str(version))[:60]}, which was"
                " not in production there",
                AUDIT,
            )
        current, seq = {**channel.current, entry.head["stage"]: version}, entry.head["seq"]
        left = (*(name for name in channel.withdrawn if name not in (version, channel.production)), str(channel.production))
        state.channels[entry.subject] = ChannelState(channel.channel, seq, current, channel.before(version), since=seq, withdrawn=left)

    def sentence(self) -> Sentence:
        """To which version, and from which."""
        return f"{self.channel} ", ("rolled back", "rolled back"), " to ", (self.version, "name"), f", from {self.replaced}"


@dataclass(frozen=True)
class ChannelNote(Event):
    """Something about a version on a channel that moves nothing there: it is told, and read by who asks for it."""

    scope: ClassVar[Scope] = "channel"
    folds: ClassVar[bool] = False
    channel: Channel
    version: str

    @property
    def subject(self) -> str:
        """The channel."""
        return str(self.channel)

    def concerns(self, version: str | None, device: str | None, domain: str | None) -> bool:
        """Whether it is about this version on this channel."""
        return version in (None, self.version) and device in (None, self.channel.device) and domain in (None, self.channel.domain)


@dataclass(frozen=True)
class ChannelBundled(ChannelNote, kind="channel.bundled"):
    """A version was packed for the devices of a channel: the manifest's SHA-256 and bytes, and the SHA-256 of the export in it."""

    bundle: str
    bytes: int
    export: str

    def head(self) -> dict[str, Any]:
        """All but the channel."""
        return {"version": self.version, "bundle": self.bundle, "bytes": self.bytes, "export": self.export}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        head = entry.head
        return cls(Channel.parse(entry.subject), head["version"], records.text(head["bundle"]), head["bytes"], head["export"])

    def sentence(self) -> Sentence:
        """For which channel, and as which bundle."""
        return (self.version, "name"), f" packed for the devices of {self.channel} as bundle {self.bundle[:12]}"


@dataclass(frozen=True)
class ChannelHeld(ChannelNote, kind="channel.held"):
    """The rollout of a version was stopped after the channel's move `seq`, for the entry's reason; the next move of production ends that."""

    seq: int

    def head(self) -> dict[str, Any]:
        """The version and the move."""
        return {"version": self.version, "seq": self.seq}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(Channel.parse(entry.subject), entry.head["version"], entry.head["seq"])

    def sentence(self) -> Sentence:
        """Whose rollout."""
        return "rollout of ", (self.version, "name"), f" on {self.channel} ", ("held", "refused")


@dataclass(frozen=True)
class DataEvent(Event):
    """Something about a dataset: `NAME` for every content of that name, `NAME@CONTENT` for the one with that digest."""

    scope: ClassVar[Scope] = "data"
    data: str

    @property
    def subject(self) -> str:
        """The dataset."""
        return self.data


@dataclass(frozen=True)
class DataQuarantined(DataEvent, kind="data.quarantined"):
    """A dataset came into quarantine: nothing that was trained on it, or has weights of what was, is promoted.

    `contents` are the digests that were known under its name; a dataset is known by them under any other name.
    """

    contents: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """The digests."""
        return {"contents": self.contents}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject, tuple((entry.body or {})["contents"]))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It stands in quarantine."""
        state.quarantines["data", entry.subject] = Quarantine("data", entry.subject, entry.reason, entry.actor, entry.at)

    def fold_body(self, state: State) -> None:
        """By which contents it is known."""
        state.quarantines["data", self.data] = dataclasses.replace(state.quarantines["data", self.data], contents=self.contents)

    def sentence(self) -> Sentence:
        """That it is in quarantine."""
        return "data set ", (_data_name(self.data), "name"), " ", ("quarantined", "quarantined")


@dataclass(frozen=True)
class DataReleased(DataEvent, kind="data.released"):
    """The quarantine of a dataset was lifted."""

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject)

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It stands in quarantine no more."""
        state.quarantines.pop(("data", entry.subject), None)

    def sentence(self) -> Sentence:
        """That its quarantine ended."""
        return "data set ", (_data_name(self.data), "name"), " released from quarantine"


@dataclass(frozen=True)
class DeviceEvent(Event):
    """Something about one enrolled device."""

    scope: ClassVar[Scope] = "device"
    device: str

    @property
    def subject(self) -> str:
        """The device's name."""
        return self.device

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject)


@dataclass(frozen=True)
class DeviceEnrolled(DeviceEvent, kind="device.enrolled"):
    """A device is known by its public key from now on, and pulls a channel; once more, with another key or channel, it has that one."""

    channel: Channel
    keyid: str
    key: str

    def head(self) -> dict[str, Any]:
        """Its channel and its key."""
        return {"channel": str(self.channel), "keyid": self.keyid, "key": self.key}

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        return cls(entry.subject, Channel.parse(entry.head["channel"]), *(records.text(entry.head[name]) for name in ("keyid", "key")))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It is enrolled; what it has reported by the same key stays."""
        event, before = DeviceEnrolled.parse(entry), state.devices.get(entry.subject)
        device = EnrolledDevice(event.device, event.channel, event.keyid, event.key, entry.at)
        if before is not None and before.keyid == event.keyid:
            device = dataclasses.replace(device, status=before.status, seen_at=before.seen_at)
        state.devices[event.device] = device

    def sentence(self) -> Sentence:
        """For which channel, and by which key."""
        return "device ", (self.device, "name"), f" enrolled for {self.channel}, key {self.keyid[:12]}"


@dataclass(frozen=True)
class DeviceRevoked(DeviceEvent, kind="device.revoked"):
    """What a device says counts no more."""

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """It is revoked."""
        state.devices[entry.subject] = dataclasses.replace(state.devices[entry.subject], revoked_at=entry.at)

    def sentence(self) -> Sentence:
        """That it is revoked."""
        return "device ", (self.device, "name"), " ", ("revoked", "refused")


@dataclass(frozen=True)
class DeviceReported(DeviceEvent, kind="device.reported"):
    """A device said what it runs and what became of what it was asked to run."""

    status: DeviceStatus

    def head(self) -> dict[str, Any]:
        """All of it."""
        return vars(self.status)

    @classmethod
    def parse(cls, entry: Entry) -> Self:
        """The event that was stored as this entry of the ledger."""
        names = {item.name for item in fields(DeviceStatus)}
        return cls(entry.subject, DeviceStatus(**{name: value for name, value in entry.head.items() if name in names}))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """Its newest report. Raises Contradiction for one that is not newer than the last."""
        device, status = state.devices[entry.subject], DeviceReported.parse(entry).status
        if device.status is not None and status.counter <= device.status.counter:
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: report {status.counter} of device {entry.subject} follows its report"
                f" {device.status.counter}",
                AUDIT,
            )
        state.devices[entry.subject] = dataclasses.replace(device, status=status, seen_at=entry.at)

    def sentence(self) -> Sentence:
        """What became of which version."""
        return "device ", (self.device, "name"), f" {self.status.sentence}"


def _data_name(subject: str) -> str:
    name, at, content = subject.partition("@")
    return f"{name}{at}{content[:12]}"


def _before_move(entry: Entry, state: State) -> ChannelState:
    """The channel as this move of it finds it."""
    channel = state.channel(entry.subject)
    if entry.head["seq"] != channel.seq + 1:
        raise Contradiction(
            f"the chain breaks at event {entry.seq}: it is move {entry.head['seq']!r:.20} of channel {entry.subject}, which is at move {channel.seq}",
            AUDIT,
        )
    return channel


def fold(entries: Iterable[Entry]) -> State:
    """The state after these entries in their order. Entries that were read without their bodies fold their heads alone.

    Raises NotUnderstood for a kind or a shape that this vortex does not know or one that lacks something, Contradiction for an event that cannot
    follow the others.
    """
    state = State()
    for entry in entries:
        event_type = KINDS.get(entry.kind)
        if (
            event_type is None or "shape" in entry.head
        ):  # asked here, because one call for each of thousands of entries is a 20th of the time
            event_type = type_of(entry)
        try:
            event_type.fold_head(entry, state)
            if entry.body is not None:
                event_type.parse(entry).fold_body(state)
        except Contradiction:
            raise
        except MALFORMED as error:
            raise _malformed(entry, error) from error
    return state


def type_of(entry: Entry) -> type[Event]:
    """The class of an entry's event. Raises NotUnderstood, naming the kind, when there is none or the entry has a later shape."""
    event_type = KINDS.get(entry.kind)
    if event_type is None:
        raise NotUnderstood(f"ledger event {entry.seq} is a {entry.kind!r}, a kind that this vortex does not know", NEWER)
    shape = entry.head.get("shape", 1)
    if type(shape) is not int or shape > event_type.shape:
        what = f"a {entry.kind!r} of shape {shape!r:.20}, and this vortex knows shapes up to {event_type.shape}"
        raise NotUnderstood(f"ledger event {entry.seq} is {what}", NEWER)
    return event_type


def require_known(source: Reader) -> None:
    """Raise NotUnderstood for an entry of a kind that this vortex does not know, whatever it is about: it may change anything."""
    for entry in source.entries(without=tuple(KINDS), bodies=False, first=1):
        type_of(entry)


def parse(entry: Entry) -> Event:
    """The event that was stored as this entry. Raises as `type_of`, and where a field is missing or of another type."""
    event_type = type_of(entry)
    try:
        return event_type.parse(entry)
    except MALFORMED as error:
        raise _malformed(entry, error) from error


def _malformed(entry: Entry, error: Exception) -> NotUnderstood:
    why = one_line(f"{type(error).__name__}: {error}")[:200]
    return NotUnderstood(f"ledger event {entry.seq} is a {entry.kind!r} that lacks what this vortex expects ({why})", NEWER)


def kinds(*, scope: Scope | None = None, folds: bool | None = None) -> tuple[str, ...]:
    """The kinds of this scope, and those that fold or do not, where that is asked for."""
    return tuple(kind for kind, event in KINDS.items() if scope in (None, event.scope) and folds in (None, event.folds))


def kinds_besides(scope: Scope) -> tuple[str, ...]:
    """The kinds of all other scopes. Who reads one scope leaves these out, and so still meets a kind that only a newer vortex knows."""
    return tuple(kind for kind, event in KINDS.items() if event.scope != scope)


def run_scope(run_id: str) -> str:
    """In which scope the registration of a run is claimed."""
    return f"run {run_id}"


def channel_scope(channel: Channel) -> str:
    """In which scope the moves of a channel are claimed."""
    return f"channel {channel}"
