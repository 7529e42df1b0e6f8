"""The document of a channel: what it says to which device, and that nothing else passes for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from vortex_jetson.errors import BadDocument
from vortex_jetson.formats.channel import Channel, Release, Rollout, dump, parse, target_name

V8, V9 = Release("v8", "8" * 64, 4000), Release("v9", "9" * 64, 4312)
FULL = Channel("orin/corridor", 12, V9, V8, Rollout(0.1, "v9@12", V8), "v9 is in quarantine", ("7" * 64, "6" * 64))


def changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(dump(FULL)), **changes}).encode()


def test_a_channel_is_read_as_it_was_written_and_has_one_spelling() -> None:
    assert parse(dump(FULL)) == FULL
    assert parse(dump(Channel("orin/corridor", 0))) == Channel("orin/corridor", 0)
    assert dump(Channel("orin/corridor", 3, V9)) == (
        b'{"barred":[],"channel":"orin/corridor","format":1,"hold":null,"production":{"bundle":"'
        + b"9" * 64
        + b'","bytes":4312,"version":"v9"},'
        b'"rollout":null,"seq":3,"shadow":null}\n'
    )
    assert target_name("orin/corridor") == "channels/orin/corridor.json"


def test_a_rollout_goes_to_its_share_and_a_wider_one_only_adds_devices() -> None:
    devices = [f"robot-{number}" for number in range(4000)]
    takers = {share: {device for device in devices if Rollout(share, "v9@12", V8).takes(device)} for share in (0.0, 0.1, 0.5, 1.0)}
    assert takers[0.0] == set() and takers[1.0] == set(devices)
    assert 320 < len(takers[0.1]) < 480
    assert takers[0.1] < takers[0.5]
    assert takers[0.1] != {device for device in devices if Rollout(0.1, "v9@13", V8).takes(device)}
    digest = int(hashlib.sha256(b"v9@12:robot-0").hexdigest(), 16) / 2**256
    assert Rollout(digest + 1e-9, "v9@12", None).takes("robot-0") and not Rollout(digest - 1e-9, "v9@12", None).takes("robot-0")


def test_a_device_outside_of_the_share_runs_the_fallback() -> None:
    channel = replace(FULL, rollout=Rollout(0.1, "v9@12", V8))
    assert {channel.release_for(f"robot-{number}") for number in range(50)} == {V8, V9}
    assert replace(FULL, rollout=None).release_for("robot-1") == V9
    assert replace(FULL, rollout=Rollout(0.0, "x", None)).release_for("robot-1") is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "install a newer vortex-jetson"),
        ({"format": True}, "format is True"),
        ({"format": 0}, "format is 0"),
        ({"channel": "orin/../etc"}, "channel is"),
        ({"channel": "orin"}, "channel is"),
        ({"seq": -1}, "seq is -1"),
        ({"seq": 1.0}, "seq is 1.0"),
        ({"seq": 2**60}, "seq is"),
        ({"production": {"version": "v9", "bundle": "9" * 64}}, "production: bytes is missing"),
        ({"production": {"version": "v9", "bundle": "9" * 64, "bytes": 2_000_000}}, "production: bytes is"),
        ({"production": {"version": "v9", "bundle": "9" * 63 + "G", "bytes": 9}}, "production: bundle is"),
        ({"production": {"version": "9", "bundle": "9" * 64, "bytes": 9}}, "production: version is"),
        ({"production": []}, "production is a list"),
        ({"production": None}, "since there is a rollout"),
        ({"rollout": {"share": 1.1, "salt": "s", "fallback": None}}, "share is 1.1"),
        ({"rollout": {"share": 0.5, "salt": "s"}}, "fallback is missing"),
        ({"hold": "two\nlines"}, "hold is"),
        ({"hold": "\x1b[2J"}, "hold is"),
        ({"hold": ""}, "hold is"),
        ({"barred": ["7" * 64, "7" * 64]}, "barred is"),
        ({"barred": ["7"]}, "barred is"),
        ({"more": 1}, "'more' is no field"),
    ],
)
def test_what_is_off_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadDocument) as error:
        parse(changed(**changes))
    assert words in f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b'{"format": 1',
        dump(FULL).replace(b'"seq":12', b'"seq":12,"seq":13'),
        dump(FULL).replace(b'"seq":12', b'"seq":NaN'),
        dump(FULL).replace(b'"seq":12', b'"seq":1e999'),
        dump(FULL).replace(b'"seq":12', b'"seq":' + b"9" * 5000),
        b"[" * 60_000,
        dump(FULL) + b" " * 64_000,
    ],
)
def test_what_is_no_such_document_is_refused(content: bytes) -> None:
    with pytest.raises(BadDocument):
        parse(content)


def test_nothing_is_written_that_would_not_be_read() -> None:
    with pytest.raises(BadDocument):
        dump(replace(FULL, hold="two\nlines"))
    with pytest.raises(BadDocument):
        dump(replace(FULL, barred=tuple(f"{number:064x}" for number in range(1000))))
