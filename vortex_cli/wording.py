"""How the registry's things read on a terminal: times, stages, edges, hashes. Words first, colour second."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from registry.edges import Edge
    from registry.events.event import Sentence
    from registry.quarantine import Bar
    from registry.records import Headline, Summary

STAGE_STYLES = {"production": "bold green", "staging": "yellow", "candidate": "cyan"}
EDGE_STYLES = {"weights": "bold magenta", "recipe": "blue", "teacher": "yellow", "data": "cyan", "frame": "cyan", "code": "dim"}


def width() -> int:
    """Columns of the terminal, 120 when piped, as `console.stdout` has it; asked without importing rich."""
    return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() or "COLUMNS" in os.environ else 120


def when(at: str, *, minutes: bool = True) -> str:
    """A recorded UTC time in the reader's own zone."""
    return _local(at[:16] + "Z")[: 16 if minutes else 10]


@lru_cache(maxsize=4096)
def _local(at: str) -> str:
    try:
        return datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:  # a ledger that was tampered with: `vortex doctor` says so, a listing shows what it holds
        return at


def who(actor: str) -> str:
    """The name of an actor without the address."""
    return actor.partition(" <")[0]


def size(pixels: Sequence[int]) -> str:
    """A size as it is typed: height x width."""
    return f"{pixels[0]}x{pixels[1]}"


def stages(channels: Iterable[tuple[str, str]], domain: str | None = None) -> Text:
    """The stages that a version holds, each with its channel; where the channel is in `domain`, its device says enough."""
    from rich.text import Text

    parts = [Text.assemble((stage, STAGE_STYLES.get(stage, "")), f" {place(channel, domain)}") for channel, stage in channels]
    return Text(", ").join(parts)


def standing(summary: Summary, bars: Sequence[Bar]) -> Text:
    """The stages that a version holds, and what bars it from more."""
    from rich.text import Text

    text = stages(summary.stages, summary.domain)
    if words := barred(summary.name, bars):
        text = Text(", ").join([*([text] if text else []), Text(words, "bold red")])
    return text


def place(channel: str, domain: str | None) -> str:
    """A channel as `device/domain`, or as its device alone when the domain is said already."""
    device, _, where = channel.partition("/")
    return device if where == domain else channel


def aligned(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """A table as plain text, for thousands of rows; a head is a name and `left` or `right`."""
    lines = [[head for head, _ in heads], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    form = "  ".join(f"%{'' if justify == 'right' else '-'}{width}s" for (_, justify), width in zip(heads, widths, strict=True))
    return "\n".join([(form % tuple(line)).rstrip() for line in lines])


def snug(table: Table) -> Table:
    """A table with two spaces between its columns and none around it, for rows that must fit 80 columns."""
    table.padding = (0, 1, 0, 0)
    table.show_edge = False
    return table


def left_out(reasons: Mapping[str, str]) -> list[str]:
    """Why versions are not in a ranking, one line for all with the same reason."""
    versions: dict[str, list[str]] = {}
    for version, reason in reasons.items():
        versions.setdefault(reason, []).append(version)
    return [f"  - {', '.join(names)}: {reason}" for reason, names in versions.items()]


def several(names: Sequence[str], most: int = 8) -> str:
    """Names in a line: of many the first, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def sentence(parts: Sentence) -> Text:
    """What happened, with its names and its alarms marked."""
    from rich.text import Text

    styles = {"name": "bold", "refused": "bold red", "rolled back": "bold yellow", "quarantined": "bold red"}
    return Text.assemble(*(part if isinstance(part, str) else (part[0], (styles | STAGE_STYLES).get(part[1], "")) for part in parts))


def descent(parents: Iterable[Edge]) -> str:
    """What a version was made from, in a word or two: its weights, else its recipe's parent."""
    refs = {kind: ref for kind, ref, _ in (edge.triple() for edge in reversed(list(parents)))}
    return next((f"{kind} {refs[kind]}" for kind in ("weights", "recipe") if kind in refs), "")


def barred(version: str, bars: Sequence[Bar]) -> str:
    """That a version is in quarantine, or what of it is from something that is; empty where nothing bars it."""
    origins = dict.fromkeys(
        f"data {bar.quarantine}" if bar.quarantine.scope == "data" else f"weights {bar.quarantine}"
        for bar in bars
        if bar.quarantine.subject != version
    )
    if any(bar.quarantine.subject == version and bar.quarantine.scope == "version" for bar in bars):
        return "quarantined"
    return f"quarantined: {', '.join(origins)}" if origins else ""


def measured_on(line: Headline | None) -> str:
    """Domain and camera of a number, without which it means nothing."""
    return f"{line.domain} · {line.camera}" if line else ""


def metres(value: float | None) -> str | None:
    """A depth error in metres."""
    return None if value is None else f"{value:.3f}"


def percent(value: float | None) -> str | None:
    """A share between 0 and 1, in percent."""
    return None if value is None else f"{100 * value:.1f}"


def digest(value: str | None, letters: int = 12) -> str | None:
    """The start of a hash; what a commit is marked with, `-dirty` or `-unchecked`, stays visible."""
    if not value:
        return None
    name, dash, mark = value.partition("-")
    return f"{name[:letters]}{dash}{mark}"


def megabytes(count: int) -> str:
    """A file's size for a person."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def rate(frames_per_second: float) -> str:
    """How fast frames go by: a slow machine's are not 0."""
    return f"{frames_per_second:.{0 if frames_per_second >= 10 else 1}f} frames/s"
