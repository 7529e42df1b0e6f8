"""How every page is rendered: templates of one folder, escaped, with nothing in them that commands a terminal or shows a secret."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.printable import clean

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES: Final = Path(__file__).with_name("templates")


@cache
def environment() -> Environment:
    """The templates of `templates/`; a value that a template names and that is not there is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined, finalize=cleaned
    )


def cleaned(value: object) -> object:
    """What a template writes, wherever in it: nothing but what can be read, and no secret. Markup of a page stays markup."""
    from markupsafe import Markup

    if not isinstance(value, str) or value.startswith("data:image/"):
        return value
    text = clean(value)
    return Markup(text) if isinstance(value, Markup) else text
