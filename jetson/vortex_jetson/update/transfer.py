"""Moving bytes, from a web server or a folder, without believing any of them: a file counts once its digest fits.

A file is fetched beside its place and goes on where it was cut off. Each attempt has a budget of bytes, so that no server costs a device more
than the file's size and a tenth; an answer of 4xx ends it, while 5xx and silence are asked again, later each time.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar
from urllib.parse import urlsplit

import urllib3

from vortex_jetson.errors import TransferFailed, Untrusted, UsageError
from vortex_jetson.files import flush, write_all, writing
from vortex_jetson.limits import LIMITS, Limits
from vortex_jetson.update import connections
from vortex_jetson.update.connections import Watch

if TYPE_CHECKING:
    from hashlib import _Hash

T = TypeVar("T")
PARTIAL: Final = ".partial"
_AGAIN_LATER: Final = (408, 425, 429)
"""Answers of 4xx that speak of the moment and not of the request."""


class Answer(Protocol):
    """The bytes of a file from `start` on, as they come."""

    @property
    def start(self) -> int:
        """Where they begin: 0 where the server knows no ranges."""

    def chunks(self, most: int) -> Iterator[bytes]:
        """At most so many bytes, however many there are. Raises TransferFailed where they stop coming."""


class Source(Protocol):
    """Where a publishing folder is read from."""

    def open(self, path: str, start: int = 0) -> Answer:
        """Ask for a file below the folder, from a byte on. Raises TransferFailed; `NotThere` where there is none."""


class NotThere(TransferFailed):
    """The source has no such file."""


def source_of(url: str, limits: Limits = LIMITS) -> Source:
    """A web server for http and https, else a folder. Raises UsageError as `is_web`."""
    return WebSource(url.rstrip("/"), limits) if is_web(url) else FolderSource(Path(url), limits)


def is_web(address: str) -> bool:
    """Whether an address is a web server's, else it is a folder.

    Raises UsageError for another scheme, and for more than a host and a folder: addresses are shown, and nothing secret is needed here. So
    the error does not quote it.
    """
    try:
        parts = urlsplit(address)
        host, surplus = parts.hostname, parts.username is not None or parts.query or parts.fragment
    except ValueError:  # a bracket that does not close
        host, surplus = None, True
    if address.lower().startswith(("http:", "https:")):
        if not host or surplus:
            raise UsageError(
                "the address has no host, or a password, a ? or a # in it", "write https://HOST/FOLDER; nothing secret is needed to read it"
            )
        return True
    if "://" in address:
        raise UsageError(f"the address is of the kind {address.split('://')[0]:.20}, allowed: http, https or a folder", "name such a place")
    return False


class WebSource:
    """A publishing folder behind any web server."""

    def __init__(self, url: str, limits: Limits = LIMITS) -> None:
        self.url, self.limits = url, limits
        self.pool = connections.pool(limits)

    def open(self, path: str, start: int = 0) -> Answer:
        """See `Source`. Redirections are not followed: the address that was given is the one that is asked."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "vortex-jetson"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            response = self.pool.request(
                "GET", f"{self.url}/{path}", headers=headers, preload_content=False, redirect=False, decode_content=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransferFailed(f"{self.url}: does not answer ({_why(error)})", "check the network and the server") from error
        encoding = response.headers.get("Content-Encoding", "identity")
        if response.status in (200, 206) and encoding != "identity":
            response.close()
            raise TransferFailed(
                f"{self.url}/{path}: comes encoded as {encoding:.20}, and was asked for as it is",
                "have the server, and any proxy before it, send files as they are",
                final=True,
            )
        if response.status == 206:
            begins = re.match(r"bytes (\d{1,15})-", response.headers.get("Content-Range", ""))
            if begins and int(begins[1]) == start:
                return _WebAnswer(self.url, response, connections.socket_of(response), start, self.limits)
        if response.status == 200:
            return _WebAnswer(self.url, response, connections.socket_of(response), 0, self.limits)
        response.close()
        if response.status == 416 or response.status == 206:
            raise _WrongRange(f"{self.url}/{path}: cannot go on from byte {start:,}", "it is fetched from its start")
        message = f"{self.url}/{path}: the server answers {response.status}"
        if response.status in (404, 410):
            raise NotThere(message, "check the address in device.toml, and whether the publishing folder is served whole", final=True)
        final = response.status < 500 and response.status not in _AGAIN_LATER
        raise TransferFailed(message, "check the address in device.toml" if final else "it is asked again later", final=final)


class _WrongRange(TransferFailed):
    """The server does not have the bytes from there on."""


@dataclass
class _WebAnswer:
    url: str
    response: urllib3.BaseHTTPResponse
    connection: socket.socket
    """By which it comes."""
    start: int
    limits: Limits

    def chunks(self, most: int) -> Iterator[bytes]:
        begun, count = time.monotonic(), 0
        try:
            with Watch(self.connection, self.limits.read_s) as watch:
                while count < most:
                    watch.begin()
                    chunk = self.response.read1(min(self.limits.chunk_bytes, most - count))
                    if watch.late:
                        raise TimeoutError(f"nothing of the file for {self.limits.read_s:g} s")
                    watch.rest()  # whoever takes the bytes may take their time
                    if not chunk:
                        return
                    count += len(chunk)
                    yield chunk
                    elapsed = time.monotonic() - begun
                    if elapsed > self.limits.slow_after_s and count < self.limits.slowest_bytes_per_s * elapsed:
                        raise TransferFailed(
                            f"{self.url}: sends {count / elapsed:.0f} bytes/s, allowed: {self.limits.slowest_bytes_per_s:g} and more",
                            "it is asked again later",
                        )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransferFailed(f"{self.url}: stopped in the middle of an answer ({_why(error)})", "it goes on from there") from error
        finally:
            self.response.close()


def _why(error: Exception) -> str:
    """An error of the network in a few words, without addresses of objects."""
    text = re.sub(r"<[^>]*>:? ?|^\w*(Connection|Pool)\([^)]*\): |\(?Caused by.*", "", str(error)) or type(error).__name__
    return text.strip("()', ")[:120]


class FolderSource:
    """A publishing folder on a disk, as a USB stick."""

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        self.folder, self.limits = folder, limits

    def open(self, path: str, start: int = 0) -> Answer:
        """See `Source`. Links, pipes and devices are not followed."""
        if not self.folder.is_dir():
            raise TransferFailed(f"{self.folder}: is no folder", "name the publishing folder, which holds metadata/ and files/", final=True)
        try:
            descriptor = os.open(self.folder / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise NotThere(f"{self.folder / path}: is not there", "copy the publishing folder whole", final=True) from error
        except OSError as error:
            raise TransferFailed(f"{self.folder / path}: cannot be read ({error.strerror})", "check the disk", final=True) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise TransferFailed(f"{self.folder / path}: is no plain file", "copy the publishing folder whole", final=True)
        return _FolderAnswer(self.folder / path, descriptor, start, self.limits)


@dataclass
class _FolderAnswer:
    path: Path
    descriptor: int
    start: int
    limits: Limits

    def chunks(self, most: int) -> Iterator[bytes]:
        try:
            with os.fdopen(self.descriptor, "rb") as stream:
                stream.seek(self.start)
                while most > 0 and (chunk := stream.read(min(self.limits.chunk_bytes, most))):
                    most -= len(chunk)
                    yield chunk
        except OSError as error:
            raise TransferFailed(f"{self.path}: cannot be read ({error.strerror})", "check the disk", final=True) from error


@dataclass
class Transfer:
    """Fetches files of one source."""

    source: Source
    limits: Limits = LIMITS
    pause: Callable[[float], None] = time.sleep
    received: int = field(default=0, init=False)
    """Bytes that came, of all files."""

    def small(self, path: str, largest: int) -> bytes:
        """A small file, or the first `largest` + 1 bytes of a larger one. Raises TransferFailed."""

        def attempt() -> bytes:
            content = b"".join(self.source.open(path).chunks(largest + 1))
            self.received += len(content)
            return content

        return self._patiently(attempt)

    def known(self, path: str, sha256: str, size: int) -> bytes:
        """A small file whose digest is known. Raises Untrusted where other bytes come, and TransferFailed."""
        content = self.small(path, size)
        if len(content) < size:
            raise TransferFailed(f"{path}: ended after {len(content):,} of {size:,} bytes", "it is asked again later")
        if len(content) != size or hashlib.sha256(content).hexdigest() != sha256:
            raise _other_bytes(path, sha256)
        return content

    def file(self, path: str, sha256: str, size: int, place: Path) -> None:
        """Fetch a file to `place`, unless it is there already.

        Raises Untrusted where other bytes come, TransferFailed where they do not come, DiskFull, and RobotError for other faults of the disk.
        """
        if place.is_file() and not place.is_symlink() and digest_of(place) == (sha256, size):
            return
        budget = _Budget(int(size * (1 + self.limits.surplus)))
        with _opened(place.with_name(place.name + PARTIAL)) as partial:
            self._patiently(lambda: self._attempt(path, sha256, size, partial, budget))
            with writing(place):
                os.fchmod(partial.descriptor, 0o444)
                os.fsync(partial.descriptor)
                os.replace(partial.path, place)
                flush(place.parent)

    def _attempt(self, path: str, sha256: str, size: int, partial: _Partial, budget: _Budget) -> None:
        """Add to a partial file until it has its size and its digest."""
        hashed, start = partial.read(size)
        begun = start
        if start < size:
            try:
                answer = self.source.open(path, start)
            except _WrongRange:
                answer = self.source.open(path)
            if answer.start != start:
                hashed, start, begun = hashlib.sha256(), 0, 0
                partial.cut()
            for chunk in answer.chunks(min(size - start, budget.left) + 1):
                self.received += len(chunk)
                budget.left -= len(chunk)
                start += len(chunk)
                if start > size:
                    partial.cut()
                    raise Untrusted(f"{path}: more than its {size:,} bytes come", "another file is served in its place; tell who publishes")
                hashed.update(chunk)
                partial.add(chunk)
            if start < size and budget.left < 0:
                raise TransferFailed(f"{path}: took a tenth more bytes than it has, and is not there", "the next pull goes on", final=True)
        if start < size:
            raise TransferFailed(f"{path}: ended after {start:,} of {size:,} bytes", "it goes on from there")
        if hashed.hexdigest() != sha256:
            partial.cut()
            if begun == 0:
                raise _other_bytes(path, sha256)
            raise TransferFailed(f"{path}: what was there of it is of another file", "it is fetched from its start")

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Try until it works, longer and longer apart. Raises what the last try raised, or a final one."""
        wait = self.limits.back_off_s
        for left in reversed(range(self.limits.attempts)):
            try:
                return attempt()
            except TransferFailed as error:
                if error.final or not left:
                    raise
            # Half of it by chance, so that a fleet does not come back as one.
            self.pause(wait * (0.5 + random.random() / 2))
            wait = min(2 * wait, self.limits.back_off_longest_s)
        raise AssertionError("the last try returns or raises")


@dataclass
class _Budget:
    """Bytes that an attempt may still take."""

    left: int


@dataclass
class _Partial:
    """A file that is on its way."""

    path: Path
    descriptor: int

    def read(self, size: int) -> tuple[_Hash, int]:
        """The digest so far, and how many bytes are there; more than the file has are none of it."""
        hashed, count = hashlib.sha256(), 0
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        while chunk := os.read(self.descriptor, LIMITS.chunk_bytes):
            hashed.update(chunk)
            count += len(chunk)
        if count > size:
            self.cut()
            return hashlib.sha256(), 0
        return hashed, count

    def add(self, chunk: bytes) -> None:
        """Raises DiskFull, and RobotError for another fault of the disk."""
        with writing(self.path):
            write_all(self.descriptor, chunk)

    def cut(self) -> None:
        """Begin anew."""
        with writing(self.path):
            os.ftruncate(self.descriptor, 0)
            os.lseek(self.descriptor, 0, os.SEEK_SET)


@contextmanager
def _opened(path: Path) -> Iterator[_Partial]:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        yield _Partial(path, descriptor)
    finally:
        os.close(descriptor)


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of a file."""
    hashed, count = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        while chunk := stream.read(LIMITS.chunk_bytes):
            hashed.update(chunk)
            count += len(chunk)
    return hashed.hexdigest(), count


def _other_bytes(path: str, sha256: str) -> Untrusted:
    return Untrusted(
        f"{path}: the bytes that come are not those of {sha256[:12]}…", "they were changed on the way or at the server; tell who publishes"
    )
