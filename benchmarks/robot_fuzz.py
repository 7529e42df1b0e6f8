"""Throw damaged documents at everything that a device reads, and see that each is read or refused in words.

    make bench-robot_fuzz       (benchmarks/robot_fuzz.py [--inputs 1000000] [--seed 0] [--smoke])

Right documents are changed in their bytes (bits, cuts, doubled and foreign parts) and in their values (numbers, texts and nestings that JSON
readers are known to stumble over), several changes at once. Asked: only errors of the agent's own, no path of an accepted manifest that leaves
the bundle's folder, and that what is accepted is written and read again as itself.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from vortex_jetson import bundle, channel, device, health, slots, trust
from vortex_jetson.bundle import HealthFrame
from vortex_jetson.channel import Channel, Release, Rollout
from vortex_jetson.errors import RobotError
from vortex_jetson.slots import Slots
from vortex_jetson.trust import Floor

from tests.unit.jetson.bundles import PLAIN, bundle_of
from tests.unit.jetson.publisher import CHANNEL, Publisher

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


def stays_inside(manifest: bundle.Bundle) -> bool:
    """Whether every path of a manifest lies in the bundle's folder, and the manifest is read as it is written."""
    root = Path("/bundle")
    paths = [*manifest.files, *(model.file for model in manifest.models)]
    for frame in manifest.health.frames:
        paths += [path for path in (frame.rgb, frame.depth, frame.classes) if path is not None]
    inside = all((root / path).resolve().is_relative_to(root) and (root / path).resolve() != root for path in paths)
    return inside and bundle.parse(bundle.dump(manifest)) == manifest


def readers(folder: Path) -> list[Reader]:
    """Everything that comes from outside, or lies on a disk that may be damaged."""
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

    return [
        Reader("channel", [channel.dump(full), channel.dump(Channel(CHANNEL, 0))], channel.parse, lambda one: channel.parse(channel.dump(one)) == one, 40),
        Reader("manifest", [bundle.dump(bundle_of(PLAIN))], bundle.parse, stays_inside, 30),
        Reader("state", [slots.dump(running), slots.dump(running.reject("constant"))], slots.parse, lambda one: slots.parse(slots.dump(one)) == one, 20),
        Reader("floor", [trust.dump_floor(Floor(1, 5, 5, 3, 1.5e9, {CHANNEL: 7}))], floor, share=4),
        Reader("device.toml", [b'device = "robot-7"\nchannel = "orin/corridor"\nurl = "https://models.example"\nruntime = "onnxruntime"\n'], settings, share=2),
        Reader("health frame", [picture.getvalue()], frame, lambda one: one.rgb.shape == (4, 4, 3), share=2),
        Reader("root metadata", [Publisher(folder / "publisher").root], trust.check_root, share=2),
    ]  # fmt: skip


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


def fuzz(folder: Path, count: int, seed: int) -> list[str]:
    """Print what became of the inputs, kind by kind; the faults."""
    random_, faults = random.Random(seed), []
    every = readers(folder)
    total = sum(reader.share for reader in every)
    print(f"{'':<16}{'inputs':>10}{'read':>10}{'refused':>10}{'faults':>8}")
    for reader in every:
        documents = [json.loads(content) for content in reader.seeds if content.startswith(b"{")]
        became: Counter[str] = Counter()
        for _ in range(count * reader.share // total):
            if documents and random_.random() < 0.5:
                content = with_other_values(random_.choice(documents), random_)
            else:
                content = with_other_bytes(random_.choice(reader.seeds), reader.seeds, random_)
            try:
                right = reader.holds(reader.read(content))
                became["read"] += 1
                fault = "" if right else "was read as what it must not be"
            except RobotError as error:
                became["refused"] += 1
                fault = (
                    ""
                    if error.message.isprintable() and len(error.message) < 2000
                    else f"words are not fit to be shown: {error.message[:80]!r}"
                )
            except BaseException as error:
                fault = f"{type(error).__name__}: {error}"[:200]
            if fault:
                became["faults"] += 1
                faults.append(f"{reader.name}: {fault}: {content[:300]!r}")
        print(f"{reader.name:<16}{sum(became.values()):>10}{became['read']:>10}{became['refused']:>10}{became['faults']:>8}", flush=True)
    return faults


def main() -> None:
    """Print the table; exit 1 unless all was read or refused in words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="a few thousand inputs, to see that it runs")
    options = parser.parse_args()
    count, begun = 3000 if options.smoke else options.inputs, time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        faults = fuzz(Path(folder), count, options.seed)
    print(f"{count:,} inputs, {len(faults)} faults, {time.process_time() - begun:.0f} s of CPU")
    for fault in faults[:10]:
        print(fault, file=sys.stderr)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
