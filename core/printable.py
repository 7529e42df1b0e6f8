"""Text that only says something: characters that command a terminal, or turn the order of what is read round, are shown and not obeyed.

A name, a reason or a file's content reaches a screen, a pipe or a page by many ways; each of them ends in a place that calls this.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from core.secret import hide

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_INVISIBLE: Final = (
    (0x7F, 0x9F),  # DEL and C1: 9B begins an escape sequence as ESC [ does
    (0xAD, 0xAD),  # soft hyphen
    (0x61C, 0x61C),  # Arabic letter mark
    (0x180E, 0x180E),
    (0x200B, 0x200B),  # zero width; its neighbours, the joiners, are letters' business in several scripts
    (0x200E, 0x200F),  # direction marks
    (0x2028, 0x202E),  # line and paragraph separators, and the bidirectional embeddings and overrides
    (0x2060, 0x206F),  # invisible operators, and the bidirectional isolates
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
    (0xE0000, 0xE007F),  # tags: a second, invisible alphabet
)
"""First and last of each row of characters that are not seen themselves; after The Unicode Standard, general categories Cc, Cf, Zl, Zp."""

_SHOWN: Final[dict[int, str]] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},  # the pictures of the C0 characters: ␛ for ESC
    **{code: _REPLACEMENT for first, last in _INVISIBLE for code in range(first, last + 1)},
    0x7F: "\N{SYMBOL FOR DELETE}",
}


def printable(text: str) -> str:
    """`text` with a visible sign for each character that is none; only tab and line feed stay. The length stays too."""
    return text if text.isascii() and text.isprintable() else text.translate(_SHOWN)


def clean(text: str) -> str:
    """`text` as it may leave a process: it commands no terminal, and keeps secrets."""
    return printable(hide(text))


def escaped(document: str) -> str:
    r"""A JSON document, whose strings alone can hold such characters, with each of them spelt as JSON spells it: `\u202e`."""
    if document.isascii() and "\x7f" not in document:  # what is below 32 is spelt so already, but for the line breaks between the strings
        return document
    return document.translate(_json_escapes())


def _spelt(code: int) -> str:
    """`\\uXXXX`, twice for what takes two units of UTF-16."""
    units = chr(code).encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


@cache
def _json_escapes() -> dict[int, str]:
    return {code: _spelt(code) for code in _SHOWN if code >= 0x7F}


def one_line(text: str) -> str:
    """`text` as it may stand within a line: cleaned, with a space for each line break and tab."""
    return clean(text).replace("\n", " ").replace("\t", " ")


def plain_line(text: str) -> str:
    """`text` itself, for a field that a file fills. Raises ValueError where it is more than one line of plain text."""
    if clean(text) != text or "\n" in text or "\t" in text:
        raise ValueError("holds a line break, a tab, a character that commands a terminal, or a password: write one plain line")
    return text
