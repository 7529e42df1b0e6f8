"""A process is made one that libraries work in: whoever the user is, whatever HOME and TMPDIR are, and whatever folders lie around."""

from __future__ import annotations

import getpass
import os
import pwd
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from core import environment
from core.errors import VortexError

NAMES = ("LOGNAME", "USER", "LNAME", "USERNAME")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever `prepare` sets is forgotten after the test; temporary files go into the test's own folder."""
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def nobody(uid: int) -> pwd.struct_passwd:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def test_a_user_id_without_a_passwd_entry_has_a_name_and_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*NAMES, "HOME"):
        os.environ.pop(name, None)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(KeyError):
        getpass.getuser()
    environment.prepare()
    assert getpass.getuser() == f"uid{os.getuid()}"
    home = Path.home()
    assert home.is_relative_to(tmp_path) and home.is_dir() and home.stat().st_mode & 0o777 == 0o700
    environment.prepare()
    assert Path.home() == home


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    os.environ |= {"LOGNAME": "ada", "USER": "ada", "HOME": str(tmp_path / "home"), "DVC_SITE_CACHE_DIR": "/somewhere"}
    os.environ.pop("PYTHONPATH", None)
    (tmp_path / "home").mkdir()
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    before = dict(os.environ)
    environment.prepare()
    assert os.environ == before | {"PYTHONSAFEPATH": "1"} | environment.WAITING | environment.BLAS | environment.FAIR | environment.PLUGINS
    os.environ["OPENBLAS_NUM_THREADS"] = "4"
    environment.prepare()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "4"


@pytest.mark.parametrize(("theirs", "rounds"), [({}, "3000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)])
def test_threads_spin_for_a_while_unless_the_user_says_otherwise(theirs: dict[str, str], rounds: str | None) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        os.environ.pop(name, None)
    os.environ |= theirs
    environment.prepare()
    assert os.environ.get("GOMP_SPINCOUNT") == rounds
    assert os.environ.get("OMP_WAIT_POLICY") == theirs.get("OMP_WAIT_POLICY")


def test_dvc_gets_a_place_where_the_common_one_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    os.environ.pop("DVC_SITE_CACHE_DIR", None)
    monkeypatch.setattr(environment, "DVC_PLACE", str(tmp_path / "dvc" / "repo"))
    environment.prepare()
    assert "DVC_SITE_CACHE_DIR" not in os.environ
    (tmp_path / "dvc").write_text("a file, where DVC wants a folder")
    environment.prepare()
    assert os.environ["DVC_SITE_CACHE_DIR"] == str(environment.temporary() / "dvc")


def test_a_temporary_folder_that_somebody_else_could_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / f"vortex-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(VortexError, match="others can write there"):
        environment.temporary()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(VortexError, match="belongs to somebody else"):
        environment.temporary()


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_long_folder_for_temporary_files_is_reached_by_a_short_path(tmp_path: Path, variable: str) -> None:
    long = tmp_path / ("scratch of a job " * 5)
    long.mkdir()
    os.environ.pop("RAY_TMPDIR", None)
    os.environ[variable] = str(long)
    place = environment.socket_folder()
    assert place.resolve() == long.resolve() and environment.socket_folder() == place
    name = place / "ray" / "session_2026-11-28_12-43-38_123456_1234567" / "sockets" / "plasma_store.1"
    name.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(name))
    assert (long / name.relative_to(place)).is_socket()


def test_a_short_folder_is_taken_as_it_is_and_one_that_is_not_there_is_made_up_for(tmp_path: Path) -> None:
    os.environ.pop("RAY_TMPDIR", None)
    os.environ["TMPDIR"] = "/tmp"
    assert environment.socket_folder() == Path("/tmp")
    (tmp_path / "file").write_text("")
    os.environ["TMPDIR"] = str(tmp_path / "file" / "below")  # cannot be made
    assert environment.socket_folder().resolve() == tmp_path.resolve()


def test_no_place_with_a_short_path_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    os.environ["RAY_TMPDIR"] = str(long)
    monkeypatch.setattr(environment, "SHORT_PLACES", ())
    with pytest.raises(VortexError, match=r"too long for the sockets of Ray") as caught:
        environment.socket_folder()
    assert "at most 35 bytes" in caught.value.hint


def test_folders_of_the_user_s_own_replace_no_package_of_vortex(tmp_path: Path) -> None:
    for name in ("core", "models", "registry", "pipelines", "validation"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the folder of the user was imported')\n")
    code = """
import os, sys, subprocess
import vortex_cli.main, core, models, registry, pipelines, validation
from core import environment
environment.prepare()
child = subprocess.run([sys.executable, "-c", "import core, models; print(core.__file__)"], capture_output=True, text=True)
print(*{os.path.dirname(os.path.dirname(each.__file__)) for each in (core, models, registry, pipelines, validation)})
print(child.stdout.strip() or child.stderr)
"""
    for path in (".", "", str(tmp_path)):
        process = subprocess.run(
            [sys.executable, "-P", "-c", code],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join((path, str(environment.ROOT)))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert process.stdout.splitlines() == [str(environment.ROOT), str(environment.ROOT / "core" / "__init__.py")], process.stderr
