"""A named pipe, a device, a socket or a folder is refused by name wherever a file is read: none is waited for."""

from __future__ import annotations

import datetime
import json
import os
import socket
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import strict_yaml
from core.errors import VortexError
from core.files import open_regular, read_regular, read_text_of_user, sha256_file
from models.tensors import read_metadata, read_pickle
from pipelines import workspace as workspaces
from pipelines.data import datasets
from pipelines.recipes import recipe
from pipelines.workspace import Workspace
from registry import signature
from validation import decode
from validation.headers import read_header
from validation.manifest import load_manifest
from validation.policies import load_policies
from validation.waivers import load_waivers

pytestmark = pytest.mark.usefixtures("others_garbage")


@pytest.fixture
def special(tmp_path: Path) -> dict[str, Path]:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(tmp_path)  # a socket's path may have 107 bytes
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    (tmp_path / "link").symlink_to(tmp_path / "pipe.yaml")
    names = {"pipe.yaml": "a named pipe", "folder": "a folder", "socket": "a socket", "link": "a named pipe"}
    return {**{kind: tmp_path / name for name, kind in names.items()}, "a device": Path("/dev/zero")}


READERS: dict[str, Callable[[Path], Any]] = {
    "text": read_text_of_user, "hash": sha256_file, "checkpoint": read_metadata, "pickle": read_pickle, "picture": decode.read_rgb,
    "depth": decode.read_stored_depth, "mask": decode.read_segmentation, "header": read_header, "manifest": load_manifest,
    "policies": load_policies, "waivers": lambda path: load_waivers(path, ("range",), datetime.date(2026, 11, 28)), "recipe": recipe.load, "key": signature.read,
}  # fmt: skip


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["a named pipe", "a device", "a socket", "a folder"])
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_it_at_once_and_says_what_it_is(reader: str, kind: str, special: dict[str, Path], tmp_path: Path) -> None:
    path = special[kind]
    if reader == "recipe":  # what is no .yaml is taken for a name
        path = tmp_path / "linked.yaml"
        path.symlink_to(special[kind])
    with pytest.raises((VortexError, OSError), match=f"{kind} is not a file"):
        READERS[reader](path)


def test_a_workspace_file_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "vortex.toml")
    with pytest.raises(VortexError, match="a named pipe is not a file"):
        workspaces.load(tmp_path)


def test_what_is_a_file_is_read_and_no_more_than_was_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"0123456789")
    with open_regular(tmp_path / "file") as stream:
        assert stream.read() == b"0123456789"
    assert read_regular(tmp_path / "file", 10) == b"0123456789"
    with pytest.raises(OSError, match="has more than 9 bytes"):
        read_regular(tmp_path / "file", 9)


def hostile_toml(keys: int) -> str:
    return "\n".join(f"key{number} = 1" for number in range(keys))


@pytest.mark.parametrize(
    "text", [hostile_toml(30_000), "[domains.x]\n" + hostile_toml(30_000), "".join(f"[d{n}]\n" for n in range(30_000))]
)
def test_thirty_thousand_unknown_keys_of_a_workspace_file_cost_little(text: str, tmp_path: Path) -> None:
    tomllib.loads(text)
    (tmp_path / "vortex.toml").write_text(text)
    started = time.process_time()
    with pytest.raises(VortexError) as caught:
        workspaces.load(tmp_path)
    assert time.process_time() - started < 2
    assert "30000 faults" in caught.value.message


@pytest.mark.parametrize("text", [
    "".join(f"key{number}: 1\n" for number in range(30_000)),
    "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*{'a' if not n else f'b{n - 1}'}, *{'a' if not n else f'b{n - 1}'}]\n" for n in range(60)),
    "[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 50_000, "a:\n" + "  b:\n" * 40_000, "&a " * 50_000, '"' + "\\x41" * 200_000 + '"',
    "!!python/object/apply:os.system ['true']", "<<: {a: 1}\n" * 20_000, "x" * 1_000_000 + ": 1", "'" * 300_001,
])  # fmt: skip
def test_a_hostile_yaml_costs_little(text: str) -> None:
    started = time.process_time()
    try:
        strict_yaml.parse(text)
    except ValueError as error:
        assert len(str(error)) < 400
    assert time.process_time() - started < 2


@pytest.mark.parametrize("row", [
    json.dumps({f"key{number}": 1 for number in range(30_000)}), '{"id": ' + "[" * 30_000, '{"id": ' + '{"a": ' * 30_000,
    "{" + ", ".join('"id": 1' for _ in range(30_000)) + "}", '{"id": ' + "9" * 60_000 + "}",
])  # fmt: skip
def test_a_hostile_row_of_a_manifest_costs_little(row: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text("\n".join([row] * 5))
    started = time.process_time()
    with pytest.raises(VortexError) as caught:
        load_manifest(tmp_path / "manifest.jsonl")
    assert time.process_time() - started < 2
    assert sum(map(len, caught.value.details)) < 100_000


def test_a_hostile_card_of_a_dataset_costs_little(workspace: Workspace) -> None:
    folder = workspace.data / "rooms"
    folder.mkdir()
    (folder / "manifest.jsonl").write_text("")
    (folder / "dataset.json").write_text(json.dumps({f"key{number}": 1 for number in range(30_000)}))
    started = time.process_time()
    with pytest.raises(VortexError) as caught:
        datasets.find(workspace, "rooms")
    assert time.process_time() - started < 2
    assert len(caught.value.message) < 1000
