"""Throw damaged documents at everything that a device reads, and that a workspace reads of devices, and see that each is read or refused in words.

    make bench-robot_fuzz       (benchmarks/robot_fuzz.py [--inputs 1000000] [--seed 0] [--only NAME] [--smoke])

Right documents are changed in their bytes (bits, cuts, doubled and foreign parts) and in their values (numbers, texts and nestings that JSON
readers are known to stumble over), several changes at once; metadata and reports also before they are signed with the right key, and events
before they are chained. Asked: only errors of our own, no path of an accepted manifest that leaves its folder, no file opened or changed
outside of the benchmark's folder while a reader is at work, no reader that takes more than a second, and that what is accepted is written and
read again as itself.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata
from vortex_jetson.errors import RobotError
from vortex_jetson.formats import bundle, channel, release_keys
from vortex_jetson.formats.bundle import HealthFrame
from vortex_jetson.formats.channel import Channel, Release, Rollout
from vortex_jetson.formats.document import canonical, read
from vortex_jetson.limits import LIMITS
from vortex_jetson.update import device, health, slots, trust
from vortex_jetson.update.slots import Slots
from vortex_jetson.update.transfer import Transfer, source_of
from vortex_jetson.update.trust import Belief, Floor

from core.errors import VortexError
from core.printable import printable
from core.secret import SecretUrl
from pipelines.hub.evidence import DEVICE_TYPE
from pipelines.init import init
from pipelines.ship import fleet
from pipelines.ship.key_files import write_private, write_public
from pipelines.workspace import FILE, load
from registry import chain, signature
from registry.events import reading
from registry.events.channel import ChannelPromoted, ChannelRolledBack
from registry.events.event import Sentence
from registry.ledger import Entry, Ledger, entry_of
from registry.records import Artifact, DataUse, NewVersion
from tests.unit.jetson.bundles import PLAIN, bundle_of
from tests.unit.jetson.publisher import CHANNEL, ROLES, Publisher
from tests.unit.jetson.test_release_keys import MODELS, named, statement
from tests.unit.registry.test_events import every_kind
from validation import manifest
from validation.rows import Frame

LONGEST_S: Final = 20.0
"""Of the clock; then a reader is taken to hang."""
MEMORY: Final = "/dev/shm"
"""Where every fsync is free, where there is such a place."""
NASTY: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**64, 10**400, -0.0, 0.1, 1e308, float("inf"), float("nan"), "", " ", "\0", "\n", "\x1b[2J", "\ud800", "\u202e",
    "..", "../../etc/passwd", "/etc/passwd", "a/../../b", "a\\b", "C:\\x", ".", "a/./b", "a//b", "A", "é", "aux", "x" * 10_000, [], {}, [[]], [{}], {"": {}}, {"__proto__": 1},
    [0] * 1000, "0" * 64, "v9", "v0", "v99999999999", CHANNEL, "orin/..", "2026-11-28T12:00:00Z",
)  # fmt: skip


@dataclass
class Reader:
    """One kind of document: right ones, how it is read, and what has to hold of what was read."""

    name: str
    seeds: list[bytes]
    read: Callable[[bytes], Any]
    holds: Callable[[Any], bool] = lambda document: True
    share: int = 1
    """Of the inputs: what reads slowly gets fewer."""


class Watch:
    """Says which paths were opened or changed outside of a folder, and beside what Python itself reads, while a reader is at work."""

    PATHS: Final = {"open": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.mkdir": 1, "os.rmdir": 1, "os.remove": 1, "os.chmod": 1}
    """Audit events, and how many paths they name first."""

    def __init__(self, folder: Path) -> None:
        own = (folder, sys.prefix, sys.base_prefix, Path(__file__).parent.parent, "/dev/null", "/dev/urandom")
        self.own = tuple(os.path.realpath(place) for place in own)
        self.escapes: list[str] = []
        self.awake = False
        sys.addaudithook(self._look)

    def _look(self, event: str, values: tuple[Any, ...]) -> None:
        if not self.awake or event not in self.PATHS:
            return
        for path in values[: self.PATHS[event]]:
            # Relative paths are those of a symbolic link's target, and of entries of a folder that was opened by its own path.
            if isinstance(path, str | bytes) and os.path.isabs(path):
                place = os.path.normpath(os.fsdecode(path))
                if not any(place == own or place.startswith(own + os.sep) for own in self.own):
                    self.escapes.append(f"{event} of {place}")


class Hang(BaseException):
    """No reader can take it for an error of a file."""


def _hangs(number: int, frame: object) -> NoReturn:
    raise Hang(f"no end after {LONGEST_S:g} s")


def stays_inside(manifest: bundle.Bundle) -> bool:
    """Whether every path of a manifest lies in the bundle's folder, and the manifest is read as it is written."""
    root = Path("/bundle")
    paths = [*manifest.files, *(model.file for model in manifest.models)]
    for frame in manifest.health.frames:
        paths += [path for path in (frame.rgb, frame.depth, frame.classes) if path is not None]
    inside = all((root / path).resolve().is_relative_to(root) and (root / path).resolve() != root for path in paths)
    return inside and bundle.parse(bundle.dump(manifest)) == manifest


def of_device(folder: Path) -> list[Reader]:
    """What a device reads as it is: documents from outside, and those on its disk, which may be damaged."""
    v8, v9 = Release("v8", "8" * 64, 4000), Release("v9", "9" * 64, 4312)
    full = Channel(CHANNEL, 12, v9, v8, Rollout(0.1, "v9@12", v8), "v9 is in quarantine", ("7" * 64, "6" * 64))
    running = Slots().stage("v8", "8" * 64).try_out().commit().clear().stage("v9", "9" * 64).try_out().crash("boot")
    picture = io.BytesIO()
    np.save(picture, np.zeros((4, 4, 3), np.uint8))
    (folder / "depth.npy").write_bytes(b"")
    np.save(folder / "depth.npy", np.zeros((4, 4), np.uint16))

    def floor(content: bytes) -> Floor:
        (folder / "floor.json").write_bytes(content)
        return trust.read_floor(folder / "floor.json")

    def settings(content: bytes) -> device.Settings:
        (folder / "device.toml").write_bytes(content)
        return device.load(folder).settings

    def frame(content: bytes) -> health.Frame:
        (folder / "rgb.npy").write_bytes(content)
        return health.load(folder, HealthFrame("rgb.npy", "depth.npy", None))

    def read_keys(content: bytes) -> release_keys.ReleaseKeys:
        keys = release_keys.parse({release_keys.FIELD: read(content, LIMITS.metadata_bytes, "root").document})
        assert keys is not None
        return keys

    signer = CryptoSigner.generate_ed25519()
    keys = named(signer, distrusted=(CryptoSigner.generate_ed25519(),))

    return [
        Reader("channel", [channel.dump(full), channel.dump(Channel(CHANNEL, 0))], channel.parse, lambda one: channel.parse(channel.dump(one)) == one, 40),
        Reader("manifest", [bundle.dump(bundle_of(PLAIN))], bundle.parse, stays_inside, 30),
        Reader("state", [slots.dump(running), slots.dump(running.reject("constant"))], slots.parse, lambda one: slots.parse(slots.dump(one)) == one, 20),
        Reader("floor", [trust.dump_floor(Floor(1, 5, 5, 3, 1.5e9, {CHANNEL: 7}))], floor, share=4),
        Reader("device.toml", [b'device = "robot-7"\nchannel = "orin/corridor"\nurl = "https://models.example"\nruntime = "onnxruntime"\n'], settings, share=2),
        Reader("health frame", [picture.getvalue()], frame, lambda one: one.rgb.shape == (4, 4, 3), share=2),
        Reader("release keys", [canonical(release_keys.dump(keys))], read_keys, lambda one: read_keys(canonical(release_keys.dump(one))) == one, 10),
        Reader("statement", [statement(signer, MODELS)], lambda content: release_keys.check_statement(content, MODELS, keys), share=10),
        Reader("root metadata", [Publisher(folder / "publisher").root], trust.check_root, share=2),
    ]  # fmt: skip


class Publication:
    """A publishing folder, a device's folder that has believed it once, and the same folders again for each input."""

    def __init__(self, folder: Path) -> None:
        self.publisher = Publisher(folder / "published")
        self.release = Release("v9", "9" * 64, 4312)
        self.channel = self.publisher.publish(self.release)
        self.files = {path: path.read_bytes() for path in self.publisher.folder.rglob("*") if path.is_file()}
        self.known, self.device = folder / "known", folder / "believing"
        self.known.mkdir()
        self.refresh(self.known)

    def refresh(self, state: Path) -> Belief:
        """What a device believes, that has no time to wait."""
        source = source_of(str(self.publisher.folder), LIMITS)
        transfer = Transfer(source, replace(LIMITS, attempts=1), pause=lambda seconds: None)
        return trust.refresh(state, self.publisher.root, CHANNEL, transfer, time.time())

    def begin(self) -> None:
        """Put both folders right again."""
        shutil.rmtree(self.device, ignore_errors=True)
        shutil.copytree(self.known, self.device, symlinks=True)
        for path in self.publisher.folder.rglob("*"):
            if path.is_file() and path not in self.files:
                path.unlink()
        for path, content in self.files.items():
            path.write_bytes(content)

    def path(self, role: str) -> str:
        """Where a role's next metadata is read from."""
        return {"root": "metadata/2.root.json", "timestamp": "metadata/timestamp.json"}.get(role, f"metadata/1.{role}.json")

    def seed(self, role: str) -> bytes:
        """Right metadata of a role; of root the next one."""
        if role != "root":
            return (self.publisher.folder / self.path(role)).read_bytes()
        following = Metadata.from_bytes(self.publisher.root)
        following.signed.version += 1
        following.sign(self.publisher.signers["root"])
        return following.to_bytes()

    def unsigned(self, role: str) -> Callable[[bytes], Belief]:
        """Reads what a server changed, who has no key."""

        def read(content: bytes) -> Belief:
            self.begin()
            shutil.rmtree(self.device / "tuf")
            self.publisher.put(self.path(role), content)
            return self.refresh(self.device)

        return read

    def signed(self, role: str) -> Callable[[bytes], Belief]:
        """Reads what the role's own key signed, whatever it says, where that can be signed at all."""

        def read(content: bytes) -> Belief:
            self.begin()
            shutil.rmtree(self.device / "tuf")
            try:
                metadata: Metadata[Any] = Metadata.from_bytes(content)
                metadata.sign(self.publisher.signers[role])
                signed = metadata.to_bytes()
            except Exception:  # no metadata any more: it is served as it is
                signed = content
            self.publisher.put(self.path(role), signed)
            return self.refresh(self.device)

        return read

    def local(self, role: str) -> Callable[[bytes], Belief]:
        """Reads what a device's own disk made of its metadata."""

        def read(content: bytes) -> Belief:
            self.begin()
            path = self.device / "tuf" / f"{role}.json"
            path.unlink()
            path.write_bytes(content)
            return self.refresh(self.device)

        return read

    def document(self, content: bytes) -> Belief:
        """Reads a channel's document that was signed for, whatever it says."""
        self.begin()
        shutil.rmtree(self.device)
        shutil.copytree(self.known, self.device, symlinks=True)
        self.publisher.publish_targets({channel.target_name(CHANNEL): content})
        self.publisher.versions = dict.fromkeys(ROLES, 2)
        return self.refresh(self.device)


def of_metadata(folder: Path) -> list[Reader]:
    """The Update Framework's metadata as a device follows it: from a server without a key, from the holder of one, and from its own disk."""
    publication = Publication(folder)

    def honest(belief: Belief) -> bool:
        return belief.channel == publication.channel

    return [
        *(Reader(f"{role}, unsigned", [publication.seed(role)], publication.unsigned(role), honest) for role in ROLES),
        *(Reader(f"{role}, signed", [publication.seed(role)], publication.signed(role)) for role in ROLES),
        *(Reader(f"{role} on disk", [publication.seed(role)], publication.local(role), honest) for role in ROLES),
        Reader("channel, signed", [channel.dump(publication.channel)], publication.document),
    ]


def of_workspace(folder: Path) -> list[Reader]:
    """What a workspace reads of devices, of data and of its own ledger."""
    return [*of_reports(folder / "reports"), *of_ledger(folder / "ledger"), of_manifests(folder / "dataset")]


def of_reports(folder: Path) -> list[Reader]:
    """Reports of an enrolled device: in an envelope that was damaged, and in one that it signed."""
    ws = init(folder / "workspace")
    (ws.root / FILE).write_text((ws.root / FILE).read_text() + "\n[devices.orin]\n")
    ws = load(ws.root)
    signer, box = CryptoSigner.generate_ed25519(), folder / "box"
    box.mkdir()
    write_private(folder / "key.pem", signer)
    write_public(folder / "key.pub", signer)
    fleet.enroll(ws, "robot-7", folder / "key.pub", CHANNEL)
    ledger = {path: path.read_bytes() for path in (ws.root / "mlruns").rglob("*") if path.is_file()}
    report = {
        "format": 1, "kind": "device-status", "device": "robot-7", "channel": CHANNEL, "version": "v9", "bundle": "9" * 64, "slot": "a",
        "outcome": "rolled back", "reason": "its depth is constant", "engine": None, "at": "2026-11-28T12:00:00Z", "counter": 7,
    }  # fmt: skip
    bench = {
        "format": 1, "kind": "device-bench", "checkpoint_sha256": "1" * 64, "export_sha256": "2" * 64, "made_at": "2026-11-28T12:00:00Z",
        "made_by": "vortex-jetson", "device": "robot-7", "runtime": "TensorRT", "precision": "fp16", "input_size": [240, 320], "frames": 100,
        "latency_ms": {"p50": 9.0, "p99": 12.5}, "throughput_fps": 100.0,
    }  # fmt: skip
    seeds = [json.dumps(document).encode() for document in (report, bench)]

    def collected(content: bytes) -> fleet.Collection:
        for path in ledger.keys() & set((ws.root / "mlruns").rglob("*")):
            path.write_bytes(ledger[path])
        (box / "robot-7-000000007.json").write_bytes(content)
        return fleet.collect(ws, box)

    def enveloped(content: bytes) -> bytes:
        return json.dumps(signature.sign(content, DEVICE_TYPE, folder / "key.pem")).encode()

    def spoken(collection: fleet.Collection) -> bool:
        status = next(line.device.status for line in fleet.fleet(ws))
        taken = collection.reports[0].outcome == "taken"
        return collection.reports[0].text.isprintable() and (taken == (status is not None))

    return [
        Reader("report, damaged", list(map(enveloped, seeds)), collected, lambda collection: collection.reports[0].outcome == "refused" or spoken(collection)),
        Reader("report, signed", seeds, lambda content: collected(enveloped(content)), spoken),
    ]  # fmt: skip


def of_ledger(folder: Path) -> list[Reader]:
    """A ledger whose events were changed, with the chain made anew after them, and one whose file was damaged."""
    use = DataUse("corridor", "corridor", "corridor", "ab" * 32, "cd" * 16 + ".dir", True, {"train": 72, "val": 20})
    new = NewVersion("v6", False, {"name": "v6"}, (), "corridor", (use,), (120, 160), "0" * 32, "run-1", Artifact("0/best", "cd" * 32, 10))
    folder.mkdir()
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    for event, _ in every_kind(new):
        if isinstance(event, ChannelPromoted):
            ledger.append(replace(event, version="v5", replaced=None), actor="Ada")  # what a rollback goes back to
        if isinstance(event, ChannelPromoted | ChannelRolledBack):
            event = replace(event, seq=event.seq + 1)
        ledger.append(event, actor="Ada")
    entries, file = ledger.entries(), (folder / "ledger.db").read_bytes()
    seeds = [
        json.dumps({"number": entry.seq, "head": entry.head, "body": entry.body, "subject": entry.subject}).encode() for entry in entries
    ]
    damaged = folder / "damaged.db"

    def folded(content: bytes) -> list[Sentence]:
        try:
            changed = json.loads(content)
            number = int(changed["number"])
            texts = [json.dumps(changed[name]) for name in ("head", "body")]
            subject = str(changed["subject"])
            if not 0 < number <= len(entries):
                raise ValueError(number)
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            number, texts, subject = 1, [content.decode("utf-8", "replace")] * 2, "v6"
        before = entries[number - 1]
        entry = entry_of((*before[:4], subject, *before[5:9], *texts))
        every: list[Entry] = [*entries[: number - 1], entry, *entries[number:]]
        state = reading.fold(every)
        state.summaries()
        return [reading.parse(entry).sentence() for entry in every]

    def chained(content: bytes) -> chain.ChainHead:
        damaged.write_bytes(content)
        reader = Ledger(SecretUrl(f"sqlite:///{damaged}"))
        head = reader.verify()
        reading.fold(reader.entries())
        return head

    return [Reader("event, chained", seeds, folded, share=8), Reader("ledger file", [file], chained)]


def of_manifests(folder: Path) -> Reader:
    """The manifest of a dataset that somebody else made."""
    row = {
        "id": "000", "domain": "rooms", "split": "train", "sequence": "s", "camera": "femto-bolt", "rgb": "rgb/000.png", "depth": "depth/000.png", "depth_unit": "mm",
        "tof": "tof/000.npy", "tof_unit": "m", "intrinsics": {"fx": 50.0, "fy": 50.0, "cx": 32.0, "cy": 24.0, "size": [48, 64]}, "supervision": "none",
    }  # fmt: skip
    legacy = {"stem": "000", "rgb": "rgb/000.png", "depth": "depth/000.npy"}
    one = json.dumps(row).encode()
    folder.mkdir()

    def read(content: bytes) -> list[Frame]:
        (folder / manifest.MANIFEST).write_bytes(content)
        return manifest.load_manifest(folder / manifest.MANIFEST)

    def inside(frames: list[Frame]) -> bool:
        places = []
        for frame in frames:
            for relative in frame.files().values():
                try:
                    places.append(manifest.file(folder, relative))
                except VortexError:
                    continue
        return all(place.resolve().is_relative_to(folder.resolve()) for place in places)

    return Reader(
        "manifest.jsonl", [one, json.dumps(legacy).encode(), one + b"\n" + one.replace(b"000", b"001") + b"\n"], read, inside, share=25
    )


def readers(folder: Path) -> list[Reader]:
    """Everything that comes from outside, or lies on a disk that may be damaged."""
    return [*of_device(folder), *of_metadata(folder), *of_workspace(folder)]


def places(document: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all values within a document."""
    ways = [way] if way else []
    if isinstance(document, dict):
        for key, value in document.items():
            ways += places(value, (*way, key))
    elif isinstance(document, list):
        for index, value in enumerate(document[:5]):
            ways += places(value, (*way, index))
    return ways


def with_other_values(document: Any, random_: random.Random) -> bytes:
    """The document with some values replaced, removed, or put under other names."""
    document = copy.deepcopy(document)
    for _ in range(random_.randrange(1, 4)):
        ways = places(document)
        if not ways:
            break
        *way, last = random_.choice(ways)
        parent = document
        for step in way:
            parent = parent[step]
        move = random_.randrange(4)
        if move == 0 and isinstance(parent, dict):
            key = random_.choice(NASTY)
            parent[key if isinstance(key, str) else repr(key)[:50]] = parent.pop(last)
        elif move == 1:
            del parent[last]
        else:
            parent[last] = copy.copy(random_.choice(NASTY))
    return json.dumps(document).encode()


def with_other_bytes(content: bytes, seeds: list[bytes], random_: random.Random) -> bytes:
    """The document with bits turned, parts cut out, doubled, or taken from another one."""
    changed = bytearray(content)
    for _ in range(random_.randrange(1, 5)):
        if not changed:
            break
        begin = random_.randrange(len(changed))
        end = min(begin + random_.randrange(1, 40), len(changed))
        move = random_.randrange(6)
        if move == 0:
            changed[begin] ^= 1 << random_.randrange(8)
        elif move == 1:
            del changed[begin:end]
        elif move == 2:
            changed[begin:begin] = changed[begin:end] * random_.randrange(1, 20)
        elif move == 3:
            other = random_.choice(seeds)
            at = random_.randrange(len(other))
            changed[begin:end] = other[at : at + 40]
        elif move == 4:
            changed[begin:end] = random_.choice(
                (b"[" * 3000, b'{"a":' * 1500, b"NaN", b"1e999", b"-", b"\xff", b"\xef\xbb\xbf", b"\\ud800", b"0" * 5000, b'"', b"\0")
            )
        else:
            del changed[begin:]
    return bytes(changed)


def fuzz(folder: Path, count: int, seed: int, only: str) -> list[str]:
    """Print what became of the inputs, kind by kind; the faults."""
    random_, faults, watch = random.Random(seed), [], Watch(folder)
    every = [reader for reader in readers(folder) if reader.name.startswith(only)]
    for reader in every:
        for content in reader.seeds:
            # Also so that what Python still has to load is loaded.
            if _became(reader, content) != ("read", ""):
                raise SystemExit(f"{reader.name}: is not what is right: {_became(reader, content)}")
    total = sum(reader.share for reader in every)
    signal.signal(signal.SIGALRM, _hangs)
    print(f"{'':<20}{'inputs':>10}{'read':>10}{'refused':>10}{'slowest':>10}{'faults':>8}")
    for reader in every:
        documents = [json.loads(content) for content in reader.seeds if content.startswith(b"{") and content.count(b"\n") < 2]
        became: Counter[str] = Counter()
        slowest = 0.0
        for _ in range(count * reader.share // total):
            if documents and random_.random() < 0.5:
                content = with_other_values(random_.choice(documents), random_)
            else:
                content = with_other_bytes(random_.choice(reader.seeds), reader.seeds, random_)
            begun, watch.awake = time.process_time(), True
            signal.setitimer(signal.ITIMER_REAL, LONGEST_S)
            word, fault = _became(reader, content)
            signal.setitimer(signal.ITIMER_REAL, 0)
            elapsed, watch.awake = time.process_time() - begun, False
            slowest = max(slowest, elapsed)
            if elapsed > 1:
                fault = fault or f"took {elapsed:.1f} s"
            if watch.escapes:
                fault = fault or f"left its folder: {watch.escapes[0]}"
                watch.escapes.clear()
            became[word] += 1
            if fault:
                became["faults"] += 1
                faults.append(f"{reader.name}: {fault}: {content[:300]!r}")
        inputs = became["read"] + became["refused"] + became["stopped"]
        print(
            f"{reader.name:<20}{inputs:>10}{became['read']:>10}{became['refused']:>10}{slowest:>8.2f} s{became['faults']:>8}",
            flush=True,
        )
    return faults


def _became(reader: Reader, content: bytes) -> tuple[str, str]:
    """What became of an input: read, refused in words or stopped by another error, and what is wrong with that."""
    try:
        return "read", "" if reader.holds(reader.read(content)) else "was read as what it must not be"
    except (RobotError, VortexError) as error:
        # A workspace's console spells out what commands a terminal.
        words = printable(error.message).encode("utf-8", "backslashreplace").decode() if isinstance(error, VortexError) else error.message
        fit = words.isprintable() and len(words) < 2000
        return "refused", "" if fit else f"words are not fit to be shown: {error.message[:80]!r}"
    except BaseException as error:
        return "stopped", f"{type(error).__name__}: {error}"[:200]


def main() -> None:
    """Print the table; exit 1 unless all was read or refused in words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="NAME", help="readers whose name begins so")
    parser.add_argument("--smoke", action="store_true", help="a few thousand inputs, to see that it runs")
    options = parser.parse_args()
    count, begun = 3000 if options.smoke else options.inputs, time.process_time()
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        tempfile.tempdir = folder  # python-tuf reads what it fetches through a file there
        faults = fuzz(Path(folder).resolve(), count, options.seed, options.only)
    print(f"{count:,} inputs, {len(faults)} faults, {time.process_time() - begun:.0f} s of CPU")
    for fault in faults[:10]:
        print(fault, file=sys.stderr)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
