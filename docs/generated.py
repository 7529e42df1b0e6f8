"""The pages of this folder that are written from something else, so that they cannot disagree with it.

    make docs                       (.venv/bin/python docs/generated.py)

`commands.md` is written from the commands themselves, `decisions/README.md` from the headings of the pages beside it. Both are
committed, so that they can be read without running anything; a test compares them with what would be written now.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from vortex_cli.console import Session

DOCS = Path(__file__).parent
OF_EVERY_COMMAND = {*(field.name for field in dataclasses.fields(Session)), "help"}
PLANNING = "vortex train"
"""The command whose options profile, ablate and submit take too: they are described there, and only named elsewhere."""

COMMANDS_OPENING = """# Commands

Every command with its arguments and options, as `vortex COMMAND --help` shows them; `make docs` writes this page. What a command is
for, and what it does, is told by theme: [start](start.md), [data](data.md), [train](train.md), [cluster](cluster.md), [know](know.md),
[bring](bring.md), [ship](ship.md), [team](team.md), and for single commands [the data gate](data-gate.md),
[versions of data](versions-of-data.md), [packs](loading.md)
and [the replay](replay.md)."""

DECISIONS_OPENING = """# Decisions and negative results

One heading is one decision: its date, and what was decided. Below it stands what was tried, why, and what was measured. A heading
with *Negative* is something that was tried and did not work: that is the cheapest thing to learn from.

A new decision is a new heading at the end of its page; `make docs` then writes this list. Where a decision no longer holds, its text
says since when and what took its place."""


def pages() -> dict[Path, str]:
    """Path → text, of every page that is written by this file."""
    return {DOCS / "commands.md": commands_page(), DOCS / "decisions" / "README.md": decisions_page(DOCS / "decisions")}


def commands_page() -> str:
    """Every command of `vortex`, by the panels of its help, with the options that all of them take once at the top."""
    from vortex_cli.app import app

    group = typer.main.get_command(app)
    commands = {context.command_path: context for context in _contexts(group, typer.Context(group, info_name="vortex"))}
    first = commands["vortex init"]
    common = [parameter for parameter in first.command.get_params(first) if _is_common(parameter)]
    parts = [COMMANDS_OPENING, "## Options of every command", _table(_records(common, first))]
    planning = _records(commands[PLANNING].command.params, commands[PLANNING])
    panels = list(dict.fromkeys(context.command.rich_help_panel for context in commands.values()))
    for panel in panels:
        parts.append(f"## {panel}")
        for context in commands.values():
            if context.command.rich_help_panel == panel:
                parts += _command(context, planning)
    return "\n\n".join(parts) + "\n"


def decisions_page(folder: Path) -> str:
    """A list of all headings of the pages in `folder`, page by page."""
    parts = [DECISIONS_OPENING]
    for page in sorted(folder.glob("*.md")):
        if page.name != "README.md":
            title, *headings = re.findall(r"^##? (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            links = [f"- [{heading}]({page.name}#{anchor(heading)})" for heading in headings]
            parts += [f"## [{title}]({page.name})", "\n".join(links)]
    return "\n\n".join(parts) + "\n"


def anchor(heading: str) -> str:
    """The fragment by which a heading is linked to, as GitHub makes it: lower case, no punctuation, hyphens for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _contexts(group: Any, context: Any) -> Iterator[Any]:
    """A context of every command below `group`, in the order of `vortex --help`."""
    for name, command in group.commands.items():
        inner = typer.Context(command, info_name=name, parent=context)
        if hasattr(command, "commands"):
            yield from _contexts(command, inner)
        else:
            yield inner


def _command(context: Any, planning: dict[str, str]) -> list[str]:
    """The paragraphs of one command; `planning` are the options that are described at `vortex train` and only named elsewhere."""
    path, command = context.command_path, context.command
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    own = [parameter for parameter in command.params if not _is_common(parameter)]
    usage = " ".join([path, *map(_argument, arguments), *(["[OPTIONS]"] if len(own) > len(arguments) else [])])
    parts = [f"### `{path}`", f"    {usage}", *(_filled(paragraph) for paragraph in command.help.split("\n\n"))]
    described = {name: text for name, text in _records(own, context).items() if path == PLANNING or planning.get(name) != text}
    if described:
        parts.append(_table(described))
    names = [parameter.opts[-1] for parameter in own if parameter.get_help_record(context)[0] not in described]
    if names:
        *options, last = [f"`{name}`" for name in names if name.startswith("--")]
        parts.append(_filled(f"The recipe, {', '.join(options)} and {last} are those of [`{PLANNING}`](#{anchor(PLANNING)})."))
    return [*parts, f"Example: `{command.epilog.removeprefix('Example: ')}`"]


def _is_common(parameter: Any) -> bool:
    return parameter.name in OF_EVERY_COMMAND


def _records(parameters: list[Any], context: Any) -> dict[str, str]:
    """Names with the kind of value → help, default and bounds, as `--help` shows them."""
    return dict(parameter.get_help_record(context) for parameter in parameters)


def _argument(parameter: Any) -> str:
    name = parameter.metavar + ("…" if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _table(records: dict[str, str]) -> str:
    rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records.items()]
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def _cell(text: str) -> str:
    """Bounds in words, and no `|` that would end the cell."""
    text = re.sub(r"(\S+)<=x<=(\S+)\]", r"\1 to \2]", text)
    text = re.sub(r"x>=(\S+)\]", r"at least \1]", text)
    return " ".join(text.replace(" range>", ">").replace("|", "\\|").split())


def _filled(paragraph: str) -> str:
    return textwrap.fill(" ".join(paragraph.split()), 160, break_long_words=False, break_on_hyphens=False)


def main() -> None:
    """Write every page."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
