"""A ledger that an older Vortex wrote says today what it said then, and the same facts are written with the same bytes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.golden import facts
from tests.golden.golden import check, dumped, vortex
from tests.golden.workspaces import COLUMNS, load_ledger, rows

QUESTIONS = """
versions
versions --domain corridor
show v5
show v10
show v11
lineage
lineage v10
compare v5 v10
compare v10 v11
history
history --domain corridor --device host
history --last 2
"""
MOVES = """
rollback --domain corridor --reason back
"""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fresh") / "workspace"
    vortex(f"init {root}")
    return root


@pytest.fixture
def old(fresh: Path, tmp_path: Path) -> Path:
    """A workspace whose ledger is the old one."""
    root = shutil.copytree(fresh, tmp_path / "workspace", symlinks=True)
    load_ledger(root)
    return root


def require_chain(events: list[dict[str, Any]]) -> None:
    """Every event follows the one before it, and its hash is that of its fields: SHA-256 of JSON with sorted keys and without spaces."""
    before = "0" * 64
    for number, event in enumerate(events, 1):
        fields = {name: event[name] for name in COLUMNS}
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert (event["seq"], event["previous"]) == (number, before)
        assert event["hash"] == hashlib.sha256(text.encode()).hexdigest(), f"event {number}"
        before = event["hash"]


def recorded(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events without when they were recorded, and with the number of their run in place of its random name."""
    kept = [
        {name: event[name] for name in ("seq", "kind", "subject", "actor", "reason", "git_commit", "head", "body", "claims")}
        for event in events
    ]
    text = json.dumps(kept, ensure_ascii=False)
    for number, run in enumerate(dict.fromkeys(re.findall(r'"run ([0-9a-f]{32})"', text))):
        text = text.replace(run, f"RUN {number}")
    return list(json.loads(text))


def test_the_old_ledger_holds_every_kind_of_event_in_one_whole_chain(old: Path) -> None:
    events = rows(old)
    require_chain(events)
    assert {event["kind"] for event in events} == {
        "version.registered",
        "version.measured",
        "version.exported",
        "channel.promoted",
        "channel.refused",
        "channel.rolled_back",
    }
    parents = {kind for event in events if event["kind"] == "version.registered" for kind, *_ in json.loads(event["head"])["parents"]}
    assert parents == {"recipe", "weights", "teacher", "data"}
    for event in events:
        for part in ("head", "body"):
            assert event[part] == json.dumps(json.loads(event[part]), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def test_it_answers_machines_as_it_did(old: Path) -> None:
    check("old_ledger/answers.json", dumped({line: vortex(f"{line} --json", old).json for line in QUESTIONS.strip().splitlines()}))


def test_it_answers_people_as_it_did(old: Path) -> None:
    texts = [f"$ vortex {line}\n{vortex(line, old).stdout}" for line in QUESTIONS.strip().splitlines()]
    check("old_ledger/answers.txt", "\n".join(line.rstrip() for text in texts for line in text.splitlines()) + "\n")


def test_it_is_gone_on_with_as_it_was(old: Path) -> None:
    facts.promote_again(old)
    before = len(rows(old))
    answers = {line: vortex(f"{line} --json", old) for line in MOVES.strip().splitlines()}
    events = rows(old)
    require_chain(events)
    moves = {line: {"exit_code": answer.exit_code, "json": answer.json} for line, answer in answers.items()}
    check("old_ledger/moves.json", dumped({"answers": moves, "recorded": recorded(events)[before:]}))


def test_the_same_facts_are_written_with_the_same_bytes(old: Path, fresh: Path, tmp_path: Path) -> None:
    root = shutil.copytree(fresh, tmp_path / "anew", symlinks=True)
    facts.record(root)
    events = rows(root)
    require_chain(events)
    assert [without_what_is_new(event) for event in recorded(events)] == recorded(rows(old))


def without_what_is_new(event: dict[str, Any]) -> dict[str, Any]:
    """The event as it was before measurements named their protocol in the head, registrations what the gate had said, and exports their target."""
    head, body = json.loads(event["head"]), json.loads(event["body"])
    for name in ("shape", "unproven", "protocol"):
        head.pop(name, None)
    for name in ("fingerprints", "class_pixels"):
        body.pop(name, None)
    for use in body.get("data", ()):
        del use["state"]
    body.get("export", {}).pop("target", None)
    parts = {
        name: json.dumps(part, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for name, part in (("head", head), ("body", body))
    }
    return {**event, **parts}
