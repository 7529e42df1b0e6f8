"""A ledger that somebody changed behind Vortex's back ends in one line that names the event, in every command that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from core.errors import VortexError
from registry.events import reading
from registry.events.version import VersionRegistered
from registry.ledger import Ledger
from registry.records import NewVersion


@pytest.fixture
def filled(ledger: Ledger, make_new: Callable[..., NewVersion]) -> Ledger:
    """A ledger with v6."""
    ledger.append(VersionRegistered("v6", make_new(), 1), actor="me")
    return ledger


def test_an_emptied_ledger_does_not_pass_for_a_new_one(filled: Ledger, edit: Callable[..., None]) -> None:
    edit(filled, "DELETE FROM events")
    with pytest.raises(VortexError, match="event 1: it is missing"):
        Ledger(filled.url).verify()


@pytest.mark.parametrize("change", ["head = '{}'", "head = '[1]'", "head = 'null'", "head = x'ff00'", "body = '{}'", "kind = 'version.x'"])
def test_what_was_tampered_with_is_named(filled: Ledger, change: str, edit: Callable[..., None]) -> None:
    edit(filled, f"UPDATE events SET {change}")
    with pytest.raises(VortexError, match="event 1"), filled.understood():
        reading.fold(filled.entries())


def test_events_of_a_newer_vortex_are_not_called_tampering(ledger: Ledger, make_new: Callable[..., NewVersion]) -> None:
    @dataclass(frozen=True)
    class Newer(VersionRegistered):
        def head(self) -> dict[str, Any]:
            return {"number": 6}

    ledger.append(Newer("v6", make_new(), 1), actor="me")
    with pytest.raises(VortexError, match=r"event 1 is a 'version\.registered' that lacks what this vortex expects"), ledger.understood():
        reading.fold(ledger.entries())
