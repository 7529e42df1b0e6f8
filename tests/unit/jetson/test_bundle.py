"""A bundle: its manifest, and a folder that is exactly what the manifest says."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from vortex_jetson.errors import BadBundle, BadDocument
from vortex_jetson.formats.bundle import Model, digest, dump, parse, verify

from tests.unit.jetson.bundles import PLAIN, bundle_of, plain_bundle

BUNDLE = bundle_of(PLAIN)


def test_a_manifest_is_read_as_it_was_written_and_its_digest_names_it() -> None:
    content = dump(BUNDLE)
    assert parse(content) == BUNDLE
    assert dump(parse(content)) == content
    assert BUNDLE.total_bytes == sum(map(len, PLAIN.values()))
    assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_device_takes_the_preferred_model_of_its_target() -> None:
    models = (Model("models/v9-fp32.onnx", "fp32", "jetson", False), Model("models/v9-fp16.onnx", "fp16", "jetson", True))
    bundle = replace(BUNDLE, models=models)
    assert bundle.model_for("jetson") == models[1]
    assert replace(BUNDLE, models=models[:1]).model_for("jetson") == models[0]
    assert bundle.model_for("host") is None


def at(document: Any, *way: Any) -> Any:
    for step in way:
        document = document[step]
    return document


@pytest.mark.parametrize(
    ("way", "value", "words"),
    [
        (("format",), 2, "install a newer vortex-jetson"),
        (("version",), "../v9", "version is"),
        (("created_at",), "yesterday", "created_at is"),
        (("size",), [240], "size is"),
        (("size",), [240, 0], "size is"),
        (("size",), [240, True], "size is"),
        (("models",), [], "models is"),
        (("models", 0, "file"), "models/none.onnx", "models/none.onnx is not among its files"),
        (("models", 0, "preferred"), 1, "preferred is 1"),
        (("models", 0, "target"), "jetson", "two models are preferred for jetson"),
        (("models", 0, "file"), "models/v9-fp16.onnx", "one file is two models"),
        (("classes",), ["floor", "floor"], "classes is"),
        (("classes_trained",), ["ceiling"], "class ceiling is not among its classes"),
        (("preprocessing", "vortex.range"), "a\x1b[2J", "vortex.range is"),
        (("preprocessing", "\x1b"), "a", "is no key"),
        (("fusion", "farthest_m"), 0.01, "more than nearest_m"),
        (("inflation", "glass"), -0.1, "glass is -0.1"),
        (("inflation", "glass"), 1e400, "no JSON"),
        (("health", "frames"), [], "frames is"),
        (("health", "frames", 0, "rgb"), "card.txt", "card.txt is not among its files"),
        (("health", "frames", 0, "rgb"), "/etc/passwd", "rgb is"),
        (("health", "bounds", "class_agreement"), 1.5, "class_agreement is 1.5"),
        (("files", "card.md", "sha256"), "0", "sha256 is"),
        (("files", "card.md", "bytes"), 5 << 30, "bytes is"),
        (("files", "models"), {"sha256": "0" * 64, "bytes": 1}, "models is a file and a folder"),
        *(
            (("files", path), {"sha256": "0" * 64, "bytes": 1}, "is no path in a bundle")
            for path in ("../x", "/etc/passwd", "a//b", "a/../b", "a/b/c/d", ".x", "a/.x", "A", "a\\b", "a\0b", "a/b\n", "", "a/")
        ),
    ],
)
def test_what_is_off_in_a_manifest_is_named(way: tuple[Any, ...], value: object, words: str) -> None:
    document = json.loads(dump(BUNDLE))
    at(document, *way[:-1])[way[-1]] = value
    with pytest.raises(BadDocument) as error:
        parse(json.dumps(document).encode())
    assert words in f"{error.value.message} {error.value.hint}"


def flipped(folder: Path) -> None:
    content = bytearray((folder / "models/v9-fp32.onnx").read_bytes())
    content[3] ^= 1
    (folder / "models/v9-fp32.onnx").write_bytes(content)


def longer(folder: Path) -> None:
    with open(folder / "card.md", "ab") as stream:
        stream.write(b"\0" * 100_000)


def symlinked(folder: Path) -> None:
    shutil.move(folder / "card.md", folder.parent / "card.md")
    (folder / "card.md").symlink_to(folder.parent / "card.md")


def symlinked_folder(folder: Path) -> None:
    shutil.move(folder / "health", folder.parent / "health")
    (folder / "health").symlink_to(folder.parent / "health")


def swapped(folder: Path) -> None:
    (folder / "health/000.rgb.npy").rename(folder / "spare")
    (folder / "health/000.depth.npy").rename(folder / "health/000.rgb.npy")
    (folder / "spare").rename(folder / "health/000.depth.npy")


CHANGES: dict[str, Callable[[Path], object]] = {
    "flipped": flipped,
    "cut": lambda folder: (folder / "card.md").write_bytes(b"# v"),
    "longer": longer,
    "extra": lambda folder: (folder / "models/v10.onnx").write_bytes(b"another"),
    "extra folder": lambda folder: (folder / "empty").mkdir(),
    "missing": lambda folder: (folder / "card.md").unlink(),
    "renamed": lambda folder: (folder / "card.md").rename(folder / "card.txt"),
    "renamed in case": lambda folder: (folder / "card.md").rename(folder / "Card.md"),
    "swapped": swapped,
    "symlinked": symlinked,
    "symlinked folder": symlinked_folder,
    "a pipe": lambda folder: ((folder / "card.md").unlink(), os.mkfifo(folder / "card.md")),
    "a folder for a file": lambda folder: ((folder / "card.md").unlink(), (folder / "card.md").mkdir()),
    "no folder": lambda folder: shutil.rmtree(folder),
}


def test_a_folder_is_the_bundle_also_where_its_files_are_hard_links(tmp_path: Path) -> None:
    bundle = plain_bundle(tmp_path / "bundle")
    os.link(tmp_path / "bundle/card.md", tmp_path / "card.md")
    verify(tmp_path / "bundle", bundle)


@pytest.mark.parametrize("change", CHANGES)
def test_no_other_folder_passes_for_the_bundle(change: str, tmp_path: Path) -> None:
    bundle = plain_bundle(tmp_path / "bundle")
    CHANGES[change](tmp_path / "bundle")
    with pytest.raises(BadBundle):
        verify(tmp_path / "bundle", bundle)


def test_every_single_bit_matters(tmp_path: Path) -> None:
    bundle = plain_bundle(tmp_path / "bundle")
    path = tmp_path / "bundle/models/v9-fp16.onnx"
    content = path.read_bytes()
    accepted = 0
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            verify(tmp_path / "bundle", bundle)
            accepted += 1
        except BadBundle:
            continue
    assert accepted == 0
