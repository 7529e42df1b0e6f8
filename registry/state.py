"""What the ledger's events fold into: every version and every channel, and from them the records that commands show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from registry.channels import Channel, ChannelState
from registry.declarations import Adoption, DeclaredVersion
from registry.edges import Edge
from registry.records import EnrolledDevice, Evidence, Export, Headline, Material, Metrics, NewVersion, Quarantine, Series, Summary, Version


@dataclass(slots=True)
class WholeVersion:
    """What the bodies of a version's events add to their heads."""

    new: NewVersion
    mlflow_version: int
    metrics: dict[Series, Metrics] = field(default_factory=dict)
    exports: dict[tuple[str, tuple[int, int] | None, str, str], Export] = field(default_factory=dict)
    """(format, size, precision, target) → the newest export of that form."""
    adoption: Adoption | None = None
    evidence: list[Evidence] = field(default_factory=list)


@dataclass(slots=True)
class VersionState:
    """A version while its events are folded. `whole` is None where their heads alone were read."""

    name: str
    number: int
    codename: str
    recipe: str | None
    parents: tuple[Edge, ...]
    domain: str | None
    size: tuple[int, int]
    truncated: str | None
    created_at: str
    actor: str
    reason: str
    commit: str | None
    unproven: tuple[str, ...] = ()
    headlines: dict[tuple[str, str], Headline] = field(default_factory=dict)
    """(domain, camera) → its newest numbers; the newest stands last."""
    exports: int = 0
    material: Material = field(default_factory=Material)
    """Empty where nothing of the bodies was read."""
    whole: WholeVersion | None = None


@dataclass
class State:
    """Versions, declared versions and enrolled devices by name, channels by `device/domain`, and what stands in quarantine by scope and subject,
    as far as they were folded."""

    versions: dict[str, VersionState] = field(default_factory=dict)
    channels: dict[str, ChannelState] = field(default_factory=dict)
    quarantines: dict[tuple[str, str], Quarantine] = field(default_factory=dict)
    declared: dict[str, DeclaredVersion] = field(default_factory=dict)
    devices: dict[str, EnrolledDevice] = field(default_factory=dict)

    def whole(self, version: str) -> WholeVersion:
        """The part of a version that bodies are folded into. Raises LookupError while its registration was not."""
        whole = self.versions[version].whole
        if whole is None:
            raise LookupError(f"the body of the registration of {version}")
        return whole

    def channel(self, name: str) -> ChannelState:
        """Where a channel stands; at `seq` 0 with nothing in it when no one has promoted there."""
        return self.channels.get(name) or ChannelState(Channel.parse(name))

    def summaries(self) -> list[Summary]:
        """Versions as listings show them, in the order of their numbers."""
        stages = self._stages()
        summaries = [
            Summary(
                version.name,
                version.number,
                version.codename,
                version.recipe,
                version.parents,
                version.domain,
                version.size,
                version.truncated,
                version.unproven,
                tuple(version.headlines.values()),
                version.exports,
                stages.get(version.name, ()),
                version.created_at,
                version.actor,
                version.reason,
                version.commit,
            )
            for version in self.versions.values()
        ]
        return sorted(summaries, key=lambda summary: summary.number)

    def whole_versions(self) -> list[Version]:
        """Versions with all that is recorded about them, in the order of their numbers; for these, bodies must have been folded too."""
        stages = self._stages()
        versions = []
        for version in self.versions.values():
            whole = self.whole(version.name)
            # What the head says is taken from the state, so that an event that changes it need not know of both.
            of_head = ("recipe", "codename", "parents", "domain", "size", "truncated")
            of_entry = ("name", "number", "created_at", "actor", "reason", "commit")
            fields = vars(whole.new) | {name: getattr(version, name) for name in (*of_head, *of_entry)}
            lists: dict[str, Any] = {"metrics": tuple(whole.metrics.values()), "exports": tuple(whole.exports.values())}
            declared = self.declared.get(version.name)
            versions.append(
                Version(
                    **fields,
                    **lists,
                    stages=stages.get(version.name, ()),
                    mlflow_version=whole.mlflow_version,
                    declaration=declared.declaration if declared else None,
                    adoption=whole.adoption,
                    evidence=tuple(whole.evidence),
                )
            )
        return sorted(versions, key=lambda version: version.number)

    def _stages(self) -> dict[str, tuple[tuple[str, str], ...]]:
        """Version → the channels in which it holds a stage, each with the highest one."""
        stages: dict[str, tuple[tuple[str, str], ...]] = {}
        for channel, state in self.channels.items():
            for version in set(state.current.values()):
                stages[version] = (*stages.get(version, ()), (channel, str(state.stage_of(version))))
        return stages
