"""What is published follows from the ledger, as a device reads it: by python-tuf's client, and the agent's own verification."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import urllib3
from vortex_jetson import cli as agent
from vortex_jetson.errors import TransferFailed
from vortex_jetson.formats import bundle as manifests
from vortex_jetson.formats import channel as channels
from vortex_jetson.formats.bundle import Bundle
from vortex_jetson.formats.channel import Channel, Release
from vortex_jetson.formats.release_keys import STATEMENT
from vortex_jetson.update import agent as robot
from vortex_jetson.update import device as devices
from vortex_jetson.update import outbox
from vortex_jetson.update.device import Device, Settings

from core.errors import UsageError, VortexError
from core.stages import STAGES
from pipelines.hub.evidence import items
from pipelines.hub.exports import BUILDS, PARITY_DOMAIN
from pipelines.hub.open import hub
from pipelines.ship import fleet, keys
from pipelines.ship import publish as publishing
from pipelines.ship.bundle import BILL, CARD
from pipelines.ship.evidence import Request, gather
from pipelines.ship.publish import publish, publish_after
from pipelines.ship.quarantine import quarantine
from pipelines.ship.reports import folder_of
from pipelines.ship.rollback import rollback
from pipelines.ship.tuf_repository import repository
from pipelines.workspace import Workspace
from registry import channels as registry_channels
from registry import signature
from registry.stages import StageJudgement, channel_state, record_promotion
from tests.unit.jetson.conftest import HASTY
from tests.unit.jetson.servers import NGINX, serving
from tests.unit.pipelines.ship.conftest import SIZE, Arena
from tests.unit.pipelines.ship.test_keys import WORD, client
from validation.checks import Check
from validation.evidence.device_bench import DeviceBench
from validation.promotion.evidence import DeviceRuns
from validation.promotion.gates import device_bench
from validation.promotion.gates.device_bench import FastOnDevice

CHANNEL = registry_channels.Channel("orin", "rooms")
PAGE = Path(__file__).parents[4] / "docs" / "ship.md"
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is absent: apt-get install nginx-light")


def tiny_onnx(path: Path, depth_m: float, per_grey: float) -> None:
    """A model of the exported interface that says `depth_m` and the class floor everywhere, and more where the picture is bright."""
    import onnx
    from onnx import TensorProto, helper

    height, width = SIZE
    grey = helper.make_node("ReduceMean", ["rgb"], ["grey"], axes=[1], keepdims=1)
    nodes = [
        grey,
        helper.make_node("Mul", ["grey", "zero"], ["none"]),
        helper.make_node("Mul", ["grey", "per_grey"], ["more"]),
        helper.make_node("Add", ["more", "metres"], ["depth"]),
        helper.make_node("Concat", ["depth", *["none"] * 5], ["logits"], axis=1),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.FLOAT, [1], [value])
        for name, value in (("zero", 0.0), ("metres", depth_m), ("per_grey", per_grey))
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("rgb", TensorProto.FLOAT, [1, 3, height, width])],
        [
            helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, height, width]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 6, height, width]),
        ],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


class Robots:
    """An arena with a device that robots pull for, and what one of them reads."""

    def __init__(self, arena: Arena, folder: Path) -> None:
        arena.configure("\n[devices.orin]\npublish = true\n")
        self.arena, self.folder, self.stick = arena, folder, folder / "stick"
        keys.init(arena.ws, [self.stick], WORD)

    @property
    def ws(self) -> Workspace:
        return self.arena.ws

    def version(self, rmse: float = 0.4, *, depth_m: float = 2.0, per_grey: float = 0.0, seed: int = 0, shift: float = 0.0) -> str:
        """A version with a file that runs; with a `shift` its checkpoint is its own."""
        name = self.arena.version(rmse, seed=seed, shift=shift)
        path = self.folder / "tiny.onnx"
        tiny_onnx(path, depth_m, per_grey)
        checkpoint, self.arena.checkpoint = self.arena.checkpoint, path
        self.arena.export(name)
        self.arena.checkpoint = checkpoint
        return name

    def promote(self, name: str, stage: str = "production", share: float = 1.0) -> list[str]:
        """Have a version on the channel without judging it, and publish."""
        ledger = hub(self.ws).ledger
        judgements = [StageJudgement(step, True) for step in STAGES[: STAGES.index(stage) + 1]]
        record_promotion(ledger, CHANNEL, name, judgements, channel_state(ledger, CHANNEL).seq, share=share, actor="test")
        return publish(self.ws).sentences()

    def read(self, state: str = "device") -> Channel | None:
        """The channel as a device reads it."""
        updater = client(self.ws.publish_folder, self.folder / state)
        target = updater.get_targetinfo("channels/orin/rooms.json")
        return channels.parse(Path(updater.download_target(target)).read_bytes()) if target else None

    def device(self, name: str, url: str) -> Device:
        """An enrolled device that has no time, and pulls from an address."""
        settings = Settings(name, str(CHANNEL), url)
        device = devices.init(self.folder / name, settings, self.ws.publish_folder / "metadata" / "1.root.json")
        fleet.enroll(self.ws, name, device.folder / "device.pub", str(CHANNEL))
        return replace(device, limits=HASTY)

    def fetch(self, release: Release) -> tuple[Bundle, Path]:
        """A bundle as a device lays it out, verified by its manifest."""
        files = self.ws.publish_folder / "files"
        manifest = (files / release.bundle[:2] / release.bundle).read_bytes()
        assert (manifests.digest(manifest), len(manifest)) == (release.bundle, release.bytes)
        bundle, folder = manifests.parse(manifest), self.folder / "bundle"
        shutil.rmtree(folder, ignore_errors=True)
        for path, entry in bundle.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files / entry.sha256[:2] / entry.sha256, folder / path)
        manifests.verify(folder, bundle)
        return bundle, folder


def arena_promotion(robots: Robots, name: str) -> tuple[str, ...]:
    """What publishing came to after a version was judged and promoted."""
    report = robots.arena.promote(name, device="orin")
    assert report.passed, report.sentence()
    return report.published


@pytest.fixture
def robots(arena: Arena, tmp_path: Path) -> Robots:
    return Robots(arena, tmp_path)


def test_a_promotion_is_published_and_a_device_reads_all_of_it(robots: Robots) -> None:
    name = robots.version()
    (line,) = arena_promotion(robots, name)
    document = robots.read()
    assert document is not None and document.production is not None
    assert (document.channel, document.seq, document.production.version, document.hold) == ("orin/rooms", 3, name, None)
    assert line.startswith(f"orin/rooms publishes {name} ({document.production.bundle[:12]})") and "one depth everywhere" in line
    bundle, folder = robots.fetch(document.production)
    assert [model.file for model in bundle.models] == [f"models/{name}-fp32.onnx"] and bundle.size == SIZE
    assert bundle.inflation["glass"] == 0.45 and bundle.fusion.farthest_m == 10.0 and bundle.preprocessing["colour_order"] == "RGB"
    for frame in bundle.health.frames:
        rgb, depth = (np.load(folder / path, allow_pickle=False) for path in (frame.rgb, frame.depth))
        assert (rgb.shape, rgb.dtype, depth.shape, depth.dtype) == ((*SIZE, 3), np.uint8, SIZE, np.uint16)
    every = np.concatenate([np.load(folder / frame.depth)[np.load(folder / frame.depth) > 0] for frame in bundle.health.frames]) / 1000
    rmse = float(np.sqrt(np.mean((every - 2.0) ** 2)))
    assert 1.05 * rmse + 0.01 <= bundle.health.bounds.rmse_m < 1.05 * rmse + 0.0102
    bill = json.loads((folder / BILL).read_text())
    assert (bill["bomFormat"], bill["specVersion"], bill["metadata"]["component"]["type"]) == ("CycloneDX", "1.6", "machine-learning-model")
    assert {part["type"] for part in bill["components"]} == {"data", "file"}
    payload = signature.opened(
        (folder / STATEMENT).read_text(), "application/vnd.in-toto+json", [robots.ws.keys_folder / "release.pub"], STATEMENT
    )
    assert json.loads(payload)["subject"] == [
        {"name": bundle.models[0].file, "digest": {"sha256": bundle.files[bundle.models[0].file].sha256}}
    ]
    assert name in (folder / CARD).read_text()


def test_a_second_time_nothing_changes_and_a_lost_folder_is_made_again_with_the_same_bundle(robots: Robots) -> None:
    robots.promote(robots.version())
    before, events = robots.read(), hub(robots.ws).ledger.verify()
    assert not publish(robots.ws).changed and before and before.production
    bundle, _ = robots.fetch(before.production)
    sha256 = bundle.files[bundle.models[0].file].sha256
    path = robots.ws.publish_folder / "files" / sha256[:2] / sha256
    path.write_bytes(path.read_bytes()[:-1] + b"?")  # as a failing disk would
    publish(robots.ws)
    assert robots.fetch(before.production)
    shutil.rmtree(robots.ws.publish_folder)
    assert publish(robots.ws).changed
    assert robots.read() == before and hub(robots.ws).ledger.verify() == events
    assert robots.fetch(before.production)


def test_a_rollback_bars_what_left_and_a_promotion_brings_it_back(robots: Robots) -> None:
    first, second = robots.version(), robots.version(0.3, depth_m=1.5)
    robots.promote(first)
    robots.promote(second)
    newer = robots.read()
    assert newer and newer.production and newer.production.version == second and newer.barred == ()
    rollback(robots.ws, device="orin")
    back = robots.read()
    assert back and back.production and (back.production.version, back.barred) == (first, (newer.production.bundle,))
    assert back.seq == newer.seq + 1 and back.shadow is None
    robots.fetch(back.production)


def test_a_quarantine_makes_devices_hold_and_lifting_it_lets_go(robots: Robots) -> None:
    name = robots.version()
    robots.promote(name)
    before = robots.read()
    assert quarantine(robots.ws, name, reason="brakes late").published
    held = robots.read()
    assert held and held.hold and "brakes late" in held.hold and held.barred == () and before and held.production == before.production
    quarantine(robots.ws, name, reason="it was the floor", lift=True)
    assert robots.read() == before


def test_a_candidate_in_staging_may_run_beside_production(robots: Robots) -> None:
    first, second = robots.version(), robots.version(0.3, depth_m=1.5)
    robots.promote(first)
    robots.promote(second, "staging")
    document = robots.read()
    assert document and document.production and document.shadow
    assert (document.production.version, document.shadow.version) == (first, second)


def test_without_keys_a_promotion_stands_and_says_how_to_go_on(arena: Arena, tmp_path: Path) -> None:
    robots = Robots(arena, tmp_path)
    shutil.rmtree(robots.ws.keys_folder)
    name = robots.version()
    (line,) = arena_promotion(robots, name)
    assert line == "not published, for there are no keys: vortex keys init --root FOLDER, then vortex publish"
    keys.init(robots.ws, [tmp_path / "other"], WORD)
    assert publish(robots.ws).changed
    document = robots.read()
    assert document and document.production and document.production.version == name


def test_what_cannot_be_packed_holds_the_channel_where_it_was(robots: Robots, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = robots.version(), robots.version(0.3)
    robots.promote(first)
    before = robots.read()

    def no_frames(*_: object, **__: object) -> None:
        raise VortexError("the exam is gone", "bring it back")

    monkeypatch.setattr(publishing, "pack", no_frames)
    (line,) = robots.promote(second)
    assert line == "orin/rooms is not published: the exam is gone (bring it back)"
    held = robots.read()
    assert held and before and held.production == before.production and held.hold and second in held.hold
    monkeypatch.undo()
    publish(robots.ws)
    after = robots.read()
    assert after and after.production and after.production.version == second and after.hold is None


def test_a_later_export_that_builds_no_engine_is_not_sent(robots: Robots) -> None:
    name = robots.version()
    robots.promote(name)
    before = robots.read()
    robots.arena.export(name, detail={PARITY_DOMAIN: "rooms", BUILDS: {"passed": False, "text": "no engine for Conv"}})
    (publication,) = publish(robots.ws).channels
    assert publication.waiting.startswith(f"the file of {name} as fp32 for host: no engine for Conv (export it again with: ")
    after = robots.read()
    assert before and after and after.production == before.production and after.hold


def test_a_device_that_nobody_publishes_is_left_out(arena: Arena) -> None:
    assert publish_after(arena.ws) == ()
    with pytest.raises(VortexError, match="no device of this workspace is published; it has: host"):
        publish(arena.ws)


def test_a_device_pulls_what_is_published_and_its_report_is_collected(robots: Robots, capsys: pytest.CaptureFixture[str]) -> None:
    def device(*words: str) -> int:
        return agent.main([*words, "--state", str(robots.folder / "robot")])

    first, second = robots.version(per_grey=1.0), robots.version(0.3, depth_m=1.5, per_grey=1.0)
    robots.promote(first)
    place, root = str(robots.ws.publish_folder), str(robots.ws.publish_folder / "metadata" / "1.root.json")
    assert device("init", "--device", "robot-7", "--channel", "orin/rooms", "--url", place, "--root", root) == 0
    fleet.enroll(robots.ws, "robot-7", robots.folder / "robot" / "device.pub", "orin/rooms")
    assert device("pull") == 0
    robots.promote(second)
    assert device("pull") == 0
    rollback(robots.ws, device="orin")
    assert device("pull") == 0, capsys.readouterr().err
    collection = fleet.collect(robots.ws, robots.ws.publish_folder)
    assert [report.text for report in collection.reports] == [
        f"robot-7 runs {words}" for words in (first, f"{second}, after {first}", f"{first}, after {second}")
    ]
    (line,) = fleet.fleet(robots.ws)
    assert (line.wanted, line.health) == (first, "well")

    rule = FastOnDevice(check="device-bench", p99_ms=1000)
    assert not judged(robots, first, rule).ok
    assert device("bench", "--frames", "100", "--send") == 0
    benched = fleet.collect(robots.ws, robots.ws.publish_folder).reports[-1]
    assert benched.outcome == "taken" and benched.text.startswith(f"device-bench of {first}: robot-7 (")
    check = judged(robots, first, rule)
    assert check.ok and "over 100 frames on robot-7" in check.found
    (item,) = items(robots.ws, hub(robots.ws), hub(robots.ws).get(first))
    assert isinstance(item.report, DeviceBench) and (item.report.precision, item.report.input_size) == ("fp32", list(SIZE))
    assert item.report.task is not None and item.report.task["health frames"]["rmse"] > 0 and item.report.end_to_end_ms is not None


def judged(robots: Robots, name: str, rule: FastOnDevice) -> Check:
    """What the gate of a device's speed says of a version."""
    registry = hub(robots.ws)
    request = Request(robots.ws, registry, registry.get(name), None, CHANNEL, True, None, None)
    runs = gather(request, [rule])[0][DeviceRuns]
    assert isinstance(runs, DeviceRuns)
    return device_bench.judge(rule, runs)


def test_bundles_by_an_earlier_release_key_are_run_and_by_a_stolen_one_signed_anew(robots: Robots) -> None:
    name, ws = robots.version(per_grey=1.0), robots.ws
    robots.promote(name)
    before, first = robots.read(), keys.key_folder(ws).release.read_bytes()
    change = keys.rotate_release(ws, [robots.stick], WORD)
    assert change.sentence().startswith(f"the release key is a new one, {change.keys['release'][0][:12]}; root 2 holds until ")
    assert not publish(ws).channels[0].changed and robots.read() == before, "what the earlier key signed stays"
    old = change.keys["release"][1]
    with pytest.raises(UsageError, match="--distrust '3f' names 0 of the release keys that are trusted: "):
        keys.rotate_release(ws, [robots.stick], WORD, distrust=["3f"])
    keys.rotate_release(ws, [robots.stick], WORD, distrust=[old[:10]])
    publish(ws)
    after = robots.read()
    assert before and before.production and after and after.production
    assert after.production.version == name and after.production.bundle != before.production.bundle
    assert robot.pull(robots.device("robot-7", str(ws.publish_folder))).changed, "a device follows root to the newest key"
    status = repository(ws).status()[-1]
    assert (len(status.keys), len(status.earlier), status.distrusted, status.here) == (1, 1, (old,), 1)
    keys.key_folder(ws).release.write_bytes(first)  # somebody's old copy of the keys
    shutil.rmtree(ws.publish_folder / "files")
    waiting = publish(ws).channels[0].waiting
    assert f"the release key of root 3 ({status.keys[0][:12]}) is not here" in waiting and "keys rotate release" in waiting


@needs_nginx
def test_what_is_published_arrives_over_nginx_whatever_the_server_does(robots: Robots, tmp_path: Path) -> None:
    name = robots.version(per_grey=1.0)
    robots.promote(name)
    with serving(robots.ws.publish_folder, tmp_path / "nginx") as (address, told):
        device = robots.device("robot-7", address)

        def pull(way: str) -> robot.Pulled:
            return robot.pull(replace(device, settings=replace(device.settings, url=f"{address}/{way}")))

        for way, words in (("down", "answers 503"), ("none", "answers 404"), ("silent", "does not answer")):
            with pytest.raises(TransferFailed, match=words):
                pull(way)
            assert device.slots().current.version is None
        # The root after this one, which there is not, and the timestamp; five documents that come whole; then the statement and all files.
        told.orders = ["404", "503", "half", *["whole"] * 6, *["half"] * 3, "503", "whole"]
        assert pull("told").reason == f"{name} runs"
        assert any("bytes=" in request for request in told.asked), "it went on where it was cut off"
        assert pull("slow").reason == f"{name} runs"


@needs_nginx
def test_reports_are_put_to_the_server_of_the_docs_and_collected_from_its_address(robots: Robots, tmp_path: Path) -> None:
    robots.promote(robots.version(per_grey=1.0))
    published = robots.ws.publish_folder
    (published / "reports" / ".incoming").mkdir(parents=True)
    with serving(published, tmp_path / "nginx", documented_site()) as (address, _):
        device = robots.device("robot-7", address)
        assert robot.pull(device).warnings == []
        (report,) = (published / "reports").glob("*.json")
        assert report.name.startswith("robot-7-000000001-")
        content = report.read_bytes()
        for method, path, status in (
            ("PUT", f"/reports/{report.name}", 409),
            ("PUT", "/reports/%2e%2e/metadata/timestamp.json", 405),
            ("PUT", "/metadata/timestamp.json", 405),
            ("DELETE", f"/reports/{report.name}", 405),
            ("PUT", "/reports/stranger.json", 201),
        ):
            assert urllib3.request(method, address + path, body=b"junk", retries=False).status == status, (method, path)
        assert report.read_bytes() == content
        (device.folder / "outbox" / "000000001.json").write_bytes(content)  # as if it had lost its power before it struck it off
        assert outbox.send(device) == 1 and outbox.waiting(device) == []

        def collect() -> list[tuple[str, str]]:
            collection = fleet.collect(robots.ws, folder_of(robots.ws, address))
            return [(each.file.partition(".")[0][:17], each.outcome) for each in collection.reports]

        assert collect() == [("robot-7-000000001", "taken"), ("stranger", "refused")]
        report.write_bytes(b"somebody changed it at the server")
        assert collect()[0] == ("robot-7-000000001", "old"), "what was fetched is not asked for again"
        report.unlink()
        assert collect() == [("stranger", "refused")]
        with pytest.raises(VortexError, match=r"/metadata/reports/: the server answers 404"):
            folder_of(robots.ws, f"{address}/metadata")
    with pytest.raises(VortexError, match="does not answer"):
        folder_of(robots.ws, address)


def documented_site() -> str:
    """The configuration of nginx in the docs, for a test's address and folder."""
    _, begin, rest = PAGE.read_text().partition("    map $request_method")
    site = (begin + rest).partition("\n    }\n\n")[0] + "\n    }\n"
    assert site.count("/srv/vortex") == 2 and "listen 8080;" in site
    return site.replace("/srv/vortex", "ROOT").replace("listen 8080;", "listen 127.0.0.1:PORT;")
