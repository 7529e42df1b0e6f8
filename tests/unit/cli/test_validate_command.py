"""`vortex validate` as a shell, a commit hook, a workflow and a read-only machine call it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner, Result

from core import strict_yaml
from core.errors import GateRefused, UsageError, VortexError
from pipelines.data.datasets import DatasetCard, new_dataset
from pipelines.workspace import Workspace, load
from tests.unit.validation.frame_sets import FrameSet
from validation.manifest import ManifestError, write_manifest
from vortex_cli import console
from vortex_cli.app import register
from vortex_cli.commands.validate import validate as command

ROOT = Path(__file__).parents[3]
VORTEX = f"{shlex.quote(sys.executable)} -m vortex_cli.main"
WHO = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


@pytest.fixture(autouse=True)
def _session() -> Iterator[None]:
    saved = console.Session(**vars(console.session))
    yield
    console.session.restore(saved)


@pytest.fixture
def sets(workspace: Workspace) -> Workspace:
    """A workspace with a good set and one whose teacher speaks in half metres, published without DVC's part in it."""
    workspace.add_domain("kitchen", "room")
    for name in ("good", "half"):
        frames = FrameSet(workspace.data / name).build()
        if name == "half":
            frames.scale_teacher(0.5)
        write_manifest(frames.root / "manifest.jsonl", frames.frames)
        card = DatasetCard(name=name, domain="kitchen", kind="room", format="synthetic")
        (frames.root / "dataset.json").write_text(card.model_dump_json())
    return load(workspace.root)


def run(ws: Workspace, *words: str) -> Result:
    app = typer.Typer()
    register(app, command, "Data")
    return CliRunner().invoke(app, [*words, "--workspace", str(ws.root)])


def shell(line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a line as a person would; `vortex` is this checkout's."""
    environment = {**os.environ, **WHO, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1", **more}
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_all_judges_every_set_and_says_no_to_one(sets: Workspace, tmp_path: Path) -> None:
    junit = tmp_path / "reports" / "gate.xml"
    result = run(sets, "--all", "--json", "--junit", str(junit))
    assert isinstance(result.exception, GateRefused) and result.exception.exit_code == 3
    assert result.exception.message.startswith("half: ") and "teacher-to-sensor" in result.exception.message
    good, half = json.loads(result.stdout)
    assert (good["name"], good["passed"], half["name"], half["passed"]) == ("good", True, "half", False)
    asked = {"name", "domain", "digest", "kind", "use", "frames", "labelled", "splits", "checks", "drift", "reference", "waivers"}
    assert good.keys() >= asked | {"passed", "seconds", "read", "manifest", "statistics", "policies", "version", "unkept", "page"}
    assert good["checks"][0].keys() == {"name", "asked", "found", "passed", "frames", "reasons", "waiver"}
    assert [Path(each["page"]).name for each in (good, half)] == ["good.html", "half.html"]
    assert all(Path(each["page"]).is_file() for each in (good, half))
    suites = ElementTree.parse(junit).getroot().findall("testsuite")
    assert [(suite.get("name"), suite.get("failures")) for suite in suites] == [
        ("vortex validate good", "0"),
        ("vortex validate half", "1"),
    ]

    # The second time nothing is read: the verdict is the same, in the words that GitHub shows.
    lines = run(sets, "good", "half", "--format", "github").stdout.splitlines()
    assert lines[0].startswith("::notice file=data/good/manifest.jsonl,") and "all" in lines[0]
    assert len(lines) == 6 and all(line.startswith("::error file=data/half/manifest.jsonl,line=") for line in lines[1:])

    table = run(sets, "half")
    assert isinstance(table.exception, GateRefused)
    shown = table.output
    assert shown.index("teacher-to-sensor") < shown.index("splits-present") and "0 frames read, 12 known from before" in shown


def test_two_sets_of_one_name_get_a_page_each(sets: Workspace, tmp_path: Path) -> None:
    paths = []
    for place in ("a", "b"):
        frames = FrameSet(tmp_path / place / "set").build()
        write_manifest(frames.root / "manifest.jsonl", frames.frames[::-1] if place == "b" else frames.frames)
        paths.append(str(frames.root / "manifest.jsonl"))
    pages = [Path(each["page"]) for each in json.loads(run(sets, *paths, "--json").stdout)]
    assert pages[0].name == "set.html" and pages[1].name.startswith("set-") and all(page.is_file() for page in pages)


def test_nothing_or_too_much_named_is_a_usage_error(workspace: Workspace) -> None:
    for words in ((), ("rooms", "--all")):
        result = run(workspace, *words)
        assert isinstance(result.exception, UsageError) and result.exception.exit_code == 2


def test_an_empty_workspace_has_nothing_to_judge(workspace: Workspace) -> None:
    result = run(workspace, "--all", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == []


def test_one_set_that_cannot_be_judged_hides_no_other(sets: Workspace) -> None:
    result = run(sets, "good", "attic")
    assert isinstance(result.exception, VortexError) and "attic" in result.exception.message
    assert "good, judged as room: passed" in result.output


def test_rows_only_refuses_a_broken_manifest_without_anything_heavy(sets: Workspace) -> None:
    broken = sets.data / "half" / "manifest.jsonl"
    broken.write_text(broken.read_text() + '{"id": NaN}\n')
    good = sets.data / "good" / "manifest.jsonl"
    (sets.data / "good" / "rgb" / "kitchen-000000.png").unlink()
    result = run(sets, str(good), "--rows-only", "--json")
    assert result.exit_code == 0, "rows alone are asked, no frame"
    assert json.loads(result.stdout) == [{"manifest": str(good), "frames": 12}]
    assert isinstance(run(sets, "good", str(broken), "--rows-only").exception, ManifestError)

    heavy = ["great_expectations", "pandas", "cv2", "torch", "pyarrow", "numpy", "sqlalchemy", "dvc"]
    code = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print([name for name in {heavy} if name in sys.modules]))\n"
        "from vortex_cli.main import main\nmain()\n"
    )
    words = [sys.executable, "-c", code, "validate", "--rows-only", str(broken), "--workspace", str(sets.root)]
    said = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    assert said.returncode == ManifestError.exit_code != 0
    assert said.stdout.strip() == "[]" and "line 13" in said.stderr


def test_the_commit_hook_takes_a_good_manifest_and_refuses_a_broken_one(sets: Workspace) -> None:
    """The project's own file, run by the real pre-commit; only the path of `vortex` is this test's."""
    config = strict_yaml.parse((ROOT / ".pre-commit-config.yaml").read_text())
    offered = strict_yaml.parse((ROOT / ".pre-commit-hooks.yaml").read_text())
    hooks = config["repos"][0]["hooks"]
    assert [(hook["id"], hook["entry"].removeprefix(".venv/bin/")) for hook in hooks] == [(hook["id"], hook["entry"]) for hook in offered]
    for hook in hooks:
        hook["entry"] = hook["entry"].replace(".venv/bin/vortex", VORTEX)
    (sets.root / ".pre-commit-config.yaml").write_text(json.dumps(config))
    (sets.root / ".gitignore").write_text("/build/\n")
    manifest = sets.root / "listing" / "manifest.jsonl"
    manifest.parent.mkdir()
    manifest.write_bytes((sets.data / "good" / "manifest.jsonl").read_bytes())
    home = str(sets.root.parent / "pre-commit")
    check = f"git add -A && {shlex.quote(sys.executable)} -m pre_commit run"
    passed = shell(f"git init -q . && {check} vortex-manifest", sets.root, PRE_COMMIT_HOME=home)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Passed" in passed.stdout
    manifest.write_text(manifest.read_text().replace('"split":', '"split": "val", "split":', 1))
    refused = shell(f"{check} vortex-manifest", sets.root, PRE_COMMIT_HOME=home)
    assert refused.returncode == 1 and "Failed" in refused.stdout and "line 1" in refused.stdout, refused.stdout + refused.stderr
    gate = shell(f"{check} vortex-data", sets.root, PRE_COMMIT_HOME=home)
    assert gate.returncode == 1 and "exit code: 3" in gate.stdout and "teacher-to-sensor" in gate.stdout, gate.stdout + gate.stderr


def test_the_workflow_runs_as_it_is_written(workspace: Workspace, tmp_path: Path) -> None:
    """Its `vortex` lines, in order, in a fresh clone of a workspace whose frames lie in a remote."""
    flow = strict_yaml.parse((ROOT / ".github/workflows/data-gate.yml").read_text())
    steps = flow["jobs"]["data-gate"]["steps"]
    lines = [step["run"].replace(".venv/bin/vortex", VORTEX) for step in steps if "vortex" in step.get("run", "")]
    assert len(lines) == 2 and "data pull" in lines[0] and "validate --all" in lines[1]
    kept = next(step["with"]["path"].split() for step in steps if "upload-artifact" in step.get("uses", ""))
    frames = FrameSet(tmp_path / "frames").build()
    workspace.add_domain("kitchen", "room")
    ws = load(workspace.root)
    with new_dataset(ws, "good", DatasetCard(name="good", domain="kitchen", kind="room", format="synthetic")) as folder:
        for path in frames.root.rglob("*.*"):
            (folder / path.relative_to(frames.root)).parent.mkdir(parents=True, exist_ok=True)
            (folder / path.relative_to(frames.root)).write_bytes(path.read_bytes())
        write_manifest(folder / "manifest.jsonl", frames.frames)
    remote = f"{shlex.quote(sys.executable)} -m dvc remote add --force --default store {shlex.quote(str(tmp_path / 'store'))}"
    pushed = shell(f"{remote} && {VORTEX} data push", ws.root)
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    clone = tmp_path / "clone"
    copied = shell(f"git init -q . ; git add -A && git commit -qm frames && git clone -q . {shlex.quote(str(clone))}", ws.root)
    assert copied.returncode == 0 and not (clone / "data" / "good").exists(), copied.stderr
    for line in lines:
        done = shell(line, clone)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert done.stdout.startswith("::notice file=data/good/manifest.jsonl,line=1::good: all")
    assert all(list(clone.glob(pattern)) for pattern in kept)


def test_a_read_only_workspace_gets_its_verdict_and_is_told_that_it_was_not_kept(sets: Workspace, tmp_path: Path) -> None:
    """In a mount namespace of its own: root may write anywhere else, whatever the permissions say."""
    place = tmp_path / "mounted"
    place.mkdir()
    mount = f"mount --bind {shlex.quote(str(sets.root))} {place} && mount -o remount,bind,ro {place}"
    tried = subprocess.run(["unshare", "--map-root-user", "--mount", "sh", "-c", mount], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount can be made here: {tried.stderr.strip()}")
    inner = f"{mount} && ! touch {place}/x 2>/dev/null && {VORTEX} validate good half --workspace {place}"
    done = shell(f"unshare --map-root-user --mount sh -c {shlex.quote(inner)}", ROOT)
    assert done.returncode == 3, done.stdout + done.stderr
    for name, verdict in (("good", "passed"), ("half", "refused")):
        assert f"{name}, judged as room: {verdict}" in done.stdout
        assert f"the answer on {name} could not be kept, so training will ask for it again" in done.stderr
        assert "Read-only file system" in done.stderr and f"no page of {name}" in done.stderr
    assert not (sets.build / "validation").exists()
