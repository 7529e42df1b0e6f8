"""Push and pull: to a folder, and to a real sshd; what is missing, damaged, unreachable or cut short is named, and nothing is lost."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import VortexError
from pipelines import workspace as workspaces
from pipelines.data.pointer import unfetched
from pipelines.data.remote import pull, push
from pipelines.data.versioning import unversioned_changes
from pipelines.synthetic.dataset import synthesise
from pipelines.workspace import Workspace
from tests.unit.pipelines import sshd

DVC = Path(sys.executable).with_name("dvc")


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def configure(ws: Workspace, name: str, **settings: object) -> None:
    """As `dvc remote add` and `dvc remote modify` do, without their start-up time."""
    with open(ws.root / ".dvc" / "config", "a") as stream:
        stream.write(f"['remote \"{name}\"']\n" + "".join(f"    {key} = {value}\n" for key, value in settings.items()))


def forget(ws: Workspace) -> None:
    """As in a clone: the pointer is here, the frames and the cache are not."""
    shutil.rmtree(ws.data)
    shutil.rmtree(ws.root / ".dvc" / "cache")


def objects(ws: Workspace, place: str = "remote") -> list[Path]:
    return sorted(path for path in (ws.root / place / "files" / "md5").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    from pipelines.init import init

    ws = init(tmp_path_factory.mktemp("filled") / "workspace")
    synthesise(ws, "rooms", world="rooms", frames=12, size=(48, 64))
    return ws


@pytest.fixture
def rooms(filled: Workspace, tmp_path: Path) -> Workspace:
    """A workspace of its own with a small versioned set."""
    shutil.copytree(filled.root, tmp_path / "rooms")
    return workspaces.load(tmp_path / "rooms")


def test_the_default_remote_is_a_folder_of_the_workspace_and_brings_back_every_byte(rooms: Workspace) -> None:
    before = contents(rooms.data)
    first = push(rooms)
    assert (first.remote, first.moved, first.datasets) == ("local", len(set(before.values())), {"rooms": len(before)})
    assert push(rooms).moved == 0
    forget(rooms)
    assert unfetched(rooms)
    back = pull(rooms)
    assert back.moved == first.moved and contents(rooms.data) == before
    assert pull(rooms).written == 0
    assert unversioned_changes(rooms) is False


def test_dvc_itself_reads_what_was_pushed(rooms: Workspace) -> None:
    before = contents(rooms.data)
    push(rooms)
    forget(rooms)
    subprocess.run([DVC, "pull"], cwd=rooms.root, check=True, capture_output=True)
    assert contents(rooms.data) == before


def test_an_empty_folder_needs_no_remote(workspace: Workspace) -> None:
    shutil.rmtree(workspace.data)
    (workspace.root / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    assert push(workspace).remote is None and pull(workspace).remote is None
    from dvc.repo import Repo  # pull and checkout failed here when the pointer named the listing of an empty folder

    with Repo(str(workspace.root)) as repo:
        assert repo.checkout() and not repo.status()


def test_what_a_remote_lacks_is_counted_and_nothing_is_touched(rooms: Workspace) -> None:
    push(rooms)
    frames = [path for path in objects(rooms) if path.suffix != ".dir"]
    for path in frames[:3]:
        path.unlink()
    forget(rooms)
    with pytest.raises(VortexError, match=r"remote 'local' \(.*/remote\) lacks 3 files of rooms") as refused:
        pull(rooms)
    assert len(refused.value.details) == 3 and "vortex data push" in refused.value.hint
    assert not rooms.data.exists() or not contents(rooms.data)


def test_a_version_that_was_never_pushed_is_named(rooms: Workspace) -> None:
    forget(rooms)
    with pytest.raises(VortexError, match="does not hold this version of data/"):
        pull(rooms)
    with pytest.raises(VortexError, match="frames that are not here: DVC's cache lacks the listing"):
        push(rooms)
    with pytest.raises(VortexError, match="unknown remote 'nowhere'; DVC's configuration has: local"):
        pull(rooms, "nowhere")


def test_a_remote_without_a_place_is_refused_and_nothing_is_written(rooms: Workspace) -> None:
    config = rooms.root / ".dvc" / "config"
    config.write_text(config.read_text() + "['remote \"empty\"']\n    url =\n")
    before = sorted(path.name for path in config.parent.iterdir())
    with pytest.raises(VortexError, match=r"remote 'empty' is DVC's own folder .*, allowed: a folder elsewhere"):
        push(rooms, "empty")
    assert sorted(path.name for path in config.parent.iterdir()) == before


def test_damaged_bytes_on_a_remote_never_reach_the_cache_and_a_push_mends_short_ones(rooms: Workspace) -> None:
    before = contents(rooms.data)
    push(rooms)
    hurt = max((path for path in objects(rooms) if path.suffix != ".dir"), key=lambda path: path.stat().st_size)
    whole = hurt.read_bytes()
    hurt.chmod(0o644)
    hurt.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    kept = shutil.copytree(rooms.root / ".dvc" / "cache", rooms.root / "kept")
    forget(rooms)
    with pytest.raises(VortexError, match="holds damaged bytes for 1 file of rooms") as refused:
        pull(rooms)
    assert str(hurt) in refused.value.details[0] and "remove the damaged objects there" in refused.value.hint
    assert not (rooms.root / ".dvc" / "cache" / hurt.relative_to(rooms.root / "remote")).exists()
    hurt.write_bytes(whole[:10])
    shutil.copytree(kept, rooms.root / ".dvc" / "cache", dirs_exist_ok=True)
    assert push(rooms).moved == 1
    assert pull(rooms).written == len(before) and contents(rooms.data) == before


def test_a_listing_that_leads_out_of_data_is_refused(rooms: Workspace) -> None:
    import hashlib

    text = b'[{"md5": "0123456789abcdef0123456789abcdef", "relpath": "../../stolen"}]'
    md5 = hashlib.md5(text).hexdigest()
    place = rooms.root / "remote" / "files" / "md5" / md5[:2] / f"{md5[2:]}.dir"
    place.parent.mkdir(parents=True)
    place.write_bytes(text)
    pointer = rooms.root / "data.dvc"
    pointer.write_text(f"outs:\n- md5: {md5}.dir\n  path: data\n")
    with pytest.raises(VortexError, match="a path in it leaves data/"):
        pull(rooms)


def test_frames_that_nothing_else_has_are_never_lost(rooms: Workspace) -> None:
    push(rooms)
    own = rooms.data / "rooms" / "own.png"
    own.write_bytes(b"only here")
    frame = next((rooms.data / "rooms" / "rgb").iterdir())
    frame.unlink()
    with pytest.raises(VortexError, match="1 file of rooms would be lost") as refused:
        pull(rooms)
    assert own.read_bytes() == b"only here" and not frame.exists() and "dvc add data" in refused.value.hint


def test_a_push_that_is_killed_leaves_nothing_half_written(rooms: Workspace) -> None:
    """Killed at the third file: what is there under its name is whole, the listing is not there, and the next push goes on."""
    code = f"""
import os, signal
from pathlib import Path
from pipelines import workspace
from pipelines.data.remote import push
push(workspace.load(Path({str(rooms.root)!r})), None, lambda what, done, total: done == 3 and os.kill(os.getpid(), signal.SIGKILL))
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[4], check=False)
    assert killed.returncode == -signal.SIGKILL
    held = [path for path in objects(rooms) if not path.name.startswith(".")]
    assert len(held) >= 3 and not any(path.suffix == ".dir" for path in held)
    for path in held:
        assert path.read_bytes() == (rooms.root / ".dvc" / "cache" / path.relative_to(rooms.root / "remote")).read_bytes()
    rest = push(rooms)
    assert rest.moved == len({*contents(rooms.data).values()}) - len(held)


def test_ssh_push_pull_and_a_half_written_object(rooms: Workspace, tmp_path: Path) -> None:
    with sshd.serve(tmp_path / "sshd") as server:
        far = tmp_path / "far"
        url = f"ssh://{server.user}@127.0.0.1:{server.port}{far}"
        configure(rooms, "locked", url=url)
        configure(rooms, "box", url=url, keyfile=server.key)
        started = time.monotonic()
        with pytest.raises(VortexError, match=r"remote 'locked' .*cannot be reached: Permission denied") as refused:
            push(rooms, "locked")  # no key: the server offers a password, and nobody is asked for one
        assert time.monotonic() - started < 15 and "keyfile" in refused.value.hint
        before = contents(rooms.data)
        sent = push(rooms, "box")
        assert sent.moved == len({*before.values()}) and push(rooms, "box").moved == 0
        # What a `dvc push` that was killed leaves: the final name, and half of the bytes.
        hurt = max((path for path in far.rglob("*") if path.is_file() and path.suffix != ".dir"), key=lambda path: path.stat().st_size)
        hurt.write_bytes(hurt.read_bytes()[:100])
        assert push(rooms, "box").moved == 1
        forget(rooms)
        assert pull(rooms, "box").moved == sent.moved and contents(rooms.data) == before
        assert not list(far.rglob("*.tmp"))


def test_a_server_that_never_answers_ends_in_one_line_within_seconds(rooms: Workspace) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        configure(rooms, "silent", url=f"ssh://nobody@127.0.0.1:{port}/far", timeout=1)
        started = time.monotonic()
        with pytest.raises(VortexError, match="cannot be reached: no answer in time"):
            push(rooms, "silent")
        assert time.monotonic() - started < 8
    configure(rooms, "closed", url=f"ssh://nobody@127.0.0.1:{port}/far")
    with pytest.raises(VortexError, match=r"cannot be reached: .*Connect call failed"):
        pull(rooms, "closed")


def test_a_password_in_an_address_is_never_shown() -> None:
    from pipelines.data.connection import shown

    assert shown("ssh://me:secret@box:22/far") == "ssh://…@box:22/far"
    assert shown("ssh://me@box:22/far") == "ssh://me@box:22/far"
    assert shown("/mnt/store") == "/mnt/store"
