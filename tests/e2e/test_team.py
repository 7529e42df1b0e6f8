"""One registry for a team: the servers that `pipelines/team/server.sh` starts, and a registry that moves to them and back."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.registry import new_version
from core.errors import VortexError
from pipelines.archive.layout import run_content
from pipelines.archive.restoring import restore
from pipelines.archive.writing import archive
from pipelines.hub import audit
from pipelines.hub.migration import migrate
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.workspace import Workspace, load
from registry.channels import Channel
from registry.records import DataUse, Metrics
from registry.stages import StageJudgement, record_promotion

SCRIPT = Path(__file__).parents[2] / "pipelines" / "team" / "server.sh"
EMBEDDED = {"tracking_uri": "sqlite:///mlruns/mlflow.db", "artifact_root": "mlruns/artifacts", "ledger": "sqlite:///mlruns/ledger.db"}


@dataclasses.dataclass(frozen=True)
class Server:
    """Where a team's registry is, and who may use it."""

    folder: Path
    settings: dict[str, str]

    @property
    def places(self) -> dict[str, str]:
        """What the script says to write into `vortex.toml`."""
        host, port, database = (self.settings[name] for name in ("HOST", "PORT", "DATABASE_PORT"))
        ledger = f"postgresql+psycopg://vortex:${{VORTEX_LEDGER_PASSWORD}}@{host}:{database}/vortex"
        return {"tracking_uri": f"http://{host}:{port}", "artifact_root": "mlflow-artifacts:/vortex", "ledger": ledger}


def script(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *words], capture_output=True, text=True, timeout=600, env={**os.environ, **environment})


def own_address() -> str:
    """An address under which others reach this machine, where it has one: what listens and checks there is not what does on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        return str(probe.getsockname()[0])
    return "127.0.0.1"


def free_ports(host: str) -> int:
    """A free port whose next one is free too."""
    for port in range(5730, 5990, 2):
        with socket.socket() as first, socket.socket() as second:
            if first.connect_ex((host, port)) and second.connect_ex((host, port + 1)):
                return port
    raise OSError("no two free ports side by side")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not list(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        pytest.skip("no PostgreSQL of Debian's: apt-get install postgresql")
    # As the user postgres must reach it, it cannot lie in a folder that is its maker's alone.
    host = own_address()
    port = free_ports(host)
    folder = Path("/var/tmp") / f"vortex-team-{tmp_path_factory.getbasetemp().name}-{port}"
    answer = script("start", folder, VORTEX_TEAM_HOST=host, VORTEX_TEAM_PORT=str(port))
    try:
        assert answer.returncode == 0, answer.stderr
        settings = dict(line.split("=", 1) for line in (folder / "settings").read_text().splitlines())
        # What it says on the screen, which goes into logs, holds no password.
        assert not any(settings[name] in answer.stdout + answer.stderr for name in ("ADMIN", "DATABASE", "SUPERUSER", "FLASK"))
        yield Server(folder, settings)
    finally:
        script("stop", folder)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def member(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, with its names and passwords in the environment."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "admin")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", server.settings["ADMIN"])
    monkeypatch.setenv("VORTEX_LEDGER_PASSWORD", server.settings["DATABASE"])
    return server


def places_file(folder: Path, name: str, places: dict[str, str]) -> Path:
    path = folder / f"{name}.toml"
    path.write_text("".join(f'{key} = "{value}"\n' for key, value in places.items()))
    return path


def register(ws: Workspace, text: str, *, measured: bool = True) -> str:
    """A version with parameters, a curve, data, weights and, where it is `measured`, a file that stands for per-frame errors; its name."""
    registry, path = hub(ws), ws.root / "student.safetensors"
    path.write_text(text)
    run = registry.store.start_run(text)
    registry.store.log_params(run, {"optimizer": {"lr": 3e-4}})
    for step, loss in enumerate((2.0, 1.0)):
        registry.store.log_metrics(run, {"loss": loss}, step)
    registry.store.log_inputs(run, [DataUse("corridor", "corridor", "corridor", "ab" * 32, None, True, {"val": 4})])
    weights = registry.store.log_artifact(run, path, "checkpoint")
    registry.store.end_run(run)
    new = dataclasses.replace(new_version(10), run_id=run, run=text, checkpoint=weights, parents=(), derived=False)
    version = registry.register(new, actor="Ada")
    if measured:
        errors = registry.store.log_artifact(run, path, "evaluations")
        metrics = Metrics("corridor", "femto-bolt", "val-pooled-10m/1", "corridor", "ab" * 32, {"rmse": 0.4}, 4, errors)
        registry.add_metrics(version.name, metrics, actor="Ada")
    return version.name


@pytest.mark.endurance
def test_a_registry_moves_to_the_servers_and_back_and_nothing_is_lost(member: Server, tmp_path: Path) -> None:
    ws = init(tmp_path / "own")
    name = register(ws, "first")
    registry, channel = hub(ws), Channel("host", "corridor")
    record_promotion(registry.ledger, channel, name, [StageJudgement("candidate", True)], 0, actor="Ada")
    registry.refresh_aliases(channel)
    head, run, record = registry.ledger.verify(), registry.get(name).run_id, registry.store.export_run(registry.get(name).run_id)
    assert [(point[0], point[1], point[3]) for point in record.metrics if point[0] == "loss"] == [("loss", 2.0, 0), ("loss", 1.0, 1)]

    team = places_file(tmp_path, "team", member.places)
    counted = migrate(ws, team, dry_run=True)
    assert (counted.runs, counted.artifacts, counted.events) == (1, 2, 3)
    assert load(ws.root).config.ledger == EMBEDDED["ledger"]
    brought = migrate(ws, team)
    assert (brought.runs, brought.artifacts, brought.events, brought.hash) == (1, 2, 3, head.hash)

    # Another member, in a folder of their own, sees all of it and goes on with it.
    other = init(tmp_path / "other")
    (other.root / "vortex.toml").write_text((ws.root / "vortex.toml").read_text())
    other = load(other.root)
    theirs = hub(other)
    report = audit.verify(other, mlflow=True)
    assert (report.faults, report.artifacts) == ((), 2)
    assert theirs.store.export_run(run) == record
    assert theirs.store.run_behind(channel.alias("candidate")) == run
    assert theirs.artifacts.path(theirs.get(name).checkpoint).read_text() == "first"
    second = register(other, "second")

    # The first one brings it all back, what was recorded there included; once more changes nothing.
    back = migrate(load(ws.root), places_file(tmp_path, "back", EMBEDDED))
    assert (back.runs, back.artifacts, back.events) == (1, 2, 2)
    assert migrate(load(ws.root), tmp_path / "back.toml").events == 0
    own = hub(load(ws.root))
    assert own.ledger.verify() == theirs.ledger.verify()
    assert own.artifacts.path(own.get(second).checkpoint).read_text() == "second"
    assert audit.verify(load(ws.root), mlflow=True).faults == ()
    assert own.store.export_run(own.get(second).run_id).params == {"optimizer.lr": "0.0003"}

    # Who goes on there is told where it moved to; two that went on apart all the same are not made one.
    register(load(ws.root), "third here")
    with pytest.raises(VortexError, match=r"has moved to .*ledger\.db: nothing is recorded here any more"):
        register(other, "third there")
    migrate(other, team)  # its own places: it is opened again
    register(other, "third there")
    with pytest.raises(VortexError, match="is not the beginning of the one that is to be brought there"):
        migrate(load(ws.root), team)
    assert load(ws.root).config.ledger == EMBEDDED["ledger"]


def test_what_is_recorded_while_files_are_copied_comes_with_its_own(tmp_path: Path) -> None:
    ws = init(tmp_path / "own")
    names = [register(ws, "first")]
    moved = {"tracking_uri": "sqlite:///moved/mlflow.db", "artifact_root": "moved/artifacts", "ledger": "sqlite:///moved/ledger.db"}

    def copied(count: int, total: int) -> None:
        if len(names) == 1:
            names.append(register(load(ws.root), "second"))

    migrate(ws, places_file(tmp_path, "moved", moved), copied)
    shutil.rmtree(ws.root / "mlruns")
    registry = hub(load(ws.root))
    assert [registry.artifacts.path(registry.get(name).checkpoint).read_text() for name in names] == ["first", "second"]
    assert audit.verify(load(ws.root), mlflow=True).faults == ()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket of an object store on this machine, as a place for artifacts."""
    import boto3
    from moto.server import ThreadedMotoServer

    store = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    store.start()
    host, port = store.get_host_and_port()
    for name, value in (
        ("MLFLOW_S3_ENDPOINT_URL", f"http://{host}:{port}"),
        ("AWS_ACCESS_KEY_ID", "a-robot"),
        ("AWS_SECRET_ACCESS_KEY", "its-secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="robots")
    yield "s3://robots/vortex"
    store.stop()


def test_artifacts_lie_in_an_object_store_and_come_back_from_it(bucket: str, tmp_path: Path) -> None:
    ws = init(tmp_path / "own")
    first = register(ws, "first")
    moved = {"tracking_uri": "sqlite:///moved/mlflow.db", "artifact_root": bucket, "ledger": "sqlite:///moved/ledger.db"}
    assert migrate(ws, places_file(tmp_path, "moved", moved)).artifacts == 2
    remote = load(ws.root)
    second = register(remote, "second")
    assert hub(remote).get(second).checkpoint.uri.startswith(f"{bucket}/")
    shutil.rmtree(ws.root / "mlruns")
    registry = hub(load(ws.root))
    for name, text in ((first, "first"), (second, "second")):
        assert registry.artifacts.path(registry.get(name).checkpoint).read_text() == text
    assert (audit.verify(remote, mlflow=True).artifacts, audit.verify(remote, mlflow=True).faults) == (4, ())

    # What somebody changes or removes there is found, and named.
    import boto3

    store = boto3.client("s3", endpoint_url=os.environ["MLFLOW_S3_ENDPOINT_URL"])
    keys = sorted(item["Key"] for item in store.list_objects_v2(Bucket="robots")["Contents"])
    assert len(keys) == 4
    changed = next(key for key in keys if "/checkpoint/" in key and registry.get(second).run_id in key)
    store.put_object(Bucket="robots", Key=changed, Body=b"secund")
    (fault,) = audit.verify(remote).faults
    assert fault.found.startswith(f"{second}: ")
    assert "its content is not what was registered" in fault.found


@pytest.mark.endurance
def test_who_has_no_password_is_told_so_and_sees_nothing(
    member: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ws = init(tmp_path / "own")
    text = (ws.root / "vortex.toml").read_text()
    for key, value in member.places.items():
        text = text.replace(f'{key} = "{EMBEDDED[key]}"', f'{key} = "{value}"')
    (ws.root / "vortex.toml").write_text(text)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "not-the-one")
    with pytest.raises(VortexError, match="no user of that name and password") as refused:
        hub(load(ws.root)).store.runs()
    assert "MLFLOW_TRACKING_PASSWORD" in refused.value.hint
    monkeypatch.setenv("VORTEX_LEDGER_PASSWORD", "neither-this")
    with pytest.raises(VortexError, match="password authentication failed") as refused:
        hub(load(ws.root)).summaries()
    assert "neither-this" not in refused.value.message


def test_the_servers_secrets_are_their_owners_alone_and_stand_in_no_command_line(server: Server) -> None:
    for name in ("settings", "auth.ini", "mlflow.log"):
        assert stat.S_IMODE((server.folder / name).stat().st_mode) == 0o600
    secrets = [server.settings[name] for name in ("ADMIN", "DATABASE", "SUPERUSER", "FLASK")]
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # a process that has ended meanwhile
            lines.append(path.read_bytes())
    assert any(b"basic-auth" in line for line in lines)
    assert not any(secret.encode() in line for secret in secrets for line in lines)


@pytest.mark.endurance
def test_the_script_says_what_it_lacks(server: Server, tmp_path: Path) -> None:
    assert script("status", server.folder).returncode == 0
    for name, odd in (("PORT", "0x"), ("PORT", "65535"), ("HOST", "0.0.0.0"), ("HOST", "a b")):
        refused = script("start", tmp_path, **{f"VORTEX_TEAM_{name}": odd})
        assert refused.returncode == 1 and f"VORTEX_TEAM_{name} is {odd}, allowed: " in refused.stderr
    assert not list(tmp_path.iterdir())
    assert "unknown word begin, allowed: start, stop, status" in script("begin", tmp_path).stderr
    assert f"{tmp_path} holds no server" in script("status", tmp_path).stderr
    assert "is no folder" in script("stop", tmp_path / "absent").stderr


def test_an_archive_is_restored_into_an_object_store_with_its_curves(bucket: str, tmp_path: Path) -> None:
    ws = init(tmp_path / "own")
    name = register(ws, "first", measured=False)
    archived = archive(ws, tmp_path / "archive")
    before = hub(ws).store.export_run(hub(ws).get(name).run_id)
    places = {"tracking_uri": "sqlite:///moved/mlflow.db", "artifact_root": bucket, "ledger": "sqlite:///moved/ledger.db"}
    other = init(tmp_path / "other")
    text = (other.root / "vortex.toml").read_text().splitlines()
    rest = [line for line in text if not line.startswith(tuple(places))]
    (other.root / "vortex.toml").write_text("\n".join([*(f'{key} = "{value}"' for key, value in places.items()), *rest]))
    other = load(other.root)
    assert restore(other, tmp_path / "archive").head == archived.head
    registry = hub(load(other.root))
    assert run_content(registry.store.export_run(before.run_id)) == run_content(before)
    assert [point[1] for point in before.metrics if point[0] == "loss"] == [2.0, 1.0]
    assert registry.artifacts.path(registry.get(name).checkpoint).read_text() == "first"
    assert audit.verify(other, mlflow=True).faults == ()
