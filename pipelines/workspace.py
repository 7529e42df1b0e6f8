"""The workspace: the folder with `vortex.toml` in which every command works."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.classes import CLASSES
from core.errors import UsageError, VortexError
from core.files import is_uri, locked, read_text_of_user, write_atomic
from core.secret import SecretUrl

FILE = "vortex.toml"
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
"""Names of datasets, domains and devices: they become folders, MLflow aliases and command-line words."""
STORES: Final = {"tracking_uri": ("sqlite", "http", "https", "postgresql", "mysql", "mssql"), "ledger": ("sqlite", "postgresql")}
"""Schemes of the two databases' URIs, before the `+driver` that some have."""
PLACES: Final = ("weights", "python")
"""Settings of a teacher that may name a file of the workspace."""

_Setting = Annotated[str, Field(min_length=1)]


def _hub_id(name: str) -> str:
    # As a `pattern` it took 45 ms of every command's CPU: pydantic compiles one in Rust, and so many repetitions of \w are a large automaton.
    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", name):
        raise ValueError(f"{name[:200]!r} is no id of the Hugging Face hub, allowed: OWNER/NAME of letters, digits, '_', '.' and '-'")
    return name


_HubId = Annotated[str, AfterValidator(_hub_id)]
"""OWNER/NAME."""


def _class(name: str) -> str:
    if name not in CLASSES:
        raise ValueError(f"{name!r} is no class, allowed: {', '.join(CLASSES)}")
    return name


class Domain(BaseModel):
    """A place or family of places. `kind` names the bounds in `validation/policies.yaml` that its frames are judged by.

    `exam` names the datasets that versions are judged on for promotion; None are all datasets of the domain. `require_classes` are the
    classes that a version must have been trained on to be promoted there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str = "indoor"
    description: str = ""
    exam: tuple[_Setting, ...] | None = Field(default=None, min_length=1)
    require_classes: tuple[Annotated[str, AfterValidator(_class)], ...] = ()


class Device(BaseModel):
    """Something that runs a student: this machine (`onnxruntime`) or a Jetson (`tensorrt`).

    `precision` is that of the file it is sent; None is fp32 for `onnxruntime` and fp16 for `tensorrt`. `publish` says whether robots pull what
    is promoted for it; None is by its runtime: a Jetson's is published, this machine's not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    precision: Literal["fp32", "fp16", "int8"] | None = None
    description: str = ""
    publish: bool | None = None

    @property
    def published(self) -> bool:
        """Whether robots pull what is promoted for it."""
        return self.runtime == "tensorrt" if self.publish is None else self.publish


class Partition(BaseModel):
    """What jobs in a partition of a SLURM cluster ask for unless `vortex submit` says otherwise, and the utilisation it demands.

    The values are SLURM's own words: `gres = "gpu:1"`, `time = "12:00:00"`, `mem = "32G"`. `min_utilisation` is the share of the time,
    0 to 1, that a training has to keep the device computing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    account: _Setting | None = None
    gres: _Setting | None = None
    time: _Setting | None = None
    cpus: int | None = Field(default=None, ge=1)
    mem: _Setting | None = None
    min_utilisation: float | None = Field(default=None, ge=0, le=1)


class HubDataset(BaseModel):
    """A dataset as the Hugging Face hub knows it: its id there, and which of our metrics each task of its leaderboard asks for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: _HubId
    tasks: dict[_Setting, _Setting] = Field(default_factory=dict)


class HubNames(BaseModel):
    """What cards for the Hugging Face hub say that the registry does not know: the licence, and what our versions and datasets are called there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    license: _Setting | None = None
    models: dict[str, _HubId] = Field(default_factory=dict)
    datasets: dict[str, HubDataset] = Field(default_factory=dict)


class EvidenceSettings(BaseModel):
    """`keys` are files of public keys (PEM, ed25519), relative to the workspace: whose signatures on evidence are trusted here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[_Setting, ...] = ()


class Hook(BaseModel):
    """Whom to tell of events: a `url` that is posted to, or a `command` (its words; no shell) that gets the event on its standard input.

    `kinds` and `channels` are patterns as for file names; with `channels`, only events of these channels (`DEVICE/DOMAIN`) are sent.
    `secret_env` names the environment variable with the secret that posts are signed with, `timeout` is in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: _Setting | None = None
    command: tuple[_Setting, ...] | None = Field(default=None, min_length=1)
    kinds: tuple[_Setting, ...] = Field(default=("*",), min_length=1)
    channels: tuple[_Setting, ...] = ()
    secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")] | None = None
    timeout: float = Field(default=5, gt=0, le=60)

    @model_validator(mode="after")
    def _one_receiver(self) -> Self:
        if (self.url is None) == (self.command is None):
            raise ValueError("has a url and a command, or neither; allowed: one of them")
        if self.command is not None and self.secret_env is not None:
            raise ValueError("secret_env signs what is posted to a url; a command reads the environment itself")
        if self.url is not None and "$" not in self.url:
            require_postable(self.url)
        return self


def require_postable(url: str) -> None:
    """Raise ValueError, which shows nothing of it, for a URL that no event can be posted to."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("url is not one that can be posted to, allowed: http://HOST… or https://HOST…, or $NAME of a variable with it")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "url holds a user or a password: leave it out and sign with secret_env, or put a token's URL into a variable, as $NAME"
        )


def server_of(url: str) -> str:
    """A hook's URL as a person is shown it: without its path, which with many services is the password; `$NAME` for a server as it is."""
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    return scheme + separator + re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]


class PublishSettings(BaseModel):
    """`folder` is what robots pull, by any web server; `keys` the folder of the keys that sign it, which belongs to nobody else."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: _Setting = "publish"
    keys: _Setting = "keys"


class WorkspaceConfig(BaseModel):
    """`vortex.toml`, typed. Environment variables such as `$SCRATCH` are expanded in every path and URI."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracking_uri: _Setting = "sqlite:///mlruns/mlflow.db"
    artifact_root: _Setting = "mlruns/artifacts"
    ledger: _Setting = "sqlite:///mlruns/ledger.db"
    data: _Setting = "data"
    build: _Setting = "build"
    domains: dict[str, Domain] = Field(default_factory=dict)
    devices: dict[str, Device] = Field(default_factory=lambda: {"host": Device()})
    teachers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings by teacher; each teacher checks its own."""
    partitions: dict[str, Partition] = Field(default_factory=dict)
    """Settings by partition of the SLURM cluster."""
    huggingface: HubNames = Field(default_factory=HubNames)
    """What `vortex card` writes for the Hugging Face hub."""
    evidence: EvidenceSettings = EvidenceSettings()
    hooks: dict[str, Hook] = Field(default_factory=dict)
    """Whom to tell of events, by name. Who records an event puts it into the outbox for the hooks of its own vortex.toml."""
    publish: PublishSettings = PublishSettings()


@dataclass(frozen=True)
class Workspace:
    """A loaded workspace: absolute places, ready to use."""

    root: Path
    config: WorkspaceConfig

    @property
    def data(self) -> Path:
        """Datasets, one folder each; versioned by `data.dvc`."""
        return self._folder("data", self.config.data)

    @property
    def build(self) -> Path:
        """Everything derived: runs, exports, pictures, validation reports. Safe to delete."""
        return self._folder("build", self.config.build)

    @property
    def artifact_root(self) -> Path | str:
        """Where MLflow keeps artifacts: a folder, or an object-store URI when the setting has a scheme."""
        value = _expand("artifact_root", self.config.artifact_root)
        if not is_uri(value):
            return self._path("artifact_root", self.config.artifact_root)
        # It would stand in the ledger with every artifact. `mlflow-artifacts:/…`, which the server serves, has no host.
        if value != str(SecretUrl(value)) if "://" in value else "?" in value:
            raise VortexError(
                f"{self.root / FILE}: artifact_root {SecretUrl(value)} holds a user, a password or a query, allowed: the place alone",
                "give the access in the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            )
        return value

    @property
    def tracking_uri(self) -> SecretUrl:
        """MLflow's store; a relative sqlite path is relative to the workspace."""
        return self._uri("tracking_uri", self.config.tracking_uri)

    @property
    def ledger_url(self) -> SecretUrl:
        """SQLAlchemy URL of the ledger; a relative sqlite path is relative to the workspace."""
        return self._uri("ledger", self.config.ledger)

    @property
    def ledger_head(self) -> Path:
        """Where the head of the ledger is noted, wherever the ledger itself is."""
        return self.root / "mlruns" / "ledger.head"

    def domain(self, name: str) -> Domain:
        """Look a domain up. Raises VortexError naming the known ones."""
        if name not in self.config.domains:
            names = ", ".join(sorted(self.config.domains)) or "none yet"
            raise VortexError(
                f"unknown domain {name!r}; this workspace has: {names}",
                f"add frames of it with: vortex data add NAME PATH --format plain --domain {name}",
            )
        return self.config.domains[name]

    @property
    def evidence_keys(self) -> tuple[Path, ...]:
        """Files of the public keys whose signatures on evidence are trusted."""
        return tuple(self._path("evidence.keys", key) for key in self.config.evidence.keys)

    def hook_url(self, name: str) -> SecretUrl:
        """Where a hook posts to. Raises VortexError where a variable that it names is not set, or holds no such URL."""
        setting = self.config.hooks[name].url or ""
        url = _expand(f"hooks.{name}.url", setting, shown=server_of(setting))
        try:
            require_postable(url)
        except ValueError as error:
            raise VortexError(f"{FILE}: hooks.{name}: {error}", "mend what the variable holds") from error
        return SecretUrl(url)

    @property
    def publish_folder(self) -> Path:
        """What robots pull."""
        return self._folder("publish.folder", self.config.publish.folder)

    @property
    def keys_folder(self) -> Path:
        """The keys that sign what is published, but for those of the role root."""
        return self._folder("publish.keys", self.config.publish.keys)

    def device(self, name: str | None) -> str:
        """Name of the device; None is the only configured one. Raises VortexError when it is unknown or ambiguous."""
        names = ", ".join(sorted(self.config.devices))
        if name is None:
            if len(self.config.devices) == 1:
                return next(iter(self.config.devices))
            raise VortexError(f"which device? this workspace has: {names}", "name one with --device")
        if name not in self.config.devices:
            raise VortexError(f"unknown device {name!r}; this workspace has: {names}", f"add [devices.{name}] to {FILE}")
        return name

    def teacher(self, name: str) -> dict[str, Any]:
        """The settings in `[teachers.NAME]`: variables expanded, and `weights` and `python` that lie in the workspace made absolute."""
        settings = {}
        for key, value in self.config.teachers.get(name, {}).items():
            if isinstance(value, str) and ("$" in value or value.startswith("~")):
                value = _expand(f"teachers.{name}.{key}", value)
            if key in PLACES and isinstance(value, str) and value and (self.root / value).exists():
                value = str(self.root / value)
            settings[key] = value
        return settings

    def add_domain(self, name: str, kind: str) -> Workspace:
        """Write a new domain into `vortex.toml`, keeping its comments, and return the workspace as it then is."""
        import tomlkit

        check_name("domain", name)
        path = self.root / FILE
        # Two processes that each add a domain would otherwise write the file without the other's.
        with locked(self.build / "vortex.toml.lock"):
            document = tomlkit.parse(read_text_of_user(path))
            domains = document.setdefault("domains", tomlkit.table(is_super_table=True))
            if name not in domains:
                entry = tomlkit.table()
                entry["kind"] = kind
                domains[name] = entry
                write_atomic(path, tomlkit.dumps(document))
        return load(self.root)

    def _folder(self, key: str, value: str) -> Path:
        path = self._path(key, value)
        if self.root.is_relative_to(os.path.normpath(path)):
            raise VortexError(
                f"{self.root / FILE}: {key} = {value!r} is the workspace itself, allowed: a folder of its own",
                f"for example {key} = {key.rpartition('.')[2]!r}",
            )
        if path.exists() and not path.is_dir():
            raise VortexError(f"{path}: is a file, allowed: the folder that `{key}` names", f"move it away, or set `{key}` in {FILE}")
        return path

    def _path(self, key: str, value: str) -> Path:
        return (self.root / _expand(key, value)).absolute()

    def _uri(self, key: str, value: str) -> SecretUrl:
        value = _expand(key, value)
        scheme, separator, rest = value.partition("://")
        kind = scheme.partition("+")[0]
        if not separator or not rest or kind not in STORES[key] or (kind == "sqlite" and not rest.startswith("/")):
            # What follows the scheme may hold a password.
            safe = f"{scheme}://…" if separator else value[:60]
            allowed = ", ".join("sqlite:///FILE" if each == "sqlite" else f"{each}://…" for each in STORES[key])
            raise VortexError(f"{self.root / FILE}: {key} is {safe!r}, allowed: {allowed}", f"leave {key} out for the embedded default")
        try:
            _ = None if kind == "sqlite" else urlsplit(value).port
        except ValueError as error:
            raise VortexError(
                f"{self.root / FILE}: {key} = {SecretUrl(value)} has no address ({error})", "write the server as scheme://host:port"
            ) from error
        scheme, separator, rest = value.partition(":///")
        if separator and scheme.startswith("sqlite") and not rest.startswith("/"):
            return SecretUrl(f"{scheme}:///{(self.root / rest).absolute()}")
        return SecretUrl(value)


def check_name(what: str, name: str) -> str:
    """Return `name` when it can be one. Raises UsageError saying what a name looks like."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{what} name {name[:80]!r} is not allowed", "use a-z, 0-9, '-' and '_', starting with a letter, at most 63 characters"
        )
    return name


def find(start: Path | None = None) -> Workspace:
    """The workspace that holds `start` (default: here), looking upwards as git does. Raises VortexError when there is none."""
    try:
        here = (start or Path.cwd()).absolute()
    except FileNotFoundError as error:
        raise VortexError("the current folder was removed", "change to a folder that exists, or name one with --workspace DIR") from error
    for folder in (here, *here.parents):
        if (folder / FILE).is_file():
            return load(folder)
    raise VortexError(f"no {FILE} in {here} or above it", "make a workspace here with: vortex init")


def load(root: Path) -> Workspace:
    """Read `root/vortex.toml`. Raises VortexError listing every fault of the file."""
    path = root / FILE
    try:
        raw = tomllib.loads(read_text_of_user(path))
    except FileNotFoundError as error:
        raise VortexError(f"{path} does not exist", f"make a workspace there with: vortex init {root}") from error
    except NotADirectoryError as error:
        raise VortexError(f"{root} is a file, allowed: a folder that holds {FILE}", "name the workspace's folder") from error
    except (OSError, ValueError, RecursionError) as error:  # tomllib bounds neither the depth nor the digits of a number
        raise VortexError(
            f"{path}: not readable as TOML ({error})", "mend the file; `vortex init` in an empty folder shows a good one"
        ) from error
    try:
        config = WorkspaceConfig.model_validate(raw)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        what = faults[0] if len(faults) == 1 else f"{len(faults)} faults"
        hint = f"mend it; allowed keys: {', '.join(WorkspaceConfig.model_fields)}"
        raise VortexError(f"{path}: {what}", hint, faults if len(faults) > 1 else []) from error
    for what, names in (("domain", config.domains), ("device", config.devices), ("hook", config.hooks)):
        for name in names:
            try:
                check_name(what, name)
            except UsageError as error:
                raise VortexError(f"{path}: {error.message}", error.hint) from error
    return Workspace(root.absolute(), config)


def _expand(key: str, value: str, *, shown: str | None = None) -> str:
    """`value` with its variables. Raises VortexError, which quotes it as `shown`, for one that is not set."""
    expanded = os.path.expanduser(os.path.expandvars(value))
    unset = re.search(r"\$\{?(\w+)", expanded)
    if unset:
        otherwise = " or write the path out" if shown is None else ""
        raise VortexError(f"{FILE}: {key} = {(shown or value)!r} names ${unset[1]}, which is not set", f"export {unset[1]}=…{otherwise}")
    return expanded
