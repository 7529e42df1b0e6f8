"""A receiver of hooks on loopback: it keeps what it got, and answers as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """`answer` gets the number of the event and returns a status; a body, headers and pauses are for all answers."""

    answer: Callable[[int], int] = lambda seq: 204
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    dribble_s: float = 0.0
    posts: list[tuple[str, Message, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def events(self) -> list[int]:
        """The numbers of the events that it got, in the order in which they came."""
        return [json.loads(text)["data"].get("seq", 0) for _, _, text in self.posts]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver at work."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            receiver.posts.append((self.path, self.headers, text))
            status = receiver.answer(receiver.events[-1])
            if receiver.dribble_s:  # a header that never ends: each letter comes in time, the answer does not
                self.connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                for _ in range(200):
                    self.connection.sendall(b"x")
                    time.sleep(receiver.dribble_s)
                return
            self.send_response(status)
            for name, value in receiver.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(receiver.body) if status != 204 else 0))
            self.end_headers()
            if status != 204:
                self.wfile.write(receiver.body)

        def log_message(self, *_: Any) -> None:
            """Nothing: a test's output is its own."""

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:  # the sender is gone, which is what many tests are about
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield receiver
    server.shutdown()
    server.server_close()
