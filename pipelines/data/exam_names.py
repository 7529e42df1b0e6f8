"""The names of datasets in the exams of `vortex.toml`: where one stands, and how it becomes another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.files import locked, read_text_of_user, write_atomic
from pipelines.workspace import FILE, Workspace

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Array


def exams_with(ws: Workspace, name: str) -> list[str]:
    """The domains whose exam names a dataset, as `vortex.toml` is now."""
    return sorted(domain for domain, exam in _exams(_document(ws)) if name in exam)


def rename_in_exams(ws: Workspace, name: str, new_name: str) -> None:
    """Write the new name into the exams, keeping all comments, in one step."""
    import tomlkit

    with locked(ws.build / "vortex.toml.lock"):
        document = _document(ws)
        for _, exam in _exams(document):
            for place, member in enumerate(exam):
                if member == name:
                    exam[place] = new_name
        write_atomic(ws.root / FILE, tomlkit.dumps(document))


def _document(ws: Workspace) -> TOMLDocument:
    import tomlkit

    return tomlkit.parse(read_text_of_user(ws.root / FILE))


def _exams(document: TOMLDocument) -> Iterator[tuple[str, Array]]:
    for domain, settings in document.get("domains", {}).items():
        if "exam" in settings:
            yield domain, settings["exam"]
