"""`python -m MODULE` as forks of one process that has imported what takes seconds: the same code, and the same end.

For tests of what a module does. How long it takes to start, and what it imports for that, is not seen in this way.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Preloaded:
    """Runs modules, one at a time, below `folder`, where what they say is kept."""

    def __init__(self, imports: tuple[str, ...], folder: Path) -> None:
        command = [sys.executable, "-m", "tests.preloaded", *imports]
        self._folder, self._runs = folder, 0
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, module: str, *words: str, timeout: int) -> subprocess.CompletedProcess[str]:
        """Run a module with these words; the return code is -9 where it took more than `timeout` seconds."""
        assert self._process.stdin and self._process.stdout
        self._runs += 1
        said = [self._folder / f"{self._runs}.{stream}" for stream in ("stdout", "stderr")]
        print(json.dumps([self._runs, module, words, *map(str, said), timeout]), file=self._process.stdin, flush=True)
        number = 0
        while number < self._runs:  # a test that was interrupted did not wait for its answer
            number, code = map(int, self._process.stdout.readline().split())
        return subprocess.CompletedProcess([module, *words], code, *(path.read_text() for path in said))

    def __enter__(self) -> Preloaded:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def _main() -> None:
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        number, module, words, stdout, stderr, timeout = json.loads(line)
        child = os.fork()
        if not child:
            os.setsid()
            for descriptor, (path, flags) in enumerate(((os.devnull, os.O_RDONLY), (stdout, _WRITTEN), (stderr, _WRITTEN))):
                os.dup2(os.open(path, flags), descriptor)
            sys.argv[1:] = words
            # Its end is that of this process: what it raises, its exit status, its atexit.
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            return
        signal.signal(signal.SIGALRM, lambda *_, group=child: os.killpg(group, signal.SIGKILL))
        signal.alarm(timeout)
        status = os.waitpid(child, 0)[1]
        signal.alarm(0)
        print(number, os.waitstatus_to_exitcode(status), flush=True)


_WRITTEN = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

if __name__ == "__main__":
    _main()
