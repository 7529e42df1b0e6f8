"""`vortex validate` from the command line to the record that training asks for."""

from __future__ import annotations

import datetime
import json
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from core.errors import GateRefused, VortexError
from pipelines.data import datasets
from pipelines.data.datasets import DataRef
from pipelines.validate import validation_report
from pipelines.validate.formats import github, junit
from pipelines.validate.gate_run import validate
from pipelines.validate.validation_report import passed, today, verdict
from pipelines.workspace import Workspace, load
from tests.unit.validation.frame_sets import SIZE, FrameSet, data_judgement
from validation.manifest import ManifestError, write_manifest
from vortex_cli.app import register
from vortex_cli.commands.validate import validate as command

ROOT = Path(__file__).parents[4]


@pytest.fixture
def frames(workspace: Workspace, tmp_path: Path) -> FrameSet:
    """An honest set of domain `kitchen`, which the workspace knows, with its manifest."""
    workspace.add_domain("kitchen", "room")
    made = FrameSet(tmp_path / "set").build()
    write_manifest(made.root / "manifest.jsonl", made.frames)
    return made


def reload(workspace: Workspace) -> Workspace:
    return load(workspace.root)


def resolved(workspace: Workspace, frames: FrameSet) -> DataRef:
    write_manifest(frames.root / "manifest.jsonl", frames.frames)
    return datasets.resolve(reload(workspace), name_or_manifest=str(frames.root / "manifest.jsonl"))


def run(workspace: Workspace, *words: str) -> Result:
    app = typer.Typer()
    register(app, command, "Know")
    return CliRunner().invoke(app, [*words, "--workspace", str(workspace.root)])


def test_the_record_answers_for_this_content_kind_and_policy_only(
    workspace: Workspace, frames: FrameSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = resolved(workspace, frames)
    assert passed(workspace, ref) is None
    report = validate(workspace, ref)
    assert report.passed and report.kind == "room" and report.frames == 12
    assert passed(workspace, ref) is True
    assert passed(workspace, replace(ref, digest="0" * 64)) is None
    assert passed(workspace, replace(ref, kind="corridor")) is None

    from validation import policies

    stricter = frames.root / "policies.yaml"
    stricter.write_text(policies.FILE.read_text().replace("most_share: 0.98", "most_share: 0.99"))
    monkeypatch.setattr(policies, "FILE", stricter)
    assert passed(workspace, ref) is None


def test_changed_bytes_are_not_validated_and_refused_ones_say_so(workspace: Workspace, frames: FrameSet) -> None:
    assert validate(workspace, resolved(workspace, frames)).passed
    frames.write(str(frames.frames[0].depth), np.zeros(SIZE, np.uint16))
    ref = resolved(workspace, frames)
    assert passed(workspace, ref) is None
    assert [check.name for check in validate(workspace, ref).failed] == ["depth-valid"]
    assert passed(workspace, ref) is False


def test_another_kind_for_once_lets_nothing_into_training(workspace: Workspace, frames: FrameSet) -> None:
    ref = resolved(workspace, frames)
    assert validate(workspace, ref, kind="indoor").passed
    assert passed(workspace, ref) is None
    with pytest.raises(VortexError, match="unknown kind"):
        validate(workspace, ref, kind="moon")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b"\xff", b'{"passed": true}'])
def test_a_damaged_record_is_no_answer(workspace: Workspace, frames: FrameSet, content: bytes) -> None:
    ref = resolved(workspace, frames)
    path = workspace.build / "validation" / f"{ref.digest}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert passed(workspace, ref) is None


def test_a_record_that_was_edited_is_no_answer(workspace: Workspace, frames: FrameSet) -> None:
    frames.write(str(frames.frames[0].depth), np.zeros(SIZE, np.uint16))
    ref = resolved(workspace, frames)
    validate(workspace, ref)
    assert passed(workspace, ref) is False
    path = workspace.build / "validation" / f"{ref.digest}.json"
    whole = path.read_text()
    record = json.loads(whole)
    assert {name: record[name] for name in ("digest", "kind", "passed")} == {"digest": ref.digest, "kind": "room", "passed": False}
    for edit in ({"passed": True}, {"passed": True, "checks": []}, {"seal": "0" * 64}):
        path.write_text(json.dumps(record | edit))
        assert passed(workspace, ref) is None
    path.write_text(json.dumps(dict(reversed(record.items()))))
    assert passed(workspace, ref) is False, "what it says is sealed, not how it is laid out"


def test_an_unchanged_set_is_not_read_again_and_of_a_changed_one_only_the_new_frames(workspace: Workspace, frames: FrameSet) -> None:
    first = validate(workspace, resolved(workspace, frames))
    again = validate(workspace, resolved(workspace, frames))
    assert (first.read, again.read) == (12, 0) and again.checks == first.checks
    frames.scale_teacher(0.5, 3)
    changed = validate(workspace, resolved(workspace, frames))
    assert changed.read == 1 and [check.name for check in changed.failed] == ["teacher-to-sensor"]
    frames.change_all(teacher_unit="relative")
    assert validate(workspace, resolved(workspace, frames)).read == 12
    Path(changed.statistics).write_bytes(b"PAR1")
    assert validate(workspace, resolved(workspace, frames)).read == 12


def test_in_a_copy_of_the_workspace_no_frame_is_read_again(workspace: Workspace, frames: FrameSet, tmp_path: Path) -> None:
    inside = Path("frames", "manifest.jsonl")
    shutil.copytree(frames.root, (workspace.root / inside).parent)
    assert validate(workspace, datasets.resolve(reload(workspace), name_or_manifest=str(workspace.root / inside))).read == 12
    copy = load(shutil.copytree(workspace.root, tmp_path / "copy"))
    assert validate(copy, datasets.resolve(copy, name_or_manifest=str(copy.root / inside))).read == 0


def test_a_set_for_evaluation_passes_for_evaluation_and_never_for_training(workspace: Workspace, frames: FrameSet) -> None:
    frames.change_all(split="test")
    ref = resolved(workspace, frames)
    report = validate(workspace, ref)
    assert report.passed and report.use == "evaluation" and report.splits == {"test": 12}
    assert passed(workspace, ref, use="evaluation") is True
    assert passed(workspace, ref) is False
    assert "for evaluation only" in run(workspace, str(ref.manifest)).output
    frames.change(0, split="gap")
    assert [check.name for check in validate(workspace, resolved(workspace, frames)).failed] == ["splits-present"]


def waive(workspace: Workspace, check: str, expires: datetime.date) -> None:
    lines = ["- dataset: outside:set", f"  check: {check}", "  reason: recorded with the lid on", "  owner: ada", f"  expires: {expires}"]
    (workspace.root / "waivers.yaml").write_text("\n".join(lines) + "\n")


def test_a_waived_failure_passes_and_says_so_until_the_waiver_ends(
    workspace: Workspace, frames: FrameSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames.write(str(frames.frames[0].depth), np.zeros(SIZE, np.uint16))
    ref = resolved(workspace, frames)
    assert not validate(workspace, ref).passed and passed(workspace, ref) is False
    end = today() + datetime.timedelta(10)
    waive(workspace, "depth-valid", end)
    report = validate(workspace, ref)
    assert report.passed and not report.failed and [check.name for check in report.waived] == ["depth-valid"]
    assert passed(workspace, ref) is True
    known = verdict(workspace, ref)
    assert known is not None and [one.owner for one in known.waivers] == ["ada"]
    said = run(workspace, str(ref.manifest), "--format", "github").stdout
    assert said.startswith("::warning") and "recorded with the lid on" in said
    monkeypatch.setattr(validation_report, "today", lambda: end + datetime.timedelta(1))
    assert passed(workspace, ref) is None and verdict(workspace, ref) is None
    monkeypatch.undo()
    assert passed(workspace, ref) is True
    (workspace.root / "waivers.yaml").unlink()
    assert passed(workspace, ref) is None


def test_an_expired_waiver_is_shown_and_a_faulty_one_refused(workspace: Workspace, frames: FrameSet) -> None:
    frames.write(str(frames.frames[0].depth), np.zeros(SIZE, np.uint16))
    ref = resolved(workspace, frames)
    waive(workspace, "depth-valid", today() - datetime.timedelta(1))
    report = validate(workspace, ref)
    assert not report.passed and [one.state for one in report.waivers] == ["expired"]
    waive(workspace, "units-metric", today())
    with pytest.raises(VortexError, match="cannot be waived"):
        validate(workspace, ref)


def test_later_sets_are_compared_with_the_reference_of_their_domain(workspace: Workspace, frames: FrameSet) -> None:
    ref = resolved(workspace, frames)
    report = validate(workspace, ref, as_reference=True)
    path = workspace.root / "references" / "kitchen.json"
    assert report.reference is not None and report.reference.path == str(path) and path.stat().st_size < 20_000
    assert passed(workspace, ref) is True
    assert {item.distance for item in validate(workspace, ref).drift} == {0.0}
    for index in range(12):
        frames.write(frames.frames[index].rgb, np.full((*SIZE, 3), 60 + index, np.uint8) + np.eye(*SIZE, dtype=np.uint8)[..., None] * 90)
    darker = validate(workspace, resolved(workspace, frames))
    assert (
        {"drift-brightness"}
        <= {check.name for check in darker.failed}
        <= {"drift-brightness", "drift-blur", "near-duplicates", "near-leaks"}
    )
    drift = next(item for item in darker.drift if item.name == "drift-brightness")
    assert len(drift.ours) == len(drift.theirs) == len(drift.edges) - 1 and drift.distance > drift.limit
    with pytest.raises(GateRefused, match="cannot be the reference of kitchen"):
        frames.scale_teacher(0.5)
        validate(workspace, resolved(workspace, frames), as_reference=True)


def test_another_reference_takes_the_remembered_answer_away(workspace: Workspace, frames: FrameSet) -> None:
    ref = resolved(workspace, frames)
    validate(workspace, ref, as_reference=True)
    path = workspace.root / "references" / "kitchen.json"
    path.write_text(path.read_text().replace('"kitchen"', '"lounge"', 1))
    assert passed(workspace, ref) is None
    with pytest.raises(VortexError, match="is the reference of 'lounge'"):
        validate(workspace, ref)
    path.write_text("{")
    with pytest.raises(VortexError, match="is not a reference"):
        validate(workspace, ref)
    path.unlink()
    assert passed(workspace, ref) is None


def test_progress_counts_to_the_total(workspace: Workspace, frames: FrameSet) -> None:
    seen: list[tuple[int, int]] = []
    validate(workspace, resolved(workspace, frames), progress=lambda done, total: seen.append((done, total)), workers=2)
    assert seen[-1] == (12, 12) and len(seen) == 12


def test_nothing_is_left_behind_but_the_record(
    workspace: Workspace, frames: FrameSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in tmp_path.iterdir()}
    ref = resolved(workspace, frames)
    validate(workspace, ref)
    assert sorted(path.name for path in (workspace.build / "validation").iterdir()) == [f"{ref.digest}.json", "statistics"]
    kept = sorted(path.name.partition(".")[2] for path in (workspace.build / "validation" / "statistics").iterdir())
    assert kept == ["parquet", "registration.json", "sha256"]
    assert list((tmp_path / "home").iterdir()) == list((tmp_path / "temporary").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_good_set_exits_0_with_a_table(workspace: Workspace, frames: FrameSet) -> None:
    result = run(workspace, str(frames.root / "manifest.jsonl"))
    assert result.exit_code == 0, result.output
    assert "judged as room: passed" in result.output
    assert "depth-median" in result.output and "FAIL" not in result.output


def spoil(frames: FrameSet) -> str:
    frames.scale_teacher(0.5, 3, 4)
    write_manifest(frames.root / "manifest.jsonl", frames.frames)
    return str(frames.root / "manifest.jsonl")


def test_a_refused_set_prints_its_report_and_then_exits_3(workspace: Workspace, frames: FrameSet) -> None:
    result = run(workspace, spoil(frames))
    assert isinstance(result.exception, GateRefused)
    assert result.exception.exit_code == 3
    assert "teacher-to-sensor" in result.exception.message
    assert "FAIL" in result.output and "kitchen-000003" in result.output


@pytest.mark.parametrize("flags", [("--json",), ("--format", "json")])
def test_json_is_one_document(workspace: Workspace, frames: FrameSet, flags: tuple[str, ...]) -> None:
    document = json.loads(run(workspace, spoil(frames), *flags).stdout)
    assert document["passed"] is False
    assert [check["name"] for check in document["checks"] if not check["passed"]] == ["teacher-to-sensor"]


def test_junit_is_well_formed_and_counts_failures(workspace: Workspace, frames: FrameSet) -> None:
    suite = ElementTree.fromstring(run(workspace, spoil(frames), "--format", "junit").stdout.partition("\n")[2])[0]
    cases = suite.findall("testcase")
    assert (suite.get("failures"), suite.get("tests")) == ("1", str(len(cases)))
    assert [case.get("name") for case in cases if case.find("failure") is not None] == ["teacher-to-sensor"]


def test_github_annotations_point_at_the_lines_of_the_manifest(workspace: Workspace, frames: FrameSet) -> None:
    lines = run(workspace, spoil(frames), "--format", "github").stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("::error file=")
    assert ",line=4,title=vortex teacher-to-sensor::kitchen-000003: asked" in lines[0]
    assert ",line=5," in lines[1]


def test_reports_survive_hostile_text(workspace: Workspace, frames: FrameSet) -> None:
    report = validate(workspace, resolved(workspace, frames))
    nasty = replace(report.checks[0], passed=False, waiver="", reasons=(), found='50 % <b>&"\x00\x1b]]>\n::error::', frames=())
    report = replace(report, name="a<b>\x01", checks=(nasty,), passed=False)
    parsed = ElementTree.fromstring(junit([report]).partition("\n")[2])
    assert parsed[0][0][0].text is not None
    annotations = github(report, frames.root)
    assert annotations.startswith("::error file=manifest.jsonl,line=1,")
    assert "50 %25" in annotations and len(annotations.splitlines()) == 1


def test_a_malformed_manifest_is_refused_before_the_engine_is_imported(workspace: Workspace, frames: FrameSet) -> None:
    manifest = frames.root / "manifest.jsonl"
    manifest.write_text(manifest.read_text() + '{"id": NaN}\n')
    assert isinstance(run(workspace, str(manifest)).exception, ManifestError)
    manifest.write_text(manifest.read_text().splitlines()[0] + "\n" + '{"id": "x", "split": "nowhere"}\n' * 5000)
    code = (
        "import sys, typer\nfrom vortex_cli.app import register\nfrom vortex_cli.commands.validate import validate\n"
        "app = typer.Typer()\nregister(app, validate, 'Know')\n"
        "try:\n    app(sys.argv[1:], standalone_mode=False)\n"
        "except Exception as error:\n    print(type(error).__name__, *{'great_expectations', 'pandas', 'cv2', 'torch', 'pyarrow', 'scipy'} & {*sys.modules})\n"
    )
    command = [sys.executable, "-c", code, str(manifest), "--workspace", str(workspace.root)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert said.split() == ["ManifestError"]
    # 0.5 s on a quiet machine; processor time, so that a busy one cannot fail it.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2


@pytest.mark.frames
@pytest.mark.parametrize(
    ("name", "pattern", "depth", "kinds"),
    [
        ("kitchen_kinect", "*.color.jpg", "{}.depth.png", ("room", "indoor")),
        ("office_hololens", "images/*.png", "depth/{}.png", ("indoor",)),
        ("home_realsense", "color/*.png", "depth/{}.png", ("robot_home",)),
    ],
)
def test_real_frames_pass_as_their_kind(
    workspace: Workspace, real_frames: Path, name: str, pattern: str, depth: str, kinds: tuple[str, ...]
) -> None:
    from validation.manifest import stream_split
    from validation.rows import Frame

    root = real_frames / name
    pictures = sorted(root.glob(pattern))[::5] if name != "home_realsense" else sorted(root.glob("color/*"))
    stems = [path.name.partition(".")[0] for path in pictures]
    rows = [
        Frame(
            id=stem,
            domain="d",
            split=stream_split(index, len(stems)),
            sequence="s",
            camera="c",
            rgb=path.relative_to(root).as_posix(),
            depth=depth.format(stem),
            depth_unit="mm",
        )
        for index, (stem, path) in enumerate(zip(stems, pictures, strict=True))
    ]
    assert len(rows) >= 10
    for kind in kinds:
        assert [check for check in data_judgement(root, rows, kind).checks if not check.passed] == []
