"""What robots pull, as a folder that any web server can serve: metadata of The Update Framework, and files under their SHA-256.

    metadata/N.root.json, N.targets.json, N.snapshot.json, timestamp.json
    targets/channels/DEVICE/HASH.DOMAIN.json        what each channel asks of its devices
    files/ab/abcd…                                  manifests and files of bundles, each under its SHA-256

Everything is written before `timestamp.json`, which names it: a client that comes at any moment, and one that finds what a kill left, sees
the old state whole or the new one. What the state before named stays until the next one, for clients that had begun to read it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from core.errors import VortexError
from core.files import read_regular, sha256_file, staged_file, write_atomic
from pipelines.ship.keys import LARGEST_ROOT, LIFETIMES, ONLINE, RELEASE, KeyFolder, Role, RoleStatus, changing, key_folder
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

T = TypeVar("T", "Timestamp", "Snapshot", "Targets")
LARGEST_METADATA: Final = 5_000_000
"""Bytes of a metadata file that a client reads (python-tuf's bound for targets)."""
FRESH: Final = 0.5
"""A role's metadata is signed anew once less than this share of its life is left."""


@dataclass(frozen=True)
class Published:
    """The metadata of a published state, each as its root's keys vouch for it."""

    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]

    def versions(self) -> dict[Role, int]:
        """Role → version of its metadata."""
        return {
            "targets": self.targets.signed.version,
            "snapshot": self.snapshot.signed.version,
            "timestamp": self.timestamp.signed.version,
        }


@dataclass(frozen=True)
class TufRepository:
    """The published folder, and the keys that sign it. Who writes to it holds the lock of `pipelines.ship.keys.changing`."""

    folder: Path
    keys: KeyFolder

    @property
    def metadata(self) -> Path:
        """Where the metadata lies."""
        return self.folder / "metadata"

    def file(self, sha256: str) -> Path:
        """Where the file with this content lies, or would."""
        return self.folder / "files" / sha256[:2] / sha256

    def holds(self, sha256: str, size: int) -> bool:
        """Whether a file is there with so many bytes, and they are what its name says; at 2 GB/s a bundle takes some hundredths of a second."""
        path = self.file(sha256)
        return path.is_file() and path.stat().st_size == size and sha256_file(path) == sha256

    def add(self, content: bytes) -> str:
        """Have a file with this content; its SHA-256."""
        sha256 = hashlib.sha256(content).hexdigest()
        if not self.holds(sha256, len(content)):
            write_atomic(self.file(sha256), content)
        return sha256

    def add_file(self, path: Path, sha256: str) -> None:
        """Have the content of a file, which has this SHA-256. Raises VortexError where it has another one."""
        if self.holds(sha256, path.stat().st_size):
            return
        hashed = hashlib.sha256()
        with staged_file(self.file(sha256)) as staging:
            with path.open("rb") as source, staging.open("wb") as copy:
                while chunk := source.read(1 << 20):
                    hashed.update(chunk)
                    copy.write(chunk)
            if hashed.hexdigest() != sha256:
                raise VortexError(f"{path}: its content is not what was recorded ({sha256[:12]}…)", "restore it from a backup")

    def published(self) -> Published | None:
        """What is published, by metadata that keys of the newest root, or of the newest published one, signed; None where nothing is."""
        from tuf.api.exceptions import RepositoryError
        from tuf.api.metadata import Metadata, Snapshot, Targets, Timestamp

        roots = self._roots()
        try:
            timestamp = self._read("timestamp.json", Metadata[Timestamp], roots, "timestamp")
            snapshot = self._read(f"{timestamp.signed.snapshot_meta.version}.snapshot.json", Metadata[Snapshot], roots, "snapshot")
            version = snapshot.signed.meta["targets.json"].version
            return Published(timestamp, snapshot, self._read(f"{version}.targets.json", Metadata[Targets], roots, "targets"))
        except (FileNotFoundError, RepositoryError):
            return None

    def documents(self) -> dict[str, bytes]:
        """Name → content of the published targets whose files are whole; none where nothing is published."""
        published = self.published()
        documents = {}
        for name, entry in published.targets.signed.targets.items() if published else ():
            path = self.folder / "targets" / _hashed(name, entry.hashes["sha256"])
            if path.is_file() and hashlib.sha256(content := read_regular(path, LARGEST_METADATA)).hexdigest() == entry.hashes["sha256"]:
                documents[name] = content
        return documents

    def publish(self, documents: Mapping[str, bytes], now: datetime | None = None) -> bool:
        """Have these targets and no others published, by metadata that holds for at least half of its life; whether anything was written.

        Raises VortexError where the keys are not here, are others or older ones than those that published, or the newest root has expired: no
        client would take what they sign.
        """
        now = now or datetime.now(UTC)
        root = self.keys.root().signed
        if root.is_expired(now):
            raise VortexError(
                f"root {root.version} has expired at {root.expires:%Y-%m-%d}: robots take nothing new",
                "renew it with: vortex keys refresh --root FOLDER",
            )
        self._require_own_roots()
        before = self.published()
        same = before is not None and self.documents() == dict(documents) and before.targets.signed.targets.keys() == documents.keys()
        due = [role for role in ONLINE if before is None or not _fresh(before, role, root, now)]
        written = not same or bool(due)
        if written:
            self._write(dict(documents), before, same, due, now)
        written = self._publish_roots() or written
        self._prune(before)
        self.keys.drop_revoked()
        return written

    def refresh(self, now: datetime | None = None) -> bool:
        """Publish again what is published, where its metadata is due; whether anything was written."""
        return self.publish(self.documents(), now)

    def status(self) -> list[RoleStatus]:
        """Every role, root first, and last the release key. Raises NoKeys where there are none."""
        root, published = self.keys.root().signed, self.published()
        roles = [RoleStatus("root", tuple(root.roles["root"].keyids), root.roles["root"].threshold, 0, root.version, root.expires)]
        for role in ONLINE:
            signed = _of(published, role).signed if published else None
            version, expires = (signed.version, signed.expires) if signed else (None, None)
            delegated = root.roles[role]
            here = self.keys.count_here(role, root)
            roles.append(RoleStatus(role, tuple(delegated.keyids), delegated.threshold, here, version, expires))
        release, here = self.keys.release_keys(root), int(self.keys.release_here(root) is not None)
        trusted = tuple(key.keyid for key in release.trusted)
        roles.append(RoleStatus(RELEASE, trusted[:1], 1, here, None, None, trusted[1:], release.distrusted))
        return roles

    def _write(self, documents: dict[str, bytes], before: Published | None, same: bool, due: list[Role], now: datetime) -> None:
        """Write what differs, and last the timestamp that names it.

        It is signed by the keys of the newest root and of the newest that is published: a client with either takes it.
        """
        from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

        roots = self._roots()
        targets = before.targets if before and same and "targets" not in due else None
        if targets is None:
            entries = {name: TargetFile.from_data(name, content, ["sha256"]) for name, content in documents.items()}
            for name, content in documents.items():
                write_atomic(self.folder / "targets" / _hashed(name, entries[name].hashes["sha256"]), content)
            version = _next(before.targets if before else None, now)
            targets = Metadata(Targets(version=version, expires=_expiry("targets", now), targets=entries))
            self._sign(targets, "targets", roots)
            write_atomic(self.metadata / f"{version}.targets.json", targets.to_bytes())
        snapshot = before.snapshot if before and same and not {"targets", "snapshot"} & {*due} else None
        if snapshot is None:
            version = _next(before.snapshot if before else None, now)
            meta = {"targets.json": MetaFile(version=targets.signed.version)}
            snapshot = Metadata(Snapshot(version=version, expires=_expiry("snapshot", now), meta=meta))
            self._sign(snapshot, "snapshot", roots)
            write_atomic(self.metadata / f"{version}.snapshot.json", snapshot.to_bytes())
        version = _next(before.timestamp if before else None, now)
        timestamp = Metadata(
            Timestamp(version=version, expires=_expiry("timestamp", now), snapshot_meta=MetaFile(version=snapshot.signed.version))
        )
        self._sign(timestamp, "timestamp", roots)
        write_atomic(self.metadata / "timestamp.json", timestamp.to_bytes())

    def _sign(self, metadata: Metadata[T], role: Role, roots: list[Root]) -> None:
        for signer in self.keys.signers(role, *roots):
            metadata.sign(signer, append=True)

    def _read(self, name: str, read_as: type[Metadata[T]], roots: Sequence[Root], role: Role) -> Metadata[T]:
        from tuf.api.exceptions import UnsignedMetadataError

        metadata = read_as.from_bytes(read_regular(self.metadata / name, LARGEST_METADATA))
        if not any(_signed_for(root, role, metadata) for root in roots):
            raise UnsignedMetadataError(f"{name} is not signed by a key of {role}")
        return metadata

    def _roots(self) -> list[Root]:
        """The newest root, and before it the newest that lies in the published folder, where that is another one."""
        from tuf.api.metadata import Metadata, Root

        newest, roots = self.keys.root().signed, self.keys.roots()
        versions = [version for version in roots if (self.metadata / f"{version}.root.json").is_file()]
        older = [max(versions)] if versions and max(versions) != newest.version else []
        return [*(Metadata[Root].from_bytes(roots[version]).signed for version in older), newest]

    def _require_own_roots(self) -> None:
        """Raise VortexError where a published root is none of these keys': robots trust it, and nothing that these sign."""
        own = self.keys.roots()
        for path in sorted(self.metadata.glob("[1-9]*.root.json")):
            number = path.name.partition(".")[0]
            version, content = int(number) if number.isdecimal() else 0, read_regular(path, LARGEST_ROOT)
            if own.get(version) == content or version < min(own) or not _is_root(content):
                continue  # what is damaged is written anew
            if version in own:
                raise VortexError(
                    f"{path} is of other keys than {self.keys.path}: robots that trust it take nothing that these sign",
                    "restore the keys from a backup; where they are lost for good, remove the published folder, and give each robot the new root",
                )
            raise VortexError(
                f"{path} is newer than the keys in {self.keys.path}, which know root {max(own)}: they are an old copy",
                "restore the newest keys; what these sign robots refuse",
            )

    def _publish_roots(self) -> bool:
        """Have every root in the published folder: last, when what they vouch for is there; whether one was not."""
        missing = [
            (path, content)
            for version, content in self.keys.roots().items()
            if not (path := self.metadata / f"{version}.root.json").is_file() or path.read_bytes() != content
        ]
        for path, content in missing:
            write_atomic(path, content)
        return bool(missing)

    def _prune(self, before: Published | None) -> None:
        """Remove metadata and targets that neither this state nor the one before it names; files of bundles are `pipelines.ship.publish`'s."""
        states = [state for state in (before, self.published()) if state is not None]
        names = {f"{state.versions()[role]}.{role}.json" for state in states for role in ONLINE}
        for path in self.metadata.glob("*.*.json"):
            if path.name not in names and not path.name.endswith(".root.json"):
                path.unlink(missing_ok=True)
        targets = self.folder / "targets"
        documents = {
            targets / _hashed(name, entry.hashes["sha256"]) for state in states for name, entry in state.targets.signed.targets.items()
        }
        for path in targets.rglob("*.json"):
            if path not in documents:
                path.unlink(missing_ok=True)


def _of(published: Published, role: Role) -> Metadata[Timestamp] | Metadata[Snapshot] | Metadata[Targets]:
    metadata: Metadata[Timestamp] | Metadata[Snapshot] | Metadata[Targets] = getattr(published, role)
    return metadata


def _fresh(published: Published, role: Role, root: Root, now: datetime) -> bool:
    metadata = _of(published, role)
    return metadata.signed.expires - now >= FRESH * LIFETIMES[role] and _signed_for(root, role, metadata)


def _signed_for(root: Root, role: Role, metadata: Metadata[Any]) -> bool:
    """Whether enough keys that `root` gives the role signed this."""
    return bool(root.get_verification_result(role, metadata.signed_bytes, metadata.signatures))


def _is_root(content: bytes) -> bool:
    """Whether this is metadata of the role root that its own keys signed."""
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata, Root

    try:
        metadata = Metadata[Root].from_bytes(content)
    except RepositoryError:
        return False
    return bool(metadata.signed.get_verification_result("root", metadata.signed_bytes, metadata.signatures))


def _next(previous: Metadata[Any] | None, now: datetime) -> int:
    """The version after `previous`, and at least the second that it is made in: so it rises also where the folder was lost."""
    return max((previous.signed.version if previous else 0) + 1, int(now.timestamp()))


def _expiry(role: Role, now: datetime) -> datetime:
    return (now + LIFETIMES[role]).replace(microsecond=0)


def _hashed(name: str, sha256: str) -> str:
    """Where a target lies: with consistent snapshots its file name carries its hash."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{sha256}.{file}"


def repository(ws: Workspace) -> TufRepository:
    """The workspace's published folder; nothing may be published yet."""
    return TufRepository(ws.publish_folder, key_folder(ws))


def refresh(ws: Workspace, now: datetime | None = None) -> bool:
    """Sign anew what is due, and publish new roots; whether anything was written. Raises NoKeys, and VortexError as `publish` does."""
    with changing(ws):
        return repository(ws).refresh(now)
