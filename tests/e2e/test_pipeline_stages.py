"""dvc.yaml and a fresh clone: stages that exist, run, are skipped, run again; and no command that wants a remote."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core import strict_yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(folder), "DVC_NO_ANALYTICS": "1", "COLUMNS": "140"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository as a commit of the files that are here now would have it."""
    folder = tmp_path_factory.mktemp("origin")
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("docs/pictures"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    for words in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all"]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


@pytest.fixture
def clone(origin: Path, tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "-q", str(origin), str(tmp_path / "clone")], check=True)
    return tmp_path / "clone"


def stages() -> dict[str, Any]:
    found: dict[str, Any] = strict_yaml.parse((ROOT / "dvc.yaml").read_text())
    return found


def test_every_vortex_line_of_dvc_yaml_is_a_command_with_these_options() -> None:
    import typer

    from vortex_cli.app import app

    group: Any = typer.main.get_command(app)
    names = list(stages()["stages"])
    assert names == ["synthesise", "label", "validate", "pack", "train", "evaluate", "export"]
    lines = [line for stage in stages()["stages"].values() for line in (stage.get("do") or stage)["cmd"] if line.startswith("vortex ")]
    assert len(lines) > 9
    numbers = {
        "${item.frames}": "20",
        "${item.seed}": "1",
        "${item.labelled}": "0.5",
        "${epochs}": "1",
        "${size}": "64x96",
        "${key}": "rooms",
    }
    for line in lines:
        for name, value in numbers.items():
            line = line.replace(name, value)
        command, words = group, shlex.split(line)[1:]
        while hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command, words = command.commands[words[0]], words[1:]
        with command.make_context("vortex", words):
            pass


@pytest.mark.endurance
def test_a_fresh_clone_wants_no_remote(clone: Path) -> None:
    good = ["data list", "data push", "data pull", "data diff HEAD", "data checkout HEAD"]
    bad = ["validate rooms", "train v6 --domain rooms", "data show rooms"]
    code = """
import sys
from core.errors import VortexError
from vortex_cli.app import app
for line in sys.argv[1:]:
    try:
        app(line.split(), standalone_mode=False)
        print(f"{line}: done")
    except VortexError as error:
        print(f"{line}: {error.exit_code}: {error.message}: {error.hint}")
"""
    said = run(clone, sys.executable, "-c", code, *good, *bad)
    assert said.returncode == 0, said.stderr
    for line in good:
        assert f"{line}: done" in said.stdout
    for line in bad:
        (found,) = [text for text in said.stdout.splitlines() if text.startswith(f"{line}: 1: ")]
        assert "vortex data" in found and "remote" not in found
    code = "import sys; from dvc.cli import main; print([main(words.split()) for words in sys.argv[1:]])"
    words = ["pull", "status -q data.dvc", "push", "fetch", "checkout", "status -c", "repro data.dvc", "data status", "dag"]
    answer = run(clone, sys.executable, "-c", code, *words)
    assert answer.stdout.splitlines()[-1] == str([0] * len(words)), answer.stdout + answer.stderr
    assert not run(clone, "git", "status", "--porcelain").stdout


@pytest.mark.endurance
def test_repro_runs_what_is_new_or_changed_and_nothing_else(clone: Path) -> None:
    path = clone / "dvc.yaml"
    small = (
        path.read_text().replace("frames: 240", "frames: 12").replace("frames: 200", "frames: 12").replace("size: 96x128", "size: 48x64")
    )
    path.write_text(small)
    receipts = clone / "build" / "pipeline" / "receipts"

    def repro(*targets: str) -> str:
        answer = run(clone, "dvc", "repro", *targets)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    first = repro("synthesise")
    assert first.count("Running stage") == 2
    made = {name: (receipts / f"synthesise-{name}.json").read_bytes() for name in ("rooms", "corridor")}
    assert json.loads(made["rooms"])["rooms"]["frames"] == {"train": 8, "gap": 2, "val": 2}
    assert "Running stage" not in repro("synthesise")
    # A seed: its stage alone, and what follows from it.
    path.write_text(small.replace("frames: 12, seed: 2", "frames: 12, seed: 3"))
    again = repro("synthesise")
    assert again.count("Running stage") == 1 and "synthesise@corridor" in again
    assert (receipts / "synthesise-rooms.json").read_bytes() == made["rooms"]
    assert (receipts / "synthesise-corridor.json").read_bytes() != made["corridor"]
    # The same bytes from nothing.
    path.write_text(small)
    shutil.rmtree(clone / "build")
    repro("synthesise@rooms")
    assert (receipts / "synthesise-rooms.json").read_bytes() == made["rooms"]
    # A stage that fails leaves no receipt, and what needs it does not run.
    path.write_text(small.replace("frames: 12, seed: 1", "frames: 11, seed: 1"))
    failed = run(clone, "dvc", "repro", "validate@rooms")
    assert failed.returncode != 0 and "11 frames are too few" in failed.stderr and "vortex validate" not in failed.stdout
    assert not (receipts / "synthesise-rooms.json").exists()
    assert not run(clone, "git", "status", "--porcelain", "data.dvc", "mlruns", "vortex.toml").stdout
