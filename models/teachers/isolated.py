"""A model in a process and an environment of its own: asked over pipes, watched by a clock, started again when it dies."""

from __future__ import annotations

import json
import math
import os
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from models.teachers.contract import TeacherError

VERSION: Final = 1
LONGEST_HEADER: Final = 1 << 16
MOST_PIXELS: Final = 1 << 28
LAST_LINES: Final = 20


class Isolated:
    """Questions and answers with one worker process (models/teachers/da3_process/worker.py states the protocol).

    The process starts with the first question. When it crashes, stays silent longer than `answer_seconds` or breaks the protocol, that
    question fails with its last words, and the next one starts it again; after `restarts` restarts in a row without one answer between
    them it is not started any more.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        start_seconds: float,
        answer_seconds: float,
        restarts: int,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.start_seconds = start_seconds
        self.answer_seconds = answer_seconds
        self.restarts = restarts
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._words: deque[str] = deque(maxlen=LAST_LINES)
        self._listener: threading.Thread | None = None
        self._number = 0
        self._failures = 0

    @property
    def pid(self) -> int | None:
        """The process's number while it runs."""
        return self._process.pid if self._process else None

    def ask(self, what: str, header: Mapping[str, object], payload: bytes) -> tuple[tuple[int, ...], bytes]:
        """Send one question and wait for its answer: the shape of a float32 array and its bytes. `what` names it in errors.

        Raises TeacherError when the process reports an error (it goes on), or dies, hangs or talks nonsense (it is ended).
        """
        with self._lock:
            if self._process is None:
                self._start(what)
            self._number += 1
            message = json.dumps({"v": VERSION, "id": self._number, **header}).encode() + b"\n" + payload
            reply, data = self._exchange(what, message, self.answer_seconds, self._number)
            self._failures = 0
        if "error" in reply:
            raise TeacherError(f"teacher {self.name}, {what}: {reply['error']}")
        return tuple(reply["shape"]), data

    def close(self) -> None:
        """End the process: first by ending its input, then, if it does not go, by force."""
        with self._lock:
            process, self._process = self._process, None
            if process is None:
                return
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]  # made with pipes
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
            self._bury(process)

    def _start(self, what: str) -> None:
        if self._failures > self.restarts:
            raise TeacherError(
                f"teacher {self.name}: its process failed {self._failures} times in a row and is not started again",
                "the first failures say why; mend that and run the command again",
            )
        self._words.clear()
        try:
            self._process = subprocess.Popen(
                [*self.command, "--parent", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **self.environment},
                start_new_session=True,  # Ctrl-C is the parent's to handle
            )
        except OSError as error:
            raise TeacherError(f"teacher {self.name}: {self.command[0]} cannot be started ({error.strerror})") from error
        self._listener = threading.Thread(target=self._listen, args=(self._process,), daemon=True)
        self._listener.start()
        reply, _ = self._exchange(what, b"", self.start_seconds, None)
        if "error" in reply:
            raise self._ended(what, f"could not load its model: {reply['error']}")

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        # Read all the time: a full pipe would stop the process in the middle of a log line.
        assert process.stderr is not None
        for line in process.stderr:
            self._words.append(line.decode(errors="replace").rstrip())

    def _exchange(self, what: str, message: bytes, seconds: float, number: int | None) -> tuple[dict[str, Any], bytes]:
        """Write a message, read a message; past `seconds` the process is killed, which ends both."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        clock = threading.Timer(seconds, give_up)
        clock.daemon = True
        clock.start()
        try:
            process.stdin.write(message)
            process.stdin.flush()
            reply = _header(process.stdout.readline(LONGEST_HEADER), number)
            size = 4 * math.prod(reply.get("shape", [0]))
            data = process.stdout.read(size)
            if len(data) != size:
                raise EOFError
        except (OSError, EOFError) as error:
            silent = f"gave no answer in {seconds:g} s" if late.is_set() else ""
            raise self._ended(what, silent) from error
        except ValueError as error:
            raise self._ended(what, f"broke the protocol: {error}") from error
        finally:
            clock.cancel()
        return reply, data

    def _ended(self, what: str, reason: str) -> TeacherError:
        """End the process for good and make the error that tells of it."""
        process, self._process = self._process, None
        assert process is not None
        self._failures += 1
        if reason:
            process.kill()
        code = self._bury(process)
        if not reason:
            reason = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        words = tuple(self._words)
        last = f"; its last line: {words[-1]}" if words else ""
        return TeacherError(f"teacher {self.name}, {what}: its process {reason}{last}", "", words)

    def _bury(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end, hear the last words, close the pipes. Returns the exit code."""
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if self._listener is not None:
            self._listener.join(2)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        return code


def _header(line: bytes, number: int | None) -> dict[str, Any]:
    """Parse the line before the bytes. Raises EOFError when the process has gone, ValueError for what is no answer to `number`."""
    if not line:
        raise EOFError
    reply = json.loads(line)
    if not isinstance(reply, dict) or reply.get("v") != VERSION:
        raise ValueError(f"{line[:60]!r} is not a message of version {VERSION}")
    if "error" in reply:
        reply.pop("shape", None)
        return reply
    if number is None:
        if reply.get("ready") is not True:
            raise ValueError("it did not say that it is ready")
        reply.pop("shape", None)
        return reply
    shape = reply.get("shape")
    if not isinstance(shape, list) or len(shape) != 2 or not all(isinstance(side, int) and side > 0 for side in shape):
        raise ValueError(f"shape {shape!r} is not [h, w]")
    if math.prod(shape) > MOST_PIXELS or reply.get("id") != number:
        raise ValueError(f"answer {reply.get('id')!r} of shape {shape} to question {number}")
    return reply
