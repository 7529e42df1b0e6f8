"""Events are types: a kind is one class, and a kind or a shape that no class has is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.errors import VortexError
from pipelines import init
from pipelines.hub.history import history
from registry.channels import Channel
from registry.declarations import Adoption, Declaration, DeclaredJob, DeclaredMetric
from registry.edges import DataEdge, RecipeEdge, TeacherEdge, WeightsEdge
from registry.events import reading
from registry.events.channel import (
    ChannelBundled,
    ChannelHeld,
    ChannelPromoted,
    ChannelRefused,
    ChannelRolledBack,
)
from registry.events.data import DataQuarantined, DataReleased
from registry.events.device import DeviceEnrolled, DeviceReported, DeviceRevoked
from registry.events.event import KINDS, Event, Sentence
from registry.events.version import (
    VersionAdopted,
    VersionDeclared,
    VersionEvent,
    VersionEvidenced,
    VersionExported,
    VersionMeasured,
    VersionQuarantined,
    VersionRegistered,
    VersionReleased,
)
from registry.ledger import Contradiction, Entry, Ledger, NotUnderstood
from registry.records import Artifact, DeviceStatus, Evidence, Export, Metrics, NewVersion
from registry.stages import channel_state
from registry.state import State
from registry.versions import Hub
from vortex_cli import console
from vortex_cli.commands.history import history as history_command
from vortex_cli.commands.show import show

New = Callable[..., NewVersion]
CHANNEL = Channel("host", "corridor")
METRICS = Metrics("corridor", "femto-bolt", "val-pooled-10m/1", "corridor_eval", "ab" * 32, {"rmse": 0.382, "miou": 0.316}, 197)
EXPORT = Export(Artifact("x.onnx", "ef" * 32, 7), size=(120, 160), precision="int8", opset=20, parity_m=1.5e-5)
DECLARATION = Declaration(
    "Confluence",
    (WeightsEdge("v5"), TeacherEdge("da3-metric-large"), DataEdge("nyu")),
    "efficientvit_b1",
    ("joint: nyu, 50 epochs",),
    "both domains at once",
    jobs=(DeclaredJob("7", "joint", "finished"),),
    metrics=(DeclaredMetric("nyu", "rooms", "kinect", "rmse", 0.592),),
)
ADOPTION = Adoption("best_depth_v8.pt", "ab" * 32, "model", ("floor", "wall"), DECLARATION.metrics)
EVIDENCE = Evidence(
    "field",
    Artifact("e.json", "cd" * 32, 9),
    "field.json",
    "ef" * 32,
    "2026-03-01T12:00:00Z",
    "lab",
    "1800 m",
    None,
    ("75b7eaf1723d" + "0" * 52,),
)
STATUS = DeviceStatus(3, "2026-03-01T12:00:00Z", "rolled back", "v5", "ab" * 32, "b", None, "the task failed")
CHECKS = (
    {"name": "data", "asked": "passed", "found": "passed", "passed": True},
    {"name": "rmse", "asked": "≤ 0.4 m", "found": "0.5 m", "passed": False},
)


def plain(sentence: Sentence) -> str:
    return "".join(part if isinstance(part, str) else part[0] for part in sentence)


def every_kind(new: NewVersion) -> list[tuple[Event, str]]:
    """One event of each kind, in an order that makes sense, and what the history says of it."""
    return [
        (VersionRegistered("v6", new, 1), "v6 registered, from recipe v5"),
        (
            VersionMeasured("v6", METRICS),
            "v6 measured on corridor · femto-bolt (corridor_eval@abababababab, 197 frames, val-pooled-10m/1): RMSE 0.382 m",
        ),
        (VersionExported("v6", EXPORT), "v6 exported to onnx int8"),
        (ChannelPromoted(CHANNEL, "v6", "production", 1, "v5", CHECKS[:1]), "v6 to production on host/corridor, instead of v5"),
        (
            ChannelRefused(CHANNEL, "v6", "staging", 1, None, CHECKS),
            "v6 refused for staging on host/corridor: rmse (asked ≤ 0.4 m, found 0.5 m)",
        ),
        (ChannelRolledBack(CHANNEL, "v5", "production", 2, "v6"), "host/corridor rolled back to v5, from v6"),
        (VersionQuarantined("v6"), "v6 quarantined"),
        (VersionReleased("v6"), "v6 released from quarantine"),
        (DataQuarantined(f"rooms@{'ab' * 32}", ("ab" * 32,)), "dataset rooms@abababababab quarantined"),
        (DataReleased("rooms"), "dataset rooms released from quarantine"),
        (VersionDeclared("v8", DECLARATION), "v8 declared, from weights v5; published RMSE 0.592 m on rooms · kinect"),
        (VersionAdopted("v8", replace(new, run_id="8" * 32), 2, ADOPTION, False), "v8 adopted from best_depth_v8.pt (abababababab)"),
        (VersionEvidenced("v8", EVIDENCE), "v8 has field evidence, signed by 75b7eaf1723d: 1800 m"),
        (
            ChannelBundled(CHANNEL, "v5", "ab" * 32, 4312, "cd" * 32),
            "v5 packed for the devices of host/corridor as bundle abababababab",
        ),
        (ChannelHeld(CHANNEL, "v5", 2), "rollout of v5 on host/corridor held"),
        (
            DeviceEnrolled("orin-07", CHANNEL, "ef" * 32, "-----BEGIN PUBLIC KEY-----"),
            "device orin-07 enrolled for host/corridor, key efefefefefef",
        ),
        (DeviceReported("orin-07", STATUS), "device orin-07 rolled back, and runs v5: the task failed"),
        (DeviceRevoked("orin-07"), "device orin-07 revoked"),
    ]


def test_every_kind_comes_back_from_the_ledger_and_has_its_sentence(ledger: Ledger, make_new: New) -> None:
    recorded = every_kind(make_new())
    assert {type(event) for event, _ in recorded} == set(KINDS.values())
    for event, _ in recorded:
        ledger.append(event, actor="Ada")
    entries = ledger.entries()
    assert [reading.parse(entry) for entry in entries] == [event for event, _ in recorded]
    assert [plain(reading.parse(entry).sentence()) for entry in entries] == [sentence for _, sentence in recorded]
    assert ledger.claimed("version", 6) == "v6"
    assert [ledger.claimed("channel host/corridor", move) for move in (1, 2, 3)] == ["host/corridor", "host/corridor", None]


@pytest.mark.parametrize("damage", [{"size": 3}, {"number": "6"}, {"parents": [[1]]}, {"shape": "2"}])
def test_an_event_that_its_class_did_not_write_is_named(ledger: Ledger, make_new: New, damage: dict[str, object]) -> None:
    ledger.append(VersionRegistered("v6", make_new(), 1), actor="Ada")
    (entry,) = ledger.entries()
    changed = entry._replace(head=entry.head | damage)
    with pytest.raises((Contradiction, NotUnderstood), match="event 1"):
        reading.fold([changed])
    with pytest.raises(NotUnderstood, match=r"event 1 is a 'version.registered' that lacks .*KeyError: 'data'"):
        reading.parse(entry._replace(body={}))
    of_no_channel = entry._replace(kind="channel.promoted", head={"seq": 1})
    for read in (lambda: reading.fold([of_no_channel]), lambda: reading.parse(of_no_channel)):
        with pytest.raises(NotUnderstood, match=r"event 1 is a 'channel.promoted' that lacks .*channel 'v6' is not DEVICE/DOMAIN"):
            read()


FREE = {"recipe_config", "environment", "detail", "checks"}
"""Fields that hold whatever their writer put there."""
ANOTHER = ({}, [0], [[]], 0.5, True, "x")
"""A value of each type of JSON; `"x"` is for what is no text."""


def leaves(value: Any, *path: str | int) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Every value of some JSON that has no parts or is empty, and where it stands."""
    if isinstance(value, dict | list) and value:
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            if key not in FREE:
                yield from leaves(part, *path, key)
    else:
        yield path, value


def exchanged(value: Any, path: tuple[str | int, ...], leaf: object) -> Any:
    """The same JSON with another value at `path`."""
    if not path:
        return leaf
    copy = value.copy()
    copy[path[0]] = exchanged(value[path[0]], path[1:], leaf)
    return copy


def test_a_field_of_another_type_is_named_in_every_event(ledger: Ledger, make_new: New) -> None:
    new = replace(make_new(), truncated="154 of 200 epochs", fingerprints=Artifact("f", "ab" * 32, 4), class_pixels={"glass": 3})
    evidence, metrics = replace(EVIDENCE, export_sha256="ab" * 32), replace(METRICS, errors=Artifact("e", "cd" * 32, 5))
    declaration = replace(DECLARATION, checkpoint="v8.pt", hub_id="lab/v8", truncated="at 30 of 50")
    whole = (
        VersionRegistered("v6", new, 1),
        VersionMeasured("v6", metrics),
        VersionExported("v6", replace(EXPORT, class_agreement=0.5)),
        ChannelPromoted(CHANNEL, "v6", "production", 1, "v5", CHECKS, {"corridor": 48}, "ab" * 32, 0.5),
        VersionDeclared("v8", declaration),
        VersionAdopted("v8", replace(new, run_id="8" * 32), 2, ADOPTION, False),
        VersionEvidenced("v8", evidence),
        DeviceReported("orin-07", replace(STATUS, engine="key", about="ab" * 32)),
    )
    back = (ChannelPromoted(CHANNEL, "v7", "production", 2, "v6"), ChannelRolledBack(CHANNEL, "v6", "production", 3, "v7"))
    others = [event for event, _ in every_kind(make_new()) if type(event) not in map(type, (*whole, *back))]
    for event in (*whole[:6], *others, *whole[6:], *back):
        ledger.append(event, actor="Ada")
    entries = ledger.entries()
    honest, refused = reading.fold(entries), 0
    for place, entry in enumerate(entries):
        changes = [
            entry._replace(**{part: exchanged(getattr(entry, part), path, other)})
            for part in ("head", "body")
            for path, value in leaves(getattr(entry, part))
            for other in ANOTHER
            if path and type(other) is not type(value) and not (value is None and other == "x")
        ]
        for changed in changes:
            try:
                seen = reading.parse(changed), reading.fold([*entries[:place], changed, *entries[place + 1 :]])
            except (NotUnderstood, Contradiction) as error:
                assert f"event {entry.seq}" in error.message
                refused += 1
            else:
                assert seen == (reading.parse(entry), honest), f"{changed}: only what nothing reads may be anything"
    assert refused > 900


def test_words_of_an_entry_that_cannot_follow_are_one_line(ledger: Ledger, make_new: New) -> None:
    ledger.append(VersionRegistered("v6", make_new(), 1), actor="Ada")
    (entry,) = ledger.entries()
    twice = entry._replace(subject="v6\n\x1b[2J" + 3000 * "6")
    with pytest.raises(Contradiction) as caught:
        reading.fold([twice, twice])
    assert caught.value.message.startswith("the chain breaks at event 1: it registers v6 ")
    assert caught.value.message.isprintable() and len(caught.value.message) < 300


def test_a_devices_outcome_that_nobody_knows_is_named(ledger: Ledger) -> None:
    ledger.append(DeviceReported("orin-07", STATUS), actor="Ada")
    (entry,) = ledger.entries()
    with pytest.raises(NotUnderstood, match=r"event 1 is a 'device\.reported' that lacks .*'rolled bAck' is no outcome"):
        reading.parse(entry._replace(head=entry.head | {"outcome": "rolled bAck"}))


def test_sentences_leave_out_what_is_not_there(make_new: New) -> None:
    both = make_new(parents=(WeightsEdge("v6", "trained on after its wall"), RecipeEdge("v7")))
    assert plain(VersionRegistered("v10", both, 1).sentence()) == "v10 registered, from weights v6 and recipe v7"
    assert plain(VersionRegistered("v10", make_new(parents=()), 1).sentence()) == "v10 registered"
    assert plain(VersionMeasured("v6", replace(METRICS, values={"mae": 1.0})).sentence()) == (
        "v6 measured on corridor · femto-bolt (corridor_eval@abababababab, 197 frames, val-pooled-10m/1)"
    )
    assert plain(ChannelPromoted(CHANNEL, "v6", "production", 1, "v6").sentence()) == "v6 to production on host/corridor"
    assert plain(ChannelPromoted(CHANNEL, "v6", "staging", 1, "v5").sentence()) == "v6 to staging on host/corridor"
    assert (
        plain(ChannelRefused(CHANNEL, "v6", "staging", 1, None, ({"name": "rmse"},)).sentence())
        == "v6 refused for staging on host/corridor"
    )


def test_heads_alone_fold_into_the_same_listing_as_whole_events(ledger: Ledger, make_new: New) -> None:
    recorded = [event for event, _ in every_kind(make_new()) if not isinstance(event, ChannelRolledBack)]
    moves = (ChannelPromoted(CHANNEL, "v7", "production", 2, "v6"), ChannelRolledBack(CHANNEL, "v6", "production", 3, "v7"))
    for event in (*recorded, *moves):
        ledger.append(event, actor="Ada")
    heads, whole = (reading.fold(ledger.entries(bodies=bodies)) for bodies in (False, True))
    assert heads.summaries() == whole.summaries()
    assert heads.channels == whole.channels
    version, adopted = whole.whole_versions()
    assert (version.metrics, version.exports) == ((METRICS,), (EXPORT,))
    assert (adopted.declaration, adopted.adoption, adopted.published) == (DECLARATION, ADOPTION, DECLARATION.metrics)
    assert adopted.evidence == (EVIDENCE,)
    with pytest.raises(LookupError, match="the body of the registration of v6"):
        heads.whole_versions()


def test_the_history_of_a_version_has_the_moves_that_it_took_part_in(ledger: Ledger, make_new: New) -> None:
    for event, _ in every_kind(make_new()):
        ledger.append(event, actor="Ada")
    ledger.append(ChannelPromoted(Channel("jetson", "corridor"), "v7", "candidate", 1, None), actor="Ada")

    def numbers(**asked: Any) -> list[int]:
        return [entry.seq for entry in history(ledger, **asked)]

    assert numbers() == list(range(1, 20))
    assert numbers(version="v6") == [1, 2, 3, 4, 5, 6, 7, 8]
    assert numbers(version="v5") == [4, 6, 14, 15]
    assert numbers(domain="corridor") == [4, 5, 6, 14, 15, 19]
    assert numbers(domain="corridor", device="jetson") == [19]
    assert numbers(version="v6", device="jetson") == []
    assert numbers(version="v6", last=2) == [7, 8]
    assert numbers(version="v8") == [11, 12, 13]
    assert numbers(last=2) == [18, 19]


@pytest.fixture
def renamed() -> Iterator[Callable[[str, str], Event]]:
    """A kind that only these tests have: this class, and nothing else knows of it."""

    @dataclass(frozen=True)
    class VersionRenamed(VersionEvent, kind="version.renamed"):
        codename: str

        def head(self) -> dict[str, Any]:
            return {"codename": self.codename}

        @classmethod
        def parse(cls, entry: Entry) -> VersionRenamed:
            return cls(entry.subject, entry.head["codename"])

        @staticmethod
        def fold_head(entry: Entry, state: State) -> None:
            state.versions[entry.subject].codename = entry.head["codename"]

        def sentence(self) -> Sentence:
            return (self.version, "name"), f" is called {self.codename} now"

    yield VersionRenamed
    KINDS.pop("version.renamed", None)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_new: New, renamed: Callable[[str, str], Event]) -> Hub:
    """The hub of a workspace whose v6 was registered as Cornerstone and then renamed."""
    (tmp_path / "vortex.toml").write_text(init.CONFIG)
    monkeypatch.setattr(console, "session", console.Session(workspace_dir=tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    hub = Hub("", tmp_path, Ledger(console.workspace().ledger_url))
    hub.ledger.append(VersionRegistered("v6", make_new(), 1), actor="Ada")
    hub.ledger.append(renamed("v6", "Keystone"), actor="Grace", reason="another name")
    return hub


def test_a_new_kind_is_one_class(place: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    assert [summary.codename for summary in place.summaries()] == ["Keystone"]
    assert [version.codename for version in place.versions()] == ["Keystone"]
    assert place.get("v6").codename == "Keystone"
    history_command(version="v6", domain=None, device=None, last=None)
    assert "v6 is called Keystone now" in capsys.readouterr().out
    show("v6")
    assert "v6 is called Keystone now" in capsys.readouterr().out
    console.session.json = True
    history_command(version=None, domain=None, device=None, last=1)
    assert [(line["kind"], line["head"]) for line in json.loads(capsys.readouterr().out)] == [("version.renamed", {"codename": "Keystone"})]


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("asked", [{}, {"version": "v6"}, {"domain": "corridor"}, {"last": 1}, {"at": "2100-01-01"}])
def test_a_kind_that_this_vortex_does_not_know_is_refused_by_name(place: Hub, asked: dict[str, Any], as_json: bool) -> None:
    del KINDS["version.renamed"]
    console.session.json = as_json
    options = {"version": None, "domain": None, "device": None, "last": None} | asked
    attempts = (place.listing, place.summaries, place.versions, lambda: place.get("v6"), lambda: history_command(**options))
    for attempt in attempts:
        with pytest.raises(VortexError, match=r"event 2 is a 'version\.renamed', a kind that this vortex does not know") as refused:
            attempt()
        assert refused.value.hint == "it was written by a newer vortex: update this one"


def test_a_channel_with_an_unknown_move_is_refused_too(ledger: Ledger) -> None:
    @dataclass(frozen=True)
    class Unheard(ChannelRolledBack, kind="channel.unheard"):
        """As a newer vortex may have it."""

    ledger.append(Unheard(CHANNEL, "v6", "production", 1, None), actor="Ada")
    del KINDS["channel.unheard"]
    with pytest.raises(NotUnderstood, match=r"'channel\.unheard'"):
        channel_state(ledger, CHANNEL)
    assert channel_state(ledger, Channel("host", "rooms")).seq == 0


def test_a_later_shape_is_refused_and_an_earlier_one_is_read(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Later(ChannelPromoted, kind="channel.promoted"):
        shape: ClassVar[int] = 2

    try:
        ledger.append(ChannelPromoted(CHANNEL, "v5", "candidate", 1, None), actor="Ada")
        ledger.append(Later(CHANNEL, "v6", "candidate", 2, None), actor="Ada")
        first, second = ledger.entries()
        assert "shape" not in first.head
        assert second.head["shape"] == 2
        assert channel_state(ledger, CHANNEL).current == {"candidate": "v6"}
    finally:
        KINDS["channel.promoted"] = ChannelPromoted
    with pytest.raises(NotUnderstood, match=r"event 2 is a 'channel\.promoted' of shape 2, and this vortex knows shapes up to 1"):
        channel_state(ledger, CHANNEL)
    assert reading.parse(first) == ChannelPromoted(CHANNEL, "v5", "candidate", 1, None)


def test_a_series_is_what_makes_numbers_comparable() -> None:
    series = METRICS.series
    assert str(series) == "corridor · femto-bolt (corridor_eval, val-pooled-10m/1)"
    assert str(replace(series, dataset="corridor")) == "corridor · femto-bolt (val-pooled-10m/1)"
    assert (series.place, replace(series, dataset="corridor").place) == ("corridor · femto-bolt (corridor_eval)", "corridor · femto-bolt")
    assert series == replace(series, dataset="another name of the same frames")
    assert series != replace(series, digest="cd" * 32)
    assert series.difference(replace(series, domain="rooms")) == "domain differs (corridor against rooms)"
    assert series.difference(replace(series, camera="kinect")) == "camera differs (femto-bolt against kinect)"
    assert series.difference(replace(series, protocol="p/2")) == "protocol differs (val-pooled-10m/1 against p/2)"
    assert (
        series.difference(replace(series, digest="cd" * 32))
        == "data differs (corridor_eval@abababababab against corridor_eval@cdcdcdcdcdcd)"
    )
    assert {METRICS.series: 1}[series] == 1
