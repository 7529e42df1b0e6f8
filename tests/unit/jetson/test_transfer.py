"""Bytes over a real nginx and from a folder: ranges, cuts, 404 and 503, slow and endless answers, within a budget."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from vortex_jetson.errors import DiskFull, RobotError, TransferFailed, Untrusted, UsageError
from vortex_jetson.update import agent, outbox
from vortex_jetson.update.device import Device
from vortex_jetson.update.transfer import PARTIAL, FolderSource, NotThere, Transfer, WebSource, source_of

from tests.unit.jetson.conftest import HASTY
from tests.unit.jetson.publisher import Publisher
from tests.unit.jetson.servers import DRIPS, NGINX, Told, serving

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()

needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is absent: apt-get install nginx-light")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Told]]:
    folder = tmp_path_factory.mktemp("web")
    (folder / "root").mkdir()
    (folder / "root/file").write_bytes(CONTENT)
    (folder / "root/larger").write_bytes(CONTENT + b"x")
    with serving(folder / "root", folder / "nginx") as (address, told):
        yield address, told


class Fetch:
    """One attempt at the file, by its own transfer: how long it paused, and what came."""

    def __init__(self, address: str, place: Path, path: str = "file") -> None:
        self.pauses: list[float] = []
        self.transfer = Transfer(WebSource(address, HASTY), HASTY, self.pauses.append)
        self.path, self.place = path, place

    def run(self) -> int:
        """Bytes that came."""
        self.transfer.file(self.path, DIGEST, len(CONTENT), self.place)
        return self.transfer.received

    def fails(self, kind: type[RobotError], words: str | None = None) -> RobotError:
        with pytest.raises(kind, match=words) as error:
            self.run()
        assert self.transfer.received <= 1.1 * len(CONTENT) + 1
        assert not self.place.exists()
        return error.value


@needs_nginx
@pytest.mark.parametrize("way", ["", "/slow", "/rangeless"])
def test_a_file_comes_whole(way: str, web: tuple[str, Told], tmp_path: Path) -> None:
    place = tmp_path / "files/ab/file"
    assert Fetch(web[0] + way, place).run() == len(CONTENT)
    assert place.read_bytes() == CONTENT and [path.name for path in place.parent.iterdir()] == ["file"]
    assert Fetch(web[0] + way, place).run() == 0, "what is there is not fetched again"


@needs_nginx
@pytest.mark.parametrize(("way", "bytes_"), [("", 100_000), ("/rangeless", 300_000)])
def test_it_goes_on_where_it_was_cut_off(way: str, bytes_: int, web: tuple[str, Told], tmp_path: Path) -> None:
    (tmp_path / f"file{PARTIAL}").write_bytes(CONTENT[:200_000])
    assert Fetch(web[0] + way, tmp_path / "file").run() == bytes_
    assert (tmp_path / "file").read_bytes() == CONTENT


@needs_nginx
@pytest.mark.parametrize("partial", [CONTENT, CONTENT + b"more", b"", b"wrong" + CONTENT[5:], b"wrong" + CONTENT[5:29_000]])
def test_whatever_lies_there_of_it_the_file_becomes_right(partial: bytes, web: tuple[str, Told], tmp_path: Path) -> None:
    (tmp_path / f"file{PARTIAL}").write_bytes(partial)
    first = Fetch(web[0], tmp_path / "file")
    try:
        first.run()
    except TransferFailed:  # its budget went to what was wrong
        Fetch(web[0], tmp_path / "file").run()
    assert first.transfer.received <= 1.1 * len(CONTENT) + 1
    assert (tmp_path / "file").read_bytes() == CONTENT


@needs_nginx
def test_503_and_cuts_are_asked_again_and_the_bytes_stay_within_the_budget(web: tuple[str, Told], tmp_path: Path) -> None:
    web[1].orders, web[1].asked[:] = ["503", "half", "503", "half", "whole"], []
    fetch = Fetch(web[0] + "/told", tmp_path / "file")
    assert fetch.run() == len(CONTENT)
    assert web[1].asked == ["503", "half", "503 bytes=150000-", "half bytes=150000-", "whole bytes=225000-"]
    assert [0.5 * step <= pause <= step for pause, step in zip(fetch.pauses, (0.01, 0.02, 0.02, 0.02), strict=True)] == [True] * 4


@needs_nginx
@pytest.mark.parametrize(
    ("way", "tries", "words"),
    [
        ("/none", 1, "answers 404"),
        ("/down", 5, "answers 503"),
        ("/moved", 1, "answers 301"),
        ("/silent", 5, "does not answer"),
    ],
)
def test_4xx_ends_it_and_the_rest_is_tried_so_often(way: str, tries: int, words: str, web: tuple[str, Told], tmp_path: Path) -> None:
    fetch = Fetch(web[0] + way, tmp_path / "file")
    fetch.fails(TransferFailed, words)
    assert len(fetch.pauses) == tries - 1


@needs_nginx
@pytest.mark.parametrize(
    ("read_s", "words"), [(2.0, "sends [0-9]+ bytes/s, allowed: 10000 and more"), (0.2, "stopped in the middle of an answer")]
)
def test_a_server_that_crawls_or_falls_silent_is_left(read_s: float, words: str, web: tuple[str, Told], tmp_path: Path) -> None:
    limits = replace(HASTY, read_s=read_s, slow_after_s=0.3, slowest_bytes_per_s=10_000.0, attempts=1)
    with pytest.raises(TransferFailed, match=words) as error:
        Transfer(WebSource(web[0] + "/crawl", limits), limits).file("file", DIGEST, len(CONTENT), tmp_path / "file")
    assert not error.value.final


def direct(told: Told) -> str:
    """The address of a server without nginx before it, which would not pass on what is no answer."""
    return f"http://127.0.0.1:{told.server_address[1]}"


@needs_nginx
@pytest.mark.parametrize("drip", DRIPS)
def test_a_server_that_keeps_reads_alive_without_a_byte_of_the_file_is_left(drip: str, web: tuple[str, Told], tmp_path: Path) -> None:
    web[1].orders = [drip]
    limits, started = replace(HASTY, attempts=1), time.monotonic()
    with pytest.raises(TransferFailed, match=r"does not answer|stopped in the middle of an answer") as error:
        Transfer(WebSource(direct(web[1]), limits), limits).file("file", DIGEST, len(CONTENT), tmp_path / "file")
    assert not error.value.final and time.monotonic() - started < 5, "the server goes on for ten seconds"


@needs_nginx
def test_a_place_for_reports_that_never_ends_its_answer_is_left(device: Device, web: tuple[str, Told]) -> None:
    outbox.add(device, "committed", "v8 runs", "v8", "0" * 64)
    web[1].orders, started = ["headers"], time.monotonic()
    with pytest.raises(TransferFailed, match="reports wait"):
        outbox.send(device, direct(web[1]))
    assert time.monotonic() - started < 5 and len(outbox.waiting(device)) == 1


@needs_nginx
def test_whoever_takes_the_bytes_may_take_their_time(web: tuple[str, Told]) -> None:
    limits = replace(HASTY, read_s=0.3, chunk_bytes=200_000)
    sizes = []
    for chunk in WebSource(web[0], limits).open("file").chunks(len(CONTENT)):
        time.sleep(0.5 if not sizes else 0)
        sizes.append(len(chunk))
    assert sum(sizes) == len(CONTENT)


@needs_nginx
def test_what_a_server_makes_of_a_file_on_the_way_is_named(web: tuple[str, Told], tmp_path: Path) -> None:
    web[1].orders, web[1].asked[:] = ["gzip"], []
    Fetch(web[0] + "/told", tmp_path / "file").fails(TransferFailed, "comes encoded as gzip, and was asked for as it is")
    assert web[1].asked == ["gzip"]


@needs_nginx
def test_a_part_that_is_the_whole_is_taken_though_nobody_asked_for_a_part(web: tuple[str, Told], tmp_path: Path) -> None:
    web[1].orders = ["partial"]
    assert Fetch(web[0] + "/told", tmp_path / "file").run() == len(CONTENT)


@needs_nginx
@pytest.mark.parametrize("order", ["404", "403", "410"])
def test_one_answer_of_4xx_is_enough(order: str, web: tuple[str, Told], tmp_path: Path) -> None:
    web[1].orders, web[1].asked[:] = [order], []
    Fetch(web[0] + "/told", tmp_path / "file").fails(TransferFailed, f"answers {order}")
    assert web[1].asked == [order]


@needs_nginx
@pytest.mark.parametrize("order", ["other", "endless"])
def test_other_bytes_and_endless_ones_are_refused_within_the_budget(order: str, web: tuple[str, Told], tmp_path: Path) -> None:
    web[1].orders = [order]
    Fetch(web[0] + "/told", tmp_path / "file").fails(Untrusted)
    assert (tmp_path / f"file{PARTIAL}").read_bytes() == b""


@needs_nginx
def test_a_server_that_always_cuts_costs_no_more_than_the_file(web: tuple[str, Told], tmp_path: Path) -> None:
    web[1].orders = ["half"]
    Fetch(web[0] + "/told", tmp_path / "file").fails(TransferFailed)


@needs_nginx
def test_a_longer_file_under_the_name_is_refused(web: tuple[str, Told], tmp_path: Path) -> None:
    Fetch(web[0], tmp_path / "file", "larger").fails(Untrusted, "more than its 300,000 bytes")


@needs_nginx
def test_a_device_pulls_over_nginx_and_its_reports_wait_for_the_server(device: Device, publisher: Publisher, tmp_path: Path) -> None:
    publisher.publish(publisher.bundle("v8"))
    with serving(publisher.folder, tmp_path / "nginx") as (address, told):
        over_web = replace(device, settings=replace(device.settings, url=address))
        told.orders = ["503", "422", "204"]
        pulled = agent.pull(over_web)
        assert pulled.outcome == "committed" and "the server answers 503; reports wait" in pulled.warnings[0]
        assert outbox.send(over_web) == 1, "what the server will never take is struck off"
        agent.pull(over_web)
        told.orders = ["whole"]
        agent.pull(over_web)
        assert len(told.delivered) == 1 and outbox.waiting(over_web) == []
    with pytest.raises(TransferFailed, match="does not answer"):
        agent.pull(over_web)
    assert outbox.waiting(over_web) == [], "a server that is away says nothing about a version"
    assert device.slots().current.version == "v8"


def test_a_folder_is_read_like_a_server_and_nothing_but_plain_files(tmp_path: Path) -> None:
    (tmp_path / "publish").mkdir()
    (tmp_path / "publish/file").write_bytes(CONTENT)
    transfer = Transfer(source_of(str(tmp_path / "publish")), HASTY)
    (tmp_path / f"got{PARTIAL}").write_bytes(CONTENT[:200_000])
    transfer.file("file", DIGEST, len(CONTENT), tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENT and transfer.received == 100_000
    os.mkfifo(tmp_path / "publish/pipe")
    (tmp_path / "publish/link").symlink_to(tmp_path / "got")
    for name in ("pipe", "link", "none"):
        with pytest.raises(TransferFailed):
            transfer.small(name, 10)
    with pytest.raises(NotThere):
        transfer.small("none", 10)
    shutil.rmtree(tmp_path / "publish")
    with pytest.raises(TransferFailed, match="is no folder"):
        transfer.small("file", 10)


def test_a_small_file_is_read_to_one_byte_more_than_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    transfer = Transfer(FolderSource(tmp_path), HASTY)
    assert transfer.small("file", 100) == CONTENT[:101]
    assert transfer.known("file", DIGEST, len(CONTENT)) == CONTENT
    with pytest.raises(Untrusted):
        transfer.known("file", DIGEST, 100)
    with pytest.raises(Untrusted):
        transfer.known("file", "0" * 64, len(CONTENT))


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "ftp://user:hunter2@host/x",
        "https://user:hunter2@host/x",
        "HTTPS://user:hunter2@host/x",
        "https://host/x?token=hunter2",
        "https://host/x#hunter2",
        "https://[hunter2/x",
        "http:///x",
        "file:///etc",
    ],
)
def test_other_addresses_are_refused_and_a_password_is_not_repeated(url: str, device: Device) -> None:
    for use in (source_of, lambda place: outbox.send(device, place)):
        with pytest.raises(UsageError) as error:
            use(url)
        assert "hunter2" not in error.value.message + error.value.hint


def test_a_full_disk_is_told_and_what_came_stays_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "publish").mkdir()
    (tmp_path / "publish/file").write_bytes(CONTENT)
    transfer = Transfer(FolderSource(tmp_path / "publish"), HASTY)
    write, left = os.write, [3]

    def full(descriptor: int, content: bytes) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        return write(descriptor, content)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(DiskFull):
        transfer.file("file", DIGEST, len(CONTENT), tmp_path / "got")
    monkeypatch.undo()
    assert (tmp_path / f"got{PARTIAL}").stat().st_size == 3 * HASTY.chunk_bytes
    transfer.file("file", DIGEST, len(CONTENT), tmp_path / "got")
    assert transfer.received < 1.4 * len(CONTENT)
