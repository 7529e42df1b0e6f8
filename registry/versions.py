"""The hub: versions under their names, folded from the ledger. Listings read the ledger alone; MLflow is imported when something is written."""

from __future__ import annotations

import gc
import logging
import re
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import VortexError
from core.files import inside, sha256_file
from registry import stages
from registry.folding import EXPORTED, KINDS, MEASURED, REGISTERED, fold_summaries, fold_versions
from registry.ledger import Ledger, Transaction
from registry.records import Artifact, DataUse, Export, Headline, Metrics, NewVersion, Parent, Summary, Version
from registry.stages import Channel

if TYPE_CHECKING:
    from registry.store import MlflowStore

__all__ = ["Artifact", "DataUse", "Export", "Headline", "Hub", "Metrics", "NewVersion", "Parent", "Summary", "Version"]

SHIPPED: Final = tuple(f"v{number}" for number in range(1, 10))
"""Recipes whose first claim takes their name."""
FIRST_FREE: Final = len(SHIPPED) + 1

log = logging.getLogger("vortex.registry")


@dataclass(frozen=True)
class Hub:
    """The registry of one workspace: the ledger says what is, MLflow holds runs, metrics, inputs and artifacts."""

    tracking_uri: str
    artifact_root: Path | str
    ledger: Ledger

    @classmethod
    def open(cls, tracking_uri: str, artifact_root: Path | str, ledger_url: str) -> Hub:
        """A hub over these places. Touches nothing yet."""
        return cls(tracking_uri, artifact_root, Ledger(ledger_url))

    @cached_property
    def store(self) -> MlflowStore:
        """MLflow, opened (and on first use created) when it is first needed: that costs seconds."""
        from registry.store import MlflowStore

        return MlflowStore(self.tracking_uri, self.artifact_root)

    def summaries(self) -> list[Summary]:
        """Every version as a listing shows it, in the order of their numbers. One query, no MLflow."""
        collecting = gc.isenabled()
        gc.disable()  # nothing made here is garbage; looking for it took a third of the time (measured, 10,000 versions)
        try:
            with self.ledger.understood():
                return fold_summaries(self.ledger.events(kinds=(*KINDS, stages.PROMOTED, stages.ROLLED_BACK), bodies=False))
        finally:
            if collecting:
                gc.enable()

    def versions(self) -> list[Version]:
        """Every version with all that is recorded about it, in the order of their numbers."""
        with self.ledger.understood():
            return fold_versions(self.ledger.events(kinds=(*KINDS, stages.PROMOTED, stages.ROLLED_BACK)))

    def get(self, name: str) -> Version:
        """One version. Raises VortexError saying which exist."""
        own = self.ledger.events(kinds=KINDS, subject=name)
        if not any(event.kind == REGISTERED for event in own):
            raise _unknown(name, [summary.name for summary in self.summaries()])
        with self.ledger.understood():
            return fold_versions([*own, *self.ledger.events(kinds=(stages.PROMOTED, stages.ROLLED_BACK), bodies=False)])[0]

    def next_name(self, recipe: str | None, derived: bool) -> str:
        """The name that a registration would take now; another process may take it first, so say it as a forecast."""
        return f"v{_next_number(self.ledger, recipe, derived)}"

    def register(self, new: NewVersion, *, actor: str, reason: str = "", commit: str | None = None) -> Version:
        """Give a finished run a name. MLflow first; the ledger's commit is what makes it a version.

        A crash in between leaves no version, and registering the same MLflow run again finishes the job; when it was
        finished already, its version is returned. Raises VortexError when the weights that it derives from are not registered.
        """
        if new.recipe is not None and new.recipe not in SHIPPED:
            raise VortexError(f"{new.recipe!r} is not a shipped recipe, its name cannot be claimed", f"shipped are: {', '.join(SHIPPED)}")
        done = self.ledger.claimed(_run_scope(new), 0)
        if done is None:
            self._expect_weights(new)
            mlflow_version = self.store.register_model(new.run_id, _tags(new))
            with self.ledger.transaction() as tx:
                # Another process may have registered this very run meanwhile.
                done = tx.claimed(_run_scope(new), 0)
                done = done or append_registration(tx, new, mlflow_version, actor=actor, reason=reason, commit=commit)
        made = self.get(done)
        self._cache(f"version tag of {made.name}", lambda: self.store.set_version_tags(made.mlflow_version, {"vortex.version": made.name}))
        return made

    def add_metrics(self, name: str, *metrics: Metrics, actor: str, reason: str = "", commit: str | None = None) -> Version:
        """Record measurements of a version. One of the same domain, camera, protocol and data replaces the earlier one in what is shown."""
        version = self.get(name)
        for one in metrics:
            self.store.log_metrics(version.run_id, {f"{one.domain}/{one.camera}/{key}": value for key, value in one.values.items()})
        with self.ledger.transaction() as tx:
            for one in metrics:
                tx.append(MEASURED, name, *measurement(one), actor=actor, reason=reason, commit=commit)
        return self.get(name)

    def add_export(self, name: str, export: Export, *, actor: str, reason: str = "", commit: str | None = None) -> Version:
        """Record that a version was exported. The newest one of a format, size and precision is the one that counts."""
        self.get(name)
        head = {"format": export.format, "precision": export.precision, "sha256": export.artifact.sha256}
        self.ledger.append(EXPORTED, name, head, {"export": export}, actor=actor, reason=reason, commit=commit)
        return self.get(name)

    def artifact_path(self, artifact: Artifact, *, verify: bool = True) -> Path:
        """The artifact as a local file, fetched when it is remote.

        Raises VortexError when it is gone, or when its bytes are not those that were recorded.
        """
        if "://" in artifact.uri:
            path = self.store.fetch(artifact.uri)
        else:
            if not isinstance(self.artifact_root, Path):
                raise VortexError(
                    f"artifact {artifact.uri} was stored in a folder, but artifact_root is {self.artifact_root}",
                    "set artifact_root in vortex.toml back to the folder that holds it",
                )
            path = inside(self.artifact_root, artifact.uri)
        if not path.is_file():
            raise VortexError(f"{path}: the artifact is gone", "restore it from a backup of the artifact root, or train or export it again")
        if verify and (path.stat().st_size != artifact.bytes or sha256_file(path) != artifact.sha256):
            raise VortexError(
                f"{path}: its content is not what was registered (sha256 {artifact.sha256[:12]}…, {artifact.bytes} bytes)",
                "the file was changed or cut off: restore it from a backup",
            )
        return path

    def refresh_aliases(self, channel: Channel) -> None:
        """Set the channel's MLflow aliases to what the ledger says. They are a cache: a failure is logged, the promotion stands."""
        state = stages.channel_state(self.ledger, channel)
        for stage, name in state.current.items():
            self._cache(
                f"alias of {channel} {stage}", lambda n=name, s=stage: self.store.set_alias(channel.alias(s), self.get(n).mlflow_version)
            )

    def _expect_weights(self, new: NewVersion) -> None:
        weights = [parent.ref for parent in new.parents if parent.kind == "weights"]
        if new.derived and not weights:
            raise VortexError("a derived version names no weights that it comes from", "give it a parent of kind 'weights'")
        for ref in weights if new.derived else ():
            self.get(ref)

    def _cache(self, what: str, write: Any) -> None:
        try:
            write()
        except VortexError as error:
            log.warning("the ledger has it, but MLflow's %s could not be set: %s", what, error)


def append_registration(
    tx: Transaction, new: NewVersion, mlflow_version: int, *, actor: str, reason: str = "", commit: str | None = None
) -> str:
    """Give a run its name within a transaction, and return the name."""
    number = _next_number(tx, new.recipe, new.derived)
    body = {item.name: getattr(new, item.name) for item in fields(NewVersion)}
    head = {key: body.pop(key) for key in ("recipe", "codename", "parents", "domain", "size", "truncated")}
    head["parents"] = [(parent.kind, parent.ref, parent.detail) for parent in new.parents]
    event = tx.append(
        REGISTERED,
        f"v{number}",
        {**head, "number": number},
        {**body, "mlflow_version": mlflow_version},
        actor=actor,
        reason=reason,
        commit=commit,
        claims=(("version", number), (_run_scope(new), 0)),
    )
    return event.subject


def measurement(one: Metrics) -> tuple[dict[str, Any], dict[str, Any]]:
    """Head and body of the event that records a measurement."""
    return {"domain": one.domain, "camera": one.camera, "rmse": one.values.get("rmse"), "miou": one.values.get("miou")}, {"metrics": one}


def _next_number(source: Ledger | Transaction, recipe: str | None, derived: bool) -> int:
    if recipe in SHIPPED and not derived:
        number = int(str(recipe)[1:])
        if source.claimed("version", number) is None:
            return number
    return max(FIRST_FREE, source.highest("version") + 1)


def _run_scope(new: NewVersion) -> str:
    return f"run {new.run_id}"


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
    for parent in new.parents:
        key = f"vortex.parent.{parent.kind}"
        tags[key] = f"{tags[key]} {parent.ref}" if key in tags else parent.ref
    return {key: value for key, value in tags.items() if value}


def _unknown(name: str, existing: list[str]) -> VortexError:
    if not existing:
        return VortexError(f"version {name!r} is not registered: there is no version yet", "make one with: vortex train v6")
    some = existing if len(existing) <= 12 else [*existing[:4], "…", *existing[-6:]]
    spelling = "" if re.fullmatch(r"v[1-9]\d*", name) else "; versions are written v6, v10"
    return VortexError(f"version {name!r} is not registered; there are: {', '.join(some)}{spelling}", "list them with: vortex versions")
