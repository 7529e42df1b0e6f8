"""What libraries take for granted of a process: made true here, before they load, and for every process that this one starts.

Containers run as user ids that no passwd entry names, batch systems start jobs without HOME, and people work in folders of their own
that may be called `core` or `models`.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from core.errors import VortexError

ROOT: Final = Path(__file__).resolve().parents[1]
"""The folder that holds Vortex's packages."""
LONGEST_SOCKET: Final = 107
"""Bytes of a Unix socket's path: `sun_path` of unix(7), less its end."""
RAY_NEEDS: Final = 72
"""Bytes that Ray appends to its folder: `/ray/session_2026-11-28_12-43-38_123456_1234567/sockets/plasma_store.1` (Ray 2.60)."""
SHORT_PLACES: Final = ("/tmp", "/var/tmp", "/dev/shm")
DVC_PLACE: Final = "/var/tmp/dvc/repo"
"""Where DVC keeps its notes on files, for all users of the machine, unless DVC_SITE_CACHE_DIR names another folder."""


WAITING: Final = {"GOMP_SPINCOUNT": "3000"}
"""OpenMP's threads spin for a while before they sleep when they wait for each other, which beside other work takes the cores from it. So many
rounds are about 0.03 ms, a hundredth of what libgomp takes by itself (100,000 a millisecond by its `env.c`): a quiet machine trains as fast, where
threads that never spin halve its speed (docs/decisions/environment.md)."""

BLAS: Final = {"OPENBLAS_NUM_THREADS": "1"}
"""NumPy's products are small here (a frame's normals by a few hundred directions): several threads of OpenBLAS take twice the CPU time of one
on a quiet machine, three times beside other work, and their sums depend on their number."""


FAIR: Final = {"RAY_worker_niceness": "0"}
"""Ray makes its workers as nice as 15, so that beside two busy processes on two cores a training gets a thirtieth of them."""

PLUGINS: Final = {"PYDANTIC_DISABLE_PLUGINS": "__all__"}
"""pydantic asks the metadata of every installed distribution for plugins, for 20 ms of each command's CPU; Vortex has none."""


def prepare() -> None:
    """Make this process's environment one that libraries work in. Repeating it changes nothing.

    What the user set stays, unless it cannot be used. Raises VortexError where there is no folder for temporary files.
    """
    _vortex_first()
    _name_the_user()
    _give_a_home()
    _give_dvc_a_place()
    for name, value in (BLAS | FAIR | PLUGINS | ({} if "OMP_WAIT_POLICY" in os.environ else WAITING)).items():
        os.environ.setdefault(name, value)


def temporary() -> Path:
    """A folder of this user's own for temporary files, that nobody else can write. Raises VortexError where there is no place for one."""
    return _private(Path(_temporary_root()) / f"vortex-{os.getuid()}")


def socket_folder() -> Path:
    """Where Ray may put its sockets: RAY_TMPDIR or TMPDIR, through a link from a short path where that is too long for a socket's name.

    Raises VortexError where no place is short enough.
    """
    import hashlib  # this module is loaded by every command, `--help` too

    named = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR", "")
    place = Path(named).absolute() if named and writable(Path(named)) else Path(_temporary_root())
    if len(os.fsencode(place)) + RAY_NEEDS <= LONGEST_SOCKET:
        return place
    for short in map(Path, SHORT_PLACES):
        if not writable(short):
            continue
        link = _private(short / f"vortex-{os.getuid()}") / hashlib.sha256(os.fsencode(place)).hexdigest()[:6]
        with suppress(FileExistsError):
            link.symlink_to(place)
        if link.is_symlink() and Path(os.readlink(link)) == place:
            return link
    raise VortexError(
        f"{place}: too long for the sockets of Ray, whose paths have at most {LONGEST_SOCKET} bytes",
        f"set TMPDIR (or RAY_TMPDIR) to a folder whose path has at most {LONGEST_SOCKET - RAY_NEEDS} bytes",
    )


def _vortex_first() -> None:
    """Have every Python that this process starts find Vortex's packages before a user's folders of the same names.

    `vortex_cli/__init__.py` sees to this process itself.
    """
    os.environ["PYTHONSAFEPATH"] = "1"  # the folder that a program is started in is no place to import from
    path = os.environ.get("PYTHONPATH", "")
    if path and path.split(os.pathsep)[0] != str(ROOT):
        os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT), path))


def _name_the_user() -> None:
    """`getpass.getuser()` raises for a user id without a passwd entry, unless a variable names the user: DVC and torch call it."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        for name in ("LOGNAME", "USER"):
            if not os.environ.get(name):
                os.environ[name] = f"uid{os.getuid()}"


def _give_a_home() -> None:
    """Without HOME and passwd entry `~` stays as it is, and libraries make a folder of that name wherever they are.

    A home that cannot be written is still read, for what lies there; what must be written goes elsewhere.
    """
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        os.environ["HOME"] = str(_private(temporary() / "home"))
    elif not writable(Path(home)):
        os.environ.setdefault("MPLCONFIGDIR", str(temporary() / "matplotlib"))
        os.environ.setdefault("TRITON_CACHE_DIR", str(temporary() / "triton"))


def _give_dvc_a_place() -> None:
    if not os.environ.get("DVC_SITE_CACHE_DIR") and not writable(Path(DVC_PLACE)):
        os.environ["DVC_SITE_CACHE_DIR"] = str(temporary() / "dvc")


def writable(folder: Path) -> bool:
    """Whether files can be made in `folder`, or the folder itself in what is there of the way to it."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _temporary_root() -> str:
    import tempfile  # draws in random and hashlib, which `--help` does without

    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise VortexError(
            "there is no folder for temporary files: neither TMPDIR, /tmp nor /var/tmp can be written", "set TMPDIR to one that can"
        ) from error


def _private(folder: Path) -> Path:
    """Make `folder`, for this user alone. Raises VortexError where somebody else made it: what lies in it could be theirs."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise VortexError(
            f"{folder}: belongs to somebody else, or others can write there", "remove it, or set TMPDIR to a folder of your own"
        )
    return folder
