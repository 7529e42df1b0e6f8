"""What happened to a version: registered, declared, adopted, measured, exported, quarantined, given evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Self

from registry import records, stored
from registry.declarations import Adoption, Declaration, DeclaredJob, DeclaredVersion, declared_metrics
from registry.edges import VersionEdge, edges
from registry.events.event import AUDIT, Event, Scope, Sentence
from registry.ledger import Claim, Contradiction, Entry
from registry.records import (
    Artifact,
    Evidence,
    Export,
    Headline,
    Material,
    Metrics,
    NewVersion,
    Quarantine,
)
from registry.state import State, VersionState, WholeVersion


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
        new = stored.record(
            NewVersion,
            {name: value for name, value in (head | body).items() if name in names},
            parents=edges(stored.array(head["parents"])),
            data=tuple(map(records.data_use, stored.array(body["data"]))),
            checkpoint=records.artifact(body["checkpoint"]),
            fingerprints=records.optional_artifact(body.get("fingerprints")),
        )
        return cls(entry.subject, new, stored.count(body["mlflow_version"]))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """A new version, with nothing measured yet. Raises Contradiction where the name is taken."""
        head = entry.head
        if entry.subject in state.versions:
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: it registers {entry.subject:.160}, which an earlier event has registered", AUDIT
            )
        state.versions[entry.subject] = VersionState(
            name=entry.subject,
            number=stored.count(head["number"]),
            codename=stored.text(head["codename"]),
            recipe=stored.optional_text(head["recipe"]),
            parents=edges(stored.array(head["parents"])),
            domain=stored.optional_text(head["domain"]),
            size=stored.size(head["size"]),
            truncated=stored.optional_text(head["truncated"]),
            created_at=entry.at,
            actor=entry.actor,
            reason=entry.reason,
            commit=entry.commit,
            unproven=stored.texts(head.get("unproven", ())),
        )

    def fold_body(self, state: State) -> None:
        """How it was made."""
        version = state.versions[self.version]
        version.whole = WholeVersion(self.new, self.mlflow_version)
        version.material = Material(self.new.data, self.new.fingerprints)

    @staticmethod
    def material_of(parts: Mapping[str, Any]) -> Material:
        """The training data by the fields `MATERIAL` of a body: for a lineage thousands are read, and the rest would take most of the time."""
        return Material(tuple(map(records.data_use, stored.array(parts["data"]))), records.optional_artifact(parts.get("fingerprints")))

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
        if "protocol" in head and not records.is_exam(stored.text(head["protocol"])):
            return
        headlines = state.versions[entry.subject].headlines
        domain, camera = stored.text(head["domain"]), stored.text(head["camera"])
        rmse, miou = (None if head[name] is None else stored.measured(head[name]) for name in ("rmse", "miou"))
        headlines.pop((domain, camera), None)
        headlines[domain, camera] = Headline(domain, camera, rmse, miou)

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
        declaration = stored.record(
            Declaration,
            parts,
            parents=edges(stored.array(parts["parents"])),
            jobs=tuple(stored.record(DeclaredJob, job) for job in stored.array(parts["jobs"])),
            metrics=declared_metrics(parts["metrics"]),
        )
        return cls(entry.subject, declaration, stored.truth(entry.head["takes_name"]))

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
        plain, raw = VersionRegistered.parse(entry), stored.mapping((entry.body or {})["adoption"])
        adoption = stored.record(Adoption, raw, metrics=declared_metrics(raw["metrics"]))
        return cls(plain.version, plain.new, plain.mlflow_version, adoption, stored.truth(entry.head["takes_name"]))

    @staticmethod
    def fold_head(entry: Entry, state: State) -> None:
        """A new version; a declared one of its name has weights now. Raises Contradiction where the name is taken, or is not declared."""
        declared = state.declared.get(entry.subject)
        if stored.truth(entry.head["takes_name"]) == (declared is not None):
            raise Contradiction(
                f"the chain breaks at event {entry.seq}: it adopts a checkpoint as {entry.subject:.160}, which it cannot", AUDIT
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

MATERIAL: Final = ("data", "fingerprints")
"""What the body of such an event says of the training data."""

NAMING: Final = (VersionDeclared.kind, *REGISTERING)
"""The kinds of event that give a version its name: an adopted one folds only after its declaration."""


def run_scope(run_id: str) -> str:
    """In which scope the registration of a run is claimed."""
    return f"run {run_id}"
