"""The chain of hashes: what an event's hash is taken over, where the chain ends, and where it breaks.

Each event's hash is the SHA-256 over the canonical JSON of its fields and of the previous event's hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.errors import VortexError
from core.secret import SecretUrl
from registry import database
from registry.records import to_json

GENESIS: Final = "0" * 64
"""The hash that the first event follows."""

HEAD_COLUMNS: Final = "seq, previous, hash, kind, subject, at, actor, reason, git_commit, head"
COLUMNS: Final = (*HEAD_COLUMNS.split(", "), "body")
HASHED: Final = tuple(name for name in COLUMNS if name != "hash")
"""What an event's hash is taken over."""


@dataclass(frozen=True)
class ChainHead:
    """Where the chain ends. Kept elsewhere, it also shows that it was not cut off, or written anew as a whole.

    `ledger` is the hash of the first event: it tells one ledger from another. All is empty where there is no event.
    """

    ledger: str = ""
    seq: int = 0
    hash: str = GENESIS

    @classmethod
    def parse(cls, text: str, where: str) -> ChainHead:
        """The head that a file or a tag holds. Raises VortexError, naming `where`, when it holds none."""
        try:
            raw = json.loads(text)
            head = cls(**raw)
            numbers = head.seq > 0 and all(len(value) == 64 and int(value, 16) >= 0 for value in (head.ledger, head.hash))
        except (ValueError, TypeError, RecursionError):
            numbers = False
        if not numbers:
            raise VortexError(f"{where} holds no head of a ledger: {text[:60]!r}", "`vortex audit head` prints what such a file holds")
        return head

    def text(self) -> str:
        """As a file or a tag holds it."""
        return canonical(self)


def canonical(value: object) -> str:
    """JSON with one spelling: sorted keys, no spaces, UTF-8, no NaN. Records are converted; lone surrogates are replaced."""
    return stored(json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False))


def chained(row: Mapping[str, Any]) -> str:
    """The hash of an event: over its fields as they are stored and the previous event's hash."""
    # The stored fields are text and numbers: `canonical` would write the same, at twice the time.
    return hashlib.sha256(_ENCODER.encode({name: row[name] for name in HASHED}).encode("utf-8", "replace")).hexdigest()


_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def follow(url: SecretUrl, head: ChainHead, rows: Iterable[Sequence[Any]]) -> Iterator[ChainHead]:
    """The head after each of these rows of all columns, the first of which follows `head`. Raises VortexError where the chain breaks."""
    for raw in rows:
        row = dict(zip(COLUMNS, raw, strict=True))
        if row["seq"] != head.seq + 1:
            raise broken(url, head.seq + 1, f"it is missing; the next one found is {row['seq']}")
        if row["previous"] != head.hash:
            raise broken(url, row["seq"], f"it follows {str(row['previous'])[:12]}…, but event {head.seq} is {head.hash[:12]}…")
        try:
            intact = row["hash"] == chained(row)
        except TypeError:  # bytes where text was
            intact = False
        if not intact:
            raise broken(url, row["seq"], f"its content ({row['kind']} of {row['subject']}) does not match its hash")
        head = ChainHead(head.ledger or row["hash"], row["seq"], row["hash"])
        yield head


def require_noted(url: SecretUrl, head: ChainHead, noted: ChainHead, where: str) -> None:
    """Raise VortexError unless `head`, of the event at which `noted` was noted or of the last one before it, is that."""
    if head.ledger and noted.ledger != head.ledger:
        raise VortexError(
            f"{database.shown(url)}: the chain breaks at event 1, or this is another ledger: its first event is {head.ledger[:12]}…,"
            f" the head in {where} is of a ledger that begins with {noted.ledger[:12]}…",
            "compare it with the ledger that was meant: `ledger` in vortex.toml, or a backup",
        )
    if head.seq != noted.seq:
        end = f"it is missing: the chain ends at {head.seq}" if head.seq < noted.seq else f"event {noted.seq} is missing"
        raise broken(url, min(head.seq + 1, noted.seq), f"{end}, but event {noted.seq} was noted in {where}")
    if head.hash != noted.hash:
        raise broken(url, head.seq, f"it is {head.hash[:12]}…, but {noted.hash[:12]}… was noted in {where}")


def stored(text: str) -> str:
    """A text as both databases can hold it: PostgreSQL stores no NUL, and neither a lone surrogate from a file name or a terminal."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def broken(url: SecretUrl, seq: int, fault: str) -> VortexError:
    """The error that names the event at which the chain of the ledger at `url` breaks."""
    return VortexError(
        f"{database.shown(url)}: the chain breaks at event {seq}: {fault}",
        "someone changed the ledger behind Vortex's back: restore it from a backup, and compare what differs from there on",
    )
