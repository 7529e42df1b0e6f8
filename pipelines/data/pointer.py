"""`data.dvc`, the pointer beside `data/`: which version of the frames belongs here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from core import strict_yaml
from core.errors import VortexError
from core.files import read_text_of_user, write_atomic
from pipelines.workspace import Workspace

EMPTY_DIR: Final = "d751713988987e9331980363e24189ce.dir"
"""Hash of an empty folder: MD5 of the listing `[]`. A pointer with `outs: []`, as in a fresh clone, stands for it too."""
FETCH: Final = "fetch them with: vortex data pull; `dvc remote list` shows from where"
RESTORE: Final = "restore it with: git checkout {0}; where nothing has it, remove it: the next `vortex data add` versions data/ anew"


def pointer(ws: Workspace) -> Path:
    """`data.dvc`, beside `data/`."""
    return ws.data.with_name(f"{ws.data.name}.dvc")


def data_hash(ws: Workspace) -> str | None:
    """The `.dir` hash that `data.dvc` records for `data/`, or None when there is no pointer. Raises VortexError when it is not one."""
    path = pointer(ws)
    try:
        return recorded_hash(read_text_of_user(path), path)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise VortexError(f"{path}: cannot be read ({error})", RESTORE.format(path.name)) from error


def recorded_hash(text: str, path: Path) -> str:
    """The `.dir` hash in a pointer's text; `path` is what an error names. Raises VortexError when there is none."""
    outs = _outs(text)
    if outs == []:
        return EMPTY_DIR
    md5 = outs[0].get("md5") if outs and len(outs) == 1 else None
    if not isinstance(md5, str) or not re.fullmatch(r"[0-9a-f]{32}\.dir", md5):
        raise VortexError(
            f"{path}: found no `outs` entry with the md5 of a folder, allowed: what `dvc add` writes",
            RESTORE.format(path.name),
        )
    return md5


def unfetched(ws: Workspace) -> bool:
    """Whether `data.dvc` records frames and none are here, as in a fresh clone."""
    return data_hash(ws) not in (None, EMPTY_DIR) and not any(ws.data.glob("*/dataset.json"))


def restore(path: Path, before: bytes | None) -> None:
    """Put the pointer back as it was; a no-op when it still is."""
    if before is None:
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != before:
        try:
            write_atomic(path, before)
        except VortexError:
            # A full disk has no room for a second copy beside it, but the block that the file has is enough.
            with open(path, "r+b") as stream:
                stream.write(before)
                stream.truncate()


def _outs(text: str) -> list[dict[str, Any]] | None:
    """The `outs` of a pointer; None when the text is none."""
    try:
        document = strict_yaml.parse(text)
    except ValueError:
        return None
    outs = document.get("outs") if isinstance(document, dict) else None
    return outs if isinstance(outs, list) and all(isinstance(out, dict) for out in outs) else None
