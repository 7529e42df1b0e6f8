"""Going back to the data of a version: byte for byte, never at the cost of frames that nothing else has, and undone when it is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import VortexError
from core.files import locked
from pipelines.data import datasets
from pipelines.data.checkout import changes, checkout
from pipelines.data.pointer import data_hash
from pipelines.data.remote import push
from pipelines.data.switch import journal
from pipelines.data.versioning import unversioned_changes, version
from pipelines.hub.open import hub
from pipelines.workspace import Workspace, load
from registry.edges import DataEdge
from registry.records import DataUse, NewVersion
from tests.unit.pipelines import tiny_sets, training_set
from tests.unit.pipelines.tiny_sets import contents, row


@pytest.fixture(scope="module")
def published(empty_workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """Folder of a workspace whose data/ has had two versions, and their hashes; it is at the second."""
    ws = load(shutil.copytree(empty_workspace.root, tmp_path_factory.mktemp("published") / "workspace"))
    tiny_sets.publish(ws, "rooms", {name: row(name) for name in ("a", "b", "c")})
    first = data_hash(ws)
    tiny_sets.publish(ws, "rooms", {name: row(name) for name in ("b", "c", "d")}, {"rgb/b.png": "another"})
    tiny_sets.publish(ws, "hall", {name: row(name) for name in ("x", "y")})
    second = data_hash(ws)
    assert first and second
    return ws.root, first, second


@pytest.fixture
def two(workspace: Workspace, published: tuple[Path, str, str]) -> tuple[Workspace, str, str]:
    """The test's own workspace, filled with a copy of it."""
    root, first, second = published
    return load(shutil.copytree(root, workspace.root, dirs_exist_ok=True)), first, second


def record(ws: Workspace, make: Callable[..., str], *uses: DataUse) -> str:
    """A version that says it saw this data."""
    registry = hub(ws)
    old = registry.get(make())
    run = registry.store.start_run("made by a test")
    new = NewVersion(None, False, {}, (), "rooms", uses, old.size, run, run, old.checkpoint)
    return registry.register(new, actor="test").name


def use(ws: Workspace, name: str, **changes: str | None) -> DataUse:
    ref = datasets.resolve(ws, name_or_manifest=name)
    return replace(DataUse(name, "rooms", "room", ref.digest, ref.dvc, True, {}), **changes)  # type: ignore[arg-type]


def test_a_version_gets_its_frames_back_and_measures_what_it_measured(workspace: Workspace, make_version: Callable[..., str]) -> None:
    from pipelines.evaluate.version import evaluate

    training_set.publish(workspace, "rooms", val=2, train=2)
    ws = workspace
    name = record(ws, make_version, use(ws, "rooms"))
    measured = [one.values for one in evaluate(ws, name, data="rooms", device="cpu", allow_unvalidated=True)]
    before = contents(ws.data)
    shutil.rmtree(ws.data / "rooms")
    training_set.publish(ws, "rooms", val=2, train=2, seed=5)
    training_set.publish(ws, "more", val=2, train=2, seed=6)
    other = [one.values for one in evaluate(ws, name, data="rooms", device="cpu", allow_unvalidated=True)]
    assert other != measured
    later = data_hash(ws)
    done = checkout(ws, name)
    assert contents(ws.data) == before and done.before == later
    assert done.verified == {"rooms": hub(ws).get(name).data[0].digest}
    assert [one.values for one in evaluate(ws, name, data="rooms", device="cpu", allow_unvalidated=True)] == measured
    assert unversioned_changes(ws) is False


def test_back_and_forth_by_the_beginning_of_a_hash(two: tuple[Workspace, str, str]) -> None:
    ws, first, second = two
    now = contents(ws.data)
    there = checkout(ws, first[:8])
    assert (there.data, there.before, sorted(there.datasets)) == (first, second, ["rooms"])
    assert "hall" not in [path.name for path in ws.data.iterdir()]
    assert checkout(ws, second).data == second and contents(ws.data) == now
    assert checkout(ws, second).written == 0
    empty = checkout(ws, "d751")
    assert not contents(ws.data) and empty.before == second
    assert (ws.root / "data.dvc").read_text() == "outs: []\n"


@pytest.mark.parametrize("what", ["zzz", "HEAD~1", "--help", "0000", "v", "a:b", "x" * 500, "../data"])
def test_what_names_nothing_is_one_line(two: tuple[Workspace, str, str], what: str) -> None:
    with pytest.raises(VortexError, match="names no version of data/, allowed: a version such as v9"):
        checkout(two[0], what)


def test_an_ambiguous_beginning_names_the_candidates(two: tuple[Workspace, str, str]) -> None:
    ws, first, _ = two
    cache = ws.root / ".dvc" / "cache" / "files" / "md5" / first[:2]
    (cache / f"{first[2:20]}{'0' * 14}.dir").write_text("[]")
    with pytest.raises(VortexError, match="begins 2 hashes of data/"):
        checkout(ws, first[:10])


def test_changes_that_no_version_holds_are_refused_by_name(two: tuple[Workspace, str, str]) -> None:
    ws, first, _ = two
    (ws.data / "hall" / "rgb" / "x.png").write_text("edited")
    (ws.data / "hall" / "depth" / "y.png").unlink()
    (ws.data / "rooms" / "new.png").write_text("new")
    before = contents(ws.data)
    with pytest.raises(VortexError, match=r"data/ has changes that no version holds, in hall, rooms \(3 files\)") as refused:
        checkout(ws, first)
    assert refused.value.details == ("hall/depth/y.png: removed", "hall/rgb/x.png: changed", "rooms/new.png: not versioned")
    assert "dvc add data" in refused.value.hint and contents(ws.data) == before
    assert changes(ws) == {"hall/depth/y.png": "removed", "hall/rgb/x.png": "changed", "rooms/new.png": "not versioned"}


def test_another_command_that_changes_data_is_named(two: tuple[Workspace, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    ws, first, _ = two
    monkeypatch.setattr("pipelines.data.checkout.LOCK_SECONDS", 0.1)
    with locked(ws.build / "data.lock"), pytest.raises(VortexError, match="another vortex process"):
        checkout(ws, first)


def test_a_clone_without_the_cache_finds_the_hash_that_only_the_registry_has(
    two: tuple[Workspace, str, str], make_version: Callable[..., str]
) -> None:
    ws, first, second = two
    checkout(ws, first)
    push(ws)
    checkout(ws, second)
    shutil.rmtree(ws.root / ".dvc" / "cache")
    version(ws)  # what the clone has checked out
    with pytest.raises(VortexError, match="names no version of data/"):
        checkout(ws, first[:12])
    registry = hub(ws)
    old = registry.get(make_version())
    run = registry.store.start_run("made by a test")
    edges = (DataEdge("rooms", first), DataEdge("/frames/rooms.parquet", first.removesuffix(".dir")[::-1] * 2))
    registry.register(NewVersion(None, False, {}, edges, "rooms", (), old.size, run, run, old.checkpoint), actor="test")
    done = checkout(ws, first[:12])
    assert (done.data, done.before, sorted(done.datasets)) == (first, second, ["rooms"])
    assert done.fetched > 0
    with pytest.raises(VortexError, match="names no version of data/"):  # the digest of a manifest outside is no hash of data/
        checkout(ws, edges[1].hash[:12])


def test_what_the_cache_lacks_is_fetched(two: tuple[Workspace, str, str]) -> None:
    ws, first, second = two
    push(ws)
    checkout(ws, first)
    shutil.rmtree(ws.root / ".dvc" / "cache")
    version(ws)
    assert checkout(ws, second).fetched > 0
    shutil.rmtree(ws.root / ".dvc" / "cache")
    shutil.rmtree(ws.root / "remote")
    version(ws)
    with pytest.raises(VortexError, match="does not hold this version"):
        checkout(ws, first)
    assert data_hash(ws) == second


def test_versions_whose_data_cannot_be_brought_back_say_why(two: tuple[Workspace, str, str], make_version: Callable[..., str]) -> None:
    ws, first, second = two
    outside = record(ws, make_version, use(ws, "rooms", dvc=None))
    with pytest.raises(VortexError, match=rf"{outside} saw no data of data/: its frames \(rooms\) came from a manifest outside"):
        checkout(ws, outside)
    stages = record(ws, make_version, use(ws, "rooms", dvc=first), use(ws, "hall"))
    with pytest.raises(VortexError, match=f"{stages} saw 2 versions of data/") as refused:
        checkout(ws, stages)
    assert refused.value.details == (f"rooms: {first}", f"hall: {second}")
    altered = record(ws, make_version, use(ws, "rooms", digest="0" * 64))
    with pytest.raises(VortexError, match=f"not what {altered} saw"):
        checkout(ws, altered)
    with pytest.raises(VortexError, match="v99"):
        checkout(ws, "v99")


def test_a_commit_of_data_dvc_is_a_name_too(two: tuple[Workspace, str, str]) -> None:
    ws, first, second = two

    def git(*words: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *words], cwd=ws.root, check=True, capture_output=True)

    checkout(ws, first)
    git("init", "-q")
    git("add", "data.dvc")
    git("commit", "-qm", "one")
    checkout(ws, second)
    git("commit", "-qam", "two")
    assert checkout(ws, "HEAD~1").data == first


def dies_at(event: int, ws: Workspace, what: str) -> bool:
    """Run a checkout in a process that is killed before its `event`th rename or removal in the workspace; whether it was."""
    child = os.fork()
    if child == 0:
        seen = 0

        def hook(name: str, arguments: tuple[object, ...]) -> None:
            nonlocal seen
            if name in ("os.rename", "os.remove", "os.rmdir") and str(ws.root) in str(arguments[0]) and ".dvc/" not in str(arguments[0]):
                seen += 1
                if seen == event:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            checkout(ws, what)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_checkout_that_is_killed_anywhere_is_undone_by_the_next_command(two: tuple[Workspace, str, str]) -> None:
    ws, first, second = two
    before, pointer = contents(ws.data), (ws.root / "data.dvc").read_bytes()
    event = 1
    while dies_at(event, ws, first):
        assert {dataset.name for dataset in datasets.listing(ws)} == {"rooms", "hall"}
        assert contents(ws.data) == before and (ws.root / "data.dvc").read_bytes() == pointer, f"killed at event {event}"
        assert not journal(ws).exists() and unversioned_changes(ws) is False
        event += 1 + event // 3  # every one of the first, then ever fewer: each costs a process
    assert event > 12 and data_hash(ws) == first
    assert not [path for path in contents(ws.root / "data") if path.endswith(".staging")]
    assert checkout(ws, second).data == second and contents(ws.data) == before


def test_what_was_changed_after_a_kill_is_never_removed(two: tuple[Workspace, str, str]) -> None:
    ws, first, _ = two
    assert dies_at(12, ws, first)
    assert journal(ws).exists()
    own = ws.data / "rooms" / "own.txt"
    own.parent.mkdir(exist_ok=True)
    own.write_text("precious")
    with pytest.raises(VortexError, match=r"was cut short, and since then 1 file of rooms changed"):
        datasets.listing(ws)
    own.rename(ws.root / "own.txt")
    assert {dataset.name for dataset in datasets.listing(ws)} == {"rooms", "hall"}


@pytest.mark.parametrize("note", ["garbage", "[]", '{"pointer": null}', '{"pointer": 1, "before": [], "after": {}}'])
def test_a_damaged_note_is_named_and_touches_nothing(two: tuple[Workspace, str, str], note: str) -> None:
    ws = two[0]
    before = contents(ws.data)
    journal(ws).write_text(note)
    with pytest.raises(VortexError, match=r"data-switch\.json: is not the note"):
        datasets.listing(ws)
    assert contents(ws.data) == before


def test_a_full_disk_puts_everything_back(two: tuple[Workspace, str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    from pipelines.data import switch

    ws, first, _ = two
    before, real = contents(ws.data), switch._copy
    calls = 0

    def copy(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setattr(switch, "_copy", copy)
    with pytest.raises(VortexError, match="no space left"):
        checkout(ws, first)
    assert contents(ws.data) == before and not journal(ws).exists()
