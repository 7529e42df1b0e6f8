"""A workspace's registry brought to other places: from the embedded files to a team's servers, and back."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from core.errors import VortexError
from core.files import locked, read_text_of_user, write_atomic
from core.progress import Progress
from pipelines.hub.open import hub
from pipelines.workspace import FILE, Workspace
from registry import audit, database
from registry.events import reading
from registry.outbox import Outbox
from registry.versions import Hub

PLACES: Final = ("tracking_uri", "artifact_root", "ledger")


@dataclass(frozen=True)
class Migration:
    """What was brought over that was not there yet, and the end of the ledger there."""

    runs: int
    artifacts: int
    events: int
    seq: int
    hash: str
    deliveries: int = 0
    """What the hooks have not been sent yet."""


def read_places(file: Path) -> dict[str, str]:
    """The three settings of `vortex.toml` that say where a registry is, from a TOML file that holds them alone. Raises VortexError."""
    try:
        places = tomllib.loads(read_text_of_user(file))
    except (OSError, ValueError, RecursionError) as error:
        raise VortexError(f"{file}: not readable as TOML ({error})", f"write into it, each as in {FILE}: {', '.join(PLACES)}") from error
    if set(places) != set(PLACES) or not all(isinstance(value, str) for value in places.values()):
        raise VortexError(
            f"{file}: holds {', '.join(places) or 'nothing'}, allowed: {', '.join(PLACES)}, each a text", "write these three alone"
        )
    return places


def migrate(ws: Workspace, file: Path, on_progress: Progress | None = None, *, dry_run: bool = False) -> Migration:
    """Bring the registry of `ws` to the places that `file` names, and have `vortex.toml` name them from then on.

    MLflow's runs first, then files, then the ledger, event by event as it is, then models and aliases: whatever breaks off between two of
    these, the same call completes it, and one more changes nothing. What others append meanwhile is brought over in a further round, each
    up to the end that the ledger had when it began. When nothing is missing the old ledger takes no event any more, and says where it
    moved to. Where `file` names the places of `ws` itself, a ledger that had moved takes events again. Raises VortexError where the ledger is
    broken or moved to a third place, where the other place has another ledger, or one that went on by itself, and where a file is gone or
    changed. What hooks were not sent yet is brought over too; what they were sent is not.
    """
    places = read_places(file)
    target_ws = dataclasses.replace(ws, config=ws.config.model_copy(update=places))
    source = hub(ws)
    if all(getattr(ws, name) == getattr(target_ws, name) for name in ("tracking_uri", "artifact_root", "ledger_url")):
        return _reopened(source, dry_run)
    target = Hub.open(target_ws.tracking_uri, target_ws.artifact_root, target_ws.ledger_url)
    _require_here(source, target)
    source.ledger.verify()
    _require_same_beginning(source, target)
    if dry_run:
        return _counted(source, target)
    runs = artifacts = adopted = 0
    while True:
        # One last event for all of a round: an event that came while files were copied waits for its own files.
        last = source.ledger.verify().seq
        runs += _bring_runs(source, target)
        artifacts += _bring_artifacts(source, target, last, on_progress)
        adopted += _bring_events(source, target, last)
        head = target.ledger.verify()
        if source.ledger.seal(database.shown(target.ledger.url), head):
            break
    target.ledger.reopen()
    deliveries = Outbox(source.ledger.url).carry_to(Outbox(target.ledger.url))
    audit.repair_mlflow(target, target.versions())
    _write(ws, places)
    return Migration(runs, artifacts, adopted, head.seq, head.hash, deliveries)


def _require_here(source: Hub, target: Hub) -> None:
    """Raise Moved unless the source is open, or moved to this very target and the rest broke off."""
    place = source.ledger.moved
    if place not in ("", database.shown(target.ledger.url)):
        raise database.moved(source.ledger.url, place)


def _reopened(source: Hub, dry_run: bool) -> Migration:
    """Nothing to bring; but where the registry moved away and is to stay after all, it is open again."""
    if not dry_run and source.ledger.moved:
        source.ledger.reopen()
    end = source.ledger.verify()
    return Migration(0, 0, 0, end.seq, end.hash)


def _counted(source: Hub, target: Hub) -> Migration:
    """What there is to bring, without bringing it."""
    entries = source.ledger.entries(after=target.ledger.verify().seq, bodies=True)
    named = {artifact.uri for entry in entries for artifact in reading.parse(entry).artifacts()}
    file = database.sqlite_path(target.tracking_uri)
    begun = file is None or file.exists()  # a store that is not there would be made by being asked
    runs = set(source.store.runs()) - set(target.store.runs() if begun else ())
    head = source.ledger.verify()
    waiting = len(Outbox(source.ledger.url).deliveries(undelivered=True))
    return Migration(len(runs), len(named), len(entries), head.seq, head.hash, waiting)


def _require_same_beginning(source: Hub, target: Hub) -> None:
    """Raise VortexError unless the target's ledger is empty or the beginning of the source's."""
    end = target.ledger.verify()
    same = next(iter(source.ledger.entries(after=end.seq - 1, first=1, bodies=False)), None) if end.seq else None
    if end.seq and (same is None or same.hash != end.hash):
        raise VortexError(
            f"ledger {database.shown(target.ledger.url)} has {end.seq} events, and is not the beginning of the one that is to be brought there",
            "name an empty database; two ledgers that went on apart cannot be made one",
        )


def _bring_runs(source: Hub, target: Hub) -> int:
    return sum(target.store.import_run(source.store.export_run(run)) for run in source.store.runs())


def _bring_artifacts(source: Hub, target: Hub, last: int, on_progress: Progress | None) -> int:
    """The files of the events up to number `last` that the target lacks: those of events that it has were brought before them."""
    entries = source.ledger.entries(after=target.ledger.verify().seq)
    named = {artifact.uri: artifact for entry in entries if entry.seq <= last for artifact in reading.parse(entry).artifacts()}
    brought = 0
    for number, artifact in enumerate(named.values(), 1):
        brought += target.artifacts.put(artifact, source.artifacts.path(artifact))
        source.artifacts.drop_fetched(artifact)
        if on_progress:
            on_progress(number, len(named))
    return brought


def _bring_events(source: Hub, target: Hub, last: int) -> int:
    claims = source.ledger.claims()
    with target.ledger.transaction(moved=True) as tx:
        rows = takewhile(lambda row: row[0] <= last, source.ledger.rows(tx.head.seq))
        return tx.adopt(rows, claims, source.ledger.url)


def _write(ws: Workspace, places: dict[str, str]) -> None:
    """Have `vortex.toml` name these places; its comments stay."""
    import tomlkit

    path = ws.root / FILE
    with locked(ws.build / "vortex.toml.lock"):
        document = tomlkit.parse(read_text_of_user(path))
        document.update(places)
        write_atomic(path, tomlkit.dumps(document))
