"""Files are whole or absent, and paths stay where they belong."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import pytest

from core import files
from core.errors import GateRefused, VortexError
from core.files import disk_full, inside, locked, sha256_file, staged_directory, staged_file, swapped_directory, write_atomic


def test_write_atomic_replaces_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_atomic(path, "first")
    write_atomic(path, b"second")
    assert path.read_text() == "second"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("mode", [0o664, 0o640, 0o600])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ledger.head"
    path.write_text("before")
    path.chmod(mode)
    umask = os.umask(0o077)
    try:
        write_atomic(path, "after")
        write_atomic(tmp_path / "new", "")
    finally:
        os.umask(umask)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("after", mode)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


def test_failed_write_keeps_the_previous_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_atomic(path, "kept")
    with pytest.raises(RuntimeError), staged_file(path) as staging:
        staging.write_text("half")
        raise RuntimeError
    assert path.read_text() == "kept"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_what_a_killed_writer_left_is_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    child = os.fork()
    if child == 0:
        with staged_file(path) as staging:
            staging.write_text("half of something long")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [entry.name for entry in tmp_path.iterdir()] == [".file.txt.00000000.staging"]
    write_atomic(path, "whole")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file.txt", "whole")]


def test_where_there_are_no_locks_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("core.files.fcntl.flock", without_locks)
    write_atomic(tmp_path / "file.txt", "whole")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file.txt", "whole")]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with staged_file(path) as first, open(first, "w") as slow:
        slow.write("first, ")
        with staged_file(path) as second:
            second.write_text("second")
        assert path.read_text() == "second" and second != first
        slow.write("and last")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file.txt", "first, and last")]


def test_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="no space left"), staged_directory(tmp_path / "set") as staging:
        (staging / "a").write_text("x")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert list(tmp_path.iterdir()) == []


def test_full_disk_for_real(tmp_path: Path) -> None:
    """/dev/full refuses every write with ENOSPC, as a full disk does."""
    with pytest.raises(VortexError, match="no space left"), staged_file(tmp_path / "x") as staging:
        staging.unlink()
        staging.symlink_to("/dev/full")
        with open(staging, "wb") as stream:
            stream.write(b"x" * 10)
    assert not (tmp_path / "x").exists()


def test_staged_directory_appears_at_once_and_refuses_an_existing_name(tmp_path: Path) -> None:
    final = tmp_path / "set"
    with staged_directory(final) as staging:
        (staging / "frames").mkdir()
        (staging / "frames" / "0.txt").write_text("0")
        assert not final.exists()
    assert (final / "frames" / "0.txt").read_text() == "0"
    with pytest.raises(VortexError, match="already exists"), staged_directory(final):
        raise AssertionError("the body must not run")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "", "a\\..\\x", "a\0b"])
def test_paths_that_leave_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(VortexError, match="leaves the dataset"):
        inside(tmp_path, path)


def test_links_that_lead_out_are_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path)
    with pytest.raises(VortexError, match="through a link"):
        inside(tmp_path / "root", "link/secret")
    assert inside(tmp_path / "root", "a/b.png") == tmp_path / "root" / "a/b.png"


def test_lock_is_exclusive_between_processes(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock), multiprocessing.get_context("spawn").Pool(1) as pool:
        assert "another vortex process" in pool.apply(_try_lock, (lock,))
    assert _try_lock(lock) == "free"


def _try_lock(path: Path) -> str:
    try:
        with locked(path, timeout=0.2):
            return "free"
    except VortexError as error:
        return error.message


def test_errors_survive_pickling_whole() -> None:
    error = pickle.loads(pickle.dumps(GateRefused("no", "do this", ["a", "b"])))
    assert (type(error), error.message, error.hint, error.details) == (GateRefused, "no", "do this", ("a", "b"))


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_links_in_a_circle_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("a.png")
    with pytest.raises(VortexError, match=r"'a\.png'.*leads nowhere"):
        inside(tmp_path, "a.png")


def test_a_short_write_without_a_number_is_a_full_disk_only_where_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = OSError("19200 requested and 3040 written")
    assert short.errno is None and not disk_full(short, tmp_path / "not" / "yet")
    monkeypatch.setattr("core.files.NEARLY_FULL", 1 << 62)
    assert disk_full(short, tmp_path / "not" / "yet")


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_is_swapped_for_another_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchanges: bool) -> None:
    if not exchanges:  # a file system that cannot
        monkeypatch.setattr(files, "exchange", lambda a, b: False)
    final = tmp_path / "site"
    for text in ("first", "second"):
        with swapped_directory(final) as staging:
            (staging / text).write_text(text)
        assert [path.name for path in final.iterdir()] == [text] and list(tmp_path.iterdir()) == [final]
    with pytest.raises(RuntimeError), swapped_directory(final) as staging:
        (staging / "half").touch()
        raise RuntimeError
    assert [path.name for path in final.iterdir()] == ["second"] and list(tmp_path.iterdir()) == [final]
    # A kill between the two renames of a file system that cannot exchange, and one while pages were written.
    final.rename(tmp_path / ".site.replaced")
    (tmp_path / ".site.0123abcd.staging").mkdir()
    with swapped_directory(final) as staging:
        assert (final / "second").exists()
        (staging / "third").touch()
    assert [path.name for path in final.iterdir()] == ["third"] and list(tmp_path.iterdir()) == [final]
