"""Put a version or a dataset into quarantine, or lift that, and say what it concerns: nothing that runs is moved by it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from core.errors import UsageError, VortexError
from core.stream_order import natural
from pipelines.hub.open import actor, commit, hub
from pipelines.lineage.ancestry import Lineage, Tenure, lineage_of, tenures
from pipelines.lineage.device_runs import DeviceRun
from pipelines.lineage.focus import data_states, same_content
from pipelines.ship.publish import publish_after
from pipelines.workspace import Workspace
from registry.graph import Node
from registry.quarantine import record
from registry.records import Quarantine

Scope = Literal["version", "data"]


@dataclass(frozen=True)
class Running:
    """A channel that has in production what may enter no stage, since when (UTC), and the command that takes it out."""

    channel: str
    version: str
    since: str
    remedy: str


@dataclass(frozen=True)
class Concerned:
    """The enrolled devices of a channel that run a version, and those that may, by device; `asked` is what the channel has for them instead.

    Where that is None the channel has the version itself in production, and they are told to hold.
    """

    channel: str
    version: str
    running: tuple[str, ...]
    silent: tuple[str, ...]
    asked: str | None


@dataclass(frozen=True)
class QuarantineReport:
    """What came into quarantine, or out of it: `barred` are the versions that may enter no stage because of it, or might not until now.

    `running` are the channels that have one of them in production, `devices` the enrolled devices that run one.
    """

    scope: Scope
    subject: str
    lifted: bool
    reason: str
    barred: tuple[str, ...]
    running: tuple[Running, ...]
    published: tuple[str, ...] = ()
    """What the robots' folder came to after it, in words; empty where no device is published."""
    devices: tuple[Concerned, ...] = ()

    def sentence(self) -> str:
        """The outcome in words."""
        name, at, content = self.subject.partition("@")
        subject = f"{'dataset ' if self.scope == 'data' else ''}{name}{at}{content[:12]}"
        if self.lifted:
            return f"{subject} is out of quarantine"
        versions = ", ".join(self.barred if len(self.barred) <= 8 else [*self.barred[:4], "…", *self.barred[-3:]])
        count = f" ({len(self.barred)} versions)" if len(self.barred) > 8 else ""
        return f"{subject} is in quarantine; what may enter no stage: {versions or 'no version so far'}{count}"


def quarantine(ws: Workspace, name: str, *, reason: str, lift: bool = False) -> QuarantineReport:
    """Put the version or the dataset `name` (NAME for every content, NAME@HASH for one) into quarantine; with `lift`, end that.

    While it stands neither it nor what has its weights, or was trained on it, enters a stage. What runs is not moved.
    Raises UsageError without a reason and for a name that is both a version's and a dataset's; VortexError for an unknown name, for what
    is in quarantine already, and for what is to be released and is not.
    """
    if not reason.strip():
        raise UsageError(f"{'--lift' if lift else 'a quarantine'} without a reason", "say why with --reason: it is kept in the ledger")
    registry = hub(ws)
    registry.ledger.verify()
    lineage = lineage_of(registry)
    scope, subject, contents = _released(lineage, name) if lift else _subject(ws, lineage, name)
    record(registry.ledger, scope, subject, contents=contents, lift=lift, actor=actor(), reason=reason, commit=commit(ws))
    during = lineage if lift else lineage_of(registry)
    quarantines = [each for each in during.state.quarantines.values() if (each.scope, each.subject) == (scope, subject)]
    barred = sorted((name for name, bars in during.bars.items() if any(bar.quarantine in quarantines for bar in bars)), key=natural)
    held = () if lift else running(during, barred)
    devices = () if lift else concerned(during, barred)
    return QuarantineReport(scope, subject, lift, reason, tuple(barred), held, publish_after(ws), devices)


def running(lineage: Lineage, versions: Collection[str]) -> tuple[Running, ...]:
    """The channels that have one of these versions in production, each with the command that takes it out."""
    held = [
        tenure
        for tenure in tenures(lineage, tuple(Node("version", version) for version in versions))
        if tenure.stage == "production" and tenure.until is None and tenure.version in versions
    ]
    return tuple(Running(tenure.channel, tenure.version, tenure.since, _remedy(lineage, tenure)) for tenure in held)


def concerned(lineage: Lineage, versions: Collection[str]) -> tuple[Concerned, ...]:
    """The enrolled devices that run one of these versions, or may, by channel and version."""
    places: dict[tuple[str, str], list[DeviceRun]] = {}
    for run in lineage.runs:
        if run.until is None and run.version in versions:
            places.setdefault((run.channel, run.version), []).append(run)
    return tuple(
        Concerned(
            channel,
            version,
            tuple(sorted((run.device for run in runs if run.reported), key=natural)),
            tuple(sorted((run.device for run in runs if not run.reported), key=natural)),
            None if (production := lineage.state.channel(channel).production) in versions else production,
        )
        for (channel, version), runs in sorted(places.items())
    )


def _remedy(lineage: Lineage, tenure: Tenure) -> str:
    state = lineage.state.channels[tenure.channel]
    place = f"--device {state.channel.device} --domain {state.channel.domain}"
    target = next((version for version in reversed(state.earlier) if version not in lineage.bars), None)
    if target is None:
        return f"vortex promote VERSION --stage production {place}"
    return f'vortex rollback {place} --to {target} --reason "…"'


def _subject(ws: Workspace, lineage: Lineage, name: str) -> tuple[Scope, str, tuple[str, ...]]:
    """What a name means, as the ledger has it, with the contents that a dataset is known by."""
    kind, text = _spelling(name)
    nodes = () if kind == "version" else data_states(ws, lineage, text)
    if kind != "data" and (text in lineage.state.versions or text in lineage.state.declared):
        if nodes:
            raise UsageError(f"{text!r} is a version and a dataset", f"say which: version:{text} or data:{text}")
        return "version", text, ()
    if not nodes:
        versions = ", ".join([*lineage.summaries][-6:]) or "none yet"
        sets = ", ".join(dict.fromkeys(node.name for node in lineage.graph.nodes if node.kind == "data")) or "none yet"
        raise VortexError(
            f"{name[:80]!r} is neither a version nor a dataset; the newest versions: {versions}; datasets: {sets}",
            "datasets are written NAME, or NAME@HASH for one content",
        )
    dataset, at, _ = text.partition("@")
    contents = tuple(dict.fromkeys(node.detail for node in same_content(lineage, nodes) if node.detail))
    if not at:
        return "data", dataset, contents
    if len(contents) != 1:
        raise VortexError(f"{text} means {len(nodes)} contents of {dataset}", "give more digits of the one", [str(node) for node in nodes])
    return "data", f"{dataset}@{contents[0]}", contents


def _released(lineage: Lineage, name: str) -> tuple[Scope, str, tuple[str, ...]]:
    """The quarantine that a name means: its dataset may be long gone. Raises VortexError where none or several are meant."""
    kind, text = _spelling(name)
    standing = [each for each in lineage.state.quarantines.values() if kind in ("", each.scope) and _means(text, each)]
    if len(standing) == 1:
        return standing[0].scope, standing[0].subject, ()
    every = [f"{each.scope}:{each}" for each in standing or lineage.state.quarantines.values()]
    if standing:
        raise UsageError(f"{name!r} names {len(standing)} quarantines", f"say which: {' or '.join(every)}")
    raise VortexError(f"{name[:80]!r} is not in quarantine; in quarantine: {', '.join(every) or 'nothing'}", "name one of these")


def _means(text: str, quarantine: Quarantine) -> bool:
    name, at, content = text.partition("@")
    standing, at_standing, whole = quarantine.subject.partition("@")
    return (name, at) == (standing, at_standing) and whole.startswith(content)


def _spelling(name: str) -> tuple[str, str]:
    """The kind that a name says itself to be of, else none, and the name."""
    kind, colon, text = name.partition(":")
    return (kind, text) if colon and kind in ("version", "data") else ("", name)
