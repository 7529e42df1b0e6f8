"""What the commands refuse before any work is done."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.errors import UsageError, VortexError
from core.files import locked
from pipelines.runs.listing import Run
from pipelines.workspace import Workspace
from vortex_cli import console
from vortex_cli.app import app
from vortex_cli.commands.evaluate import evaluate
from vortex_cli.commands.runs import _advice, _row


@pytest.fixture(autouse=True)
def _session(workspace: Workspace) -> Iterator[None]:
    saved = console.Session(**vars(console.session))
    console.session.workspace_dir = workspace.root
    yield
    console.session.restore(saved)


def vortex(ws: Workspace, *words: str) -> None:
    """Run a command line in this process; its error reaches the caller."""
    app([*words, "--workspace", str(ws.root)], standalone_mode=False)


# Said is said, also where it is the default.
@pytest.mark.parametrize("option", ["--workers 0", "--seed 0", "--device auto", "--allow-unvalidated", "--lr 0.0", "--set ema.decay=0.9"])
@pytest.mark.parametrize("command", ["train", "submit"])
def test_resume_takes_no_other_option(workspace: Workspace, command: str, option: str) -> None:
    with pytest.raises(UsageError, match="--resume continues a run as it was planned") as caught:
        vortex(workspace, command, "--resume", "a-run", *option.split())
    assert caught.value.hint == f"vortex {command} --resume a-run"


def test_resume_of_nothing_is_not_a_new_training(workspace: Workspace) -> None:
    with pytest.raises(VortexError, match="unknown run ''"):
        vortex(workspace, "train", "--resume", "")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"split": "gap"}, "unknown split 'gap', allowed: val, test, train"),
        ({"against": "v6"}, "the version itself"),
        ({"against": "v99"}, "'v99' is not registered"),
        ({"metric": ["silog"]}, "'silog' cannot be judged frame by frame"),
    ],
)
def test_evaluate_measures_nothing_that_it_could_not_finish(options: dict[str, str], told: str) -> None:
    with pytest.raises(VortexError, match=told):
        evaluate("v6", **options)  # type: ignore[arg-type]


def test_a_wall_time_that_is_none_is_refused_before_anything_is_planned(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="--walltime 'soon' is not a time"):
        vortex(workspace, "train", "v6", "--walltime", "soon")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_run_that_is_at_work_is_not_planned_again(workspace: Workspace, dry_run: bool, capsys: pytest.CaptureFixture[str]) -> None:
    folder = workspace.build / "runs" / "one"
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    with locked(folder / ".lock"), pytest.raises(UsageError, match="one is training already"):
        vortex(workspace, "train", "--resume", "one", *(["--dry-run"] if dry_run else []))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("job", "command"), [(None, "train"), ("7", "submit")])
def test_a_broken_run_goes_on_where_it_was(job: str | None, command: str) -> None:
    run = Run("one", "v6", "dead", "train", 1, 1, 9, None, None, job, job and "PENDING", "PartitionConfig" if job else "", None, 0.0)
    assert _advice([run]) == f"go on with: vortex {command} --resume one"
    assert _row(run)[4] == ("7 PENDING (PartitionConfig)" if job else None)


@pytest.mark.parametrize(("faults", "lines"), [(50, 50), (30_000, 51)])
def test_of_many_faults_a_person_reads_fifty(faults: int, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    console.fail(VortexError("recipe.yaml: faults", "mend it", [f"key{number}: unknown" for number in range(faults)]))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("  - ")]
    assert len(told) == lines and told[49] == "  - key49: unknown"
    assert told[50:] == ["  - and 29,950 more"][: lines - 50]
