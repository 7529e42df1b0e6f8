"""Versions folded from events: what a listing needs from their heads alone, and everything from head and body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from registry import records, stages
from registry.ledger import Event
from registry.records import Artifact, DataUse, Headline, Parent, Summary, Version

REGISTERED, MEASURED, EXPORTED = "version.registered", "version.measured", "version.exported"
KINDS: Final = (REGISTERED, MEASURED, EXPORTED)


def fold_summaries(events: Iterable[Event]) -> list[Summary]:
    """Versions as listings show them, from the heads of their events and of the channels' moves."""
    made: dict[str, dict[str, Any]] = {}
    moves = []
    for event in events:
        head = event.head
        if event.kind == REGISTERED:
            made[event.subject] = {
                **head,
                "name": event.subject,
                "size": (head["size"][0], head["size"][1]),
                "parents": tuple([Parent(*parent) for parent in head["parents"]]),
                "headlines": {},
                "exports": 0,
                "created_at": event.at,
                "actor": event.actor,
                "reason": event.reason,
                "commit": event.commit,
            }
        elif event.kind == MEASURED:
            lines = made[event.subject]["headlines"]
            key = (head["domain"], head["camera"])
            lines.pop(key, None)
            lines[key] = Headline(*key, _number(head["rmse"]), _number(head["miou"]))
        elif event.kind == EXPORTED:
            made[event.subject]["exports"] += 1
        else:
            moves.append(event)
    held = _held(moves)
    listed = (Summary(**{**raw, "headlines": tuple(raw["headlines"].values())}, stages=held.get(name, ())) for name, raw in made.items())
    return sorted(listed, key=lambda summary: summary.number)


def fold_versions(events: Iterable[Event]) -> list[Version]:
    """Versions with everything recorded about them, from whole events and the channels' moves."""
    made: dict[str, dict[str, Any]] = {}
    moves = []
    for event in events:
        body = event.body or {}
        if event.kind == REGISTERED:
            made[event.subject] = {
                **_registered(event.head, body),
                "name": event.subject,
                "metrics": {},
                "exports": {},
                "created_at": event.at,
                "actor": event.actor,
                "reason": event.reason,
                "commit": event.commit,
            }
        elif event.kind == MEASURED:
            one = records.metrics(body["metrics"])
            made[event.subject]["metrics"].pop(one.key, None)
            made[event.subject]["metrics"][one.key] = one
        elif event.kind == EXPORTED:
            export = records.export(body["export"])
            key = (export.format, export.size, export.precision)
            made[event.subject]["exports"].pop(key, None)
            made[event.subject]["exports"][key] = export
        else:
            moves.append(event)
    held = _held(moves)
    versions = (
        Version(**{**raw, "metrics": tuple(raw["metrics"].values()), "exports": tuple(raw["exports"].values())}, stages=held.get(name, ()))
        for name, raw in made.items()
    )
    return sorted(versions, key=lambda version: version.number)


def _registered(head: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **head,
        **body,
        "size": (head["size"][0], head["size"][1]),
        "parents": tuple([Parent(*parent) for parent in head["parents"]]),
        "data": tuple(DataUse(**use) for use in body["data"]),
        "checkpoint": Artifact(**body["checkpoint"]),
    }


def _held(moves: Iterable[Event]) -> dict[str, tuple[tuple[str, str], ...]]:
    held: dict[str, tuple[tuple[str, str], ...]] = {}
    for channel, state in stages.fold(moves).items():
        for name in set(state.current.values()):
            held[name] = (*held.get(name, ()), (channel, str(state.stage_of(name))))
    return held


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
