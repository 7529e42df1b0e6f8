"""MLflow, seen from Vortex: runs, metrics, inputs, artifacts and the model `vortex-student`. The only place that imports it."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from core.errors import VortexError
from core.files import flush, locked, sha256_file, staged_file
from core.secret import SecretUrl, hide
from registry import artifacts, database
from registry.records import Artifact, DataUse, RunRecord, Version

MODEL: Final = "vortex-student"
EXPERIMENT: Final = "vortex"
HEAD_TAG: Final = "vortex.ledger.head"
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
BATCH: Final = {"metrics": 1000, "params": 100}
"""The most that MLflow takes in one `log_batch`."""
PATIENCE: Final = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "6", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1"}
"""How long a server may be silent, in seconds, and how often it is asked again: by itself MLflow waits for a quarter of an hour."""
QUIET: Final = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
"""What MLflow would write into a command's own words: a bar a file, and where a run is seen."""
LONGEST: Final = {"params": 6000, "tags": 5000}
"""The longest values that MLflow takes."""


class MlflowStore:
    """An MLflow store. The constructor opens it, and creates and migrates an embedded one, under a lock between processes.

    Several processes that open a fresh sqlite store at once spoil it (measured: 1 of 6 survived), hence the lock. Raises VortexError
    when the store cannot be reached.
    """

    def __init__(self, tracking_uri: SecretUrl | str, artifact_root: Path | str) -> None:
        self.tracking_uri = SecretUrl.of(tracking_uri)
        self.artifact_root = artifact_root
        self._file = database.sqlite_path(self.tracking_uri)
        self._url = database.for_sqlalchemy(self.tracking_uri)
        self._location = artifact_root.absolute().as_uri() if isinstance(artifact_root, Path) else artifact_root
        with self._explained("open"), self._initialisation_lock(), _default_location(self._location):
            if self._file and not self._file.exists():
                _create(self._file)
            self._client: Any = _client(self._url)
            self._own: dict[str, str] = {}
            self.experiment_id = self._experiment()
            self._model()

    def start_run(self, name: str, tags: Mapping[str, str] | None = None) -> str:
        """Start a run and return its id."""
        with self._explained("start a run"):
            run = self._client.create_run(self.experiment_id, run_name=name, tags={**(tags or {}), "mlflow.source.name": "vortex"})
            run_id = str(run.info.run_id)
            self._own[run_id] = run_id
            return run_id

    def runs_tagged(self, tag: str, value: str = "%") -> list[str]:
        """The ids of the runs that carry this tag with this value, so that what was interrupted is taken up again; the newest first."""
        with self._explained("look a run up"):
            runs = self._client.search_runs([self.experiment_id], f"tags.`{tag}` LIKE '{value}'", max_results=100)
            return [str(run.info.run_id) for run in runs]

    def end_run(self, run_id: str, status: RunStatus = "FINISHED") -> None:
        """Mark a run as ended."""
        with self._explained("end a run"):
            self._client.set_terminated(self._run(run_id), status)

    def has_run(self, run_id: str) -> bool:
        """Whether the store knows a run: not one that another store began after its runs were brought here."""
        from mlflow.exceptions import MlflowException

        with self._explained("look a run up"):
            try:
                self._client.get_run(self._run(run_id))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return False
            return True

    def steps(self, run_id: str, metric: str) -> set[int]:
        """The steps at which a run has this metric."""
        with self._explained("read a run's metrics"):
            return {int(point.step) for point in self._client.get_metric_history(self._run(run_id), _metric_name(metric))}

    def resume_run(self, run_id: str) -> None:
        """Mark an ended run as running again."""
        with self._explained("resume a run"):
            self._client.update_run(self._run(run_id), status="RUNNING")

    def export_run(self, run_id: str) -> RunRecord:
        """What the store has about a run."""
        with self._explained(f"read run {run_id}"):
            run = self._client.get_run(self._run(run_id))
            points = [point for name in run.data.metrics for point in self._client.get_metric_history(run.info.run_id, name)]
        return RunRecord(
            run_id,
            str(run.info.run_name),
            str(run.info.status),
            int(run.info.start_time),
            run.info.end_time and int(run.info.end_time),
            {name: value for name, value in run.data.tags.items() if name != artifacts.ORIGIN},
            dict(run.data.params),
            tuple((point.key, point.value, point.timestamp, point.step) for point in points),
            tuple(
                {name: getattr(each.dataset, name) for name in ("name", "digest", "source_type", "source")}
                | {"tags": {tag.key: tag.value for tag in each.tags}}
                for each in run.inputs.dataset_inputs
            ),
        )

    def import_run(self, record: RunRecord) -> bool:
        """Have a run of another store here too; False where it was here in full. One that was left half brought is completed.

        MLflow gives it an id of its own; every method here goes on to know it by the ledger's.
        """
        from mlflow.entities import Metric, Param
        from mlflow.exceptions import MlflowException

        with self._explained(f"bring run {record.run_id}"):
            try:
                info = self._client.get_run(self._run(record.run_id)).info
                if self._has_all(record, info):
                    return False
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                tags = {**record.tags, artifacts.ORIGIN: record.run_id}
                info = self._client.create_run(self.experiment_id, record.started_ms, tags, record.name).info
                self._own[record.run_id] = str(info.run_id)
            self._log(record.run_id, "params", [Param(name, value) for name, value in record.params.items()])
            self._log(record.run_id, "metrics", [Metric(*point) for point in record.metrics])
            if record.inputs:
                self._client.log_inputs(info.run_id, datasets=_dataset_inputs(record.inputs))
            # Last, because by it a run that has ended is taken for whole.
            if record.ended_ms is not None:
                self._client.set_terminated(info.run_id, record.status, record.ended_ms)
        return True

    def _has_all(self, record: RunRecord, info: Any) -> bool:
        """Whether all of a run is here. One that is at work, or whose process was killed, has no end to tell that by."""
        if record.status != "RUNNING":
            return bool(info.status == record.status and info.end_time == record.ended_ms)
        here = self.export_run(record.run_id)
        points, points_here = ({(name, at, step) for name, _, at, step in each.metrics} for each in (record, here))
        return points <= points_here and record.params.keys() <= here.params.keys() and len(record.inputs) == len(here.inputs)

    def log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        """Log parameters, nested ones as `a.b`; values that are too long for MLflow are cut there (the ledger keeps them whole)."""
        from mlflow.entities import Param

        flat = [Param(key, hide(str(value))[: LONGEST["params"]]) for key, value in _flat(params)]
        self._log(run_id, "params", flat)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log a step's metrics as one batch."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._log(run_id, "metrics", [Metric(_metric_name(key), float(value), now, step) for key, value in metrics.items()])

    def log_inputs(self, run_id: str, data: Sequence[DataUse]) -> None:
        """Record which datasets a run reads, each by the hash of the data it saw."""
        with self._explained("record a run's data"):
            self._client.log_inputs(self._run(run_id), datasets=_dataset_inputs(map(_input, data)))

    def log_artifact(self, run_id: str, path: Path, folder: str) -> Artifact:
        """Store a file with a run, under `folder` and its SHA-256: what is there is never overwritten, and it is whole or absent.

        Raises VortexError when the disk is full, when other bytes lie under that SHA-256, or when the file changes meanwhile.
        """
        digest, size = sha256_file(path), path.stat().st_size
        below = f"{folder}/{digest}"
        if isinstance(self.artifact_root, Path):
            # Where MLflow would put it, but computed from today's artifact root: the location in its database may be an older one.
            relative = f"{run_id}/artifacts/{below}/{path.name}"
            target = self.artifact_root / relative
            if not (target.is_file() and artifacts.touch(self.artifact_root, target)):
                with staged_file(target) as staging:
                    shutil.copyfile(path, staging)
                    if sha256_file(staging) != digest:
                        raise VortexError(f"{path}: was changed while it was stored", "run the command again")
            elif sha256_file(target) != digest:
                raise VortexError(
                    f"{target}: holds other bytes than those that it is named after",
                    "it was changed or cut off: move it away, and run the command again",
                )
            return Artifact(relative, digest, size)
        with self._explained("store an artifact"):
            self._client.log_artifact(self._run(run_id), str(path), below)
        return Artifact(f"{self.location(run_id)}/{below}/{path.name}", digest, size)

    def location(self, run_id: str) -> str:
        """Where MLflow has a run's artifacts, as a URI."""
        with self._explained("look a run up"):
            return str(self._client.get_run(self._run(run_id)).info.artifact_uri).rstrip("/")

    def put(self, path: Path, uri: str) -> None:
        """Store a file at a remote place, under the name that the place says, whatever it is called here."""
        from tempfile import TemporaryDirectory

        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        place, _, name = uri.rpartition("/")
        with self._explained(f"store {uri}"), TemporaryDirectory(prefix="vortex-artifact-") as folder:
            named = Path(folder, name)  # MLflow calls a file as it is called here
            named.symlink_to(path.absolute())
            get_artifact_repository(place, tracking_uri=self._url).log_artifact(str(named))

    def holds(self, uri: str, size: int) -> bool:
        """Whether a file of that many bytes lies at a remote place."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        folder, _, name = uri.rpartition("/")
        with self._explained(f"look for {uri}"):
            files = get_artifact_repository(folder, tracking_uri=self._url).list_artifacts()
        return any(file.path.rpartition("/")[2] == name and file.file_size == size for file in files)

    def fetch(self, uri: str, folder: Path) -> Path:
        """A remote artifact as a file in `folder`."""
        import mlflow.artifacts

        with self._explained(f"fetch {uri}"):
            return Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=self._url, dst_path=str(folder)))

    def register_model(self, run_id: str, tags: Mapping[str, str]) -> int:
        """Make a run's student a version of the registered model and return MLflow's own number for it.

        A version of the same run that no ledger entry acknowledges (a crash came between) is taken up again.
        """
        with self._explained("register a model version"):
            cut = {key: hide(value)[: LONGEST["tags"]] for key, value in tags.items()}
            own = self._run(run_id)
            self._client.get_run(own)  # MLflow would take a version of a run that it does not know
            if own != run_id:
                cut[artifacts.ORIGIN] = run_id
            versions = self._client.search_model_versions(f"name = '{MODEL}' and run_id = '{own}'")
            if versions:
                number = int(versions[0].version)
                self.set_version_tags(number, {key: value for key, value in cut.items() if versions[0].tags.get(key) != value})
                return number
            version = self._client.create_model_version(MODEL, f"runs:/{own}/checkpoint", run_id=own, tags=cut, await_creation_for=0)
            return int(version.version)

    def set_version_tags(self, version: int, tags: Mapping[str, str]) -> None:
        """Set tags of a model version."""
        with self._explained("tag a model version"):
            for key, value in tags.items():
                self._client.set_model_version_tag(MODEL, str(version), key, value)

    def set_alias(self, alias: str, version: int) -> None:
        """Point an alias of the model at a version."""
        with self._explained("set an alias"):
            self._client.set_registered_model_alias(MODEL, alias, str(version))

    def drop_alias(self, alias: str) -> None:
        """Take an alias of the model away."""
        with self._explained("remove an alias"):
            self._client.delete_registered_model_alias(MODEL, alias)

    def run_behind(self, alias: str) -> str | None:
        """The run of the version that an alias points at; None where the model has no such alias."""
        from mlflow.exceptions import MlflowException

        with self._explained("read an alias"):
            number = self._client.get_registered_model(MODEL).aliases.get(alias)
            if number is None:
                return None
            try:
                return _origin(self._client.get_model_version(MODEL, number))
            except MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # deleted meanwhile
                    return None
                raise

    def aliases(self) -> dict[str, int]:
        """Every alias of the model → the model version that it points at."""
        with self._explained("read the aliases"):
            return {alias: int(version) for alias, version in self._client.get_registered_model(MODEL).aliases.items()}

    def model_versions(self) -> dict[int, str]:
        """Every version of the model → the id of its run."""
        with self._explained("read the model's versions"):
            return {int(version.version): _origin(version) for version in _pages(self._client.search_model_versions, f"name = '{MODEL}'")}

    def runs(self) -> list[str]:
        """The ids, as the ledger has them, of all runs that are not deleted."""

        def search(query: str, **page: Any) -> Any:
            return self._client.search_runs([self.experiment_id], query, order_by=["attributes.start_time ASC"], **page)

        with self._explained("read the runs"):
            return [run.data.tags.get(artifacts.ORIGIN, run.info.run_id) for run in _pages(search, "")]

    def deleted_runs(self) -> set[str]:
        """The ids of runs that were deleted and can be restored."""
        from mlflow.entities import ViewType

        def search(query: str, **page: Any) -> Any:
            return self._client.search_runs([self.experiment_id], query, run_view_type=ViewType.DELETED_ONLY, **page)

        with self._explained("read the deleted runs"):
            return {run.data.tags.get(artifacts.ORIGIN, run.info.run_id) for run in _pages(search, "")}

    def note_head(self, text: str) -> None:
        """Note the ledger's head, as a tag of the experiment."""
        with self._explained("note the ledger's head"):
            self._client.set_experiment_tag(self.experiment_id, HEAD_TAG, text)

    def noted_head(self) -> str | None:
        """The head that was noted last, or None."""
        with self._explained("read the ledger's head"):
            tags: dict[str, str] = self._client.get_experiment(self.experiment_id).tags
            return tags.get(HEAD_TAG)

    def _log(self, run_id: str, what: str, items: Sequence[Any]) -> None:
        with self._explained(f"log {what}"):
            for start in range(0, len(items), BATCH[what]):
                self._client.log_batch(self._run(run_id), **{what: items[start : start + BATCH[what]]})

    def _run(self, run_id: str) -> str:
        """MLflow's own id of a run that the ledger names: the same, unless the run was brought here from another store."""
        from mlflow.exceptions import MlflowException

        if run_id not in self._own:
            try:
                self._own[run_id] = str(self._client.get_run(run_id).info.run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                brought = self._client.search_runs([self.experiment_id], f"tags.`{artifacts.ORIGIN}` = '{run_id}'", max_results=1)
                if not brought:
                    return run_id
                self._own[run_id] = str(brought[0].info.run_id)
        return self._own[run_id]

    def _experiment(self) -> str:
        from mlflow.exceptions import MlflowException

        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            try:
                return str(self._client.create_experiment(EXPERIMENT, artifact_location=self._location))
            except MlflowException:  # on a server another process may have been first
                experiment = self._client.get_experiment_by_name(EXPERIMENT)
                if experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            raise VortexError(
                f"MLflow's experiment {EXPERIMENT!r} was deleted in {database.shown(self.tracking_uri)}",
                f"restore it with: {self._mlflow()} experiments restore --experiment-id {experiment.experiment_id}",
            )
        if self._file and isinstance(self.artifact_root, Path):
            artifacts.follow(self._file, self.artifact_root, str(experiment.experiment_id))
        return str(experiment.experiment_id)

    def _model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(MODEL, description="Students distilled by Vortex; `vortex versions` names them.")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _initialisation_lock(self) -> Any:
        return locked(self._file.with_name(f".{self._file.name}.lock"), 120.0) if self._file else nullcontext()

    def _mlflow(self) -> str:
        """MLflow's own command line on this store, to be copied. A password is left to the user's environment."""
        return f"MLFLOW_TRACKING_URI={shlex.quote(self._url if self._file else database.shown(self.tracking_uri))} mlflow"

    def _deleted(self, message: str) -> VortexError | None:
        """The error for what somebody deleted in MLflow, where that is what its message says."""
        run = re.search(r"run ([0-9a-f]{32}) must be in the 'active' state", message)
        if run:
            hint = f"restore it with: {self._mlflow()} runs restore --run-id {run[1]}"
            return VortexError(f"MLflow run {run[1]} was deleted in {database.shown(self.tracking_uri)}", hint)
        version = re.search(rf"Model Version \(name={MODEL}, version=(\d+)\) not found", message)
        if version:
            return VortexError(
                f"version {version[1]} of MLflow's model {MODEL!r} was deleted in {database.shown(self.tracking_uri)}",
                "MLflow keeps no deleted versions: restore its database from a backup; the ledger, the run and the weights are not touched",
            )
        return None

    def _refused(self, error: Exception, action: str) -> VortexError | None:
        """The error for a server that knows nobody of this name and password, or does not let them, where it is that."""
        refusals = {"UNAUTHENTICATED": "no user of that name and password", "PERMISSION_DENIED": "this user may not"}
        refusal = refusals.get(getattr(error, "error_code", ""))
        if refusal is None:
            return None
        return VortexError(
            f"MLflow server {database.shown(self.tracking_uri)}: could not {action}: {refusal}",
            "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of a user who may read and write",
        )

    @contextmanager
    def _explained(self, action: str) -> Iterator[None]:
        try:
            yield
        except VortexError:
            raise
        except ModuleNotFoundError as error:
            raise VortexError(
                f"could not {action}: the package {error.name!r} is not installed",
                "object stores need: uv sync --extra remotes; a database server: uv sync --extra postgres",
            ) from error
        except Exception as error:
            if not isinstance(error, OSError) and type(error).__module__.split(".")[0] not in (
                "mlflow",
                "sqlalchemy",
                "sqlite3",
                "alembic",
                "requests",
            ):
                raise
            better = self._deleted(str(error)) or self._refused(error, action)
            if better:
                raise better from error
            message = next(iter(str(getattr(error, "orig", None) or error).strip().splitlines()), type(error).__name__)
            raise VortexError(
                f"MLflow store {database.shown(self.tracking_uri)}: could not {action}: {message}",
                "check tracking_uri in vortex.toml, that the store can be reached and written, and the free space; `vortex doctor` looks at it",
            ) from error


def _client(tracking_uri: str) -> Any:
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false")
    for name, value in (PATIENCE | QUIET).items():
        os.environ.setdefault(name, value)
    for name in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow"):  # the import configures its own loggers
        logging.getLogger(name).setLevel(logging.ERROR)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def _create(file: Path) -> None:
    """Make an embedded store, whole or not at all: MLflow cannot go on with one whose dozens of migrations broke off (measured)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    staging = file.with_name(f".{file.name}.new")
    for left_over in (staging, staging.with_name(f"{staging.name}-journal")):
        left_over.unlink(missing_ok=True)
    _client(database.for_sqlalchemy(SecretUrl(f"sqlite:///{staging}")))
    flush(staging)
    staging.replace(file)
    flush(file.parent)


@contextmanager
def _default_location(location: str) -> Iterator[None]:
    """Where MLflow puts the artifacts of its own experiment `Default` when it creates a store.

    By itself it takes the folder that the process stands in, and writes its path into SQL, where a quote in it ends the statement.
    """
    name = "_MLFLOW_SERVER_ARTIFACT_ROOT"
    before = os.environ.get(name)
    os.environ[name] = location
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _origin(version: Any) -> str:
    """The run of a model version, by the id that the ledger has for it."""
    return str(version.tags.get(artifacts.ORIGIN, version.run_id))


def _pages(search: Any, query: str) -> Iterator[Any]:
    """Everything that a search of MLflow finds, page after page."""
    token = None
    while True:
        page = search(query, max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def run_record(version: Version) -> RunRecord:
    """A version's run as far as the ledger has it: recipe, data and final figures, without the curves."""
    at = round(datetime.fromisoformat(version.created_at).timestamp() * 1000)
    figures = {f"{metrics.domain}/{metrics.camera}/{key}": value for metrics in version.metrics for key, value in metrics.values.items()}
    return RunRecord(
        run_id=version.run_id,
        name=version.run,
        status="FINISHED",
        started_ms=at,
        ended_ms=at,
        tags={"mlflow.source.name": "vortex"},
        params={key: hide(str(value))[: LONGEST["params"]] for key, value in _flat(version.recipe_config)},
        metrics=tuple((_metric_name(name), float(value), at, 0) for name, value in figures.items()),
        inputs=tuple(map(_input, version.data)),
    )


def _input(use: DataUse) -> dict[str, Any]:
    """A dataset as MLflow has it of a run.

    The record is the one that `MetaDataset` makes for a local source, written directly: its own way there warns of a second local source.
    """
    return {
        "name": use.name,
        "digest": _digest(use),
        "source_type": "local",
        "source": json.dumps({"uri": f"data/{use.name}"}),
        "tags": {"mlflow.data.context": "training", "vortex.domain": use.domain, "vortex.digest": use.digest},
    }


def _dataset_inputs(inputs: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Records of datasets as MLflow takes them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(**{name: value for name, value in each.items() if name != "tags"}),
            [InputTag(name, value) for name, value in each["tags"].items()],
        )
        for each in inputs
    ]


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _metric_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_-./ :" else "_" for letter in name)


def _digest(use: DataUse) -> str:
    # MLflow keeps 36 characters of a digest: exactly the length of DVC's `<md5>.dir`; the whole digest is a tag beside it.
    return (use.dvc or use.digest)[:36]
