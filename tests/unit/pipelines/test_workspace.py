"""The workspace file: found from below, typed, every fault at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core import strict_yaml
from core.errors import VortexError
from pipelines import workspace as module
from pipelines.init import init
from pipelines.workspace import FILE, Workspace


def test_found_from_a_folder_below(workspace: Workspace) -> None:
    below = workspace.root / "data" / "deep"
    below.mkdir(parents=True)
    assert module.find(below).root == workspace.root


def test_missing_workspace_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(VortexError) as caught:
        module.find(tmp_path)
    assert FILE in caught.value.message and "vortex init" in caught.value.hint


def test_every_fault_is_reported_together(workspace: Workspace) -> None:
    (workspace.root / FILE).write_text('trackin_uri = "x"\n[devices.host]\nruntime = "abacus"\n')
    with pytest.raises(VortexError) as caught:
        module.load(workspace.root)
    assert len(caught.value.details) == 2
    assert any("trackin_uri" in detail for detail in caught.value.details)
    assert any("onnxruntime" in detail for detail in caught.value.details)


@pytest.mark.parametrize(
    "content",
    ["not = [toml", "\x00", b"\xff\xff", "data = " + "[" * 100_000, "data = " + "1" * 5_000],
    ids=["broken", "null", "no-text", "too-deep", "too-long-a-number"],
)
def test_unreadable_file_is_one_clear_error(workspace: Workspace, content: str | bytes) -> None:
    (workspace.root / FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(VortexError, match="not readable as TOML"):
        module.load(workspace.root)


def test_environment_variables_expand_and_unset_ones_are_named(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace.root / FILE).write_text('build = "$SCRATCH_FOR_TEST/build"\n')
    loaded = module.load(workspace.root)
    with pytest.raises(VortexError, match="SCRATCH_FOR_TEST"):
        _ = loaded.build
    monkeypatch.setenv("SCRATCH_FOR_TEST", "/scratch/me")
    assert loaded.build == Path("/scratch/me/build")


def test_relative_sqlite_stays_in_the_workspace(workspace: Workspace) -> None:
    assert workspace.tracking_uri.reveal() == f"sqlite:///{workspace.root}/mlruns/mlflow.db"
    assert workspace.ledger_url.reveal() == f"sqlite:///{workspace.root}/mlruns/ledger.db"


def test_unknown_domain_and_device_list_what_exists(workspace: Workspace) -> None:
    with pytest.raises(VortexError, match="corridor, rooms"):
        workspace.domain("attic")
    with pytest.raises(VortexError, match="host"):
        workspace.device("orin")
    assert workspace.device(None) == "host"


def test_new_domain_is_written_and_comments_stay(workspace: Workspace) -> None:
    grown = workspace.add_domain("kitchen", "room")
    assert grown.domain("kitchen").kind == "room"
    text = (workspace.root / FILE).read_text()
    assert text.startswith("# A Vortex workspace.")
    assert module.load(workspace.root).domain("rooms").kind == "room"
    with pytest.raises(VortexError, match="not allowed"):
        workspace.add_domain("../x", "room")


def test_a_class_that_is_none_cannot_be_required(workspace: Workspace) -> None:
    for name, allowed in (("glas", False), ("glass", True)):
        (workspace.root / FILE).write_text(f'[domains.rooms]\nrequire_classes = ["{name}"]\n')
        if allowed:
            assert module.load(workspace.root).domain("rooms").require_classes == ("glass",)
            continue
        with pytest.raises(VortexError, match=r"domains\.rooms\.require_classes\.0: .*'glas' is no class, allowed: floor, wall, glass"):
            module.load(workspace.root)


def test_init_is_repeatable_and_keeps_what_is_there(workspace: Workspace) -> None:
    (workspace.root / FILE).write_text('build = "elsewhere"\n')
    again = init(workspace.root)
    assert again.config.build == "elsewhere"
    pointer = strict_yaml.parse((workspace.root / "data.dvc").read_text())
    assert pointer == {"outs": []}
    assert (workspace.root / "mlruns" / ".gitignore").read_text().strip().endswith("!.gitignore")
    config = (workspace.root / ".dvc" / "config").read_text().lower()
    assert "analytics = false" in config


def test_init_on_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VortexError, match="is a file"):
        init(tmp_path / "file")


@pytest.mark.parametrize(
    ("setting", "property_", "found"),
    [
        ('ledger = "wat"', "ledger_url", "ledger is 'wat', allowed: sqlite:///FILE, postgresql://…"),
        ('ledger = "mysql://u:secret@h/x"', "ledger_url", "ledger is 'mysql://…'"),
        ('tracking_uri = "file:mlruns"', "tracking_uri", "tracking_uri is 'file:mlruns'"),
        ('tracking_uri = "sqlite://"', "tracking_uri", "tracking_uri is"),
        ('data = "."', "data", "is the workspace itself"),
        ('build = "vortex.toml"', "build", "is a file"),
    ],
)
def test_settings_that_cannot_be_say_what_can(workspace: Workspace, setting: str, property_: str, found: str) -> None:
    (workspace.root / FILE).write_text(setting + "\n")
    with pytest.raises(VortexError) as caught:
        getattr(module.load(workspace.root), property_)
    assert found in caught.value.message and "secret" not in str(caught.value) and caught.value.hint


def test_a_single_fault_stands_in_the_message(workspace: Workspace) -> None:
    (workspace.root / FILE).write_text('data = ""\n')
    with pytest.raises(VortexError, match=r"vortex\.toml: data: String should have at least 1 character"):
        module.load(workspace.root)
    (workspace.root / FILE).write_text('[domains."A B"]\n')
    with pytest.raises(VortexError, match=r"vortex\.toml: domain name 'A B' is not allowed"):
        module.load(workspace.root)
    with pytest.raises(VortexError, match="is a file, allowed: a folder that holds"):
        module.load(workspace.root / FILE)


def test_a_removed_current_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(VortexError, match="current folder was removed"):
        module.find()


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("$CI_HOOK", "$CI_HOOK"),
        ("https://example.org:8443/T000/B000", "https://example.org:8443"),
        ("https://example.org/services/T000/$TOKEN", "https://example.org"),
        ("https://me:password@example.org/$TOKEN", "https://example.org"),
        ("$SERVER/services/T000", "$SERVER"),
        ("https://$HOST?key=T000", "https://$HOST"),
        ("http://[$HOST/x", "http://[$HOST"),
    ],
)
def test_of_a_hook_the_server_alone_is_shown(url: str, place: str) -> None:
    assert module.server_of(url) == place


def test_domains_added_at_once_are_all_kept(workspace: Workspace) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: workspace.add_domain(f"place{number}", "room"), range(8)))
    assert {f"place{number}" for number in range(8)} < set(module.load(workspace.root).config.domains)
