"""How a key lies on a disk: private ones as PEM for their owner alone, encrypted where a passphrase was given, public ones beside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import VortexError
from core.files import staged_file, write_atomic
from registry import signature

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner


def write_private(path: Path, signer: CryptoSigner, passphrase: str | None = None) -> None:
    """Write a private key as PEM for its owner alone, encrypted where there is a passphrase; whole or not at all."""
    from cryptography.hazmat.primitives import serialization

    content = signer.private_bytes
    if passphrase is not None:
        content = serialization.load_pem_private_key(content, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(passphrase.encode()),
        )
    with staged_file(path) as staging:
        staging.unlink(missing_ok=True)  # a file that was never anybody else's to open
        with open(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)


def load_private(path: Path, passphrase: str | None) -> CryptoSigner:
    """What signs with the ed25519 key in a file. Raises VortexError where the passphrase does not open it, or it holds no such key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    content = signature.read(path).encode()
    try:
        key = load_pem_private_key(content, None if passphrase is None else passphrase.encode())
    except TypeError as error:  # encrypted and no passphrase given, or the other way round
        raise VortexError(
            f"{path}: the key is {'encrypted' if passphrase is None else 'not encrypted'}", "restore the file from a backup"
        ) from error
    except ValueError as error:
        if passphrase is None:
            raise VortexError(
                f"{path}: holds no key that can be read",
                "restore it from a backup of the keys' folder, or remove it, and make a new one: vortex keys rotate ROLE --root FOLDER",
            ) from error
        raise VortexError(
            f"{path}: the passphrase does not open it, or it holds no key", "give the passphrase that it was made with"
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise VortexError(f"{path}: is a {type(key).__name__}, allowed: ed25519", "name the folder that `vortex keys init` was given")
    return CryptoSigner(key)


def write_public(path: Path, signer: CryptoSigner) -> None:
    """Write the public part of a key as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    public = load_pem_private_key(signer.private_bytes, None).public_key()
    write_atomic(path, public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
