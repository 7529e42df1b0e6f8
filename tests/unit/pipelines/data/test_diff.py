"""What differs between two versions of data/, from listings and manifests alone."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace

import pytest

from core.errors import VortexError
from pipelines.data.diff import DatasetDiff, compare, diff
from pipelines.data.pointer import data_hash
from pipelines.workspace import Workspace
from tests.unit.pipelines import tiny_sets
from tests.unit.pipelines.tiny_sets import row

pytestmark = pytest.mark.usefixtures("others_garbage")


@pytest.fixture
def changed(workspace: Workspace) -> tuple[Workspace, str, str]:
    """One frame of each fate between two versions."""
    old = {name: row(name, masked=name in ("remasked", "unmasked")) for name in ("same", "gone", "remasked", "unmasked", "recoloured")}
    old |= {"moved": row("moved"), "moved_masked": row("moved_masked")}
    tiny_sets.publish(workspace, "rooms", old)
    first = data_hash(workspace)
    new = {name: frame for name, frame in old.items() if name != "gone"} | {"new": row("new"), "unmasked": row("unmasked")}
    new |= {"moved": row("moved", "val"), "moved_masked": row("moved_masked", "val", masked=True)}
    tiny_sets.publish(workspace, "rooms", new, {"masks/remasked.png": "another mask", "rgb/recoloured.png": "another picture"})
    second = data_hash(workspace)
    assert first and second
    return workspace, first, second


def test_every_fate_is_told_apart(changed: tuple[Workspace, str, str]) -> None:
    ws, first, second = changed
    found = diff(ws, first[:10], second)
    assert (found.a, found.b) == (first, second)
    assert found.datasets == {
        "rooms": DatasetDiff(
            added=["new"],
            removed=["gone"],
            relabelled=["remasked", "unmasked", "moved_masked"],
            changed=["recoloured"],
            moved=["moved", "moved_masked"],
            same=1,
        )
    }
    back = diff(ws, second, first).datasets["rooms"]
    assert (back.added, back.removed) == (["gone"], ["new"])
    assert diff(ws, second, "now").datasets == {}


def test_the_frames_need_not_be_anywhere(changed: tuple[Workspace, str, str]) -> None:
    ws, first, second = changed
    whole = diff(ws, first, second)
    shutil.rmtree(ws.data)
    cache = ws.root / ".dvc" / "cache" / "files" / "md5"
    for path in [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".dir" and b'"id"' not in path.read_bytes()]:
        path.unlink()
    assert diff(ws, first, second) == whole
    for path in [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".dir"]:
        path.unlink()
    with pytest.raises(VortexError, match="lacks the manifest of rooms"):
        diff(ws, first, second)
    shutil.rmtree(cache)
    with pytest.raises(VortexError, match="DVC's cache lacks the listing"):
        diff(ws, second, "now")


def test_now_is_what_is_there_versioned_or_not(changed: tuple[Workspace, str, str]) -> None:
    ws, _, second = changed
    (ws.data / "rooms" / "depth" / "same.png").write_text("edited by hand")
    assert diff(ws, second, "now").datasets["rooms"].changed == ["same"]
    shutil.rmtree(ws.data / "rooms")
    assert len(diff(ws, second, "now").datasets["rooms"].removed) == 7


def test_files_that_only_moved_are_no_change(changed: tuple[Workspace, str, str]) -> None:
    old = {"a": row("a")}
    new = {"a": replace(old["a"], rgb="elsewhere/a.png")}
    before = {"rgb/a.png": "1", "depth/a.png": "2"}
    assert compare(old, new, before, {"elsewhere/a.png": "1", "depth/a.png": "2"}).same == 1
    assert compare(old, {"a": replace(old["a"], depth_unit="m")}, before, before).changed == ["a"]


def test_a_hundred_thousand_frames_take_seconds(workspace: Workspace) -> None:
    """Two generated listings: every tenth frame has another mask. The time is the process's own, so a busy machine does not matter."""
    import hashlib

    cache = workspace.root / ".dvc" / "cache" / "files" / "md5"

    def keep(content: bytes, suffix: str = "") -> str:
        md5 = hashlib.md5(content).hexdigest()
        path = cache / md5[:2] / f"{md5[2:]}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return md5

    names = [f"f{number:06d}" for number in range(100_000)]
    text = '{{"id": "{0}", "domain": "rooms", "split": "train", "sequence": "one", "camera": "kinect", "rgb": "rgb/{0}.jpg", '
    text += '"segmentation": "masks/{0}.png", "supervision": "full"}}'
    manifest = keep("".join(f"{text.format(name)}\n" for name in names).encode())
    hashes = []
    for version in (0, 1):
        entries = [{"md5": manifest, "relpath": "rooms/manifest.jsonl"}]
        for number, name in enumerate(names):
            entries.append({"md5": f"{number:032x}", "relpath": f"rooms/rgb/{name}.jpg"})
            entries.append({"md5": f"{number + (version if number % 10 == 0 else 0) * 10**9:032x}", "relpath": f"rooms/masks/{name}.png"})
        hashes.append(keep(json.dumps(entries).encode(), ".dir"))
    started = time.process_time()
    found = diff(workspace, *hashes).datasets["rooms"]
    assert time.process_time() - started < 12
    assert len(found.relabelled) == 10_000 and found.same == 90_000
