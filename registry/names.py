"""Which names are free: a version's number is taken once, by a training, an adopted checkpoint or a declaration, whichever comes first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from core.errors import VortexError
from core.shipped import SHIPPED
from registry.declarations import Declaration, DeclaredVersion
from registry.events import reading
from registry.events.version import NAMING, REGISTERING, VersionAdopted, VersionDeclared, VersionRegistered
from registry.ledger import Reader
from registry.records import Version

FIRST_FREE: Final = len(SHIPPED) + 1


def named(source: Reader, name: str) -> Version | DeclaredVersion | None:
    """What has this name, without what was measured of it since; None where nothing has."""
    state = reading.fold(source.entries(kinds=NAMING, subject=name))
    return next(iter(state.whole_versions()), None) or state.declared.get(name)


def next_number(source: Reader, recipe: str | None, derived: bool) -> int:
    """The number of a shipped recipe while nobody has it, for a version that is not derived; else the next one after all others."""
    if recipe in SHIPPED and not derived:
        number = int(str(recipe)[1:])
        if source.claimed("version", number) is None:
            return number
    return max(FIRST_FREE, source.highest("version") + 1)


def require_adoptable(source: Reader, name: str, recipe: str | None) -> None:
    """Raise VortexError unless a checkpoint of this recipe may be adopted under this name: a declared one, the recipe's own, or the next."""
    if entries := source.entries(kinds=REGISTERING, subject=name, bodies=False):
        raise VortexError(
            f"{name} has weights already, since {entries[0].at[:10]} ({entries[0].actor})",
            f"a name is never given again: adopt it as v{next_number(source, None, derived=False)}",
        )
    if name in SHIPPED and recipe != name:
        whose = f"recipe {recipe}" if recipe else "a recipe of its own"
        raise VortexError(
            f"{name} is the name of the shipped recipe {name}, and the checkpoint has {whose}", f"name it with --recipe {name}"
        )
    if source.entries(kinds=(VersionDeclared.kind,), subject=name, bodies=False):
        return
    allowed = list(dict.fromkeys(f"v{next_number(source, which, derived=False)}" for which in (recipe, None)))
    if name not in allowed:
        raise VortexError(f"{name} is neither declared nor the next name, allowed: {' or '.join(allowed)}", f"adopt it as {allowed[-1]}")


def undeclared(source: Reader, declarations: Mapping[str, Declaration]) -> list[str]:
    """Those that are not recorded yet. Raises VortexError for names that are taken, and for what was recorded otherwise."""
    entries = source.entries(kinds=(VersionDeclared.kind, VersionRegistered.kind), bodies=False)
    recorded = {entry.subject: VersionDeclared.parse(entry).declaration for entry in entries if entry.kind == VersionDeclared.kind}
    trained = {entry.subject: entry for entry in entries if entry.kind == VersionRegistered.kind}
    faults = [f"{name} was trained here and registered on {trained[name].at[:10]}" for name in declarations if name in trained]
    for entry in source.entries(kinds=(VersionAdopted.kind,)):
        declaration, adopted = declarations.get(entry.subject), VersionAdopted.parse(entry).adoption
        if declaration and entry.subject not in SHIPPED and declaration.checkpoint != adopted.source:
            faults.append(
                f"{entry.subject} was adopted from {adopted.source}, the file's has the checkpoint {declaration.checkpoint or '–'}"
            )
    for name, declaration in declarations.items():
        faults += [f"{name}: {difference}" for difference in _differences(recorded.get(name, declaration), declaration)]
    if faults:
        raise VortexError(
            f"nothing was recorded, {len(faults)} thing{'s' if len(faults) > 1 else ''} would contradict the ledger: {faults[0]}",
            "what is recorded stays: in a copy of the file, give these versions names that are free",
            faults,
        )
    return [name for name in declarations if name not in recorded]


def _differences(recorded: Declaration, declaration: Declaration) -> Iterator[str]:
    """What a declaration says otherwise than the recorded one."""
    for key, value in vars(recorded).items():
        other = getattr(declaration, key)
        if isinstance(value, tuple) and set(value) != set(other):
            value, other = (tuple(item for item in ours if item not in theirs) for ours, theirs in ((value, other), (other, value)))
        if value != other:
            yield f"{key}: recorded is {_text(value)}, the file says {_text(other)}"


def _text(value: object) -> str:
    """A declared value in a few words."""
    if isinstance(value, tuple):
        return "; ".join(map(_text, value)) or "nothing"
    text = " ".join(map(str, vars(value).values())) if hasattr(value, "__dict__") else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
