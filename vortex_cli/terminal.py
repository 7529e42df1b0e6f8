"""The console that everything is drawn on: what it draws says something, commands no terminal and keeps secrets."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from core.printable import clean


class Terminal(Console):
    """rich draws tables, panels and progress from texts, and asks its console to render each of them: here every text is cleaned."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich has it."""
        if isinstance(renderable, str):
            renderable = clean(renderable)
        elif isinstance(renderable, Text):
            renderable = _cleaned(renderable)
        return super().render(renderable, options)


def _cleaned(text: Text) -> Text:
    """A text with the styles of its parts, unless a secret among them had to go."""
    plain = clean(text.plain)
    if plain == text.plain:
        return text
    if len(plain) != len(text.plain):
        return Text(plain, text.style, justify=text.justify, overflow=text.overflow, no_wrap=text.no_wrap, end=text.end)
    text = text.copy()
    text.plain = plain
    return text
