"""The two ways in which a hook is told: an HTTP POST with MLflow's headers, and a command with the event on its standard input.

A receiver answers in one of three ways. It took the event; it refuses this event for what it says; or it failed, and is tried again.
Neither way takes longer than the hook's time limit, whatever the receiver does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from core.errors import VortexError
from core.printable import clean
from core.secret import SecretUrl, remember
from pipelines.workspace import Workspace, server_of

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

SIGNATURE: Final = "X-MLflow-Signature"
TIMESTAMP: Final = "X-MLflow-Timestamp"
DELIVERY_ID: Final = "X-MLflow-Delivery-Id"
"""Names and contents as MLflow 3.17.2 has them (its `mlflow/webhooks`), so that what verifies its webhooks verifies ours."""

REFUSALS: Final = (400, 409, 413, 415, 422)
"""Statuses that speak of the event. Every other one from 300 on speaks of the hook (401, 404, a redirect) or of the moment (429, 503)."""
REFUSED_EXIT: Final = 65
"""EX_DATAERR of sysexits.h: how a command refuses an event."""
ANSWER_BYTES: Final = 2000
ANSWER_LETTERS: Final = 300
LAST_WORDS_S: Final = 0.2


@dataclass(frozen=True)
class Message:
    """What is sent: the id of the delivery, which is the same however often it is tried, and the event as JSON."""

    id: str
    payload: str


@dataclass(frozen=True)
class Answer:
    """What came of it. `wait_s` is how long the receiver asks to be left alone."""

    outcome: Literal["delivered", "refused", "failed"]
    text: str
    wait_s: float = 0.0


@dataclass(frozen=True)
class Receiver:
    """A hook, ready to be told: what its variables hold is known."""

    name: str
    timeout: float
    url: SecretUrl | None
    secret: str | None
    command: tuple[str, ...]
    root: Path

    @classmethod
    def of(cls, ws: Workspace, name: str) -> Receiver:
        """The hook of this name. Raises VortexError where a variable that it needs is not set here: nothing is sent unsigned instead."""
        hook = ws.config.hooks[name]
        secret = None
        if hook.secret_env is not None:
            secret = os.environ.get(hook.secret_env, "")
            if not secret:
                raise VortexError(f"its secret ${hook.secret_env} is not set here", f"export {hook.secret_env}=…")
            remember(secret)
        url = ws.hook_url(name) if hook.url is not None else None
        return cls(name, hook.timeout, url, secret, hook.command or (), ws.root)

    def send(self, message: Message) -> Answer:
        """Tell it, and wait for its answer."""
        if self.url is not None:
            return post(self.url, message, self.secret, self.timeout)
        return run(self.command, message, self.root, self.name, self.timeout)


def place(ws: Workspace, name: str) -> str:
    """Where a hook leads, as a person is shown it: of a URL the server alone."""
    hook = ws.config.hooks[name]
    return " ".join(hook.command) if hook.command is not None else server_of(hook.url or "")


def headers(message: Message, secret: str | None, now: int) -> dict[str, str]:
    """The headers of a post at Unix time `now`. The signature is over "id.timestamp.payload", HMAC-SHA256 in Base64."""
    sent = {"Content-Type": "application/json", "User-Agent": "vortex", DELIVERY_ID: message.id, TIMESTAMP: str(now)}
    if secret:
        signed = hmac.new(secret.encode(), f"{message.id}.{now}.{message.payload}".encode(), hashlib.sha256).digest()
        sent[SIGNATURE] = f"v1,{base64.b64encode(signed).decode()}"
    return sent


def post(url: SecretUrl, message: Message, secret: str | None, timeout: float) -> Answer:
    """POST a message. No redirect is followed and no proxy asked: what was signed for one server goes to no other."""
    import http.client  # a listing loads this module too, and sends nothing

    parts = urlsplit(url.reveal())
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # The connection's own limit is for each single wait, and a receiver can answer letter by letter.
    late = threading.Event()
    timer = threading.Timer(timeout, _cut, (connection, late))
    timer.daemon = True
    timer.start()
    try:
        connection.request("POST", target, message.payload.encode(), headers(message, secret, int(time.time())))
        response = connection.getresponse()
        if late.is_set():  # what was cut off here reads like an answer without the rest of its headers
            raise TimeoutError
        status, reason = response.status, response.reason
        if 200 <= status < 300:
            return Answer("delivered", f"{status} {_line(reason)}".strip())
        words = f"{status} {_line(reason)}".strip() + _tail(_body(response))
        if status in REFUSALS:
            return Answer("refused", words)
        return Answer(
            "failed", words + (" (redirects are not followed)" if status < 400 else ""), _seconds(response.getheader("Retry-After"))
        )
    except (OSError, http.client.HTTPException) as error:
        if late.is_set() or isinstance(error, TimeoutError):
            return Answer("failed", f"no answer within {timeout:g} s")
        return Answer("failed", _line(f"{getattr(error, 'strerror', None) or error or type(error).__name__}"))
    finally:
        timer.cancel()
        connection.close()


def run(command: Sequence[str], message: Message, root: Path, name: str, timeout: float) -> Answer:
    """Run a command in the workspace with a message on its standard input; of what it prints the end is kept.

    What it leaves running behind it goes on; at the time limit it ends with all that it started.
    """
    import subprocess
    import tempfile

    variables = {"VORTEX_HOOK": name, "VORTEX_DELIVERY_ID": message.id}
    # A file: a command need not read what it is given.
    with tempfile.TemporaryFile() as document:
        document.write(message.payload.encode())
        document.seek(0)
        try:
            process = subprocess.Popen(
                command,
                cwd=root,
                stdin=document,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **variables},
            )
        except (OSError, ValueError) as error:
            return Answer("failed", _line(f"{command[0]}: {getattr(error, 'strerror', None) or error}"))
    assert process.stdout is not None
    printed = bytearray()
    reader = threading.Thread(target=_keep_end, args=(process.stdout, printed), daemon=True)
    reader.start()
    try:
        code = process.wait(timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        code = None
    reader.join(LAST_WORDS_S)  # what it left running may hold on to its output
    words = _tail(bytes(printed))
    if code is None:
        return Answer("failed", f"not done within {timeout:g} s{words}")
    if code == 0:
        return Answer("delivered", f"exit 0{words}")
    return Answer("refused" if code == REFUSED_EXIT else "failed", f"{f'signal {-code}' if code < 0 else f'exit {code}'}{words}")


def _keep_end(stream: IO[bytes], printed: bytearray) -> None:
    """Read a stream to its end, and keep the last bytes of it."""
    while chunk := os.read(stream.fileno(), 1 << 16):
        printed += chunk
        del printed[:-ANSWER_BYTES]


def _cut(connection: HTTPConnection, late: threading.Event) -> None:
    """End whatever the connection waits for."""
    import socket

    late.set()
    if connection.sock is not None:
        with suppress(OSError):
            socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)


def _body(response: HTTPResponse) -> bytes:
    """The beginning of what a receiver says; its status has said what matters."""
    from http.client import HTTPException

    try:
        return response.read(ANSWER_BYTES)
    except (OSError, HTTPException):
        return b""


def _tail(text: bytes) -> str:
    line = _line(text.decode("utf-8", "replace"))
    return f": {line}" if line else ""


def _line(text: str) -> str:
    """What a receiver says, as one printable line without secrets."""
    line = clean(" ".join(text.split()))
    return line if len(line) <= ANSWER_LETTERS else f"{line[:ANSWER_LETTERS]}…"


def _seconds(text: str | None) -> float:
    """`Retry-After` in seconds; 0 where it says nothing that is understood."""
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else 0.0
