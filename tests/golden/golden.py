"""Golden files: what the command line and its files were before, which a change of the inside must leave as it is.

Where a behaviour changes on purpose, write the answers anew, read the difference, and commit it with the change:

    VORTEX_GOLDEN=write python -m pytest tests/golden
    git diff tests/golden

Writing never passes: each test that has written a file fails and names it. The old ledger and the old runs, of which the answers are
asked, are not written by this: see `make_old.py`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vortex_cli import console
from vortex_cli.app import app

HERE = Path(__file__).parent
WIDTH = 160
"""Characters of a line in a golden JSON file."""
ANY = "any of"
"""Key of a shape that stands for several."""
PASSPHRASE = ("VORTEX_ROOT_PASSPHRASE", "a stable passphrase")
SLURM = {
    "scontrol": "PartitionName=short AllowGroups=ALL Default=YES DefaultTime=NONE MaxTime=00:30:00 Nodes=one State=UP",
    "sbatch": "Submitted batch job 7",
    "squeue": "7|PENDING|Nodes required for job are DOWN",
    "srun": "",
}
"""What the commands of a cluster say whose only node is down: a job can be submitted there, and waits."""


def check(name: str, text: str) -> None:
    """Fail, showing the difference, unless `text` is what the golden file holds."""
    path = HERE / name
    if os.environ.get("VORTEX_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        pytest.fail(f"{path} was written anew: read what git diff says of it, and run without VORTEX_GOLDEN", pytrace=False)
    lines = list(difflib.unified_diff(path.read_text().splitlines(), text.splitlines(), "golden", "now", lineterm="", n=4))
    if lines:
        more = [f"… and {len(lines) - 200} more lines"] if len(lines) > 200 else []
        pytest.fail("\n".join([f"{path} no longer holds:", *lines[:200], *more]), pytrace=False)


def dumped(value: object) -> str:
    """The text of a golden JSON file: what fits into a line stands in one. The order of keys is kept, a person reads it too."""
    return _dumped(value, "") + "\n"


def _dumped(value: object, indent: str) -> str:
    text = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(text) <= WIDTH or not isinstance(value, (dict, list)):
        return text
    if isinstance(value, dict):
        lines = [f"{indent} {json.dumps(key, ensure_ascii=False)}: {_dumped(item, f'{indent} ')}" for key, item in value.items()]
    else:
        lines = [f"{indent} {_dumped(item, f'{indent} ')}" for item in value]
    first, last = ("{", "}") if isinstance(value, dict) else ("[", "]")
    return f"{first}\n" + ",\n".join(lines) + f"\n{indent}{last}"


@dataclass(frozen=True)
class Answer:
    """What a command ended with."""

    exit_code: int
    stdout: str

    @property
    def json(self) -> Any:
        """The one JSON document that it printed."""
        return json.loads(self.stdout)


def vortex(line: str, root: Path | None = None, *, slurm: bool = False) -> Answer:
    """Run `vortex LINE` in the workspace at `root`, as the shell would, on a terminal of 120 columns in UTC.

    An error of the command is raised; a gate that says no is an answer. With `slurm`, the commands of a cluster are there.
    """
    with _environment(root, slurm), _session():
        words = [*line.split(), *([] if root is None else ["--workspace", str(root)])]
        result = CliRunner().invoke(app, words)
    code = getattr(result.exception, "exit_code", result.exit_code)
    if result.exception is not None and not isinstance(result.exception, SystemExit) and code != 3:
        raise AssertionError(f"vortex {line}: {result.exception!r}") from result.exception
    return Answer(code, result.stdout)


@contextmanager
def _environment(root: Path | None, slurm: bool) -> Iterator[None]:
    """The same person, place and time zone on every machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("COLUMNS", "120"), ("TZ", "UTC"), ("VORTEX_ACTOR", "Ada <ada@example.org>"), PASSPHRASE):
            patch.setenv(name, value)
        if root is not None:
            patch.setenv("GIT_CEILING_DIRECTORIES", str(root.parent))
        if slurm:
            assert root is not None
            patch.setenv("PATH", f"{_slurm(root.parent / 'slurm')}:{os.environ['PATH']}")
        time.tzset()
        yield
    time.tzset()


def _slurm(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for name, said in SLURM.items():
        (folder / name).write_text(f"#!/bin/sh\necho '{said}'\n")
        (folder / name).chmod(0o755)
    return folder


@contextmanager
def _session() -> Iterator[None]:
    """Leave the options of the command line as they were: other tests print through them."""
    before = dataclasses.replace(console.session)
    try:
        yield
    finally:
        console.session.restore(before)


def shape(value: object) -> Any:
    """What a JSON value is made of: an object's keys with the shapes behind them, a list's elements as one shape, else the type's name.

    A list of texts is as an empty one: whether a command has a remark may depend on the machine's speed. A key that only some of a list's
    objects have ends in a question mark.
    """
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        shapes = [shape(item) for item in value if not isinstance(item, str)]
        return [functools.reduce(_union, shapes)] if shapes else []
    return {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}[type(value)]


def _union(one: Any, other: Any) -> Any:
    """The shape of what has one of two shapes."""
    parts = [part for side in (one, other) for part in (side[ANY] if isinstance(side, dict) and ANY in side else [side])]
    words = "|".join(sorted({word for part in parts if isinstance(part, str) for word in part.split("|")}))
    objects = [part for part in parts if isinstance(part, dict)]
    lists = [[part[0]] for part in parts if isinstance(part, list) and part]
    united: list[Any] = [words] if words else []
    united += [functools.reduce(_union_of_objects, objects)] if objects else []
    united += [functools.reduce(lambda a, b: [_union(a[0], b[0])], lists)] if lists else []
    united += [[]] if not lists and [] in parts else []
    return united[0] if len(united) == 1 else {ANY: united}


def _union_of_objects(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    united = {}
    for key in dict.fromkeys(key.rstrip("?") for key in (*one, *other)):
        sides = [side[name] for side in (one, other) for name in (key, f"{key}?") if name in side]
        united[key if key in one and key in other else f"{key}?"] = sides[0] if len(sides) == 1 else _union(*sides)
    return united


def nameless(text: str) -> str:
    """A path without what differs from run to run and from machine to machine: times, hashes, random names."""
    text = re.sub(r"\d{8}-\d{6}-[0-9a-f]{4}", "TIME", text)
    text = re.sub(r"(?<=[0-9a-f]{8})-[\w-]+-\d+-cores", "-MACHINE", text)
    return re.sub(r"(?<![0-9a-z])(?=[0-9a-f]*\d)[0-9a-f]{8,}(?![0-9a-z])", "HASH", text)


def listing(folder: Path) -> list[str]:
    """Every file below a folder, and every link with where it leads. Those that submitit makes for itself are left out."""
    paths = sorted(path for path in folder.rglob("*") if (path.is_symlink() or path.is_file()) and not path.name.startswith(".submission_"))
    return [f"{path.relative_to(folder)}{f' -> {os.readlink(path)}' if path.is_symlink() else ''}" for path in paths]
