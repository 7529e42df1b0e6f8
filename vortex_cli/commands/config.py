"""`vortex config`: the settings of the workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console

if TYPE_CHECKING:
    from pipelines.settings import Setting


def complete_keys(incomplete: str) -> list[str]:
    """Keys that start with `incomplete`; none outside a workspace."""
    from core.errors import VortexError
    from pipelines.settings import settings

    try:
        return [setting.key for setting in settings(console.workspace()) if setting.key.startswith(incomplete)]
    except VortexError:
        return []


def config(
    key: Annotated[
        str | None, typer.Argument(metavar="KEY", help="One setting, or a table of them: domains.corridor.", autocompletion=complete_keys)
    ] = None,
) -> None:
    """Show every setting of vortex.toml: its value as commands use it, its default, and where it comes from. Secrets are hidden.

    Of a single setting only the value is printed, for scripts.

    Example: vortex config artifact_root
    """
    from pipelines.settings import settings

    listed = settings(console.workspace(), key)
    if key is not None and [setting.key for setting in listed] == [key]:
        console.emit(listed[0], _words(listed[0].value))
        return
    console.emit(listed, *(f"{setting.key} = {_words(setting.value)}   # {_source(setting)}" for setting in listed))
    if not listed:
        console.note(f"vortex.toml says nothing of {key}")


def _source(setting: Setting) -> str:
    """Where a setting comes from, how it is spelt there where commands see it otherwise, and its default where it is another."""
    source = f"{setting.source}: {setting.written}" if setting.written is not None else setting.source
    other = setting.default is not None and setting.default not in (setting.value, setting.written) and setting.source != "default"
    return source + (f", default {_words(setting.default)}" if other else "")


def _words(value: Any) -> str:
    """A value in words; – for none."""
    if value in (None, "", [], ()):
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
