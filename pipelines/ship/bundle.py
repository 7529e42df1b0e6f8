"""What a version is shipped as: its exported models, and all that a robot needs to use, judge and explain them.

The same ledger, data and keys make the same bytes: a bundle that was lost, or whose making was ended within, is made again under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from vortex_jetson.formats.bundle import Bundle, File, Fusion, Model, digest, dump
from vortex_jetson.formats.release_keys import STATEMENT
from vortex_jetson.perception.fusion import CONFIDENT, TOF_FARTHEST_M, TOF_NEAREST_M

from core.classes import CLASSES, INFLATION_M
from core.errors import VortexError
from pipelines.hub.classes import class_pixels, untaught
from pipelines.hub.exports import HOST, TASK, TaskResult, answers_alike, file_checks, form_of, newest, speed_checks
from pipelines.ship.bill_of_materials import bill_of_materials
from pipelines.ship.export.contract import contract
from pipelines.ship.health_task import health_task
from pipelines.ship.keys import KeyFolder
from pipelines.ship.statement import signed
from pipelines.site.card import card
from pipelines.workspace import Workspace
from registry.channels import Channel
from registry.records import Export, Version
from registry.stages import waived_checks
from registry.versions import Hub

CARD, BILL = "card.md", "bom.cdx.json"
ABOUT_INPUT: Final = ("input", "colour_order", "range", "normalisation", "resize", "outputs", "depth_unit", "depth_range")
"""What of an exported file's metadata says how to feed it and how to read its answers."""


@dataclass(frozen=True)
class PackedBundle:
    """A bundle's manifest, its files by path, as content or as a file to copy, and what is to be remarked on."""

    manifest: bytes
    contents: Mapping[str, bytes | Path]
    bundle: Bundle
    export: str
    remark: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the manifest, by which the bundle is known."""
        return digest(self.manifest)


def export_for(ws: Workspace, registry: Hub, version: Version, channel: Channel) -> Export:
    """The export that the devices of a channel are sent. Raises VortexError where there is none, or none that answers as the trained network
    does, builds, and is worth its 8 bits.

    Another precision may stand in `vortex.toml` than when the version was promoted. So one of less than fp32 is held to the exam of the channel's
    domain here too; where that says too little, it passes if a person answered for it when the version was promoted.
    """
    form = form_of(ws.config.devices[channel.device])
    command = f"vortex export {version.name}" + (f" --precision {form.precision} --target {form.target}" if form != HOST else "")
    exported = newest(version, form)
    if exported is None:
        raise VortexError(f"{version.name} is not exported as {form}", f"export it with: {command}")
    task = TaskResult.from_json(exported.detail[TASK]) if exported.detail.get(TASK) else None
    if not (_does_its_task(registry, version, channel, task) if form.lossy else answers_alike(exported)):
        raise VortexError(
            f"the file of {version.name} as {form} does not answer as its network does, or that was not measured on frames of {channel.domain}",
            f"export it again with: {command}",
        )
    # It may have been exported anew since its promotion asked.
    unbuilt = next((check for check in file_checks(exported) if check.name == "engine-builds" and not check.passed), None)
    if unbuilt:
        raise VortexError(f"the file of {version.name} as {form}: {unbuilt.found}", f"export it again with: {command} --check")
    slow = next((check for check in speed_checks(ws, registry, version, exported) if not check.passed), None)
    if slow:
        raise VortexError(
            f"{version.name} is not sent as {form}: {slow.found}; asked: {slow.asked}",
            f"measure it with: vortex bench {version.name} --precision int8 --record; or send fp32: take precision out of vortex.toml",
        )
    return exported


def _does_its_task(registry: Hub, version: Version, channel: Channel, task: TaskResult | None) -> bool:
    """Whether a file of less than fp32 does the exam of the channel's domain as its network does, or is worse nowhere and a person answered for it."""
    if task is None or task.domain != channel.domain or any(comparison.word == "worse" for _, _, comparison in task.judgements):
        return False
    return task.passed or any(name.startswith("task-parity") for name in waived_checks(registry.ledger, channel, version.name))


def pack(ws: Workspace, registry: Hub, version: Version, channel: Channel, keys: KeyFolder) -> PackedBundle:
    """Make the bundle of a version for a channel. Raises VortexError where an export, a key or the frames of the exam are missing."""
    exported = export_for(ws, registry, version, channel)
    path, model = f"models/{version.name}-{exported.precision}.onnx", registry.artifacts.path(exported.artifact)
    pixels = class_pixels(registry, version)
    task = health_task(ws, channel.domain, version.size, model, classes=not untaught(pixels))
    digests = {path: exported.artifact.sha256}
    newest_event = registry.ledger.entries(subject=version.name, bodies=False, last=1)[0].seq
    texts = {
        CARD: card(ws, version.name, event=newest_event).readme.encode(),
        BILL: bill_of_materials(version, digests),
        STATEMENT: signed(version, digests, registry.ledger.noted().ledger, keys.signing_release()),
        **task.files,
    }
    metadata = contract(version, pixels, form_of(ws.config.devices[channel.device]))
    bundle = Bundle(
        version=version.name,
        channel=str(channel),
        checkpoint_sha256=version.checkpoint.sha256,
        created_at=version.created_at,
        size=version.size,
        models=(Model(path, exported.precision, exported.target, preferred=True),),
        classes=CLASSES,
        classes_trained=tuple(name for name in CLASSES if pixels is None or pixels[name]),
        preprocessing={name: metadata[f"vortex.{name}"] for name in ABOUT_INPUT},
        fusion=Fusion(CONFIDENT, TOF_NEAREST_M, TOF_FARTHEST_M),
        inflation=INFLATION_M,
        health=task.health,
        files={
            path: File(exported.artifact.sha256, exported.artifact.bytes),
            **{name: File(sha256(content).hexdigest(), len(content)) for name, content in texts.items()},
        },
    )
    return PackedBundle(dump(bundle), {path: model, **texts}, bundle, exported.artifact.sha256, task.blind)
