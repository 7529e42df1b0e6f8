"""The `vortex` command's funnel: the one place where errors end."""

from __future__ import annotations

import gc
import io
import os
import shutil
import sys
from typing import Final

from core import ending, environment, secret
from core.errors import Interrupted, VortexError
from vortex_cli import console

NARROWEST: Final = 40
"""Columns that every table has: with fewer, its cells would have no letter. A narrower terminal breaks its lines."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 an error to act on, 2 usage, 3 a gate said no, 130 interrupted."""
    gc.disable()  # what loads and what the help is made of is no garbage; a command enables it (`vortex_cli.options.as_command`)
    try:
        _mend_streams()
        _widen()
        _refuse_nowhere()
        environment.prepare()
        secret.remember_environment()
        from vortex_cli.app import app  # here, so that Ctrl-C while it loads is answered in words too

        app()
    except VortexError as error:
        _end(error, error, error.exit_code)
    except KeyboardInterrupt as error:
        _end(Interrupted("interrupted", "run the same command again"), error, Interrupted.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(VortexError(f"{where}{error.strerror or error}", "check the path, its permissions and the free space on the disk"), error, 1)
    except Exception as error:
        lines = str(error).strip().splitlines()[:1]
        _end(
            VortexError(
                f"this is a bug in vortex, please report it: {type(error).__name__}: {lines[0] if lines else 'no message'}",
                "run it again with --traceback and send what it prints",
            ),
            error,
            1,
        )
    finally:
        for remark in ending.run():
            console.note(remark)
        if "numpy" not in sys.modules:  # else libraries may be loaded that complain of what is never taken down, as triton's does
            gc.freeze()  # Python looks for garbage once more before it ends, through all that was loaded


def _mend_streams() -> None:
    """A closed stream swallows what is said, and a character that a terminal cannot show is spelt out: neither ends a command."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  it stays open until the process ends
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _widen() -> None:
    """Have every library write for the narrowest terminal that shows anything, where this one, or `COLUMNS`, is narrower still."""
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)


def _refuse_nowhere() -> None:
    """Libraries end the process with a riddle when the folder that it was started in is gone."""
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise VortexError("the current folder was removed", "change to a folder that exists, and run the command again") from error


def _end(error: VortexError, cause: BaseException, code: int) -> None:
    if console.session.traceback:
        console.traceback(cause)
    console.fail(error)
    sys.exit(code)


if __name__ == "__main__":
    main()
