"""The hub: versions under their names, folded from the ledger. Listings read the ledger alone; MLflow is imported when something is written."""

from __future__ import annotations

import gc
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path

from core.errors import VortexError
from core.secret import SecretUrl
from core.shipped import SHIPPED
from core.stages import STAGES
from registry import quarantine, stages
from registry.artifact_files import ArtifactFiles
from registry.channels import Channel
from registry.declarations import Adoption, Declaration, DeclaredMetric, DeclaredVersion, WithoutWeights
from registry.edges import Edge, WeightsEdge
from registry.events import reading
from registry.events.version import (
    MATERIAL,
    NAMING,
    REGISTERING,
    VersionAdopted,
    VersionDeclared,
    VersionEvidenced,
    VersionExported,
    VersionMeasured,
    VersionRegistered,
    run_scope,
)
from registry.graph import Graph, graph
from registry.ledger import Contradiction, Ledger, Transaction
from registry.lineage import weights_line
from registry.names import named, next_number, require_adoptable, undeclared
from registry.outbox import Subscription
from registry.quarantine import Bar
from registry.records import Evidence, Export, Metrics, NewVersion, Summary, Version
from registry.state import State
from registry.store import MlflowStore

log = logging.getLogger("vortex.registry")


@dataclass(frozen=True)
class Listing:
    """What listings show of all versions, as it was at one moment."""

    summaries: list[Summary]
    """Every version that has weights here, in the order of their numbers."""
    declared: list[DeclaredVersion]
    """Every version that was declared, those too whose checkpoint was adopted, in the order of their numbers."""
    published: dict[str, tuple[DeclaredMetric, ...]]
    """Every version that was declared or adopted → the figures that were declared of it, and not measured here."""
    barred: dict[str, tuple[Bar, ...]]
    """Every version that may enter no stage → what bars it."""


@dataclass(frozen=True)
class Hub:
    """The registry of one workspace: the ledger says what is, MLflow holds runs, metrics, inputs and artifacts."""

    tracking_uri: SecretUrl
    artifact_root: Path | str
    ledger: Ledger

    @classmethod
    def open(
        cls,
        tracking_uri: SecretUrl | str,
        artifact_root: Path | str,
        ledger_url: SecretUrl | str,
        head_file: Path | None = None,
        *,
        subscriptions: Sequence[Subscription] = (),
        on_queued: Callable[[], None] | None = None,
    ) -> Hub:
        """A hub over these places; `head_file` is where the ledger's head is noted. Touches nothing yet.

        What is recorded through it is put into the outbox for `subscriptions`, and `on_queued` called then.
        """
        ledger = Ledger(ledger_url, head_file=head_file, subscriptions=subscriptions, on_queued=on_queued)
        return cls(SecretUrl.of(tracking_uri), artifact_root, ledger)

    @cached_property
    def _open_store(self) -> Callable[[], MlflowStore]:
        return cache(partial(MlflowStore, self.tracking_uri, self.artifact_root))

    @property
    def store(self) -> MlflowStore:
        """MLflow, opened (and on first use created) when it is first needed: that costs seconds."""
        return self._open_store()

    @cached_property
    def artifacts(self) -> ArtifactFiles:
        """The files that versions consist of."""
        return ArtifactFiles(self.artifact_root, self.tracking_uri, self._open_store)

    def listing(self) -> Listing:
        """What listings show of all versions. One query where none was declared or adopted and nothing is in quarantine; no MLflow."""
        with self._reading():
            entries = self.ledger.entries(without=reading.kinds(folds=False), bodies=False)
            state = reading.fold(entries)
            summaries = state.summaries()
            declares = any(entry.kind in (VersionDeclared.kind, VersionAdopted.kind) for entry in entries)
            if any(scope == "data" for scope, _ in state.quarantines):
                self._complete(state)
            return Listing(summaries, _by_number(state), self.published() if declares else {}, quarantine.bars_of_all(state))

    def summaries(self) -> list[Summary]:
        """Every version as a listing shows it, in the order of their numbers. One query, no MLflow."""
        with self._reading():
            return reading.fold(self.ledger.entries(without=reading.kinds(folds=False), bodies=False)).summaries()

    def versions(self) -> list[Version]:
        """Every version with all that is recorded about it, in the order of their numbers."""
        with self._reading():
            return reading.fold(self.ledger.entries(without=reading.kinds(folds=False))).whole_versions()

    def declared(self) -> list[DeclaredVersion]:
        """Every version that was declared, those too whose checkpoint was adopted, in the order of their numbers. One query, no MLflow."""
        with self._reading():
            _ = self._every_kind_known
            entries = self.ledger.entries(kinds=(VersionDeclared.kind, VersionAdopted.kind), bodies=False)
            return _by_number(reading.fold(entries))

    def published(self) -> dict[str, tuple[DeclaredMetric, ...]]:
        """Every version that was declared or adopted → the figures that were declared of it, and not measured here."""
        with self._reading():
            state = reading.fold(self.ledger.entries(kinds=(VersionDeclared.kind, VersionAdopted.kind)))
            declared = {name: version.declaration.metrics for name, version in state.declared.items()}
            return declared | {version.name: version.published for version in state.whole_versions()}

    def recorded(self) -> dict[str, tuple[Edge, ...]]:
        """Every name that a version has, registered or declared, and what it was made from."""
        declared = {version.name: version.parents for version in self.declared()}
        return declared | {summary.name: summary.parents for summary in self.summaries()}

    def get(self, name: str) -> Version:
        """One version. Raises VortexError saying which exist, WithoutWeights for one that is only declared."""
        version = self.described(name)
        if isinstance(version, DeclaredVersion):
            raise WithoutWeights(name)
        return version

    def described(self, name: str) -> Version | DeclaredVersion:
        """One version, also one that is only declared. Raises VortexError saying which exist."""
        with self._reading():
            _ = self._every_kind_known
            own = self.ledger.entries(kinds=reading.kinds(scope="version"), subject=name)
            if any(entry.kind in REGISTERING for entry in own):
                return reading.fold([*own, *stages.entries_of_channels_with(self.ledger, name)]).whole_versions()[0]
            if own:
                return reading.fold(own).declared[name]
        raise _unknown(name, [summary.name for summary in self.summaries()])

    def lineage(self) -> tuple[State, Graph]:
        """Every version with what it was trained on, every channel and what stands in quarantine, and the graph of all of it."""
        with self._reading():
            entries = self.ledger.entries(without=(*quarantine.KINDS, *reading.kinds(folds=False)), bodies=False)
            state = reading.fold(entries)
            self._complete(state)
            return state, graph(state, entries)

    def _complete(self, state: State) -> None:
        """Put what stands in quarantine into a state, and what each of its versions was trained on."""
        state.quarantines = {(each.scope, each.subject): each for each in quarantine.standing(self.ledger)}
        for version, parts in self.ledger.parts(REGISTERING, MATERIAL):
            if version in state.versions:  # or it was registered a moment ago
                state.versions[version].material = VersionRegistered.material_of(parts)

    def barred(self) -> dict[str, tuple[Bar, ...]]:
        """Every version that may enter no stage → what bars it. Next to nothing is read where nothing is in quarantine."""
        with self._reading():
            if not quarantine.standing(self.ledger):
                return {}
            state = reading.fold(self.ledger.entries(kinds=NAMING, bodies=False))
            self._complete(state)
            return quarantine.bars_of_all(state)

    @cached_property
    def _every_kind_known(self) -> bool:
        """Asked once: it looks at every event. Raises NotUnderstood."""
        reading.require_known(self.ledger)
        return True

    def find(self, name: str) -> Version | None:
        """One version, or None where none of that name is registered, or it is only declared."""
        number = name.removeprefix("v")
        try:
            return self.get(name) if number.isdecimal() and self.ledger.claimed("version", int(number)) == name else None
        except WithoutWeights:
            return None

    def weights_line(self, version: Version) -> dict[str, Version | DeclaredVersion | None]:
        """A version and all whose weights are in it, the nearest first; of the others without what was measured of them.

        Declared ones stand among them, and None for one that is only named.
        """
        with self._reading():
            _ = self._every_kind_known
            start: Version | DeclaredVersion = version
            return weights_line(start, lambda name: named(self.ledger, name))

    def next_name(self, recipe: str | None, derived: bool) -> str:
        """The name that a registration would take now; another process may take it first, so say it as a forecast."""
        return f"v{next_number(self.ledger, recipe, derived)}"

    def register(self, new: NewVersion, *, actor: str, reason: str = "", commit: str | None = None) -> Version:
        """Give a finished run a name. MLflow first; the ledger's commit is what makes it a version.

        A crash in between leaves no version, and registering the same MLflow run again finishes the job; when it was
        finished already, its version is returned. Raises VortexError when the weights that it derives from are not registered.
        """
        if new.recipe is not None and new.recipe not in SHIPPED:
            raise VortexError(f"{new.recipe!r} is not a shipped recipe, its name cannot be claimed", f"shipped are: {', '.join(SHIPPED)}")
        name = self.ledger.claimed(run_scope(new.run_id), 0)
        if name is None:
            self._expect_weights(new)
            mlflow_version = self.store.register_model(new.run_id, _tags(new))
            with self.ledger.transaction() as tx:
                # Another process may have registered this very run meanwhile.
                name = tx.claimed(run_scope(new.run_id), 0)
                name = name or append_registration(tx, new, mlflow_version, actor=actor, reason=reason, commit=commit)
        return self._tagged(name)

    def adopt(self, name: str, new: NewVersion, adoption: Adoption, *, actor: str, reason: str = "", commit: str | None = None) -> Version:
        """Give a checkpoint from elsewhere a name, in the order of `register` and as safe to repeat.

        Raises VortexError, naming what is allowed, for a name that another version has or that is not next.
        """
        if self.ledger.claimed(run_scope(new.run_id), 0) is None:
            require_adoptable(self.ledger, name, new.recipe)
            mlflow_version = self.store.register_model(new.run_id, _tags(new))
            with self.ledger.transaction() as tx:
                if tx.claimed(run_scope(new.run_id), 0) is None:
                    require_adoptable(tx, name, new.recipe)
                    free = not tx.entries(kinds=(VersionDeclared.kind,), subject=name, bodies=False)
                    tx.append(VersionAdopted(name, new, mlflow_version, adoption, free), actor=actor, reason=reason, commit=commit)
        return self._tagged(name)

    def declare(self, declarations: Mapping[str, Declaration], *, actor: str, reason: str = "", commit: str | None = None) -> list[str]:
        """Record what was published of versions, all or none; the names of those that were not recorded before.

        Raises VortexError naming every name that something else has, and everything that was recorded otherwise.
        """
        with self.ledger.transaction() as tx:
            names = undeclared(tx, declarations)
            for name in names:
                adopted = bool(tx.entries(kinds=(VersionAdopted.kind,), subject=name, bodies=False))
                tx.append(VersionDeclared(name, declarations[name], not adopted), actor=actor, reason=reason, commit=commit)
        return names

    def _tagged(self, name: str) -> Version:
        """A version whose registration is in the ledger; MLflow hears of its name."""
        version = self.get(name)
        tags = {"vortex.version": version.name}
        self._cache(f"version tag of {version.name}", lambda: self.store.set_version_tags(version.mlflow_version, tags))
        self.note_head()
        return version

    def add_metrics(self, name: str, *metrics: Metrics, actor: str, reason: str = "", commit: str | None = None) -> Version:
        """Record measurements of a version. One of the same domain, camera, protocol and data replaces the earlier one in what is shown."""
        version = self.get(name)
        for measured in metrics:
            values = {f"{measured.domain}/{measured.camera}/{key}": value for key, value in measured.values.items()}
            self.store.log_metrics(version.run_id, values)
        with self.ledger.transaction() as tx:
            for measured in metrics:
                tx.append(VersionMeasured(name, measured), actor=actor, reason=reason, commit=commit)
        self.note_head()
        return self.get(name)

    def add_export(self, name: str, export: Export, *, actor: str, reason: str = "", commit: str | None = None) -> Version:
        """Record that a version was exported. The newest one of a format, size, precision and target is the one that counts."""
        self.get(name)
        self.ledger.append(VersionExported(name, export), actor=actor, reason=reason, commit=commit)
        return self.get(name)

    def add_evidence(self, name: str, evidence: Evidence, *, actor: str, reason: str = "", commit: str | None = None) -> Version:
        """Record a report of how a version did outside of Vortex."""
        self.get(name)
        self.ledger.append(VersionEvidenced(name, evidence), actor=actor, reason=reason, commit=commit)
        return self.get(name)

    def note_head(self) -> None:
        """Note the ledger's head in MLflow too, as a tag of the experiment. Done where MLflow is open anyway: opening it takes seconds."""
        head = self.ledger.noted()
        if head.seq:
            self._cache("tag of the ledger's head", lambda: self.store.note_head(head.text()))

    def open_store(self) -> None:
        """Open MLflow, unless that was done. Raises VortexError where it cannot be."""
        _ = self.store

    def reach_store(self) -> bool:
        """Open MLflow, unless that was done; False, and a warning, where it cannot be.

        Done before a channel is moved: MLflow takes seconds to open, and between the ledger's commit and its alias should lie none.
        """
        try:
            self.open_store()
        except VortexError as error:
            log.warning("MLflow cannot be opened, its aliases wait for the next promotion or rollback there: %s", error)
            return False
        return True

    def refresh_aliases(self, channel: Channel) -> None:
        """Set the channel's MLflow aliases to what the ledger says, and touch none that is right.

        They are a cache: a failure is logged, the promotion stands. Nothing is written after the alias of production, by which a rollback
        that is repeated sees whether it was finished. A process that had read the ledger before another one moved the channel may write
        last; it looks again, and puts that right.
        """
        self.note_head()
        before = None
        while before != (state := stages.channel_state(self.ledger, channel)).seq:
            before = state.seq
            for stage in STAGES:
                name = state.current.get(stage)
                self._cache(f"alias of {channel} {stage}", partial(self._refresh_alias, channel.alias(stage), name))

    def aliases_stale(self, channel: Channel) -> bool:
        """Whether an alias of the channel is not on the run that the ledger has there. Raises VortexError where MLflow cannot be asked."""
        current = stages.channel_state(self.ledger, channel).current
        expected = {stage: self.get(current[stage]).run_id if stage in current else None for stage in STAGES}
        return any(self.store.run_behind(channel.alias(stage)) != run for stage, run in expected.items())

    def _refresh_alias(self, alias: str, name: str | None) -> None:
        run = self.store.run_behind(alias)
        if name is None:
            if run is not None:
                self.store.drop_alias(alias)
        elif run != self.get(name).run_id:
            self.store.set_alias(alias, self.restore_model(name))

    def restore_model(self, name: str) -> int:
        """MLflow's version of this one, found by its run because MLflow counts anew after a deletion, and made again where it was deleted."""
        version = self.get(name)
        return self.store.register_model(version.run_id, {**_tags(version), "vortex.version": name})

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Around what folds events: what it cannot fold is explained, and it is not slowed down."""
        collecting = gc.isenabled()
        gc.disable()  # no event read is garbage; looking for some took a third of the time (measured, 10,000 versions)
        try:
            with self.ledger.understood():
                yield
        finally:
            if collecting:
                gc.enable()

    def _expect_weights(self, new: NewVersion) -> None:
        weights = [edge.version for edge in new.parents if isinstance(edge, WeightsEdge)]
        if new.derived and not weights:
            raise VortexError("a derived version names no weights that it comes from", "give it a parent of kind 'weights'")
        for version in weights if new.derived else ():
            self.get(version)

    def _cache(self, what: str, write: Callable[[], object]) -> None:
        try:
            write()
        except VortexError as error:
            log.warning("the ledger has it, but MLflow's %s could not be set: %s", what, error)


def _by_number(state: State) -> list[DeclaredVersion]:
    return sorted(state.declared.values(), key=lambda declared: declared.number)


def append_registration(
    tx: Transaction, new: NewVersion, mlflow_version: int, *, actor: str, reason: str = "", commit: str | None = None
) -> str:
    """Give a run its name within a transaction, and return the name."""
    event = VersionRegistered(f"v{next_number(tx, new.recipe, new.derived)}", new, mlflow_version)
    # The claims say what is free, the events what is: they disagree where someone changed either.
    highest = tx.highest("version")
    if tx.entries(subject=event.version, bodies=False, first=1) or (highest and tx.claimed("version", highest) != f"v{highest}"):
        raise Contradiction(
            f"the next name would be {event.version}: the numbers that are taken are not those of the registered versions",
            "see what is wrong, and have the numbers taken from the events again, with: vortex audit verify --repair",
        )
    tx.append(event, actor=actor, reason=reason, commit=commit)
    return event.version


def _tags(new: NewVersion) -> dict[str, str]:
    """What any MLflow client can filter versions by."""
    tags = {
        "vortex.codename": new.codename,
        "vortex.domain": new.domain or "",
        "vortex.run": new.run,
        "vortex.sha256": new.checkpoint.sha256,
        "vortex.size": f"{new.size[0]}x{new.size[1]}",
        "vortex.truncated": new.truncated or "",
        "vortex.data": " ".join(f"{use.name}@{use.dvc or use.digest}" for use in new.data),
    }
    for edge in new.parents:
        kind, ref, _ = edge.triple()
        key = f"vortex.parent.{kind}"
        tags[key] = f"{tags[key]} {ref}" if key in tags else ref
    return {key: value for key, value in tags.items() if value}


def no_versions(about: str = "") -> VortexError:
    """The error for what needs versions where there is none; `about` says what was to be done."""
    return VortexError(f"{about}there is no version yet", "make one with: vortex train v6")


def _unknown(name: str, existing: list[str]) -> VortexError:
    if not existing:
        return no_versions(f"version {name!r} is not registered: ")
    some = existing if len(existing) <= 12 else [*existing[:4], "…", *existing[-6:]]
    spelling = "" if re.fullmatch(r"v[1-9]\d*", name) else "; versions are written v6, v10"
    return VortexError(f"version {name!r} is not registered; there are: {', '.join(some)}{spelling}", "list them with: vortex versions")
