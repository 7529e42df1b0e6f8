"""What is no printable character is shown, and never reaches a terminal, a pipe or a page as it is."""

from __future__ import annotations

import io
import json
import logging
import unicodedata
import warnings

import pytest
from rich.columns import Columns
from rich.panel import Panel
from rich.text import Text
from rich.tree import Tree

from core.printable import escaped, printable
from vortex_cli import console
from vortex_cli.terminal import Terminal

ATTACK = "ok\x1b[2J\x1b]0;owned\x07\x1b[31mv6 is in production\x1b[8m\u202egnp.exe\x9b2J\x90q\x85\u2066\u200b\rend\x7f"
JOINERS = "\u200c\u200d"


def unseen(text: str) -> set[str]:
    """Characters that command a terminal or are not seen, besides line feed and tab."""
    return {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") and char not in "\n\t" + JOINERS}


def test_every_character_that_commands_or_hides_is_replaced_by_one_that_is_seen() -> None:
    everything = "".join(chr(code) for code in range(0x20000) if not 0xD800 <= code < 0xE000) + "".join(map(chr, range(0xE0000, 0xE0080)))
    rest = unseen(printable(everything))
    assert {unicodedata.name(char).split()[0] for char in rest} <= {"ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN", "SHORTHAND", "MUSICAL"}
    assert len(printable(everything)) == len(everything)
    assert printable("ä ü 深度 🤖\n\tas it is") == "ä ü 深度 🤖\n\tas it is"
    assert printable("\x1b[31m\x07") == "␛[31m␇"


def test_json_spells_them_out_and_means_the_same() -> None:
    text = escaped(json.dumps({"reason": ATTACK + "\U000e0041"}, ensure_ascii=False))
    assert not unseen(text)
    assert "\\u202e" in text and "\\u009b" in text
    assert json.loads(text) == {"reason": ATTACK + "\U000e0041"}


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("make", [
    lambda text: text, Text, lambda text: Text.assemble(("a", "bold"), (text, "red")), lambda text: Panel(text, title=text, subtitle=text),
    lambda text: console.table([text, "b"], [[text, Text(text, "green")]], title=text, caption=text), lambda text: Tree(Text(text)),
    lambda text: Columns([text, text]),
])  # fmt: skip
def test_no_drawing_lets_them_through(make: object, terminal: bool) -> None:
    out = io.StringIO()
    Terminal(file=out, force_terminal=terminal, color_system=None, width=300).print(make(ATTACK), markup=False)  # type: ignore[operator]
    assert not unseen(out.getvalue())
    assert "␛[31mv6 is" in out.getvalue()


def test_styles_stay_where_they_were() -> None:
    out = io.StringIO()
    Terminal(file=out, force_terminal=True, color_system="standard", width=80).print(Text.assemble("a\x1b", ("red", "red"), "b"))
    assert out.getvalue() == "a␛\x1b[31mred\x1b[0mb\n"


def test_errors_notes_results_and_what_libraries_say_are_clean(capsys: pytest.CaptureFixture[str]) -> None:
    from core.errors import VortexError

    console.hush_libraries()
    console.note(ATTACK)
    console.fail(VortexError(ATTACK, ATTACK, [ATTACK]))
    console.write(ATTACK)
    console.emit({"reason": ATTACK}, ATTACK)
    console.traceback(ValueError(ATTACK))
    handler = logging.StreamHandler()
    library = logging.getLogger("some.library")
    library.addHandler(handler)
    library.warning("%s happened", ATTACK)
    library.removeHandler(handler)
    console.note(warnings.formatwarning(ATTACK, UserWarning, "file.py", 1))
    out, err = capsys.readouterr()
    assert not unseen(out) and not unseen(err)
    assert out.count("v6 is in production") == 2 and err.count("v6 is in production") == 7
