"""Children of the agent as forks of this process, which need not start Python anew each time: same code, same end."""

from __future__ import annotations

import faulthandler
import importlib
import os
import subprocess


def run(command: list[str], seconds: float) -> subprocess.CompletedProcess[bytes]:
    """In place of `vortex_jetson.child.run`."""
    _, _, module, *arguments = command
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            faulthandler.disable()
            os.close(reader)
            with os.fdopen(writer, "wb") as stream:
                stream.write(importlib.import_module(module).main(*arguments).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), answer, b"")
