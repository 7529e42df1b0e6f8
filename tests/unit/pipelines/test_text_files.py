"""Whatever editor a person used: a byte order mark and line ends of another system change nothing in what a file says."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from core.files import read_text_of_user, sha256_file
from pipelines import workspace as workspaces
from pipelines.data import datasets
from pipelines.data.pointer import data_hash
from pipelines.ingest import cameras
from pipelines.recipes import recipe
from pipelines.workspace import Workspace
from tests.unit.pipelines import tiny_sets
from tests.unit.pipelines.tiny_sets import row
from validation.manifest import load_manifest
from validation.policies import FILE, load_policies
from validation.waivers import load_waivers

Spelling = Callable[[Path], None]


def bom(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def crlf(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def both(path: Path) -> None:
    crlf(path)
    bom(path)


def utf_16(path: Path) -> None:
    path.write_bytes(path.read_text(encoding="utf-8").replace("\n", "\r\n").encode("utf-16"))


anyhow = pytest.mark.parametrize("spell", [bom, crlf, both, utf_16], ids=lambda spell: spell.__name__)


@anyhow
def test_the_text_is_what_was_written(tmp_path: Path, spell: Spelling) -> None:
    path = tmp_path / "notes"
    path.write_text("one\nzwei über\n\n", encoding="utf-8")
    spell(path)
    assert read_text_of_user(path) == "one\nzwei über\n\n"


@anyhow
def test_settings_of_a_workspace(workspace: Workspace, spell: Spelling) -> None:
    spell(workspace.root / "vortex.toml")
    assert workspaces.load(workspace.root).config == workspace.config
    assert set(workspace.add_domain("cellar", "indoor").config.domains) == {"rooms", "corridor", "cellar"}


@anyhow
def test_a_recipe(tmp_path: Path, spell: Spelling) -> None:
    shutil.copyfile(recipe.FOLDER / "v6.yaml", tmp_path / "mine.yaml")
    spell(tmp_path / "mine.yaml")
    assert recipe.load(str(tmp_path / "mine.yaml")) == recipe.load("v6")


@anyhow
def test_policies_and_waivers(tmp_path: Path, spell: Spelling) -> None:
    shutil.copyfile(FILE, tmp_path / "policies.yaml")
    spell(tmp_path / "policies.yaml")
    assert load_policies(tmp_path / "policies.yaml").digest == load_policies().digest
    path = tmp_path / "waivers.yaml"
    path.write_text("- dataset: hall\n  check: near-duplicates\n  reason: they stand still\n  owner: ada\n  expires: 2026-06-01\n")
    plain = load_waivers(path, ("near-duplicates",), date(2026, 5, 1))
    spell(path)
    assert load_waivers(path, ("near-duplicates",), date(2026, 5, 1)) == plain and len(plain) == 1


@anyhow
def test_a_camera(tmp_path: Path, spell: Spelling) -> None:
    files = {
        "K.txt": "500.0 0 160\n0 500 120\n0 0 1\n",
        "camera.json": json.dumps({"fx": 500, "fy": 500, "cx": 160, "cy": 120}, indent=1),
        "camera.yaml": "fx: 500.0\nfy: 500.0\ncx: 160\ncy: 120\n",
    }
    for name, text in files.items():
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text(text)
        spell(folder / name)
        faults: list[str] = []
        camera = cameras.find_camera(folder, faults)
        assert camera and (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 500, 160, 120) and not faults


@anyhow
def test_a_card_and_a_pointer(workspace: Workspace, spell: Spelling) -> None:
    tiny_sets.publish(workspace, "rooms", {"a": row("a")})
    card, hash_ = datasets.find(workspace, "rooms").card, data_hash(workspace)
    spell(workspace.data / "rooms" / "dataset.json")
    spell(workspace.root / "data.dvc")
    assert datasets.find(workspace, "rooms").card == card and data_hash(workspace) == hash_


@pytest.mark.parametrize("spell", [bom, crlf, both], ids=lambda spell: spell.__name__)
def test_a_manifest_keeps_the_digest_of_its_bytes(workspace: Workspace, tmp_path: Path, spell: Spelling) -> None:
    tiny_sets.publish(workspace, "rooms", {name: row(name) for name in "abc"})
    folder = shutil.copytree(workspace.data / "rooms", tmp_path / "rooms")
    plain = datasets.resolve(workspace, name_or_manifest=str(folder))
    frames, bytes_ = load_manifest(folder / "manifest.jsonl"), sha256_file(folder / "manifest.jsonl")
    spell(folder / "manifest.jsonl")
    assert load_manifest(folder / "manifest.jsonl") == frames and len(frames) == 3
    assert sha256_file(folder / "manifest.jsonl") != bytes_
    assert datasets.resolve(workspace, name_or_manifest=str(folder)).digest != plain.digest
