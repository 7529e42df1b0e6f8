"""The files of artifacts, wherever they lie: below today's artifact root, below an earlier one, or in a remote store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import VortexError
from core.files import inside, is_uri, sha256_file, staged_file
from core.secret import SecretUrl
from registry import artifacts, database
from registry.records import Artifact

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from registry.store import MlflowStore


@dataclass(frozen=True)
class ArtifactFiles:
    """The artifacts of a registry as local files. `root` is today's artifact root; MLflow is asked only where a file does not lie there."""

    root: Path | str
    tracking_uri: SecretUrl
    _store: Callable[[], MlflowStore]

    @cached_property
    def _fetched(self) -> TemporaryDirectory[str]:
        from tempfile import TemporaryDirectory  # 20 ms that a listing has no use for

        return TemporaryDirectory(prefix="vortex-artifacts-", ignore_cleanup_errors=True)

    def path(self, artifact: Artifact, *, verify: bool = True) -> Path:
        """The artifact as a local file, fetched when it is remote; it may lie below an artifact root that was set earlier.

        Raises VortexError when it is gone, or when its bytes are not those that were recorded; their number alone unless `verify`.
        """
        path = self._here(artifact.uri)
        if path is None and (is_uri(artifact.uri) or not isinstance(self.root, Path)):
            path = self._fetch(artifact)
        path = path or self._elsewhere(artifact.uri)
        if not path.is_file():
            raise VortexError(f"{path}: the artifact is gone", "restore it from a backup of the artifact root, or train or export it again")
        if path.stat().st_size != artifact.bytes or (verify and sha256_file(path) != artifact.sha256):
            raise VortexError(
                f"{path}: its content is not what was registered (sha256 {artifact.sha256[:12]}…, {artifact.bytes} bytes)",
                "the file was changed or cut off: restore it from a backup",
            )
        return path

    def check(self, artifact: Artifact, *, verify: bool = True) -> None:
        """Raise VortexError as `path` does; of a remote artifact nothing stays here, so that any number can be checked."""
        try:
            self.path(artifact, verify=verify)
        finally:
            self.drop_fetched(artifact)

    def drop_fetched(self, artifact: Artifact) -> None:
        """Remove the local copy of a remote artifact, where `path` made one."""
        if "_fetched" in vars(self):
            shutil.rmtree(self._fetched_folder(artifact), ignore_errors=True)

    def put(self, artifact: Artifact, path: Path) -> bool:
        """Have the file of an artifact of another registry below this artifact root; False where it was there.

        Its run must be here already. Raises VortexError when `path` does not hold what was recorded.
        """
        key = artifacts.key(artifact.uri)
        if key is None:
            raise VortexError(f"artifact {artifact.uri} is of no run: its place below another root is not known", "store it again")
        if sha256_file(path) != artifact.sha256:
            raise VortexError(
                f"{path}: its content is not what was registered (sha256 {artifact.sha256[:12]}…)", "restore it from a backup"
            )
        if isinstance(self.root, Path):
            target = inside(self.root, key)
            if target.is_file() and sha256_file(target) == artifact.sha256:
                return False
            with staged_file(target) as staging:
                shutil.copyfile(path, staging)
            return True
        place = self._remote_place(artifact.uri)
        if self._store().holds(place, artifact.bytes):
            return False
        self._store().put(path, place)
        return True

    def _fetch(self, artifact: Artifact) -> Path | None:
        """A remote artifact as a local file, which is there until this process ends; None where it was stored in a folder.

        It lies where MLflow has its run, or where it was stored.
        """
        folder = self._fetched_folder(artifact)
        path = folder / artifact.uri.rpartition("/")[2]
        if path.is_file():
            return path
        places = [place for place in dict.fromkeys((self._remote_place(artifact.uri), artifact.uri)) if is_uri(place)]
        for place in places[:-1]:
            with suppress(VortexError):
                return self._store().fetch(place, folder)
        return self._store().fetch(places[-1], folder) if places else None

    def _remote_place(self, uri: str) -> str:
        """Where an artifact lies below its run's place, if that is in a store; else where it was stored."""
        run, _, below = (artifacts.key(uri) or "").partition("/artifacts/")
        place = self._place(run) if run else ""
        return f"{place}/{below}" if place and not place.startswith("file:") else uri

    def _fetched_folder(self, artifact: Artifact) -> Path:
        return Path(self._fetched.name) / artifact.sha256

    def _here(self, uri: str) -> Path | None:
        """An artifact below today's artifact root; None where that does not hold it."""
        if not isinstance(self.root, Path) or (is_uri(uri) and artifacts.key(uri) is None):
            return None
        path = inside(self.root, artifacts.key(uri) or uri)
        return path if path.is_file() else None

    def _elsewhere(self, uri: str) -> Path:
        """An artifact below the root that was set when it was stored, as MLflow has it. Raises VortexError naming all places looked at."""
        place = self._place(uri.partition("/")[0])
        path = artifacts.earlier(uri, place)
        if path:
            return path
        if not isinstance(self.root, Path):
            raise VortexError(
                f"artifact {uri} was stored in a folder, but artifact_root is {self.root}",
                "set artifact_root in vortex.toml back to the folder that holds it",
            )
        there = artifacts.local(place).parent.parent if place.startswith("file:") else self.root
        also = f", nor below {there}, where MLflow has it" if there != self.root else ""
        raise VortexError(
            f"{self.root / uri}: the artifact is gone: it is not there{also}",
            "move the old artifact root's folders into the new one, or restore them from a backup, or train or export it again",
        )

    def earlier_root(self, uri: str) -> Path | None:
        """The earlier artifact root below which an artifact lies; None where it lies below none that MLflow knows of."""
        path = artifacts.earlier(uri, self._place(uri.partition("/")[0]))
        return path and path.parents[uri.count("/")]

    def _place(self, run_id: str) -> str:
        file = database.sqlite_path(self.tracking_uri)
        try:
            return self._store().location(run_id) if file is None or file.exists() else ""
        except VortexError:  # MLflow knows no such run, or cannot be asked: what is missing is said by the caller
            return ""
