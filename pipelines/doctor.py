"""What is installed, what is reachable, and what to do about the rest."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from core.errors import VortexError
from core.files import is_uri, require_regular
from core.machine import cores
from core.secret import SecretUrl
from pipelines import git, workspace
from pipelines.data import checkout, datasets
from pipelines.data.connection import shown
from pipelines.data.pointer import FETCH, unfetched
from pipelines.data.repository import unreadable_settings
from pipelines.data.versioning import unversioned_changes
from pipelines.hooks.log import states, undelivered
from pipelines.hooks.subscriptions import subscriptions
from pipelines.hub.open import hub
from pipelines.lineage.ancestry import lineage_of
from pipelines.runs.slurm.queue import missing_programs
from pipelines.ship.keys import key_folder
from pipelines.ship.quarantine import running
from pipelines.ship.tuf_repository import repository
from pipelines.workspace import Workspace
from registry import database
from registry.audit import alias_faults, artifact_faults, ledger_faults
from registry.stages import channel_states, production_judgement
from validation.policies import load_policies

NEEDED = ("torch", "torchvision", "timm", "ray", "mlflow", "dvc", "great-expectations", "albumentations", "onnx", "onnxruntime")
SHOWN = 5
HASHED_BYTES = 500_000_000
"""Of the versions on channels: half a second on one core; a checkpoint and its export have about 40 MB."""
SOON_DAYS, TIMER_DAYS = 30, 2
"""How long before it expires a key's role is named: where a person has to fetch a key, and where the daily timer should have renewed it."""
MIN_FREE_GB = 5.0
"""A demo workspace takes well under 1 GB; a real run keeps a checkpoint of 21 MB (61 MB with optimiser state) an epoch."""


@dataclass(frozen=True)
class Finding:
    """One line of the examination. `optional` is missing too, but nothing here needs it; what is `due` works, and will not if nobody acts."""

    name: str
    state: Literal["ok", "optional", "due", "missing"]
    found: str
    remedy: str = ""


def doctor(folder: Path | None = None) -> list[Finding]:
    """Examine this machine and the workspace at `folder` (default: here or above)."""
    return [*_packages(), _gpu(), _git(), _slurm(), *_workspace(folder)]


def _packages() -> Iterator[Finding]:
    yield Finding("python", "ok", platform.python_version())
    for name in NEEDED:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "missing", "not installed", "run: make setup")


def _gpu() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("gpu", "missing", f"torch does not import ({error})", "run: make clean setup")
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return Finding("gpu", "ok", f"{names} (CUDA {torch.version.cuda})")
    return Finding("gpu", "optional", f"none; training uses {cores()} CPU cores", "train small sizes here, full sizes where a GPU is")


def _git() -> Finding:
    if shutil.which("git") is None:
        return Finding("git", "missing", "not on the PATH", "install git: versions record the commit they were made from")
    version = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return Finding("git", "ok", version.removeprefix("git version "))


def _slurm() -> Finding:
    if missing := missing_programs():
        return Finding("slurm", "optional", f"no {', '.join(missing)} on the PATH", "log in to a cluster's login node to submit jobs")
    return Finding("slurm", "ok", str(shutil.which("sbatch")))


def _workspace(folder: Path | None) -> Iterator[Finding]:
    try:
        ws = workspace.load(folder) if folder else workspace.find()
        subscriptions(ws)
    except VortexError as error:
        yield Finding("workspace", "missing", "; ".join((error.message, *error.details)), error.hint)
        return
    yield Finding("workspace", "ok", str(ws.root))
    for name, examine in (
        ("commit", _commit),
        ("data", _data),
        ("dvc remote", _remote),
        ("registry", _tracking),
        ("ledger", _ledger),
        ("artifacts", _artifacts),
        ("aliases", _aliases),
        ("judged", _judged),
        ("quarantine", _quarantine),
        ("hooks", _hooks),
        ("keys", _keys),
        ("disk", _disk),
    ):
        try:
            yield examine(ws)
        except VortexError as error:
            yield Finding(name, "missing", "; ".join((error.message, *error.details)), error.hint)
        except OSError as error:
            yield Finding(
                name, "missing", f"{error.filename or ws.root}: {error.strerror or error}", "check the owner, the permissions and the disk"
            )


def _commit(ws: Workspace) -> Finding:
    head = git.head(ws.root)
    if head.problem:
        return Finding("commit", "missing", f"{head.problem}: versions would record commit {head.commit or 'unknown'}", head.remedy)
    if head.commit is None:
        return Finding("commit", "optional", "no git repository, or nothing committed yet", "git init && git add -A && git commit")
    return Finding("commit", "ok", head.commit)


def _data(ws: Workspace) -> Finding:
    if not (ws.root / "data.dvc").exists():
        return Finding("data", "missing", "no data.dvc", f"run: vortex init {ws.root}")
    names = [dataset.name for dataset in datasets.listing(ws)]
    if unfetched(ws):
        return Finding("data", "missing", "data.dvc records frames that are not here", FETCH)
    if not names:
        return Finding("data", "optional", "no datasets yet", "vortex data synth rooms --world rooms --frames 200")
    changed = unversioned_changes(ws)
    if changed:
        checkout.require_versionable(ws)
        return Finding(
            "data",
            "missing",
            "data/ differs from data.dvc",
            "`dvc add data` keeps it as a version, `dvc checkout data.dvc` brings the recorded frames back",
        )
    listed = f"{len(names)} dataset{'s' if len(names) > 1 else ''}: {', '.join(names)}"
    return Finding("data", "ok", listed if changed is False else f"{listed} (the workspace is read-only: not compared with data.dvc)")


def _remote(ws: Workspace) -> Finding:
    from dvc.config import Config, ConfigError

    try:
        config = Config(dvc_dir=str(ws.root / ".dvc"))
    except ConfigError as error:
        raise unreadable_settings(ws, error) from error
    name = config["core"].get("remote")
    if not name:
        return Finding(
            "dvc remote", "optional", "none configured", "dvc remote add --default store /path/or/ssh/url keeps a copy of every dataset"
        )
    url = config["remote"].get(name, {}).get("url")
    if not url:
        return Finding(
            "dvc remote", "missing", f"the default is {name}, which DVC does not know", f"dvc remote add {name} /path/or/ssh/url"
        )
    return Finding("dvc remote", "ok", f"{name}: {shown(url)}")


def _tracking(ws: Workspace) -> Finding:
    return _reach(ws, "registry", ws.tracking_uri, "the first training run makes it")


def _ledger(ws: Workspace) -> Finding:
    finding = _reach(ws, "ledger", ws.ledger_url, "the first registered version makes it")
    ledger = hub(ws).ledger
    ledger.require_file()
    if finding.state != "ok" or "does not exist" in finding.found:
        return finding
    if place := ledger.moved:
        moved = database.moved(ledger.url, place)
        return Finding("ledger", "missing", moved.message, moved.hint)
    head, faults = ledger_faults(ledger)
    events = f"{head.seq} event{'s' if head.seq != 1 else ''}, hash chain intact"
    if not faults:
        return Finding("ledger", "ok", f"{events}, claims and triggers as they should be")
    found = faults[0].found if faults[0].area in ("chain", "events") else f"{events}, but {faults[0].found}"
    more = f"; and {len(faults) - 1} more: vortex audit verify" if len(faults) > 1 else ""
    return Finding("ledger", "missing", f"{found}{more}", faults[0].remedy)


def _artifacts(ws: Workspace) -> Finding:
    """Whether every version's checkpoint lies below today's artifact root, and the files of those on a channel are what was registered."""
    registry, root = hub(ws), ws.artifact_root
    if not _ledger_readable(ws):
        return Finding("artifacts", "optional", "not looked at, for the ledger cannot be read")
    if not isinstance(root, Path):
        return Finding("artifacts", "ok", f"at {root}")
    shown = str(root.relative_to(ws.root) if root.is_relative_to(ws.root) else root)
    versions = registry.versions()
    away = [version for version in versions if not is_uri(version.checkpoint.uri) and not (root / version.checkpoint.uri).exists()]
    places = {version.name: registry.artifacts.earlier_root(version.checkpoint.uri) for version in away}
    lost = [name for name, place in places.items() if place is None]
    if lost:
        names = ", ".join(lost[:SHOWN]) + (" …" if len(lost) > SHOWN else "")
        return Finding("artifacts", "missing", f"no checkpoint of {names} below {shown}", "move the old artifact root's folders there")
    hashed, faults = artifact_faults(registry, [version for version in versions if version.stages], HASHED_BYTES)
    if faults:
        more = f"; and {len(faults) - 1} more: vortex audit verify" if len(faults) > 1 else ""
        return Finding("artifacts", "missing", f"{faults[0].found}{more}", faults[0].remedy)
    elsewhere = sorted({str(place) for place in places.values()})
    found = shown
    if elsewhere:
        found = f"{len(away)} of the checkpoints lie below {', '.join(elsewhere)}, an earlier artifact root, and are used there"
    checked = f"; {hashed} files of versions on a channel hashed again, `vortex audit verify` hashes all" if hashed else ""
    return Finding("artifacts", "ok", f"{found}{checked}")


def _aliases(ws: Workspace) -> Finding:
    """Whether MLflow's aliases are where the ledger says. MLflow takes seconds to open, so only where there are channels."""
    registry = hub(ws)
    if not _ledger_readable(ws) or _reach(ws, "registry", ws.tracking_uri, "").state != "ok":
        return Finding("aliases", "optional", "not looked at, for the registry or the ledger cannot be reached")
    channels = channel_states(registry.ledger)
    if not channels:
        return Finding("aliases", "ok", "no channel holds a version yet")
    faults = alias_faults(registry, registry.versions())
    if faults:
        more = f"; and {len(faults) - 1} more: vortex audit verify --mlflow" if len(faults) > 1 else ""
        return Finding("aliases", "missing", f"alias {faults[0].found}{more}", faults[0].remedy)
    count = f"{len(channels)} channel{'s' if len(channels) > 1 else ''}"
    return Finding("aliases", "ok", f"MLflow's aliases of {count} are where the ledger says")


def _judged(ws: Workspace) -> Finding:
    """Whether what is in production was judged by the policies that this vortex has: another copy of it may ask less."""
    if not _ledger_readable(ws):
        return Finding("judged", "optional", "not looked at, for the ledger cannot be read")
    registry, today = hub(ws), load_policies().digest
    others = []
    for state in channel_states(registry.ledger):
        event = production_judgement(registry.ledger, state.channel, state.production or "")
        if event and event.policies not in ("", today):
            asked = ", ".join(dict.fromkeys(str(check["name"]) for check in event.checks))
            others.append(f"{state.production} on {state.channel} by {event.policies[:12]}, which asked {asked}")
    if others:
        found = f"came into production by other policies than those here ({today[:12]}): {'; '.join(others[:SHOWN])}"
        return Finding("judged", "due", found, "see what was found: vortex history --json; what comes next is judged by those here")
    return Finding("judged", "ok", "nothing is in production that other policies than those here let pass")


def _quarantine(ws: Workspace) -> Finding:
    """Whether a channel has in production what is in quarantine, by itself or by what it was made from."""
    if not _ledger_readable(ws):
        return Finding("quarantine", "optional", "not looked at, for the ledger cannot be read")
    registry = hub(ws)
    if not registry.barred():
        return Finding("quarantine", "ok", "no version is in quarantine")
    lineage = lineage_of(registry)
    channels = running(lineage, lineage.bars)
    names = ", ".join(map(str, lineage.state.quarantines.values()))
    if channels:
        found = "; ".join(f"{each.channel} runs {each.version}: {lineage.bars[each.version][0]}" for each in channels[:SHOWN])
        return Finding("quarantine", "missing", found, channels[0].remedy)
    return Finding("quarantine", "ok", f"{names}: no channel has in production what came of it")


def _keys(ws: Workspace) -> Finding:
    """Whether what signs for robots is here and holds long enough: a month for what a person renews, and two days for what the timer does.

    The root keys lie elsewhere, and are not looked for.
    """
    devices = [name for name, device in ws.config.devices.items() if device.published]
    if not devices:
        return Finding("keys", "ok", "no device is published to robots")
    if not key_folder(ws).roots():
        return Finding(
            "keys", "optional", f"none: promotions for {', '.join(devices)} are not published", "make them: vortex keys init --root FOLDER"
        )
    now, roles = datetime.now(UTC), repository(ws).status()
    gone = [status.role for status in roles if status.role != "root" and status.here < status.threshold]
    if gone:
        return Finding(
            "keys",
            "missing",
            f"the key of {' and '.join(gone)} is not in {ws.keys_folder}: nothing that it signs is published for {', '.join(devices)}",
            f"restore the folder from a backup, or make a new key: vortex keys rotate {gone[0]} --root FOLDER",
        )
    lasting = [(status, left) for status in roles if (left := status.days_left(now)) is not None]
    due = [
        f"{status.role} {'has expired' if left < 0 else f'expires in {left:.0f} days'}"
        for status, left in lasting
        if left < (SOON_DAYS if status.role in ("root", "targets") else TIMER_DAYS)
    ]
    if due:
        remedy = "vortex keys refresh" + (" --root FOLDER" if due[0].startswith("root") else ", and daily: vortex keys timer")
        return Finding("keys", "missing" if any(left < 0 for _, left in lasting) else "due", ", ".join(due), remedy)
    first = min(lasting, key=lambda each: each[1])
    return Finding("keys", "ok", f"{first[0].role} expires first, in {first[1]:.0f} days")


def _ledger_readable(ws: Workspace) -> bool:
    try:
        hub(ws).ledger.require_file()
    except VortexError:
        return False  # which is the ledger's finding
    return _reach(ws, "ledger", ws.ledger_url, "", to_write=False).state == "ok"


def _reach(ws: Workspace, name: str, url: SecretUrl, when: str, *, to_write: bool = True) -> Finding:
    uri = url.reveal()
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        path = Path(uri.partition(":///")[2])
        place = str(path.relative_to(ws.root) if path.is_relative_to(ws.root) else path)
        if not path.exists():
            return Finding(name, "ok", f"{place} does not exist yet; {when}")
        if to_write and not os.access(path, os.W_OK):
            return Finding(name, "missing", f"{place} cannot be written", "check the file's owner and permissions")
        try:
            require_regular(path)
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=3)) as connection:
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            return Finding(name, "missing", f"{place} cannot be read ({reason})", "restore it from a backup")
        return Finding(name, "ok", place)
    try:
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme, 5432)
    except ValueError as error:
        return Finding(name, "missing", f"its address is not one ({error})", f"mend it in {workspace.FILE}")
    place = f"{parts.scheme}://{host}:{port}"
    try:
        with socket.create_connection((host or "localhost", port), timeout=3):
            return Finding(name, "ok", f"{place} answers")
    except OSError as error:
        return Finding(name, "missing", f"{place} does not answer ({error.strerror or error})", "start the server, or mend vortex.toml")


def _hooks(ws: Workspace) -> Finding:
    if not _ledger_readable(ws):
        return Finding("hooks", "optional", "not looked at, for the ledger cannot be read")
    hooks = states(ws)
    if lines := undelivered(hooks):
        stuck = any(state.failing or state.refused for state in hooks)
        remedy = "see `vortex hooks log`; `vortex hooks replay` sends what waits now, `vortex hooks drop HOOK` never"
        return Finding("hooks", "missing" if stuck else "optional", "; ".join(lines), remedy)
    return Finding(
        "hooks", "ok", f"{', '.join(ws.config.hooks)}: nothing waits" if ws.config.hooks else "none in vortex.toml, nothing waits"
    )


def _disk(ws: Workspace) -> Finding:
    free = shutil.disk_usage(ws.root).free / 1e9
    if free < MIN_FREE_GB:
        return Finding("disk", "missing", f"{free:.1f} GB free", f"free some space: at least {MIN_FREE_GB:.0f} GB")
    return Finding("disk", "ok", f"{free:.0f} GB free")
