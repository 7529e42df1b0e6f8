"""Signatures over small documents: a DSSE envelope (github.com/secure-systems-lab/dsse), signed with ed25519.

Keys are PEM files, as `openssl genpkey -algorithm ed25519` writes them. An envelope holds what was signed, its type and the signatures, so
that it can be sent as one file and one kind of document never passes for another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import VortexError
from core.files import open_regular

if TYPE_CHECKING:
    from securesystemslib.signer import Key

NEW_KEY: Final = "make one with: openssl genpkey -algorithm ed25519 -out KEY.pem, and its public part with: openssl pkey -in KEY.pem -pubout -out KEY.pub"
LARGEST: Final = 100_000
"""Bytes of a key or an envelope that are read: both have a few hundred."""


def sign(payload: bytes, payload_type: str, key_file: Path) -> dict[str, Any]:
    """The envelope over `payload`, signed with the private key in `key_file`. Raises VortexError when that holds no ed25519 key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    try:
        key = load_pem_private_key(read(key_file).encode(), password=None)
    except TypeError as error:
        raise VortexError(f"{key_file}: the key has a password", f"sign with a key without one; {NEW_KEY}") from error
    except ValueError as error:
        raise VortexError(f"{key_file}: holds no private key in PEM", NEW_KEY) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise VortexError(f"{key_file}: is a {type(key).__name__}, allowed: ed25519", NEW_KEY)
    envelope = Envelope(payload, payload_type, {})
    envelope.sign(CryptoSigner(key))
    signed: dict[str, Any] = envelope.to_dict()
    return signed


@dataclass(frozen=True)
class Signed:
    """What an envelope holds, the ids of all keys that it names, and of those among them that are trusted and whose signature fits."""

    payload: bytes
    signers: tuple[str, ...]
    trusted: tuple[str, ...]


def inspect(text: str | bytes, payload_type: str, key_files: Sequence[Path], where: str, *, keys: Sequence[Key] = ()) -> Signed:
    """What the envelope in `text` holds, and who signed it: of the public keys in `key_files`, and of `keys`.

    Raises VortexError, naming `where`, when it is no envelope, holds another type, or one of these public keys signed something else. What
    a key signed that is not among them cannot be told.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    try:
        envelope = Envelope.from_dict(json.loads(text))
    except Exception as error:  # the library lets errors of each part pass: KeyError, ValueError, TypeError, FormatError
        raise VortexError(
            f"{where} is not a signed envelope ({type(error).__name__})", "take the file as it was written when it was signed"
        ) from error
    if envelope.payload_type != payload_type:
        raise VortexError(f"{where} holds a {envelope.payload_type[:60]!r}, allowed: {payload_type!r}", "name the file that was meant")
    signers, trusted = tuple(envelope.signatures), []
    for key in (*map(_public, key_files), *keys):
        if key.keyid not in signers:
            continue
        try:
            envelope.verify([key], 1)
        except VerificationError as error:
            raise VortexError(
                f"{where}: the signature of {key.keyid[:12]}… does not fit what it holds", "it was changed after it was signed"
            ) from error
        trusted.append(key.keyid)
    return Signed(bytes(envelope.payload), signers, tuple(trusted))


def opened(text: str, payload_type: str, key_files: Sequence[Path], where: str) -> bytes:
    """What the envelope in `text` holds, when one of these public keys signed it. Raises VortexError as `inspect`, and when none did."""
    signed = inspect(text, payload_type, key_files, where)
    signers = ", ".join(f"{keyid[:12]}…" for keyid in signed.signers) or "nobody"
    if not key_files:
        raise VortexError(f"{where} is signed by {signers}, and no key is named that is trusted", "name the public key with --key KEY.pub")
    if not signed.trusted:
        trusted = ", ".join(f"{_public(path).keyid[:12]}… ({path})" for path in key_files)
        raise VortexError(f"{where} is signed by {signers}, trusted is {trusted}", "ask who signed it, before you trust their key")
    return signed.payload


def read(path: Path) -> str:
    """A small file as text. Raises VortexError when it cannot be read, or is not small."""
    try:
        with open_regular(path) as stream:
            data = stream.read(LARGEST + 1)
    except OSError as error:
        raise VortexError(f"{path}: cannot be read ({error.strerror or error})", "check the path and its permissions") from error
    if len(data) > LARGEST:
        raise VortexError(f"{path}: is larger than {LARGEST:,} bytes, which no key and no head is", "name the file of a key or a head")
    return data.decode("utf-8", "replace")


def _public(path: Path) -> Key:
    return public_key(read(path), str(path))


def public_key(text: str, where: str) -> Key:
    """The ed25519 key whose public part is this PEM. Raises VortexError, naming `where`, for another one and for what is none."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    try:
        key = load_pem_public_key(text.encode())
    except ValueError as error:
        raise VortexError(f"{where}: holds no public key in PEM", NEW_KEY) from error
    if not isinstance(key, Ed25519PublicKey):
        raise VortexError(f"{where}: is a {type(key).__name__}, allowed: ed25519", NEW_KEY)
    return SSlibKey.from_crypto(key)
