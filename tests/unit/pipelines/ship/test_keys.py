"""Keys by role, and the folder that they sign, as python-tuf's client sees it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.exceptions import RepositoryError
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from core.errors import UsageError, VortexError
from pipelines.ship.keys import LIFETIMES, KeyFolder, NoKeys, init, renew, rotate
from pipelines.ship.tuf_repository import TufRepository
from pipelines.workspace import Workspace, WorkspaceConfig

WORD = "a stable passphrase"
TARGET = "channels/orin/rooms.json"


class FolderFetcher(FetcherInterface):
    """Serves a folder, as a web server would."""

    def _fetch(self, url: str):  # type: ignore[no-untyped-def]
        from tuf.api.exceptions import DownloadHTTPError

        path = Path(url.removeprefix("http://folder"))
        if not path.is_file():
            raise DownloadHTTPError("not there", 404)
        return iter([path.read_bytes()])


def client(folder: Path, state: Path) -> Updater:
    """A device that trusts the first root; what it has learned lies in `state`."""
    state.mkdir(parents=True, exist_ok=True)
    return Updater(
        str(state),
        f"http://folder{folder}/metadata/",
        str(state),
        f"http://folder{folder}/targets/",
        fetcher=FolderFetcher(),
        bootstrap=(folder / "metadata" / "1.root.json").read_bytes(),
    )


def seen(folder: Path, state: Path) -> bytes | None:
    """What a device reads of the channel; None where nothing is published of it."""
    updater = client(folder, state)
    target = updater.get_targetinfo(TARGET)
    return Path(updater.download_target(target)).read_bytes() if target else None


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    (tmp_path / "workspace").mkdir()
    return Workspace(tmp_path / "workspace", WorkspaceConfig())


@pytest.fixture
def repository(ws: Workspace, tmp_path: Path) -> TufRepository:
    """A repository with keys; its root key lies in `stick`."""
    init(ws, [tmp_path / "stick"], WORD)
    return TufRepository(ws.publish_folder, KeyFolder(ws.keys_folder))


def test_a_client_reads_what_was_published_last_and_the_root_key_is_elsewhere(
    repository: TufRepository, ws: Workspace, tmp_path: Path
) -> None:
    assert repository.publish({TARGET: b"one"})
    assert seen(repository.folder, tmp_path / "device") == b"one"
    assert not repository.publish({TARGET: b"one"})
    assert repository.publish({TARGET: b"two"})
    assert seen(repository.folder, tmp_path / "device") == b"two"
    private = [*ws.keys_folder.rglob("*.pem"), *(tmp_path / "stick").glob("*.pem")]
    assert len(private) == 5 and all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in private)
    assert stat.S_IMODE(ws.keys_folder.stat().st_mode) == 0o700
    assert [path.parent.name for path in private if b"ENCRYPTED" in path.read_bytes()] == ["stick"]


def test_metadata_is_renewed_at_half_its_life_and_not_before(repository: TufRepository) -> None:
    start = datetime.now(UTC)
    repository.publish({TARGET: b"one"}, start)
    assert not repository.refresh(start + 0.4 * LIFETIMES["timestamp"])
    assert repository.refresh(start + 0.6 * LIFETIMES["timestamp"])
    assert not repository.refresh(start + 0.7 * LIFETIMES["timestamp"])
    targets = [status for status in repository.status() if status.role == "targets"]
    assert targets[0].expires == (start + LIFETIMES["targets"]).replace(microsecond=0)
    with pytest.raises(VortexError, match="expired"):
        repository.refresh(start + timedelta(days=366))


def test_a_client_follows_new_keys_of_every_role_and_the_old_ones_sign_nothing_more(
    repository: TufRepository, ws: Workspace, tmp_path: Path
) -> None:
    device, stick = tmp_path / "device", [tmp_path / "stick"]
    repository.publish({TARGET: b"one"})
    assert seen(repository.folder, device) == b"one"
    for role in ("timestamp", "snapshot", "targets"):
        rotate(ws, role, stick, WORD)  # type: ignore[arg-type]
        assert seen(repository.folder, device) == b"one", "a device that comes between the two steps still reads"
        assert repository.refresh()
        assert seen(repository.folder, device) == b"one"
    assert len([*(ws.keys_folder / "online").iterdir()]) == 3
    rotate(ws, "root", stick, WORD, new_folders=[tmp_path / "other", tmp_path / "third"])
    with pytest.raises(VortexError, match="0 of the root keys sign, and 2 must"):
        renew(ws, stick, WORD)
    with pytest.raises(VortexError, match="1 of the root keys sign, and 2 must"):
        renew(ws, [tmp_path / "other"], WORD)
    renew(ws, [tmp_path / "other", tmp_path / "third"], WORD)
    assert repository.publish({TARGET: b"two"})
    assert seen(repository.folder, device) == b"two"
    assert seen(repository.folder, tmp_path / "new device") == b"two"


def test_a_published_folder_that_was_lost_is_made_again_with_higher_versions(repository: TufRepository, tmp_path: Path) -> None:
    repository.publish({TARGET: b"one"}, datetime.now(UTC) - timedelta(hours=1))
    assert seen(repository.folder, tmp_path / "device") == b"one"
    shutil.rmtree(repository.folder)
    assert repository.publish({TARGET: b"two"})
    assert seen(repository.folder, tmp_path / "device") == b"two"


def test_what_somebody_else_wrote_into_the_folder_is_not_read_and_is_put_right(repository: TufRepository, tmp_path: Path) -> None:
    repository.publish({TARGET: b"one"})
    (path,) = (repository.folder / "targets" / "channels" / "orin").iterdir()
    path.write_bytes(b"two")
    with pytest.raises(RepositoryError):
        seen(repository.folder, tmp_path / "device")
    assert repository.publish({TARGET: b"one"})
    assert seen(repository.folder, tmp_path / "device") == b"one"


@pytest.mark.parametrize(
    ("folders", "word", "message"),
    [([], WORD, "no folder"), (["stick"], "short", "passphrase of 5"), (["workspace/usb"], WORD, "lies in the workspace")],
)
def test_keys_are_not_made_without_a_place_elsewhere_and_a_passphrase(
    ws: Workspace, tmp_path: Path, folders: list[str], word: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        init(ws, [tmp_path / folder for folder in folders], word)
    assert not ws.keys_folder.exists()
    with pytest.raises(NoKeys, match="no keys to publish with"):
        TufRepository(ws.publish_folder, KeyFolder(ws.keys_folder)).publish({})


def test_keys_are_made_once_and_only_their_passphrase_opens_them(repository: TufRepository, ws: Workspace, tmp_path: Path) -> None:
    with pytest.raises(VortexError, match="has keys already"):
        init(ws, [tmp_path / "stick"], WORD)
    with pytest.raises(VortexError, match="the passphrase does not open it"):
        rotate(ws, "targets", [tmp_path / "stick"], "another passphrase")
    with pytest.raises(UsageError, match="a root key of today"):
        rotate(ws, "root", [tmp_path / "stick"], WORD, new_folders=[tmp_path / "stick"])
    assert list(repository.keys.roots()) == [1]


def test_keys_that_no_robot_would_believe_sign_nothing(repository: TufRepository, ws: Workspace, tmp_path: Path) -> None:
    stick = [tmp_path / "stick"]
    repository.publish({TARGET: b"one"})
    shutil.copytree(ws.keys_folder, tmp_path / "old")
    rotate(ws, "timestamp", stick, WORD)
    repository.refresh()
    published = {path: path.read_bytes() for path in repository.folder.rglob("*") if path.is_file()}

    def put(keys: Path | None) -> None:
        shutil.rmtree(ws.keys_folder)
        if keys:
            shutil.copytree(keys, ws.keys_folder)

    shutil.copytree(ws.keys_folder, tmp_path / "new")
    put(tmp_path / "old")
    with pytest.raises(VortexError, match=r"2\.root\.json is newer than the keys in .*, which know root 1: they are an old copy"):
        repository.refresh(datetime.now(UTC) + timedelta(days=5))
    put(None)
    init(ws, [tmp_path / "other"], WORD)
    with pytest.raises(VortexError, match=r"1\.root\.json is of other keys than .*: robots that trust it take nothing"):
        repository.publish({TARGET: b"two"})
    assert published == {path: path.read_bytes() for path in repository.folder.rglob("*") if path.is_file()}
    put(tmp_path / "new")
    (repository.metadata / "1.root.json").write_bytes(b"a bad sector")
    assert repository.publish({TARGET: b"two"})
    assert seen(repository.folder, tmp_path / "device") == b"two"


def test_killed_at_any_write_a_client_sees_the_old_state_or_the_new_one_whole(
    repository: TufRepository, ws: Workspace, tmp_path: Path
) -> None:
    repository.publish({TARGET: b"one", "channels/orin/hall.json": b"hall"})
    seen(repository.folder, tmp_path / "device")
    rotate(ws, "timestamp", [tmp_path / "stick"], WORD)  # the next one writes a root too, and removes a key
    shutil.copytree(ws.root, tmp_path / "before")
    outcomes = []
    for number in range(1, 60):
        shutil.rmtree(ws.root)
        shutil.copytree(tmp_path / "before", ws.root)
        shutil.copytree(tmp_path / "device", tmp_path / f"device{number}")
        killed = kill_at(number, ws.root, lambda: repository.publish({TARGET: b"two"}))
        outcomes.append(seen(repository.folder, tmp_path / f"device{number}"))
        repository.publish({TARGET: b"two"})
        assert seen(repository.folder, tmp_path / f"device{number}") == b"two"
        if not killed:
            break
    assert not killed and len(outcomes) >= 20
    assert outcomes == sorted(outcomes) and set(outcomes) == {b"one", b"two"}, "old until some write, and new from then on"


def kill_at(number: int, root: Path, action: Callable[[], object]) -> bool:
    """Do it in a child that ends as a power cut would at its write `number` below `root`; whether it came that far."""
    child = os.fork()
    if child:
        return bool(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL)
    writes = 0

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal writes
        opened = name == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (opened or name in ("os.rename", "os.remove", "os.mkdir")) and str(arguments[0]).startswith(str(root)):
            writes += 1
            if writes == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    try:
        action()
    finally:
        os._exit(0)
