"""`python -m MODULE` as forks of one process that has imported what takes seconds: the same code, and the same end.

For tests of what a module does. How long it takes to start, and what it imports for that, is not seen in this way.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]


DEAR = (
    *("torch", "torchvision", "timm", "onnx", "onnxscript", "albumentations", "cv2", "pandas", "scipy.stats", "dvc.repo"),
    "great_expectations",
    *("alembic.command", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"),
)
"""What Vortex and its benchmarks import of others, and takes seconds. None of ours: each module has to import what it needs."""


class Preloaded:
    """Runs modules, one at a time; what they say is kept below `folder`. `variables` are added to their environment."""

    def __init__(self, folder: Path, **variables: str) -> None:
        command = [sys.executable, "-m", "tests.preloaded"]
        self._folder, self._runs = folder, 0
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, module: str, *words: str, timeout: int, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run a module with these words in a folder; the return code is -9 where it took more than `timeout` seconds."""
        assert self._process.stdin and self._process.stdout
        self._runs += 1
        said = [self._folder / f"{self._runs}.{stream}" for stream in ("stdout", "stderr")]
        print(json.dumps([self._runs, module, words, *map(str, [*said, cwd]), timeout]), file=self._process.stdin, flush=True)
        number = 0
        while number < self._runs:  # a test that was interrupted did not wait for its answer
            number, code = map(int, self._process.stdout.readline().split())
        return subprocess.CompletedProcess([module, *words], code, *(path.read_text() for path in said))

    def __enter__(self) -> Preloaded:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def _main() -> None:
    for name in DEAR:
        importlib.import_module(name)
    gc.freeze()
    for line in sys.stdin:
        number, module, words, stdout, stderr, cwd, timeout = json.loads(line)
        child = os.fork()
        if not child:
            os.setsid()
            for descriptor, (path, flags) in enumerate(((os.devnull, os.O_RDONLY), (stdout, _WRITTEN), (stderr, _WRITTEN))):
                os.dup2(os.open(path, flags), descriptor)
            os.chdir(cwd)
            sys.argv[1:] = words
            os._exit(_run(module))
        signal.signal(signal.SIGALRM, lambda *_, group=child: os.killpg(group, signal.SIGKILL))
        signal.alarm(timeout)
        status = os.waitpid(child, 0)[1]
        signal.alarm(0)
        print(number, os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)  # the end of the interpreter takes two seconds too, and reports as leaked what was frozen


def _run(module: str) -> int:
    """Run a module to the end of its process, of which only the end of the interpreter is left out: it copies all that was imported."""
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code or 0)


_WRITTEN = os.O_WRONLY | os.O_CREAT | os.O_TRUNC

if __name__ == "__main__":
    _main()
