"""What `--json` prints is one document, whatever is in it, however long it is and wherever it goes."""

from __future__ import annotations

import io
import json
import sys

import pytest

from core.secret import hide, remember
from vortex_cli import console

ODD = ["küche", "\x7f", "\x9b31m", "\u202e", "\ud800", "\U0001f600", "a\nb", "\x1b[31m"]


@pytest.fixture(autouse=True)
def session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "session", console.Session(json=True))


def printed(payload: object, monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(raw := io.BytesIO(), encoding=encoding)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        console.emit(payload)
        stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_text_comes_back(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items = [{"text": text} for text in ODD]
    for payload in (items, iter(items), {"of": "ödd", "items": iter(items), "nested": {"items": items}, "none": iter([])}):
        text = printed(payload, monkeypatch, encoding)
        assert not set(text) & set("\x7f\x9b\u202e\x1b") and text.endswith("\n")
        read = json.loads(text)
        assert (read if isinstance(read, list) else read["items"]) == items
        if isinstance(read, dict):
            assert read == {"of": "ödd", "items": items, "nested": {"items": items}, "none": []}


@pytest.mark.parametrize("count", [0, 1, console.CHUNK, console.CHUNK + 1])
def test_an_array_of_any_length_is_an_item_a_line(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(text := printed(({"n": n} for n in range(count)), monkeypatch)) == [{"n": n} for n in range(count)]
    assert len(text.splitlines()) == (count + 2 if count else 1)
    within = printed({"items": ({"n": n} for n in range(count)), "last": float("nan")}, monkeypatch)
    assert json.loads(within) == {"items": [{"n": n} for n in range(count)], "last": None}
    assert len(within.splitlines()) == (count + 5 if count else 4)


def test_no_secret_is_in_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    remember("correct-horse-battery")
    remember('stap"le\\gun')
    text = printed({"items": iter(["correct-horse-battery", "http://ada:tr0ub4dor@host/x", 'stap"le\\gun'])}, monkeypatch)
    assert "correct-horse" not in text and "tr0ub4dor" not in text and "gun" not in text and len(json.loads(text)["items"]) == 3


def test_a_name_that_holds_a_secret_hides_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    assert json.loads(printed({"http://ada:tr0ub4dor@host/x": "stays"}, monkeypatch)) == {"http://…@host/x": "stays"}


HIDING = [
    "rotate token='",
    "it's done",
    'see "https://tracker/x?id=5" please',
    'x "http://h/a@b" y',
    'password="abc',
    'authorization: "abc"',
    "plain",
]


@pytest.mark.parametrize("at", range(len(HIDING)))
def test_what_is_hidden_in_one_text_takes_nothing_of_another(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = [*HIDING[at:], *HIDING[:at]]
    items = [{"seq": seq, "reason": reason} for seq, reason in enumerate(reasons)]
    for payload in (items, iter(items), {"items": iter(items)}, {"items": items, "none": iter([])}):
        read = json.loads(printed(payload, monkeypatch))
        shown = read if isinstance(read, list) else read["items"]
        assert [item["seq"] for item in shown] == list(range(len(items)))
        assert [item["reason"] for item in shown] == [hide(reason) for reason in reasons]


@pytest.mark.parametrize("value", ["hunter22", 'a"b', "it's", "a\\"])
def test_a_value_is_hidden_by_its_name(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for payload in ({"token": value, "a": []}, {"token": value, "a": iter([])}, {"a": iter([{"token": value}])}):
        text = printed(payload, monkeypatch)
        assert value not in text and value not in str(json.loads(text)) and "***" in text
    assert json.loads(printed({"token": "", "authorization": None, "a": iter([1])}, monkeypatch)) == {
        "token": "",
        "authorization": None,
        "a": [1],
    }


def test_what_is_hidden_in_one_line_takes_nothing_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    console.write("v10  rotate token='\nv11  promoted, password=hunter22\nv12  it's done")
    assert capsys.readouterr().out == "v10  rotate token='\nv11  promoted, password=***\nv12  it's done\n"
