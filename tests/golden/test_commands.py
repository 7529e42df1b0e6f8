"""Every command prints the same JSON keys, takes the same options, and leaves the same files behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.golden.conftest import TOUR, Tour
from tests.golden.golden import check, dumped, listing, nameless, shape, vortex
from tests.golden.workspaces import OLD_JOB, OLD_RUN, RUNS, load_runs
from tests.made_once import PATIENCE
from vortex_cli.app import app

pytestmark = pytest.mark.timeout(PATIENCE)
ELSEWHERE = {"init", "rollback", "demo", "replay", "restore", "ui"}
"""Before the tour, upon the old ledger, two that take minutes and are made of the others, one that wants an empty registry, and a server."""


def commands(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every command with its name; typer brings a click of its own, so its classes are not asked for."""
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def every_command() -> dict[str, Any]:
    return dict(commands(typer.main.get_command(app)))


def test_every_command_takes_the_options_it_took() -> None:
    lines = []
    for name, command in every_command().items():
        names = sorted(word for option in command.params for word in (*option.opts, *option.secondary_opts) if word.startswith("-"))
        arguments = [option.metavar for option in command.params if option.param_type_name == "argument"]
        lines.append(" ".join(["vortex", name, *arguments, *names]))
    check("options.txt", "\n".join(lines) + "\n")


def test_no_command_is_left_out() -> None:
    lines = TOUR.strip().splitlines()
    left_out = {name for name in every_command() if not any(f"{line} ".startswith(f"{name} ") for line in lines)}
    assert left_out == ELSEWHERE


def test_every_command_prints_the_keys_that_it_printed(tour: Tour) -> None:
    logs = tour.printed["logs {run}"]
    printed = tour.printed | {"logs {run}": logs | {"log": [line for line in logs["log"] if lasting(line["event"])]}}
    check("json_shapes.json", dumped({line: shape(answer) for line, answer in printed.items()}))


def lasting(event: dict[str, Any]) -> bool:
    """Whether every such training has this event: how many steps are told depends on the machine's speed."""
    return event["kind"] != "step"


def test_a_workspace_holds_the_files_that_it_held(tour: Tour) -> None:
    """Names of all, and the keys of those that are JSON. Names that are the same but for a number, a time or a hash count once."""
    found: dict[str, list[Any]] = {}
    for entry in listing(tour.root):
        if entry.startswith((".dvc/", "remote/", "keys/", "publish/")):
            continue  # DVC's own, and what is named by keys that are new each time
        path = tour.root / entry
        name = re.sub(r"\d{3,}(?=\.\w+$)", "NUMBER", nameless(entry))
        values = found.setdefault(name, [])
        if path.suffix == ".jsonl":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            values += filter(lasting, lines) if path.name == "events.jsonl" else lines
        elif path.suffix == ".json":
            values.append(json.loads(path.read_text()))
    shapes, first = {}, dict[str, str]()
    for name, values in sorted(found.items()):
        made = shape(values)[0] if values else None
        same = first.setdefault(dumped(made), name) if isinstance(made, dict) else name
        shapes[name] = made if same == name else f"as {same}"
    check("files.json", dumped(shapes))


def test_a_run_leaves_the_files_that_the_old_one_left(tour: Tour) -> None:
    folder = tour.root / "build" / "runs" / tour.printed["train {tiny} --epochs 2"]["run"]
    # Since then a run keeps the fingerprints of the frames that it was trained on.
    assert sorted(listing(folder)) == sorted([*(RUNS / OLD_RUN / "files.txt").read_text().splitlines(), "fingerprints.npz"])


def test_a_plan_has_the_keys_that_the_old_one_has(tour: Tour) -> None:
    old = json.loads((RUNS / OLD_RUN / "plan.json").read_text())
    planned = tour.printed["train {tiny} --epochs 2 --dry-run"]
    written = tour.root / "build" / "runs" / tour.printed["train {tiny} --epochs 2"]["run"] / "plan.json"
    for data in (data for stage in old["stages"] for data in stage["data"]):
        data["state"] = "passed"  # what the data gate said; an old plan has only whether it passed
    assert shape(json.loads(written.read_text())) == shape(old)
    assert planned.pop("resumed") is False
    assert shape(planned) == shape(old)


def test_a_run_that_an_older_vortex_planned_is_trained(tour: Tour, tmp_path: Path) -> None:
    root = shutil.copytree(tour.root, tmp_path / "workspace", symlinks=True)
    planned = tour.printed["train {tiny} --epochs 2 --dry-run"]
    load_runs(root, planned["stages"][0]["data"][0]["digest"])
    start = Path("1-train", "start.safetensors")
    folder = root / "build" / "runs"
    shutil.copyfile(folder / tour.printed["submit {tiny} --epochs 1"]["run"] / start, folder / OLD_JOB / start)
    trained = vortex(f"train --resume {OLD_JOB} --json", root).json
    assert shape(trained) == shape(tour.printed["train {tiny} --epochs 2"])
    assert trained["run"] == OLD_JOB and trained["version"]["metrics"][0]["values"]["rmse"] > 0
    run = next(run for run in vortex("runs --json", root).json["runs"] if run["run"] == OLD_JOB)
    assert (run["state"], run["epoch"], run["version"]) == ("finished", 1, trained["version"]["name"])
