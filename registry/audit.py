"""Is the ledger what was written, and does what lies beside it still say the same?

The chain is walked and compared with the heads that were noted; claims, triggers, the outbox, MLflow's versions and aliases, and the stored
files are compared with what the events say, both ways. What follows from the events alone can be put right again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.errors import VortexError
from core.files import is_uri
from core.stages import STAGES
from registry import database, stages
from registry.chain import ChainHead
from registry.events import reading
from registry.events.event import KINDS, Event
from registry.ledger import Claim, Contradiction, Entry, Ledger, NotUnderstood
from registry.outbox import Outbox
from registry.records import Artifact, Version
from registry.versions import Hub

REPAIR = "put it right with: vortex audit verify --repair"


@dataclass(frozen=True)
class Fault:
    """Something that is not what the ledger's events say, and what to do. `repairable` is what follows from the events alone."""

    area: Literal["chain", "events", "claims", "triggers", "outbox", "mlflow", "aliases", "artifacts"]
    found: str
    remedy: str
    repairable: bool = False


def ledger_faults(ledger: Ledger, heads: Mapping[str, ChainHead] | None = None) -> tuple[ChainHead, list[Fault]]:
    """The end of the chain, and what is wrong with the ledger; `heads` are noted ones, by the place where each was noted.

    Where the chain is broken that alone is said, because nothing that follows from it can be trusted.
    """
    plain = ledger.unguarded()
    try:
        head = plain.verify(heads)
    except VortexError as error:
        return ChainHead(), [Fault("chain", error.message, error.hint)]
    state = database.look(ledger.url, ledger.timeout)
    faults = [] if state.guarded else [Fault("triggers", database.wrong_triggers(state), REPAIR, repairable=True)]
    return head, [*_event_faults(plain.entries(bodies=False)), *_claim_faults(plain), *faults, *_outbox_faults(plain)]


def taken(entries: Iterable[Entry]) -> tuple[dict[Claim, int], list[Fault]]:
    """What these events claim → the event that was first, and those that claim what was taken."""
    claims: dict[Claim, int] = {}
    faults = []
    for entry in entries:
        for claim in reading.parse(entry).claims():
            if claim in claims:
                found = f"the chain breaks at event {entry.seq}: it takes {_words(claim)}, which event {claims[claim]} has taken"
                faults.append(Fault("events", found, "find out who wrote it, and restore the ledger from a backup"))
            else:
                claims[claim] = entry.seq
    return claims, faults


def claiming_kinds() -> list[str]:
    """The kinds of events that claim something."""
    return [kind for kind, event in KINDS.items() if event.claims is not Event.claims]


def repair(ledger: Ledger) -> None:
    """Put back what follows from the events: claims, triggers and the outbox. Raises VortexError where the chain itself is broken."""
    plain = ledger.unguarded()
    claims, _ = taken(plain.entries(kinds=claiming_kinds()))
    plain.rebuild(claims)
    Outbox(ledger.url, ledger.timeout).remove_orphans()


def mlflow_faults(hub: Hub, versions: Sequence[Version]) -> list[Fault]:
    """Versions that MLflow no longer has, and aliases that it has otherwise than the ledger says."""
    runs, deleted = hub.store.model_versions(), hub.store.deleted_runs()
    faults = []
    for version in versions:
        if version.run_id in deleted:
            command = f"mlflow runs restore --run-id {version.run_id}"
            faults.append(Fault("mlflow", f"{version.name}: its run was deleted in MLflow", f"bring it back with: {command}"))
        elif version.run_id not in runs.values():
            faults.append(Fault("mlflow", f"{version.name}: its version of the MLflow model was deleted", REPAIR, repairable=True))
    return [*faults, *alias_faults(hub, versions)]


def alias_faults(hub: Hub, versions: Sequence[Version]) -> list[Fault]:
    """Aliases that MLflow has otherwise than the ledger says; an alias is asked for the run behind it, because MLflow counts anew."""
    run_of = {version.name: version.run_id for version in versions}
    name_of = {version.run_id: version.name for version in versions}
    expected = {
        state.channel.alias(stage): version for state in stages.channel_states(hub.ledger) for stage, version in state.current.items()
    }
    aliases = hub.store.aliases()
    faults = []
    for alias in sorted(expected.keys() | filter(_ours, aliases)):
        name, number = expected.get(alias), aliases.get(alias)
        run = hub.store.run_behind(alias) or ""
        if name is None:
            found = f"{alias} points at {name_of.get(run, 'another model')}, and the ledger has nothing there"
        elif number is None:
            found = f"{alias} is missing, the ledger has {name} there"
        elif run != run_of.get(name):
            found = f"{alias} points at {name_of.get(run, f'MLflow version {number}, which is of no version here')}, the ledger has {name} there"
        else:
            continue
        faults.append(Fault("aliases", found, REPAIR, repairable=True))
    return faults


def artifact_faults(hub: Hub, versions: Sequence[Version], most: int | None = None) -> tuple[int, list[Fault]]:
    """How many stored files were hashed again, and which of them are gone or changed.

    With `most`, that many bytes are hashed at most; of what is left, existence and size are looked at.
    """
    # What was measured or exported before is evidence too. Older workspaces wrote such files over, and then the last one counts.
    files = {artifact.uri: (version.name, artifact) for version in versions for artifact in _artifacts(hub, version)}
    hashed, faults = 0, []
    if any(is_uri(artifact.uri) for _, artifact in files.values()):
        hub.open_store()  # one that does not answer is said once, and not as the loss of each file
    for name, artifact in files.values():
        verify = most is None or artifact.bytes <= most
        if verify:
            hashed += 1
            most = most and most - artifact.bytes
        try:
            hub.artifacts.check(artifact, verify=verify)
        except VortexError as error:
            faults.append(Fault("artifacts", f"{name}: {error.message}", error.hint))
    return hashed, faults


def repair_mlflow(hub: Hub, versions: Sequence[Version]) -> None:
    """Make again what was deleted of the MLflow model, set every alias to what the ledger says, and note the ledger's head."""
    runs, deleted = set(hub.store.model_versions().values()), hub.store.deleted_runs()
    for version in versions:
        if version.run_id not in runs and version.run_id not in deleted:
            hub.restore_model(version.name)
    states = stages.channel_states(hub.ledger)
    expected = {state.channel.alias(stage) for state in states for stage in state.current}
    for alias in filter(_ours, hub.store.aliases()):
        if alias not in expected:
            hub.store.drop_alias(alias)
    for state in states:
        hub.refresh_aliases(state.channel)
    hub.note_head()


def _ours(alias: str) -> bool:
    """Whether an alias of MLflow is one that a channel's stage has."""
    stage, separator, rest = alias.partition("-ON-")
    return bool(separator) and stage in STAGES and "-FOR-" in rest


def _artifacts(hub: Hub, version: Version) -> Iterator[Artifact]:
    """Every stored file that an event names: also those of measurements and exports that later ones have replaced."""
    for entry in hub.ledger.entries(kinds=reading.kinds(scope="version"), subject=version.name):
        yield from reading.parse(entry).artifacts()


def _event_faults(entries: list[Entry]) -> list[Fault]:
    """Events that cannot follow those before them, or that this vortex does not understand."""
    restore = "find out who wrote it, and restore the ledger from a backup"
    try:
        state = reading.fold(entries)
        missing = [
            Fault("events", f"channel {channel} has {version} in {stage}, which no event registers", restore)
            for channel, moved in state.channels.items()
            for stage, version in moved.current.items()
            if version not in state.versions
        ]
    except (Contradiction, NotUnderstood) as error:
        return [Fault("events", error.message, restore if isinstance(error, Contradiction) else error.hint)]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [Fault("events", f"an event lacks what this vortex expects ({error!r})", reading.NEWER)]
    return missing


def _claim_faults(ledger: Ledger) -> list[Fault]:
    """Claims and events, compared both ways."""
    try:
        claims, faults = taken(ledger.entries(kinds=claiming_kinds()))
    except (VortexError, LookupError, TypeError, ValueError, AttributeError):
        return []  # what cannot be read is among the event faults
    stored = ledger.claims()
    for claim in sorted(claims.keys() | stored.keys()):
        event, holder = claims.get(claim), stored.get(claim)
        if holder == event:
            continue
        if event is None:
            found = f"{_words(claim)} is taken, but the event that took it is missing: event {holder} did not"
        elif holder is None:
            found = f"the claim of event {event} is missing: {_words(claim)} is free"
        else:
            found = f"the claim of event {event} is missing: event {holder} has {_words(claim)}"
        faults.append(Fault("claims", found, REPAIR, repairable=True))
    return faults


def _outbox_faults(ledger: Ledger) -> list[Fault]:
    """Deliveries of events that are not there. That one is missing cannot be seen: which hooks there were is not in the ledger."""
    return [
        Fault("outbox", f"hook {hook} is to be sent event {event}, which the ledger does not have", REPAIR, repairable=True)
        for hook, event in Outbox(ledger.url, ledger.timeout).orphans()
    ]


def _words(claim: Claim) -> str:
    scope, number = claim
    if scope == "version":
        return f"the name v{number}"
    kind, _, subject = scope.partition(" ")
    return f"run {subject}" if kind == "run" else f"move {number} of channel {subject}"
