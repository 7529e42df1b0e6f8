"""A publishing folder made with python-tuf's own metadata API, so that a device can be offered what no honest publisher would write."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from vortex_jetson.formats import bundle as bundles
from vortex_jetson.formats import channel as channels
from vortex_jetson.formats.bundle import Bounds, HealthFrame, Model
from vortex_jetson.formats.channel import Channel, Release
from vortex_jetson.formats.release_keys import FIELD, STATEMENT, ReleaseKeys, dump

from tests.unit.jetson.bundles import bundle_of
from tests.unit.jetson.models import HEIGHT, WIDTH, model, picture, truth

CHANNEL = "orin/corridor"
ROLES = ("root", "timestamp", "snapshot", "targets")


class Publisher:
    """Keys of the four roles, and the folder that they sign for."""

    def __init__(self, folder: Path, days: float = 7) -> None:
        self.folder = folder
        self.signers = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        self.versions = dict.fromkeys(ROLES, 1)
        self.days = days
        self.seq = 0
        root = Root(expires=self.expiry(365), consistent_snapshot=True)
        for role in ROLES:
            root.add_key(self.signers[role].public_key, role)
        self.signed_root = Metadata(root)
        self.signed_root.sign(self.signers["root"])
        self.root = self.signed_root.to_bytes()
        self.put("metadata/1.root.json", self.root)

    def expiry(self, days: float) -> datetime:
        return (datetime.now(timezone.utc) + timedelta(days=days)).replace(microsecond=0)

    def put(self, path: str, content: bytes) -> None:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    def rotate_root(self, expires_in_days: float = 365) -> None:
        """A new root, signed by the old key and a new one."""
        old, new = self.signers["root"], CryptoSigner.generate_ed25519()
        root = self.signed_root.signed
        root.version += 1
        root.expires = self.expiry(expires_in_days)
        root.revoke_key(old.public_key.keyid, "root")
        root.add_key(new.public_key, "root")
        self.signed_root = Metadata(root)
        self.signed_root.sign(new)
        self.signed_root.sign(old, append=True)
        self.signers["root"] = new
        self.put(f"metadata/{root.version}.root.json", self.signed_root.to_bytes())

    def name_release_keys(self, keys: ReleaseKeys) -> None:
        """A new root that says who signs what is shipped."""
        root = self.signed_root.signed
        root.version += 1
        root.unrecognized_fields[FIELD] = dump(keys)
        self.signed_root = Metadata(root)
        self.signed_root.sign(self.signers["root"])
        self.put(f"metadata/{root.version}.root.json", self.signed_root.to_bytes())

    def bundle(
        self,
        version: str,
        kind: str = "good",
        padding: int = 0,
        statement: Callable[[dict[str, str]], bytes] | None = None,
        target: str = "host",
    ) -> Release:
        """Put a bundle, whose model is for this target, into files/, with what `statement` says of its models; it can be published afterwards."""
        contents = {
            f"models/{version}-fp32.onnx": model(kind),
            "card.md": f"# {version}\n".encode() + b"x" * padding,
        }
        frames = []
        for index in range(2):
            rgb = picture(index)
            depth, classes = truth(rgb)
            paths = [f"health/{index:03d}.{name}.npy" for name in ("rgb", "depth", "classes")]
            for path, array in zip(paths, (rgb, depth, classes), strict=True):
                stream = io.BytesIO()
                np.save(stream, array)
                contents[path] = stream.getvalue()
            frames.append(HealthFrame(*paths))
        path = f"models/{version}-fp32.onnx"
        if statement is not None:
            contents[STATEMENT] = statement({path: hashlib.sha256(contents[path]).hexdigest()})
        made = bundle_of(contents, version)
        manifest = bundles.dump(
            replace(
                made,
                size=(HEIGHT, WIDTH),
                models=(Model(path, "fp32", target, True),),
                health=replace(made.health, frames=tuple(frames), bounds=Bounds(0.05, 0.06, 0.95)),
            )
        )
        for content in (*contents.values(), manifest):
            digest = hashlib.sha256(content).hexdigest()
            self.put(f"files/{digest[:2]}/{digest}", content)
        return Release(version, bundles.digest(manifest), len(manifest))

    def publish(self, production: Release | None, **fields: object) -> Channel:
        """Publish the channel's next state, whole."""
        self.seq += 1
        channel = replace(Channel(CHANNEL, self.seq, production), **fields)  # type: ignore[arg-type]
        self.publish_targets({channels.target_name(CHANNEL): channels.dump(channel)})
        return channel

    def publish_targets(self, documents: Mapping[str, bytes]) -> None:
        """Sign the three roles over these targets, each a version further."""
        targets = Targets(expires=self.expiry(90))
        for name, content in documents.items():
            targets.targets[name] = TargetFile.from_data(name, content, ["sha256"])
            folder, _, file = name.rpartition("/")
            self.put(f"targets/{folder}/{hashlib.sha256(content).hexdigest()}.{file}", content)
        self.sign("targets", targets)
        snapshot = Snapshot(meta={"targets.json": MetaFile(targets.version)}, expires=self.expiry(self.days))
        self.sign("snapshot", snapshot)
        self.sign("timestamp", Timestamp(snapshot_meta=MetaFile(snapshot.version), expires=self.expiry(self.days)))

    def sign(self, role: str, signed: Targets | Snapshot | Timestamp) -> None:
        """Write one role's metadata, and count its version on."""
        signed.version = self.versions[role]
        metadata = Metadata(signed)
        metadata.sign(self.signers[role])
        self.put(f"metadata/{'' if role == 'timestamp' else f'{signed.version}.'}{role}.json", metadata.to_bytes())
        self.versions[role] += 1
