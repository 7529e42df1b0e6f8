"""Who has to have signed what is shipped: root names the keys, and a device takes no bundle that none of them signed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner
from vortex_jetson.errors import BadDocument, Untrusted
from vortex_jetson.formats.channel import Release
from vortex_jetson.formats.release_keys import FIELD, PAYLOAD, ReleaseKey, ReleaseKeys, check_statement, dump, parse
from vortex_jetson.update import agent, candidate
from vortex_jetson.update.device import Device

from tests.unit.jetson.publisher import Publisher

MODELS = {"models/v8-fp32.onnx": "ab" * 32}


def statement(signer: CryptoSigner, models: dict[str, str], payload_type: str = PAYLOAD) -> bytes:
    """An envelope that says of these models that they are the publisher's."""
    subject = [{"name": path, "digest": {"sha256": sha256}} for path, sha256 in models.items()]
    envelope = Envelope(json.dumps({"subject": subject}).encode(), payload_type, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict()).encode()


def named(*signers: CryptoSigner, distrusted: tuple[CryptoSigner, ...] = ()) -> ReleaseKeys:
    keys = [ReleaseKey(signer.public_key.keyid, signer.public_key.keyval["public"]) for signer in signers]
    return ReleaseKeys(tuple(keys), tuple(signer.public_key.keyid for signer in distrusted))


@pytest.fixture(scope="module")
def signers() -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519() for _ in range(3)]


def test_root_says_which_keys_and_a_root_of_before_says_nothing(signers: list[CryptoSigner]) -> None:
    keys = named(signers[0], signers[1], distrusted=(signers[2],))
    assert parse({FIELD: json.loads(json.dumps(dump(keys)))}) == keys
    assert parse({}) is None
    for wrong in ([], {"trusted": []}, {"trusted": [{"keyid": "x", "public": "y"}], "distrusted": []}):
        with pytest.raises(BadDocument, match=FIELD):
            parse({FIELD: wrong})


def test_a_statement_counts_by_a_trusted_key_about_these_models_and_not_otherwise(signers: list[CryptoSigner]) -> None:
    new, old, stolen = signers
    keys = named(new, old, distrusted=(stolen,))
    for signer in (new, old):
        check_statement(statement(signer, MODELS), MODELS, keys)

    def changed(content: bytes) -> bytes:
        envelope = json.loads(content)
        envelope["payload"] = json.loads(statement(new, {"models/v8-fp32.onnx": "cd" * 32}))["payload"]
        return json.dumps(envelope).encode()

    stranger = CryptoSigner.generate_ed25519()
    cases: list[tuple[bytes, str]] = [
        (statement(stolen, MODELS), f"is signed by {stolen.public_key.keyid[:12]}, which is distrusted"),
        (statement(stranger, MODELS), f"root names {new.public_key.keyid[:12]}, {old.public_key.keyid[:12]}"),
        (changed(statement(new, MODELS)), "does not fit what it holds"),
        (statement(new, {"models/v8-fp32.onnx": "cd" * 32}), "is not about models/v8-fp32.onnx as it is here"),
        (statement(new, {}), "is not about models/v8-fp32.onnx"),
        (statement(new, MODELS, "text/plain"), "holds a 'text/plain'"),
        (b"[" * 5000, "no signed envelope"),
        (b"{}", "no signed envelope"),
    ]
    for content, words in cases:
        with pytest.raises(Untrusted, match=words):
            check_statement(content, MODELS, keys)


def test_a_device_takes_no_bundle_by_a_key_that_is_gone_and_keeps_what_it_runs(
    device: Device, publisher: Publisher, signers: list[CryptoSigner]
) -> None:
    def ship(version: str, signer: CryptoSigner | None) -> Release:
        sign: Callable[[dict[str, str]], bytes] | None = None if signer is None else lambda models: statement(signer, models)
        release = publisher.bundle(version, statement=sign)
        publisher.publish(release)
        return release

    old, new, stranger = signers
    publisher.name_release_keys(named(old))
    ship("v7", old)
    assert agent.pull(device).outcome == "committed"
    publisher.name_release_keys(named(new, old))
    ship("v8", new)
    assert agent.pull(device).reason == "v8 runs, after v7"
    publisher.name_release_keys(named(new, distrusted=(old,)))
    for version, signer, words in (
        ("v9", old, "which is distrusted"),
        ("v9", stranger, "root names"),
        ("v9", None, "without statement"),
        ("v7", old, "which is distrusted"),  # it lies in the other slot, whole
    ):
        ship(version, signer)
        with pytest.raises(Untrusted, match=words):
            agent.pull(device)
        assert device.slots().current.version == "v8"
    ship("v10", new)
    assert agent.pull(device).reason == "v10 runs, after v8"


def test_a_candidate_by_a_key_that_is_gone_neither_comes_nor_stays(
    device: Device, publisher: Publisher, signers: list[CryptoSigner]
) -> None:
    device = replace(device, settings=replace(device.settings, shadow=True))
    old, new, _ = signers
    publisher.name_release_keys(named(new, old))
    v8 = publisher.bundle("v8", statement=lambda models: statement(new, models))
    v9 = publisher.bundle("v9", padding=1, statement=lambda models: statement(old, models))
    publisher.publish(v8, shadow=v9)
    assert agent.pull(device).reason == "v8 runs; v9 is its shadow" and candidate.proven(device) is not None
    publisher.name_release_keys(named(new, distrusted=(old,)))
    publisher.publish(v8, shadow=v9)  # it lies there, whole
    reason = agent.pull(device).reason
    assert reason.startswith("v8 runs; no shadow: ") and "distrusted" in reason and candidate.proven(device) is None
    assert device.slots().current.version == "v8"
