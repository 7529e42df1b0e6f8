"""The one YAML loader: YAML 1.2's values, faults with their place, and hostile texts refused at once."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from core.shipped import SHIPPED
from core.strict_yaml import DEEPEST, LONGEST, MOST_VALUES, faults, parse
from pipelines.recipes.recipe import FOLDER
from validation.policies import FILE

pytestmark = pytest.mark.usefixtures("others_garbage")

LOOKS_LIKE_A_VALUE = re.compile(r"[-+]?(\d+\.\d*|\.\d+|\d+e[-+]?\d+)(e[-+]?\d+)?|yes|no|on|off|true|false|null", re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-5", 3e-5),
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-.5", -0.5),
        (".inf", float("inf")),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("12:30", "12:30"),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2026-06-30", date(2026, 6, 30)),
        ("'3e-5'", "3e-5"),
        ("[1, a, {b: 2.0}]", [1, "a", {"b": 2.0}]),
        ("on: push\r\nno: 1\r\n", {"on": "push", "no": 1}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    parsed = parse(text)
    assert parsed == value and type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: key a appears twice"),
        ("a:\n  b: 1\n  c: {d: 1, d: 2}\n", "line 3, column 13: key d appears twice"),
        ("1: a\n1.0: b\n", "line 2, column 1: key 1.0 appears twice"),
        ("a: [1", "line 1, column 6: "),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a: 1\n\tb: 2", "line 2, column 1: "),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: but found another document"),
        ("{{a: 1}: 2}", "line 1, column 2: found unhashable key"),
        ("a: !!int ''", "line 1, column 4: tag tag:yaml.org,2002:int is not allowed"),
        ("a: !!python/object/apply:os.system [ls]", "line 1, column 4: tag "),
        ("a: &x 1", "line 1, column 4: anchors (&) and aliases (*) are not allowed"),
        ("a: *x", "line 1, column 4: anchors (&) and aliases (*) are not allowed"),
        ("a: 1\nb: \x07\n", "line 2, column 4: character 0x0007 is not allowed"),
        ("a: 2026-13-45", "month must be in 1..12"),
        (f"a: {'9' * 5000}", "Exceeds the limit"),
    ],
)
def test_a_fault_is_one_line_with_its_place(text: str, fault: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(text)
    assert str(caught.value).startswith(fault)
    assert "\n" not in str(caught.value) and "unicode string" not in str(caught.value)


def _bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (_bomb(10), "anchors"),
        ("".join(f"key{number}: {number}\n" for number in range(30_000)), f"more than {MOST_VALUES:,} keys and values"),
        ("[" + "a," * 400_000 + "]", "more than"),
        ("[" * 30_000, "nested too deeply"),
        ("{a: " * 30_000, "nested too deeply"),
        ("- " * 30_000, "nested too deeply"),
        ("".join(" " * depth + "a:\n" for depth in range(400)), "nested too deeply"),
        ("# " + "x" * LONGEST, "characters, allowed"),
        (f"{'k' * 500_000}: 1", "mapping values"),
        (f"? {'k' * 300_000}\n? {'k' * 300_000}\n", "… appears twice"),
    ],
    ids=["aliases", "keys", "items", "brackets", "braces", "dashes", "indents", "length", "long key", "long keys"],
)
def test_a_hostile_text_is_refused_at_once_and_in_few_words(text: str, fault: str) -> None:
    started = time.process_time()
    with pytest.raises(ValueError, match=fault) as caught:
        parse(text)
    assert time.process_time() - started < 2
    assert len(str(caught.value)) < 300


def test_what_is_allowed_reaches_the_bounds() -> None:
    deepest = "[" * DEEPEST + "]" * DEEPEST
    assert str(parse(deepest)).replace(" ", "") == deepest
    pairs = parse("".join(f"key{number}: {number}\n" for number in range((MOST_VALUES - 1) // 2)))
    assert pairs == {f"key{number}": number for number in range((MOST_VALUES - 1) // 2)}


def _words(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _words(item)
    elif isinstance(value, list):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("path", [FILE, *(FOLDER / f"{name}.yaml" for name in SHIPPED)], ids=lambda path: path.stem)
def test_no_value_of_a_shipped_file_is_read_as_a_word(path: Path) -> None:
    words = list(_words(parse(path.read_text())))
    assert words and not [word for word in words if LOOKS_LIKE_A_VALUE.fullmatch(word)]


class _Pair(BaseModel):
    model_config = ConfigDict(extra="forbid")

    low: float
    high: float


class _Pairs(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pairs: tuple[_Pair, _Pair, _Pair]
    name: str = ""


def _faults(raw: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        _Pairs.model_validate(raw)
    return faults(caught.value)


def test_every_fault_names_its_key_what_is_allowed_and_what_was_found() -> None:
    good = {"low": 1, "high": 2}
    assert _faults({"pairs": [good, {"low": "x", "high": 2}, {"low": 1}], "colour": "blue"}) == [
        "pairs.2.low: Input should be a valid number, unable to parse string as a number, found 'x'",
        "pairs.3.high: Field required",
        "colour: Extra inputs are not permitted, found 'blue'",
    ]
    assert _faults([]) == ["file: Input should be a valid dictionary or instance of _Pairs, found []"]


def test_thirty_thousand_unknown_keys_are_listed_within_two_seconds() -> None:
    raw = {"pairs": [{"low": 1, "high": 2}] * 3} | {f"key{number}": number for number in range(30_000)}
    started = time.process_time()
    lines = _faults(raw | {"k" * 100_000: 1})
    assert time.process_time() - started < 2
    assert len(lines) == 30_001 and lines[0] == "key0: Extra inputs are not permitted, found 0"
    assert max(map(len, lines)) < 500
