"""Quarantine: what stands in it, and which versions it bars from every stage. A quarantine holds by weights and by data, not by recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from core.errors import VortexError
from registry.declarations import DeclaredVersion
from registry.edges import DataEdge, Edge
from registry.events import reading
from registry.events.data import DataQuarantined, DataReleased
from registry.events.event import Event
from registry.events.version import VersionQuarantined, VersionReleased
from registry.ledger import Ledger, Reader
from registry.lineage import children_by_weights, passed_on, weights_line
from registry.names import named
from registry.records import DataUse, Quarantine, Version
from registry.state import State, VersionState

KINDS: Final = (VersionQuarantined.kind, VersionReleased.kind, DataQuarantined.kind, DataReleased.kind)


@dataclass(frozen=True)
class Bar:
    """Why a version may not enter a stage: the quarantine of `version` (itself, or one whose weights are in it) or of data that it saw."""

    version: str
    quarantine: Quarantine

    @property
    def remedy(self) -> str:
        """The command that lifts the quarantine."""
        return f'lift it with: vortex quarantine {self.quarantine.scope}:{self.quarantine} --lift --reason "…"'

    def __str__(self) -> str:
        what = self.quarantine
        subject = str(what) if what.scope == "version" else f"dataset {what}, which {self.version} was trained on,"
        return f"{subject} is in quarantine since {what.at[:16].replace('T', ' ')} UTC ({what.actor.partition(' <')[0]}: {what.reason})"


def standing(source: Reader) -> tuple[Quarantine, ...]:
    """What stands in quarantine, the oldest first."""
    return tuple(reading.fold(source.entries(kinds=KINDS)).quarantines.values())


def record(
    ledger: Ledger,
    scope: Literal["version", "data"],
    subject: str,
    *,
    contents: tuple[str, ...] = (),
    lift: bool = False,
    actor: str,
    reason: str,
    commit: str | None = None,
) -> None:
    """Put a version or a dataset into quarantine, or lift that, in one transaction; `contents` are the digests that a dataset is known by.

    Raises VortexError where it stands in quarantine already, or there is nothing to lift.
    """
    event: Event
    if scope == "version":
        event = (VersionReleased if lift else VersionQuarantined)(subject)
    else:
        event = DataReleased(subject) if lift else DataQuarantined(subject, contents)
    with ledger.transaction() as tx:
        quarantines = standing(tx)
        same = next((quarantine for quarantine in quarantines if (quarantine.scope, quarantine.subject) == (scope, subject)), None)
        if lift and same is None:
            names = ", ".join(f"{quarantine.scope}:{quarantine}" for quarantine in quarantines) or "nothing"
            raise VortexError(f"{subject} is not in quarantine; in quarantine: {names}", "name one of these")
        if same and not lift:
            raise VortexError(
                f"{same} is in quarantine already, since {same.at[:16].replace('T', ' ')} UTC: {same.reason}",
                f'lift it with: vortex quarantine {scope}:{same} --lift --reason "…"',
            )
        tx.append(event, actor=actor, reason=reason, commit=commit)


def bars_of(source: Reader, name: str) -> tuple[Bar, ...]:
    """What bars one version from every stage, also a declared one; of others, only those whose weights are in it are read."""
    quarantines = standing(source)
    if not quarantines:
        return ()
    version = named(source, name)
    return bars_in(weights_line(version, lambda ancestor: named(source, ancestor)), quarantines) if version else ()


def bars_in(line: Mapping[str, Version | DeclaredVersion | None], quarantines: Iterable[Quarantine]) -> tuple[Bar, ...]:
    """What bars a version, by its line of weights (`registry.lineage.weights_line`): of each quarantine the nearest that it holds for."""
    every = tuple(quarantines)
    nearest: dict[Quarantine, Bar] = {}
    for name, version in line.items():
        for bar in _own(name, version.parents if version else (), version.data if isinstance(version, Version) else (), every):
            nearest.setdefault(bar.quarantine, bar)
    return tuple(nearest.values())


def bars_of_all(state: State) -> dict[str, tuple[Bar, ...]]:
    """Every version that is barred → by what, of each quarantine the nearest: declared ones too, since weights pass through them.

    Data is known by its content where the state has the versions' material.
    """
    every = tuple(state.quarantines.values())
    barred: dict[str, tuple[Bar, ...]] = {}
    own: dict[Quarantine, list[Bar]] = {quarantine: [] for quarantine in every}
    without_weights = [version for version in state.declared.values() if not version.adopted]
    versions: list[VersionState | DeclaredVersion] = [*state.versions.values(), *without_weights]
    for version in versions if every else ():
        for bar in _own(version.name, version.parents, () if isinstance(version, DeclaredVersion) else version.material.data, every):
            own[bar.quarantine].append(bar)
    children = children_by_weights(versions if every else ())
    for bars in own.values():
        for name, bar in passed_on({bar.version: bar for bar in bars}, children).items():
            barred[name] = (*barred.get(name, ()), bar)
    return barred


def _own(name: str, parents: Iterable[Edge], uses: Iterable[DataUse], quarantines: Iterable[Quarantine]) -> list[Bar]:
    """What bars a version by itself and by the data that it saw, also where that is only declared."""
    seen = [(use.name, use.digest) for use in uses] + [(edge.name, edge.hash) for edge in parents if isinstance(edge, DataEdge)]
    return [
        Bar(name, quarantine)
        for quarantine in quarantines
        if (quarantine.scope == "version" and quarantine.subject == name) or any(quarantine.holds_data(*data) for data in seen)
    ]
