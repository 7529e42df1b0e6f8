"""The keys that sign what is published, by the roles of The Update Framework (theupdateframework.github.io/specification).

The key of the role `root` lies where this workspace cannot reach it by itself: in a folder that is named when it is needed, encrypted. It
says which keys the other roles have. Those (`targets`, `snapshot`, `timestamp`) lie in the workspace's key folder, for its owner alone,
so that promotions are published without asking anybody.

    keys/online/ROLE-KEYID.pem      private keys of the other roles
    keys/release.pem, release.pub   signs the statement in every bundle
    keys/roots/N.root.json          every metadata of the role root: the last one says what is valid, and was written last

The release key is no role of TUF: root names it in a field of its own, and with it the earlier ones whose bundles may still be run.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from vortex_jetson.errors import BadDocument
from vortex_jetson.formats import release_keys
from vortex_jetson.formats.release_keys import ReleaseKey, ReleaseKeys

from core.errors import UsageError, VortexError
from core.files import locked, read_regular, write_atomic
from core.secret import remember
from pipelines.ship.key_files import load_private, write_private, write_public
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner, Key
    from tuf.api.metadata import Metadata, Root

Role = Literal["root", "targets", "snapshot", "timestamp"]
ONLINE: Final[tuple[Role, ...]] = ("targets", "snapshot", "timestamp")
ROLES: Final[tuple[Role, ...]] = ("root", *ONLINE)
RELEASE: Final = "release"
LIFETIMES: Final[Mapping[Role, timedelta]] = {
    # A person with a passphrase renews it, so once a year.
    "root": timedelta(days=365),
    # Who has lost the workspace for good still serves robots that long.
    "targets": timedelta(days=90),
    # How long an attacker can hold robots at an old state, and how long the publisher may be away before they take nothing new.
    "snapshot": timedelta(days=7),
    "timestamp": timedelta(days=7),
}
"""Why each: docs/decisions/publishing.md."""
LEAST_PASSPHRASE: Final = 8
LEAST_KEYID: Final = 8
"""Digits of a key's id that name it."""
LARGEST_ROOT: Final = 512_000
"""Bytes of metadata of the role root that a robot reads (python-tuf's bound)."""
_ROOT_FILE: Final = re.compile(r"(\d{1,9})\.root\.json")


class NoKeys(VortexError):
    """This workspace has no keys to publish with."""


@dataclass(frozen=True)
class RoleStatus:
    """One role: the ids of its keys and how many of them must sign, how many of them lie here, and when its metadata expires.

    `version` and `expires` are None where nothing is published yet, and for the release key, which signs no metadata: bundles by the keys in
    `earlier` may still be run, and by those in `distrusted` not.
    """

    role: Role | Literal["release"]
    keys: tuple[str, ...]
    threshold: int
    here: int
    version: int | None
    expires: datetime | None
    earlier: tuple[str, ...] = ()
    distrusted: tuple[str, ...] = ()

    def days_left(self, now: datetime) -> float | None:
        """Until it expires; negative after."""
        return None if self.expires is None else (self.expires - now) / timedelta(days=1)


@dataclass(frozen=True)
class KeyFolder:
    """A workspace's keys."""

    path: Path

    @property
    def release(self) -> Path:
        """The private key that signs statements; its public part lies beside it as `release.pub`."""
        return self.path / "release.pem"

    @property
    def next_release(self) -> Path:
        """A new release key, until a root names it."""
        return self.path / "release-next.pem"

    def release_keys(self, root: Root) -> ReleaseKeys:
        """Whose statements robots take. Roots of before named none: then it is the key that lies here."""
        try:
            named = release_keys.parse(root.unrecognized_fields)
        except BadDocument as error:
            raise VortexError(f"{self.path}/roots/{root.version}.root.json: {error.message}", "restore it from a backup") from error
        if named is not None:
            return named
        return ReleaseKeys((_release_key(load_private(self.release, None)),) if self.release.exists() else ())

    def release_here(self, root: Root) -> Path | None:
        """The file of the release key that signs now; None where it is not here."""
        signing = [key.keyid for key in self.release_keys(root).trusted[:1]]
        files = [path for path in (self.release, self.next_release) if path.exists()]
        return next((path for path in files if [load_private(path, None).public_key.keyid] == signing), None)

    def signing_release(self) -> Path:
        """The release key that signs now, in its place. Raises VortexError where it is not here, or is another one than root names."""
        root = self.root().signed
        path = self.release_here(root)
        if path is None:
            names = ", ".join(key.keyid[:12] for key in self.release_keys(root).trusted[:1]) or "none"
            raise VortexError(
                f"{self.release}: the release key of root {root.version} ({names}) is not here",
                "restore it from a backup of the keys' folder, or make a new one with: vortex keys rotate release --root FOLDER",
            )
        if path == self.next_release:  # the root that names it was written last
            write_public(self.release.with_suffix(".pub"), load_private(path, None))
            os.replace(path, self.release)
        self.next_release.unlink(missing_ok=True)
        return self.release

    def roots(self) -> dict[int, bytes]:
        """Version → metadata of the role root, in their order; none before `vortex keys init`."""
        folder = self.path / "roots"
        names = os.listdir(folder) if folder.is_dir() else []
        versions = sorted(int(match[1]) for name in names if (match := _ROOT_FILE.fullmatch(name)))
        return {version: read_regular(folder / f"{version}.root.json", LARGEST_ROOT) for version in versions}

    def root(self) -> Metadata[Root]:
        """The newest metadata of the role root. Raises NoKeys where there is none, VortexError where it cannot be read."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Metadata, Root

        roots = self.roots()
        if not roots:
            raise NoKeys(
                f"{self.path}: no keys to publish with", "make them with: vortex keys init --root FOLDER (on a medium that you take away)"
            )
        try:
            return Metadata[Root].from_bytes(roots[max(roots)])
        except RepositoryError as error:
            raise VortexError(f"{self.path}/roots/{max(roots)}.root.json is not readable ({error})", "restore it from a backup") from error

    def signers(self, role: Role, *roots: Root) -> list[CryptoSigner]:
        """What signs for an online role, of all keys that these give it. Raises VortexError where too few of the last one's are here."""
        named = {keyid for root in roots for keyid in root.roles[role].keyids}
        signers = {signer.public_key.keyid: signer for signer in self._online(role) if signer.public_key.keyid in named}
        newest = roots[-1].roles[role]
        if len(signers.keys() & set(newest.keyids)) < newest.threshold:
            raise VortexError(
                f"{self.path}/online: the key of the role {role} ({', '.join(keyid[:12] for keyid in newest.keyids)}) is not here",
                f"restore it from a backup, or make a new one with: vortex keys rotate {role} --root FOLDER",
            )
        return list(signers.values())

    def drop_revoked(self) -> None:
        """Remove online keys that the newest root gives no role."""
        root = self.root().signed
        for role in ONLINE:
            for path in self._files(role):
                if not any(keyid.startswith(path.stem.rpartition("-")[2]) for keyid in root.roles[role].keyids):
                    path.unlink(missing_ok=True)

    def count_here(self, role: Role, root: Root) -> int:
        """How many keys of an online role lie here."""
        return len({signer.public_key.keyid for signer in self._online(role)} & set(root.roles[role].keyids))

    def new_online(self, role: Role) -> Key:
        """Make a key for an online role; it counts once a root names it."""
        from securesystemslib.signer import CryptoSigner

        signer = CryptoSigner.generate_ed25519()
        write_private(self.path / "online" / f"{role}-{signer.public_key.keyid[:12]}.pem", signer)
        return signer.public_key

    def _files(self, role: Role) -> list[Path]:
        return sorted((self.path / "online").glob(f"{role}-*.pem"))

    def _online(self, role: Role) -> Iterator[CryptoSigner]:
        for path in self._files(role):
            yield load_private(path, None)


@dataclass(frozen=True)
class KeysChange:
    """What became of the role root: its version, until when it holds, and what was done in words."""

    version: int
    expires: datetime
    keys: Mapping[str, tuple[str, ...]]
    done: str

    def sentence(self) -> str:
        """The outcome in words."""
        return f"{self.done}; root {self.version} holds until {self.expires:%Y-%m-%d}"


def key_folder(ws: Workspace) -> KeyFolder:
    """The workspace's keys; there may be none."""
    return KeyFolder(ws.keys_folder)


def init(
    ws: Workspace, root_folders: Sequence[Path], passphrase: str, *, threshold: int | None = None, now: datetime | None = None
) -> KeysChange:
    """Make all keys: one of the role root in each of `root_folders`, the others in the workspace, and the first metadata of root.

    `threshold` of the root keys must sign a later change; default: more than half. A root key that lies in a folder already is used. What
    was killed is completed by the same call. Raises VortexError where the workspace has keys, for a folder in it, and for a passphrase that
    is too short or does not open a key that is there.
    """
    from securesystemslib.signer import CryptoSigner
    from tuf.api.metadata import Metadata, Root

    keys = key_folder(ws)
    with changing(ws):
        if keys.roots():
            raise VortexError(
                f"{keys.path} has keys already", "look at them with: vortex keys status; replace one with: vortex keys rotate"
            )
        signers = root_signers(ws, root_folders, passphrase, make=True)
        least = len(signers) // 2 + 1 if threshold is None else threshold
        if not 1 <= least <= len(signers):
            raise UsageError(f"--threshold {least} of {len(signers)} root keys, allowed: 1 to {len(signers)}", "name a folder for each key")
        write_atomic(keys.path / ".gitignore", "*\n")
        keys.path.chmod(0o700)
        if not keys.release.exists():
            release = CryptoSigner.generate_ed25519()
            write_public(keys.release.with_suffix(".pub"), release)
            write_private(keys.release, release)
        at = now or datetime.now(UTC)
        root = Root(version=1, expires=_expiry(at), consistent_snapshot=True)
        for signer in signers:
            root.add_key(signer.public_key, "root")
        root.roles["root"].threshold = least
        for role in ONLINE:
            root.add_key(keys.new_online(role), role)
        _name(root, keys.release_keys(root))
        _store(keys, Metadata(root), signers)
        keys.drop_revoked()
        return _change(keys, root, f"keys made: {least} of {len(signers)} root keys sign each change of keys")


def rotate(
    ws: Workspace,
    role: Role,
    root_folders: Sequence[Path],
    passphrase: str,
    *,
    new_folders: Sequence[Path] = (),
    new_passphrase: str | None = None,
    now: datetime | None = None,
) -> KeysChange:
    """Give a role a new key instead of those that it has, by a new metadata of root, which the root keys in `root_folders` sign.

    For the role root the keys in `new_folders` take the place of all old ones, and both sign: who trusts the old ones follows.
    Raises VortexError where too few root keys are there; nothing is changed then.
    """
    keys = key_folder(ws)
    if role == "root" and not new_folders:
        raise UsageError("a new root key, and no folder for it", "name it with --new FOLDER")
    if role != "root" and new_folders:
        raise UsageError(f"--new is where new root keys go, and {role} has its key in the workspace", "leave --new out")
    with changing(ws):
        old = keys.root()
        signers = root_signers(ws, root_folders, passphrase)
        if role == "root":
            fresh = root_signers(ws, new_folders, passphrase if new_passphrase is None else new_passphrase, make=True)
            same = [signer for signer in fresh if signer.public_key.keyid in old.signed.roles["root"].keyids]
            if same:
                raise UsageError(f"--new names a root key of today ({same[0].public_key.keyid[:12]})", "name a folder without one")
            added, extra = [signer.public_key for signer in fresh], fresh
        else:
            added, extra = [keys.new_online(role)], []

        def change(root: Root) -> None:
            for keyid in list(root.roles[role].keyids):
                root.revoke_key(keyid, role)
            for key in added:
                root.add_key(key, role)
            if role == "root":
                root.roles[role].threshold = len(added) // 2 + 1

        root = _succeed(keys, old, change, signers, extra, now)
        return _change(keys, root, f"the role {role} has a new key, {', '.join(key.keyid[:12] for key in added)}")


def rotate_release(
    ws: Workspace, root_folders: Sequence[Path], passphrase: str, *, distrust: Sequence[str] = (), now: datetime | None = None
) -> KeysChange:
    """Have a new key sign the statements in bundles, by a new metadata of root, which the root keys in `root_folders` sign.

    What earlier keys signed may still be run, but not what those in `distrust` signed (ids, or how they begin): they were stolen, or may have
    been. Raises UsageError for one that names no trusted key, VortexError where too few root keys are there; nothing is changed then.
    """
    from securesystemslib.signer import CryptoSigner

    keys = key_folder(ws)
    with changing(ws):
        old = keys.root()
        signers = root_signers(ws, root_folders, passphrase)
        before = keys.release_keys(old.signed)
        stolen = [_trusted(before, beginning).keyid for beginning in distrust]
        fresh = CryptoSigner.generate_ed25519()
        write_private(keys.next_release, fresh)
        trusted = (_release_key(fresh), *(key for key in before.trusted if key.keyid not in stolen))
        after = ReleaseKeys(trusted, tuple(dict.fromkeys([*before.distrusted, *stolen])))
        root = _succeed(keys, old, lambda root: _name(root, after), signers, [], now)
        keys.signing_release()
        refused = f"; what {', '.join(keyid[:12] for keyid in stolen)} signed is refused" if stolen else ""
        return _change(keys, root, f"the release key is a new one, {fresh.public_key.keyid[:12]}{refused}")


def _trusted(keys: ReleaseKeys, beginning: str) -> ReleaseKey:
    """The trusted release key whose id begins so. Raises UsageError where it is none of them, or several."""
    meant = [key for key in keys.trusted if len(beginning) >= LEAST_KEYID and key.keyid.startswith(beginning.lower())]
    if len(meant) != 1:
        names = ", ".join(key.keyid[:12] for key in keys.trusted) or "none"
        raise UsageError(
            f"--distrust {beginning[:64]!r} names {len(meant)} of the release keys that are trusted: {names}",
            f"give the first {LEAST_KEYID} digits or more of one of these",
        )
    return meant[0]


def renew(ws: Workspace, root_folders: Sequence[Path], passphrase: str, *, now: datetime | None = None) -> KeysChange:
    """Let the role root hold for another year, with the keys that it has. Raises VortexError where too few root keys are there."""
    keys = key_folder(ws)
    with changing(ws):
        root = _succeed(keys, keys.root(), lambda _: None, root_signers(ws, root_folders, passphrase), [], now)
        return _change(keys, root, "root is renewed")


def root_signers(ws: Workspace, folders: Sequence[Path], passphrase: str, *, make: bool = False) -> list[CryptoSigner]:
    """The root keys in these folders; with `make`, a new one in each that has none.

    Raises VortexError for a folder of the workspace, one without a key, and a passphrase that is too short or opens no key there.
    """
    if not folders:
        raise UsageError("no folder with a root key", "name it with --root FOLDER")
    if make and len(passphrase) < LEAST_PASSPHRASE:
        raise UsageError(f"a passphrase of {len(passphrase)} characters, allowed: {LEAST_PASSPHRASE} and more", "take a longer one")
    remember(passphrase)
    from securesystemslib.signer import CryptoSigner

    signers: dict[str, CryptoSigner] = {}
    for folder in folders:
        if "\0" in str(folder):
            raise UsageError(f"{str(folder)[:80]!r} is no folder", "name one with --root FOLDER")
        if folder.absolute().resolve().is_relative_to(ws.root.resolve()):
            raise UsageError(
                f"{folder} lies in the workspace, and a root key must not: who takes the workspace would have it",
                "name a folder on a medium that you take away, such as a USB stick",
            )
        paths = sorted(folder.glob("root-*.pem")) if folder.is_dir() else []
        if not paths and not make:
            raise VortexError(f"{folder}: holds no root key (root-….pem)", "name the folder that `vortex keys init` was given")
        in_folder = [load_private(path, passphrase) for path in paths]
        if not in_folder:
            in_folder = [CryptoSigner.generate_ed25519()]
            write_private(folder / f"root-{in_folder[0].public_key.keyid[:12]}.pem", in_folder[0], passphrase)
        signers |= {signer.public_key.keyid: signer for signer in in_folder}
    return list(signers.values())


def _succeed(
    keys: KeyFolder,
    old: Metadata[Root],
    change: Callable[[Root], None],
    signers: Sequence[CryptoSigner],
    new_signers: Sequence[CryptoSigner],
    now: datetime | None,
) -> Root:
    """Store the root that follows `old` with a change, signed by enough of the old and of the new root keys."""
    from tuf.api.metadata import Metadata

    root = copy.deepcopy(old.signed)
    _name(root, keys.release_keys(root))
    change(root)
    root.version += 1
    root.expires = _expiry(now or datetime.now(UTC))
    _store(keys, Metadata(root), [*signers, *new_signers], old.signed)
    return root


def _store(keys: KeyFolder, metadata: Metadata[Root], signers: Sequence[CryptoSigner], old: Root | None = None) -> None:
    """Sign and write a root. Raises VortexError, writing nothing, where too few of its keys, or of the old root's, sign."""
    root = metadata.signed
    roles = [each.roles["root"] for each in (old, root) if each is not None]
    for signer in signers:
        if any(signer.public_key.keyid in role.keyids for role in roles):
            metadata.sign(signer, append=True)
    for role in roles:
        signed = len(set(role.keyids) & metadata.signatures.keys())
        if signed < role.threshold:
            raise VortexError(
                f"{signed} of the root keys sign, and {role.threshold} must: {', '.join(keyid[:12] for keyid in role.keyids)}",
                "name the folder of each with --root FOLDER",
            )
    write_atomic(keys.path / "roots" / f"{root.version}.root.json", metadata.to_bytes())


@contextmanager
def changing(ws: Workspace) -> Iterator[None]:
    """Held while keys change or what they sign is written: one process at a time."""
    with locked(ws.build / "publish.lock"):
        yield


def _expiry(now: datetime) -> datetime:
    return (now + LIFETIMES["root"]).replace(microsecond=0)


def _release_key(signer: CryptoSigner) -> ReleaseKey:
    return ReleaseKey(signer.public_key.keyid, str(signer.public_key.keyval["public"]))


def _name(root: Root, keys: ReleaseKeys) -> None:
    """Have a root name the release keys; one without any names none, and robots ask for no statement."""
    if keys.trusted:
        root.unrecognized_fields[release_keys.FIELD] = release_keys.dump(keys)


def _change(keys: KeyFolder, root: Root, done: str) -> KeysChange:
    released = tuple(key.keyid for key in keys.release_keys(root).trusted)
    return KeysChange(root.version, root.expires, {**{role: tuple(root.roles[role].keyids) for role in ROLES}, RELEASE: released}, done)


def timer_units(ws: Workspace, command: str) -> dict[str, str]:
    """Name → text of the systemd units that sign anew once a day what is due; `command` is the program `vortex` with its whole path."""
    service = f"""\
[Unit]
Description=Sign anew what Vortex publishes to robots
After=network-online.target

[Service]
Type=oneshot
WorkingDirectory={ws.root}
ExecStart={command} keys refresh
"""
    timer = """\
[Unit]
Description=Once a day, so that a day that was missed costs nothing

[Timer]
OnCalendar=daily
RandomizedDelaySec=1h
Persistent=true

[Install]
WantedBy=timers.target
"""
    return {"vortex-keys.service": service, "vortex-keys.timer": timer}
