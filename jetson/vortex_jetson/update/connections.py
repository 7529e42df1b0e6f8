"""HTTP connections that end: a server that sends a byte now and then which is no file's keeps every read alive, and none ever times out.

Such bytes are those of headers, of interim answers (100), of the sizes of chunks, and of trailers. So a thread cuts the socket where an answer's
head is not there in time, or nothing of its body has come for so long.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from vortex_jetson.limits import Limits


class Watch:
    """Cuts a socket where something takes longer than `seconds`, and is `late` then: what is read after that may look like an answer, and is none.

    It begins by itself; `rest` and `begin` leave out what does not count.
    """

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self.late = False
        self._connection, self._seconds = connection, seconds
        self._end: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="watch")

    def __enter__(self) -> Watch:
        self.begin()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def begin(self) -> None:
        """From now on the time counts, from its start."""
        self._end = time.monotonic() + self._seconds

    def rest(self) -> None:
        """No time counts."""
        self._end = None

    def _watch(self) -> None:
        left = self._seconds
        while not self._over.wait(left):
            end = self._end
            left = self._seconds if end is None else end - time.monotonic()
            if left <= 0:
                self.late = True
                with suppress(OSError):
                    # Below TLS, whose own farewell would wait for the server.
                    socket.socket.shutdown(self._connection, socket.SHUT_RDWR)
                return


class _Connection(HTTPConnection):
    """The head of an answer is there within the time limit of a read."""

    answering: socket.socket
    """What the newest answer comes by; the connection itself lets go of it where that answer ends it."""

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # as urllib3's own
        assert self.sock is not None and isinstance(self.timeout, (int, float))  # something was asked, within the limits of `pool`
        self.answering = self.sock
        with Watch(self.sock, self.timeout) as watch:
            try:
                response = super().getresponse()
            except Exception as error:  # a cut socket raises errors of urllib3, of http.client and of the system
                if watch.late:
                    raise self._late() from error
                raise
        if watch.late:  # headers that were cut off read like all of them
            raise self._late()
        return response

    def _late(self) -> TimeoutError:
        return TimeoutError(f"no whole head of an answer within {self.timeout:g} s")


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def pool(limits: Limits) -> urllib3.PoolManager:
    """Connections with these time limits, which ask nothing twice."""
    manager = urllib3.PoolManager(timeout=urllib3.Timeout(connect=limits.connect_s, read=limits.read_s), retries=False)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
    return manager


def socket_of(response: urllib3.BaseHTTPResponse) -> socket.socket:
    """What an answer comes by that was asked for through `pool`, before any of its body was read."""
    assert isinstance(response, urllib3.HTTPResponse) and isinstance(response.connection, _Connection)
    return response.connection.answering
