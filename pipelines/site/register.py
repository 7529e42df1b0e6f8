"""What the pages tell, read from the ledger in one pass and up to one head: two reports of one head are the same, byte for byte."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core.stages import STAGES
from pipelines.hub.open import hub
from pipelines.workspace import Workspace
from registry import graph as lineage
from registry import quarantine
from registry.chain import ChainHead
from registry.declarations import DeclaredVersion
from registry.devices import setbacks
from registry.edges import Edge, VersionEdge
from registry.events import reading
from registry.events.event import Sentence
from registry.events.version import REGISTERING, VersionRegistered
from registry.graph import Graph
from registry.ledger import Entry
from registry.quarantine import Bar, bars_of_all
from registry.records import EnrolledDevice, Material, Quarantine, Summary, Version
from registry.state import State
from registry.versions import Hub
from validation.checks import Check

AT_ONCE: Final = 100
"""Versions that are read with one question: about a megabyte."""


@dataclass(frozen=True, slots=True)
class Line:
    """An event as a page shows it; `at` is UTC."""

    seq: int
    at: str
    actor: str
    sentence: Sentence
    reason: str
    commit: str | None


@dataclass(frozen=True)
class Hold:
    """A version in a stage of a channel: the event that put it there, what it replaced, and what was asked of it then."""

    stage: str
    version: str
    line: Line
    replaced: str | None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class ChannelNow:
    """A channel as it is: what holds its stages, production first, and the version that a rollback would bring back."""

    name: str
    device: str
    domain: str
    holds: tuple[Hold, ...]
    before: str | None

    @property
    def production(self) -> Hold | None:
        """What runs, or None."""
        return next((hold for hold in self.holds if hold.stage == "production"), None)


@dataclass
class Register:
    """The registry up to `head`. `lines` are its events in their order, `of_version` those that concern a version."""

    registry: Hub
    head: ChainHead
    summaries: dict[str, Summary] = field(default_factory=dict)
    channels: list[ChannelNow] = field(default_factory=list)
    declared: dict[str, DeclaredVersion] = field(default_factory=dict)
    """What was published of versions, those that have no weights here among them."""
    devices: dict[str, EnrolledDevice] = field(default_factory=dict)
    """Who pulls which channel, and what each said last; those that were revoked among them."""
    graph: Graph = field(default_factory=Graph)
    quarantines: tuple[Quarantine, ...] = ()
    barred: Mapping[str, tuple[Bar, ...]] = field(default_factory=dict)
    """Version → what keeps it from every stage."""
    children: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    """Version → (kind of edge, version) of what was made from it."""
    lines: list[Line] = field(default_factory=list)
    of_version: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))

    @property
    def at(self) -> str:
        """When the last event was recorded; empty for a ledger without events."""
        return self.lines[-1].at if self.lines else ""

    def versions(self) -> Iterator[Version]:
        """Every version with all that is recorded about it, the newest first; few are held at once."""
        names = list(reversed(self.summaries))
        for start in range(0, len(names), AT_ONCE):
            yield from reversed(self._read(names[start : start + AT_ONCE]))

    def version(self, name: str) -> Version:
        """One version as it was at the head."""
        return self._read([name])[0]

    def _read(self, names: Sequence[str]) -> list[Version]:
        """Versions in the order of their numbers; one question for many of them, as a question takes longer than an answer."""
        with self.registry.ledger.understood():
            entries = self.registry.ledger.entries(kinds=reading.kinds(scope="version"), subject=names)
            versions = reading.fold(self._until_head(entries)).whole_versions()
        stages = {version.name: self.summaries[version.name].stages for version in versions}
        return [dataclasses.replace(version, stages=stages[version.name]) for version in versions]

    def _until_head(self, entries: list[Entry]) -> Iterator[Entry]:
        return (entry for entry in entries if entry.seq <= self.head.seq)


def read(ws: Workspace) -> Register:
    """The register of a workspace. Raises VortexError where the ledger's chain is broken, or has what only a newer vortex knows."""
    registry = hub(ws)
    register = Register(registry, registry.ledger.verify())
    moves: dict[tuple[str, str, str], Hold] = {}
    quarantining: list[Entry] = []
    materials: dict[str, Material] = {}
    with registry.ledger.understood():
        went_wrong = {setback.seq: setback.version for setback in setbacks(registry.ledger)}
        for entry in registry.ledger.each():
            if entry.seq > register.head.seq:
                break
            event_type = reading.type_of(entry)
            event = event_type.parse(entry)
            line = Line(entry.seq, entry.at, entry.actor, event.sentence(), entry.reason, entry.commit)
            register.lines.append(line)
            # What tells data by its content stands in bodies alone.
            if entry.kind in quarantine.KINDS:
                quarantining.append(entry)
            if entry.kind in REGISTERING:
                materials[entry.subject] = VersionRegistered.material_of(entry.body or {})
            of_channel = event_type.scope == "channel"
            if event_type.scope == "device":
                concerned: tuple[str | None, ...] = (went_wrong.get(entry.seq),)
            else:
                concerned = (entry.head.get("version"), entry.head.get("replaced")) if of_channel else (entry.subject,)
            for name in dict.fromkeys(concerned):
                if name is not None:
                    register.of_version[name].append(line)
            if of_channel and event_type.folds:
                version, stage = entry.head["version"], entry.head["stage"]
                moves[entry.subject, stage, version] = Hold(
                    stage, version, line, entry.head["replaced"], tuple(map(_check, (entry.body or {}).get("checks", ())))
                )
        heads = list(register._until_head(registry.ledger.entries(without=reading.kinds(folds=False), bodies=False)))
        state = reading.fold(heads)
        state.quarantines = reading.fold(quarantining).quarantines
    for name, version in state.versions.items():
        version.material = materials[name]
    register.declared, register.devices = state.declared, state.devices
    register.quarantines, register.barred = tuple(state.quarantines.values()), bars_of_all(state)
    register.graph = lineage.graph(state, heads)
    register.summaries = {summary.name: summary for summary in state.summaries()}
    for name, parents in _parents(state).items():
        for edge in parents:
            if isinstance(edge, VersionEdge):
                register.children[edge.version].append((edge.triple()[0], name))
    for name, channel in sorted(state.channels.items()):
        holds = tuple(moves[name, stage, channel.current[stage]] for stage in reversed(STAGES) if stage in channel.current)
        before = channel.earlier[-1] if channel.earlier else None
        register.channels.append(ChannelNow(name, channel.channel.device, channel.channel.domain, holds, before))
    return register


def _parents(state: State) -> dict[str, tuple[Edge, ...]]:
    """Every version's edges, also of those that were declared and have no weights here."""
    return {
        **{name: declared.parents for name, declared in state.declared.items()},
        **{name: version.parents for name, version in state.versions.items()},
    }


def _check(raw: Mapping[str, Any]) -> Check:
    """What was asked of a version, as the ledger has it; older ledgers say less."""
    name, asked, answer, waiver = (str(raw.get(key, "")) for key in ("name", "asked", "found", "waiver"))
    return Check(name, asked, answer, bool(raw.get("passed")), waiver=waiver)
