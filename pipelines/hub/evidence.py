"""Evidence from outside: reports of how a version did, bound to its bytes, signed or not, and read again before anyone believes them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from core.errors import UsageError, VortexError
from core.files import read_regular, write_atomic
from pipelines.hub.open import actor, commit, hub
from pipelines.workspace import Workspace
from registry import signature
from registry.devices import devices
from registry.events import reading
from registry.events.version import VersionExported
from registry.records import Artifact, Evidence, Version
from registry.versions import Hub
from validation.evidence.closed_loop import ClosedLoop
from validation.evidence.report import Report
from validation.evidence.reports import LARGEST, parse, report_type

TYPE: Final = "application/vnd.vortex.evidence+json"
"""What a signed report says that it is."""
DEVICE_TYPE: Final = "application/vnd.vortex.device-report+json"
"""What a report says that it is that a device signed (`vortex_jetson.update.outbox`)."""
MARGIN: Final = 0.1
"""Share of the seeds by which a student may fall short of ground truth and still be called on a par in listings; a gate has its own."""
Trust = Literal["unsigned", "trusted", "unknown signer"]
R = TypeVar("R", bound=Report)


@dataclass(frozen=True)
class EvidenceItem:
    """A report as it was read again. `fault` says what is wrong with its file; `report` is None then.

    `device` is the enrolled device whose key signed it, empty where none did: it vouches for what was measured on it, and for nothing else.
    """

    record: Evidence
    report: Report | None
    trust: Trust
    verdict: tuple[str, ...]
    fault: str = ""
    device: str = ""

    def as_json(self) -> dict[str, object]:
        """Under `--json`: without the report, which may be long and lies at its artifact."""
        return {**vars(self.record), "trust": self.trust, "device": self.device, "verdict": self.verdict, "fault": self.fault}

    @property
    def signature(self) -> str:
        """Who signed it, in words."""
        if self.device:
            return f"signed by the device {self.device}"
        signers = ", ".join(signer[:12] for signer in self.record.signers)
        return {"unsigned": "unsigned", "trusted": f"signed by {signers}", "unknown signer": f"signed by {signers}, not trusted here"}[
            self.trust
        ]


@dataclass(frozen=True)
class AddedEvidence:
    """What was added, or would be; `already` is whether this very file was before."""

    version: str
    item: EvidenceItem
    already: bool
    dry_run: bool


def add(
    ws: Workspace, name: str, file: Path, kind: str, *, sign: Path | None = None, reason: str = "", dry_run: bool = False
) -> AddedEvidence:
    """Store a report about version `name` and record it; `file` is the report, or a signed envelope around one. `sign` it with a key.

    The same report, signed by the same keys, changes nothing, however its file is written. Raises VortexError for a report that does not match its kind's schema, is about another checkpoint
    or another export than the version's, or whose signature does not fit; nothing is stored then.
    """
    report_type(kind)
    registry = hub(ws)
    version = registry.get(name)
    try:
        content = read_regular(file, LARGEST)
    except OSError as error:
        raise VortexError(f"{file}: cannot be read ({error.strerror or error})", "name the file of a report") from error
    if sign:
        if _is_envelope(content):
            raise UsageError(f"{file} is signed already, and --sign would sign it again", "leave --sign out")
        parse(kind, content, str(file))
        content = json.dumps(signature.sign(content, TYPE, sign)).encode()
    plain, signers, trust, device = _opened(ws, registry, content, str(file))
    report = parse(kind, plain, str(file))
    _require_bound(registry, version, report, str(file))
    digest, plain_digest = hashlib.sha256(content).hexdigest(), hashlib.sha256(plain).hexdigest()
    earlier = next((each for each in version.evidence if each.report_sha256 == plain_digest and set(each.signers) == set(signers)), None)
    record = earlier or Evidence(
        kind,
        Artifact(file.name, digest, len(content)),
        file.name,
        plain_digest,
        report.made_at.isoformat(),
        report.made_by,
        report.summary(),
        report.export_sha256,
        signers,
    )
    if not (earlier or dry_run):
        record = _stored(ws, registry, version, record, content, reason)
    return AddedEvidence(name, EvidenceItem(record, report, trust, verdict(report), device=device), earlier is not None, dry_run)


def items(ws: Workspace, registry: Hub, version: Version, *, kind: str | None = None) -> list[EvidenceItem]:
    """Every report about a version, or those of one kind, read again: its bytes, its schema, what it is about and who signed it."""
    return [_item(ws, registry, version, record) for record in version.evidence if kind in (None, record.kind)]


def reports(ws: Workspace, registry: Hub, version: Version, kind: type[R], name: str) -> list[tuple[R, EvidenceItem]]:
    """The version's reports of the kind `name`, read again, by when each says that it was made: an old one that is sent in again stays old.

    Raises VortexError for one whose file is gone or changed: the newest might be that one.
    """
    readable = []
    for item in items(ws, registry, version, kind=name):
        if item.fault:
            raise VortexError(f"evidence of {version.name}: {item.fault}", "look at it with: vortex evidence list " + version.name)
        if isinstance(item.report, kind):
            readable.append((item.report, item))
    return sorted(readable, key=lambda each: each[0].made_at)


def verdict(report: Report) -> tuple[str, ...]:
    """What a report comes to, in lines; only a closed loop is judged, the others tell."""
    if not isinstance(report, ClosedLoop):
        return (report.summary(),)
    judged = (f"goal: {report.reached.text(MARGIN)}", f"without collision: {report.unhurt.text(MARGIN)}")
    return report.summary(), *judged, report.time_text()


def _item(ws: Workspace, registry: Hub, version: Version, record: Evidence) -> EvidenceItem:
    trust: Trust = "unknown signer" if record.signers else "unsigned"
    device = ""
    try:
        path = registry.artifacts.path(record.artifact)
        plain, _, trust, device = _opened(ws, registry, read_regular(path, LARGEST), str(path))
        report = parse(record.kind, plain, str(path))
        _require_bound(registry, version, report, str(path))
    except VortexError as error:
        return EvidenceItem(record, None, trust, (record.summary,), error.message)
    return EvidenceItem(record, report, trust, verdict(report), device=device)


def _opened(ws: Workspace, registry: Hub, content: bytes, where: str) -> tuple[bytes, tuple[str, ...], Trust, str]:
    """The report in a file, the ids of the keys that signed it, whether one of them is trusted here, and which enrolled device has one."""
    if not _is_envelope(content):
        return content, (), "unsigned", ""
    enrolled = {device.keyid: device for device in devices(registry.ledger).values() if device.revoked_at is None}
    keys = [signature.public_key(device.key, f"device {device.name}") for device in enrolled.values()]
    payload_type = DEVICE_TYPE if DEVICE_TYPE.encode() in content else TYPE
    signed = signature.inspect(content, payload_type, ws.evidence_keys, where, keys=keys)
    device = next((enrolled[keyid].name for keyid in signed.trusted if keyid in enrolled), "")
    trusted = [keyid for keyid in signed.trusted if keyid not in enrolled]
    return signed.payload, signed.signers, "trusted" if trusted else "unknown signer" if signed.signers else "unsigned", device


def _is_envelope(content: bytes) -> bool:
    return content.lstrip()[:1] == b"{" and b'"payloadType"' in content and b'"signatures"' in content


def _require_bound(registry: Hub, version: Version, report: Report, where: str) -> None:
    """Raise VortexError unless a report is about this version's checkpoint, and about an export of it where it names one."""
    if report.checkpoint_sha256 != version.checkpoint.sha256:
        owner = next((other.name for other in registry.versions() if other.checkpoint.sha256 == report.checkpoint_sha256), None)
        whose = f", which is {owner}'s" if owner else ", which no version here has"
        raise VortexError(
            f"{where} is about the checkpoint {report.checkpoint_sha256[:12]}{whose}; {version.name} has {version.checkpoint.sha256[:12]}",
            f"add it to {owner}" if owner else "evidence counts for the very bytes that it was made with",
        )
    if report.export_sha256 is None:
        return
    entries = registry.ledger.entries(kinds=(VersionExported.kind,), subject=version.name)
    exports = [event.export.artifact.sha256 for event in map(reading.parse, entries) if isinstance(event, VersionExported)]
    if report.export_sha256 not in exports:
        names = ", ".join(sha256[:12] for sha256 in dict.fromkeys(exports)) or "none"
        raise VortexError(
            f"{where} is about the export {report.export_sha256[:12]}, and {version.name} has: {names}",
            f"evidence counts for the very bytes that it was made with: vortex export {version.name}",
        )


def _stored(ws: Workspace, registry: Hub, version: Version, record: Evidence, content: bytes, reason: str) -> Evidence:
    """The record of a report that is stored under its SHA-256 and in the ledger."""
    path = ws.build / "evidence" / f"{record.artifact.sha256[:16]}.json"
    write_atomic(path, content)
    artifact = registry.store.log_artifact(version.run_id, path, "evidence")
    record = Evidence(**{**vars(record), "artifact": artifact})
    registry.add_evidence(version.name, record, actor=actor(), reason=reason, commit=commit(ws))
    path.unlink()
    return record
