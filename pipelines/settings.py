"""Every setting of `vortex.toml`: what it is, what it would be without the file, and where it comes from. Secrets are hidden."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel

from core.errors import UsageError
from core.files import read_text_of_user
from core.secret import SecretUrl, hide
from pipelines.workspace import FILE, Workspace, WorkspaceConfig, server_of

HIDDEN: Final = "•••"
SECRET: Final = re.compile(r"(?i)(^|[._-])(token|secret|password|passwd|api_?key|credential)s?$")
"""Keys whose value is nobody's business."""
HOOK: Final = re.compile(r"hooks\.[^.]+\.url")


@dataclass(frozen=True)
class Setting:
    """One setting by its dotted key. `default` is None where there is none; `written` is how the file spells it, where that differs."""

    key: str
    value: Any
    default: Any
    source: str
    written: str | None = None


def settings(ws: Workspace, key: str | None = None) -> list[Setting]:
    """Every setting, or those at and below `key`: none of a table that the file lacks. Raises UsageError for a key that there is not, naming those like it."""
    written = dict(_leaves(tomllib.loads(read_text_of_user(ws.root / FILE))))
    values = dict(_leaves(ws.config.model_dump(mode="json")))
    defaults = dict(_leaves(WorkspaceConfig().model_dump(mode="json")))
    every = [_setting(ws, name, value, written, defaults) for name, value in values.items()]
    if key is None:
        return every
    below = [setting for setting in every if setting.key == key or setting.key.startswith(f"{key}.")]
    if not below and key not in WorkspaceConfig.model_fields:
        alike = get_close_matches(key, [*values, *WorkspaceConfig.model_fields], 3) or WorkspaceConfig.model_fields
        raise UsageError(f"no setting {key[:80]!r}; there is: {', '.join(alike)}", "list all with: vortex config")
    return below


def _setting(ws: Workspace, key: str, value: Any, written: Mapping[str, Any], defaults: Mapping[str, Any]) -> Setting:
    spelt = written.get(key)
    table, _, leaf = key.rpartition(".")
    default = _safe(key, defaults[key] if key in defaults else _default_of(table, leaf))
    resolved = _safe(key, _resolved(ws, key, value))
    source = FILE if key in written else "default"
    return Setting(key, resolved, default, source, hide(str(spelt)) if spelt is not None and _safe(key, spelt) != resolved else None)


def _resolved(ws: Workspace, key: str, value: Any) -> Any:
    """The value as commands use it: variables expanded, places absolute."""
    if key == "ledger":
        return ws.ledger_url
    if key in ("tracking_uri", "artifact_root", "data", "build"):
        place = getattr(ws, key)
        return place if isinstance(place, SecretUrl) else str(place)
    kind, _, rest = key.partition(".")
    if kind == "teachers" and "." in rest:
        teacher, _, setting = rest.partition(".")
        return ws.teacher(teacher).get(setting, value)
    return value


def _safe(key: str, value: Any) -> Any:
    """A value without what it may keep from others."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if SECRET.search(key):
        return HIDDEN
    if HOOK.fullmatch(key):
        return server_of(str(value))
    if isinstance(value, str | SecretUrl):
        text = str(SecretUrl.of(value)) if "://" in str(value) or isinstance(value, SecretUrl) else value
        return hide(text)
    return [_safe(key, item) for item in value]


def _default_of(table: str, leaf: str) -> Any:
    """The default of a setting in a table whose name the user chose, such as `domains.corridor`."""
    kind = WorkspaceConfig.model_fields.get(table.partition(".")[0])
    for argument in getattr(kind.annotation, "__args__", ()) if kind else ():
        if isinstance(argument, type) and issubclass(argument, BaseModel) and leaf in argument.model_fields:
            field = argument.model_fields[leaf]
            return None if field.is_required() else field.get_default(call_default_factory=True)
    return None


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested tables by its dotted key."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
