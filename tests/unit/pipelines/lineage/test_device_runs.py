"""What enrolled devices run and ran: by their reports, and by what their channel had for them where none has come since."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.stages import STAGES
from pipelines.lineage.device_runs import device_runs, runs_of
from registry import devices
from registry.channels import Channel
from registry.events.channel import ChannelPromoted, ChannelRolledBack
from registry.ledger import Ledger
from registry.records import DeviceStatus, Outcome

CHANNEL = Channel("orin", "corridor")


class Story:
    """A ledger with a channel and its devices; what each device ran, in words."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.seq, self.counter = ledger, 0, 0

    def promote(self, version: str, share: float = 1.0) -> None:
        for stage in STAGES:
            self.seq += 1
            self.ledger.append(ChannelPromoted(CHANNEL, version, stage, self.seq, None, share=share), actor="test")

    def roll_back(self, version: str) -> None:
        self.seq += 1
        self.ledger.append(ChannelRolledBack(CHANNEL, version, "production", self.seq, None), actor="test")

    def enroll(self, *names: str, channel: Channel = CHANNEL) -> None:
        for name in names:
            devices.enroll(self.ledger, name, channel, f"key of {name}", "PEM", actor="test")

    def report(self, name: str, version: str | None, outcome: Outcome = "committed") -> None:
        self.counter += 1
        status = DeviceStatus(self.counter, "2026-11-29T00:00:00Z", outcome, version, None, "a", None)
        assert devices.report(self.ledger, name, status, actor=name)

    def runs(self, name: str, until: str | None = None) -> list[str]:
        runs = runs_of(entry for entry in self.ledger.entries() if entry.at <= until) if until else device_runs(self.ledger)
        return [f"{run.word} {run.version}" for run in runs if run.device == name]


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}"))


def test_a_report_says_what_runs_until_another_one_says_otherwise(story: Story) -> None:
    assert device_runs(story.ledger) == []
    story.enroll("robot-1")
    story.promote("v8")
    story.report("robot-1", "v8")
    story.report("robot-1", "v8")
    story.promote("v9")
    at = story.ledger.entries(last=1)[0].at
    assert story.runs("robot-1") == ["runs v8", "may run v9"]
    story.report("robot-1", "v9")
    assert story.runs("robot-1") == ["ran v8", "runs v9"]
    story.report("robot-1", "v8", "rolled back")
    assert story.runs("robot-1") == ["ran v8", "ran v9", "runs v8"]
    story.report("robot-1", None, "failed")
    assert story.runs("robot-1") == ["ran v8", "ran v9", "ran v8"]
    assert story.runs("robot-1", at)[0] in ("runs v8", "ran v8") and story.runs("robot-1", "2026-01-01T00:00:00.000Z") == []


def test_who_never_reported_may_have_run_all_that_its_channel_had_for_it(story: Story) -> None:
    story.promote("v8")
    story.enroll("robot-1", "robot-2")
    story.promote("v9")
    story.promote("v9")
    story.roll_back("v8")
    story.report("robot-2", "v8")
    assert story.runs("robot-1") == ["may have run v8", "may have run v9", "may run v8"]
    assert story.runs("robot-2") == ["runs v8"], "it has delivered what it did in between, and that was nothing"


def test_a_report_of_before_a_promotion_says_nothing_of_it(story: Story) -> None:
    story.enroll("robot-1")
    story.promote("v8")
    story.promote("v9")
    story.report("robot-1", "v8")
    assert story.runs("robot-1") == ["may run v9", "runs v8"]
    story.report("robot-1", "v8", "held")
    assert story.runs("robot-1") == ["runs v8"]


def test_a_rollout_concerns_those_that_it_goes_to(story: Story) -> None:
    names = [f"robot-{number}" for number in range(20)]
    story.enroll(*names)
    story.promote("v8")
    for name in names:
        story.report(name, "v8")
    story.promote("v9", share=0.5)
    first = [name for name in names if "may run v9" in story.runs(name)]
    assert 4 <= len(first) <= 16 and all(story.runs(name) == ["runs v8"] for name in set(names) - {*first})
    story.promote("v9")
    assert all(story.runs(name) == ["runs v8", "may run v9"] for name in names)


def test_another_channel_and_a_revocation_end_what_was(story: Story) -> None:
    story.promote("v8")
    story.enroll("robot-1", "robot-2")
    story.report("robot-2", "v8")
    story.enroll("robot-1", channel=Channel("orin", "hall"))
    assert story.runs("robot-1") == ["may have run v8"]
    devices.revoke(story.ledger, "robot-2", actor="test", reason="stolen")
    story.promote("v9")
    assert story.runs("robot-2") == ["ran v8"]
