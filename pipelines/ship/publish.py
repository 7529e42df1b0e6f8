"""What the ledger says, as robots pull it: after every move of a channel, and whenever it is asked for, the published folder is made so.

What is published follows from the ledger alone: what is in production and to how many devices it goes, what may run beside it, what a
rollback or a quarantine keeps from running, and why devices hold. So it does not matter who was killed where: the next one finishes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vortex_jetson.errors import BadDocument, Untrusted
from vortex_jetson.formats import bundle as manifests
from vortex_jetson.formats import channel as channels
from vortex_jetson.formats.channel import Release, Rollout
from vortex_jetson.formats.release_keys import LARGEST_STATEMENT, STATEMENT, check_statement
from vortex_jetson.limits import LIMITS

from core.errors import VortexError
from core.files import read_regular
from core.printable import clean
from core.progress import Notice
from pipelines.hub.open import actor, commit, hub
from pipelines.ship.bundle import PackedBundle, export_for, pack
from pipelines.ship.keys import NoKeys, changing
from pipelines.ship.tuf_repository import TufRepository, repository
from pipelines.workspace import FILE, Workspace
from registry.channels import Channel, ChannelState
from registry.events.channel import ChannelBundled
from registry.quarantine import bars_of
from registry.stages import bundles, channel_states, held
from registry.versions import Hub

log = logging.getLogger("vortex.publish")

LONGEST_REASON: Final = 400
"""Characters of a reason that a channel's document carries."""


@dataclass(frozen=True)
class ChannelPublication:
    """What one channel asks of its devices now, and whether that changed; `waiting` says why what the ledger has is not published yet."""

    channel: str
    version: str | None
    bundle: str | None
    share: float
    hold: str | None
    changed: bool
    waiting: str = ""
    remark: str = ""

    def sentence(self) -> str:
        """In words."""
        if self.waiting:
            return f"{self.channel} is not published: {self.waiting}"
        what = f"{self.version} ({str(self.bundle)[:12]})" if self.version else "nothing in production"
        share = f" to {self.share:.0%} of the devices" if self.share < 1 else ""
        hold = f"; devices hold: {self.hold}" if self.hold else ""
        remark = f"; {self.remark}" if self.remark else ""
        return f"{self.channel} publishes {what}{share}{hold}{remark}"


@dataclass(frozen=True)
class PublishReport:
    """Every published channel, whether the folder changed, and where it is."""

    folder: Path
    changed: bool
    channels: tuple[ChannelPublication, ...]

    def sentences(self) -> list[str]:
        """The outcome in words, a line a channel."""
        lines = [publication.sentence() for publication in self.channels]
        return lines or ["no channel of a published device has moved yet"]


def publish(ws: Workspace, *, on_step: Notice | None = None) -> PublishReport:
    """Make the published folder what the ledger says. A second time it changes nothing.

    A channel whose bundle cannot be made keeps what was published of it, and its devices hold.
    Raises NoKeys where there are no keys, VortexError where no device of the workspace is published or the keys cannot sign.
    """
    names = [name for name, device in ws.config.devices.items() if device.published]
    if not names:
        raise VortexError(
            f"no device of this workspace is published; it has: {', '.join(sorted(ws.config.devices))}",
            f'a device with runtime = "tensorrt" is, and one with publish = true in {FILE}',
        )
    registry = hub(ws)
    registry.ledger.verify()
    with changing(ws):
        target = repository(ws)
        target.keys.root()
        before = _documents(target)
        publications, documents = [], {}
        for state in sorted(channel_states(registry.ledger), key=lambda each: str(each.channel)):
            if state.channel.device in names:
                name = channels.target_name(str(state.channel))
                publication, document = _channel(ws, registry, target, state, before.get(name), on_step or (lambda _: None))
                publications.append(publication)
                documents[name] = channels.dump(document)
        changed = target.publish(documents)
        _prune_files(registry, target, [*before.values(), *map(channels.parse, documents.values())])
    return PublishReport(target.folder, changed, tuple(publications))


def publish_after(ws: Workspace, on_step: Notice | None = None) -> tuple[str, ...]:
    """What publishing came to after the ledger was written, in words: what it wants is said, and the ledger stands. Empty where nobody pulls."""
    if not any(device.published for device in ws.config.devices.values()):
        return ()
    try:
        return tuple(publish(ws, on_step=on_step).sentences())
    except NoKeys:
        return ("not published, for there are no keys: vortex keys init --root FOLDER, then vortex publish",)
    except VortexError as error:
        return (f"not published: {error.message} ({error.hint}); then: vortex publish",)


def _channel(
    ws: Workspace, registry: Hub, target: TufRepository, state: ChannelState, before: channels.Channel | None, report: Notice
) -> tuple[ChannelPublication, channels.Channel]:
    """What a channel is to ask of its devices, and how that came about."""
    channel = state.channel
    bars = {name: bars_of(registry.ledger, name) for name in {*state.current.values(), *state.earlier[-1:]}}
    production, staging = state.production, state.current.get("staging")
    hold = held(registry.ledger, state)
    if production and bars[production]:
        hold = "; ".join(map(str, bars[production]))
    waiting = remark = ""
    try:
        release, remark = _release(ws, registry, target, channel, production, report)
        rollout = _rollout(ws, registry, target, state, bars, report) if release else None
        beside = staging if staging != production and staging and not bars[staging] else None
        shadow, _ = _release(ws, registry, target, channel, beside, report)
    except VortexError as error:
        waiting = f"{error.message} ({error.hint})"
        release, rollout, shadow = (before.production, before.rollout, before.shadow) if before else (None, None, None)
        hold = hold or f"{production or 'nothing'} is in production and not published yet"
    barred = _barred(registry, state, {release.bundle} if release else set())
    if shadow and shadow.bundle in barred:
        shadow = None
    if rollout and rollout.fallback and rollout.fallback.bundle in barred:
        rollout = Rollout(rollout.share, rollout.salt, None)
    document = channels.Channel(str(channel), state.seq, release, shadow, rollout, _line(hold) if hold else None, barred)
    publication = ChannelPublication(
        str(channel),
        release.version if release else None,
        release.bundle if release else None,
        rollout.share if rollout else 1.0,
        document.hold,
        document != before,
        waiting,
        remark,
    )
    return publication, document


def _rollout(
    ws: Workspace, registry: Hub, target: TufRepository, state: ChannelState, bars: Mapping[str, object], report: Notice
) -> Rollout | None:
    """To how many devices the version in production goes; the others have what was there before it, or keep what they run."""
    if state.share >= 1:
        return None
    earlier = state.earlier[-1] if state.earlier and not bars[state.earlier[-1]] else None
    fallback, _ = _release(ws, registry, target, state.channel, earlier, report)
    return Rollout(state.share, f"{state.production}@{state.since}", fallback)


def _release(
    ws: Workspace, registry: Hub, target: TufRepository, channel: Channel, name: str | None, report: Notice
) -> tuple[Release | None, str]:
    """The bundle of a version for a channel: the one that the ledger has of this very export, else a new one, whose files are published."""
    if name is None:
        return None, ""
    version = registry.get(name)
    export = export_for(ws, registry, version, channel).artifact.sha256
    made = [bundled for bundled in bundles(registry.ledger, channel) if (bundled.version, bundled.export) == (name, export)]
    if made and _is_whole(target, made[-1]) and _is_signed(target, made[-1]):
        return Release(name, made[-1].bundle, made[-1].bytes), ""
    report(f"packing {name} for the devices of {channel}")
    packed = pack(ws, registry, version, channel, target.keys)
    _store(target, packed)
    if not made or made[-1].bundle != packed.digest:
        event = ChannelBundled(channel, name, packed.digest, len(packed.manifest), packed.export)
        registry.ledger.append(event, actor=actor(), commit=commit(ws))
    return Release(name, packed.digest, len(packed.manifest)), packed.remark


def _store(target: TufRepository, packed: PackedBundle) -> None:
    """Publish the files of a bundle, and then its manifest, which names them."""
    for path, content in packed.contents.items():
        if isinstance(content, bytes):
            target.add(content)
        else:
            target.add_file(content, packed.bundle.files[path].sha256)
    target.add(packed.manifest)


def _is_whole(target: TufRepository, bundled: ChannelBundled) -> bool:
    """Whether a bundle's manifest and all of its files are published."""
    bundle = _manifest(target, bundled.bundle, bundled.bytes)
    return bundle is not None and all(target.holds(entry.sha256, entry.bytes) for entry in bundle.files.values())


def _is_signed(target: TufRepository, bundled: ChannelBundled) -> bool:
    """Whether the statement in a whole bundle is by a key whose word robots take: one that was stolen since vouches for nothing."""
    bundle = _manifest(target, bundled.bundle, bundled.bytes)
    entry = bundle.files.get(STATEMENT) if bundle else None
    if bundle is None or entry is None:
        return False
    statement = read_regular(target.file(entry.sha256), LARGEST_STATEMENT)
    try:
        check_statement(
            statement,
            {model.file: bundle.files[model.file].sha256 for model in bundle.models},
            target.keys.release_keys(target.keys.root().signed),
        )
    except Untrusted:
        return False
    return True


def _manifest(target: TufRepository, sha256: str, size: int) -> manifests.Bundle | None:
    """A published manifest; None where it is not there, or is not the one of this digest."""
    if not target.holds(sha256, size):
        return None
    content = read_regular(target.file(sha256), LIMITS.manifest_bytes)
    try:
        return manifests.parse(content) if manifests.digest(content) == sha256 else None
    except BadDocument:
        return None


def _barred(registry: Hub, state: ChannelState, running: set[str]) -> tuple[str, ...]:
    """Bundles that are never to run again: of versions that a rollback took out, or that are in quarantine. What is held is not barred."""
    made = bundles(registry.ledger, state.channel)
    names = {bundled.version for bundled in made}
    bad = {name for name in names if name in state.withdrawn or bars_of(registry.ledger, name)}
    return tuple(sorted({bundled.bundle for bundled in made if bundled.version in bad} - running))


def _documents(target: TufRepository) -> dict[str, channels.Channel]:
    """Name → channel of the published documents that this version of Vortex understands."""
    documents = {}
    for name, content in target.documents().items():
        try:
            documents[name] = channels.parse(content)
        except BadDocument as error:
            log.warning("the published %s is written anew: %s", name, error.message)
    return documents


def _prune_files(registry: Hub, target: TufRepository, documents: Iterable[channels.Channel]) -> None:
    """Remove files of bundles that no document needs, of this state and of the one before, and no rollback could bring back."""
    needed: set[str] = set()
    releases = [
        (release.bundle, release.bytes)
        for document in documents
        for release in (document.production, document.shadow, document.rollout.fallback if document.rollout else None)
        if release is not None
    ]
    for state in channel_states(registry.ledger):
        releases += [(made.bundle, made.bytes) for made in bundles(registry.ledger, state.channel) if made.version in state.earlier]
    for sha256, size in releases:
        bundle = _manifest(target, sha256, size)
        needed |= {sha256, *(entry.sha256 for entry in bundle.files.values())} if bundle else set()
    for path in (target.folder / "files").glob("*/*"):
        if path.name not in needed:
            path.unlink(missing_ok=True)


def _line(text: str) -> str:
    """A reason in one line that a document may carry."""
    return "".join(letter if letter.isprintable() else " " for letter in clean(text))[:LONGEST_REASON]
