"""The keys that sign what is shipped, as metadata of TUF's role root names them, and the statement in a bundle that one of them has to have signed.

Root is signed by keys that lie apart from the publisher: who has taken its machine can add no key here, and keep none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vortex_jetson.errors import Untrusted
from vortex_jetson.formats.document import SHA256, Fields

FIELD: Final = "vortex-release-keys"
"""Of root's metadata; TUF keeps fields that it does not know, and signs them."""
STATEMENT: Final = "statement.dsse.json"
PAYLOAD: Final = "application/vnd.in-toto+json"
LARGEST_STATEMENT: Final = 100_000
MOST_KEYS: Final = 64
_REFUSED: Final = "what runs is kept, and nothing of it was used; tell who publishes"


@dataclass(frozen=True)
class ReleaseKey:
    """An ed25519 key: its id, and its public part as hexadecimal digits."""

    keyid: str
    public: str


@dataclass(frozen=True)
class ReleaseKeys:
    """Whose signature counts, the key that signs now first, and the ids of those that were stolen or might have been."""

    trusted: tuple[ReleaseKey, ...]
    distrusted: tuple[str, ...] = ()


def dump(keys: ReleaseKeys) -> dict[str, Any]:
    """The field of root's metadata."""
    return {
        "trusted": [{"keyid": key.keyid, "public": key.public} for key in keys.trusted],
        "distrusted": list(keys.distrusted),
    }


def parse(fields_of_root: Mapping[str, Any]) -> ReleaseKeys | None:
    """The keys that root names; None where it is of before roots named any. Raises BadDocument for what is no such field."""
    if FIELD not in fields_of_root:
        return None
    fields = Fields(fields_of_root[FIELD], f"{FIELD} of root")
    keys = ReleaseKeys(tuple(map(_key, fields.parts("trusted", 0, MOST_KEYS))), fields.texts("distrusted", SHA256, 0, MOST_KEYS))
    fields.end()
    return keys


def check_statement(statement: bytes, models: Mapping[str, str], keys: ReleaseKeys) -> None:
    """See that a trusted key signed the statement, and that it is about these models, path → SHA-256. Raises Untrusted."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    try:
        envelope = Envelope.from_dict(json.loads(statement))
        signers, payload_type = sorted(map(str, envelope.signatures)), str(envelope.payload_type)
    except Exception as error:  # the library lets errors of each part pass: KeyError, ValueError, TypeError, FormatError, RecursionError
        raise Untrusted(f"{STATEMENT} is no signed envelope ({type(error).__name__})", _REFUSED) from error
    if payload_type != PAYLOAD:
        raise Untrusted(f"{STATEMENT} holds a {payload_type[:60]!r}, allowed: {PAYLOAD!r}", _REFUSED)
    trusted = [key for key in keys.trusted if key.keyid in signers]
    if not trusted:
        stolen = [keyid for keyid in signers if keyid in keys.distrusted]
        names = ", ".join(keyid[:12] for keyid in stolen or signers) or "nobody"
        state = "which is distrusted" if stolen else f"root names {', '.join(key.keyid[:12] for key in keys.trusted) or 'no key'}"
        raise Untrusted(f"{STATEMENT} is signed by {names}, {state}", _REFUSED)
    try:
        envelope.verify([SSlibKey(key.keyid, "ed25519", "ed25519", {"public": key.public}) for key in trusted], 1)
    except (VerificationError, ValueError) as error:
        raise Untrusted(f"{STATEMENT}: the signature of {trusted[0].keyid[:12]} does not fit what it holds", _REFUSED) from error
    subjects = _subjects(bytes(envelope.payload))
    strange = [path for path, sha256 in models.items() if subjects.get(path) != sha256]
    if strange:
        raise Untrusted(f"{STATEMENT} is not about {strange[0]} as it is here", _REFUSED)


def _subjects(payload: bytes) -> dict[str, str]:
    """Path → SHA-256 of what a statement is about; it is signed, so that it need not be read as strictly as what comes from outside."""
    try:
        return {str(subject["name"]): str(subject["digest"]["sha256"]) for subject in json.loads(payload)["subject"]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Untrusted(f"{STATEMENT} says of no file what it is ({type(error).__name__})", _REFUSED) from error


def _key(fields: Fields) -> ReleaseKey:
    key = ReleaseKey(fields.text("keyid", SHA256), fields.text("public", SHA256))
    fields.end()
    return key
