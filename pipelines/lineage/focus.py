"""What a name stands for in the lineage: a version, a dataset in one content or in all, a teacher, a channel, a device, a robot, a commit, a frame."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from core.errors import UsageError, VortexError
from pipelines.data import datasets
from pipelines.lineage.ancestry import Lineage
from pipelines.lineage.frames import frames_called
from pipelines.workspace import Workspace
from registry.graph import Link, Node, NodeKind
from registry.versions import Hub

_COMMIT: Final = re.compile(r"[0-9a-f]{7,64}")
LEAST_HASH: Final = 4
"""Digits of a content's hash that name it."""


@dataclass(frozen=True)
class Focus:
    """What a name stands for: nodes of one kind, and the links to them that the ledger does not have."""

    kind: NodeKind
    nodes: tuple[Node, ...]
    links: tuple[Link, ...] = ()


def resolve(ws: Workspace, registry: Hub, lineage: Lineage, name: str) -> Focus:
    """What `name` stands for. `KIND:NAME` says which kind is meant, where a name is of several.

    Raises UsageError, with all spellings, for a name of several kinds, and VortexError for one of none, or of a frame that several
    datasets have.
    """
    version = _named(lineage, "version", name)
    if version and not (ws.data / name).exists() and not _states(lineage, name):
        return version
    finders: dict[NodeKind, Callable[[str], Focus | None]] = {
        "version": lambda text: _named(lineage, "version", text),
        "data": lambda text: _data(ws, lineage, text),
        "teacher": lambda text: _named(lineage, "teacher", text),
        "channel": lambda text: _named(lineage, "channel", text),
        "device": lambda text: _named(lineage, "device", text),
        "robot": lambda text: _named(lineage, "robot", text),
        "code": lambda text: _commit(lineage, text),
    }
    spelt: dict[NodeKind, Callable[[str], Focus | None]] = {
        **finders,
        "recipe": lambda text: _named(lineage, "recipe", text),
        "frame": lambda text: _frame(ws, registry, lineage, text, earlier=True),
    }
    kind, colon, rest = name.partition(":")
    if colon and kind in spelt:
        focus = spelt[kind](rest)
        if focus is None:
            raise _unknown(lineage, name)
        return focus
    meanings = [focus for find in finders.values() if (focus := find(name))]
    # Earlier manifests are in DVC's cache, and DVC takes a second to open: only what nothing else is called is looked for there.
    frame = _frame(ws, registry, lineage, name, earlier=not meanings)
    meanings += [frame] if frame else []
    if len(meanings) > 1:
        spellings = [f"{focus.kind}:{name}" for focus in meanings]
        raise UsageError(f"{name!r} is the name of {len(meanings)} things here", f"say which: {' or '.join(spellings)}")
    if not meanings:
        raise _unknown(lineage, name)
    return meanings[0]


def data_states(ws: Workspace, lineage: Lineage, text: str) -> tuple[Node, ...]:
    """The contents that `NAME` had, or the one that `NAME@HASH` means, as the ledger and `data/` have them; empty for an unknown name.

    HASH is the beginning of the content's own hash, or of a `.dir` hash of `data/` that a version saw it in. Raises VortexError for one
    that is none of either, with those that are.
    """
    name, at, hash_ = text.partition("@")
    states = _states(lineage, name)
    if name in {dataset.name for dataset in datasets.listing(ws)}:
        now = datasets.resolve(ws, name_or_manifest=name)
        states.setdefault(Node("data", name, now.digest), set()).update({now.dvc} if now.dvc else ())
    if not at or not states:
        return tuple(states)
    meant = [
        node
        for node, hashes in states.items()
        if len(hash_) >= LEAST_HASH and (node.detail.startswith(hash_) or any(each.startswith(hash_) for each in hashes))
    ]
    if not meant:
        contents = [f"{node}{_seen_in(hashes)}" for node, hashes in states.items()]
        raise VortexError(
            f"{name} has no content {hash_[:64]!r}, allowed: the first {LEAST_HASH} digits or more of one of these",
            f"for example: {contents[0].split(' ')[0]}",
            contents,
        )
    return tuple(meant)


def same_content(lineage: Lineage, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """These states of datasets, and all others with the same content, whatever they were called."""
    contents = {node.detail for node in nodes if node.detail}
    others = [node for node in lineage.graph.nodes if node.kind == "data" and node.detail in contents]
    return tuple(dict.fromkeys([*nodes, *others]))


def _states(lineage: Lineage, name: str) -> dict[Node, set[str]]:
    """The contents that the ledger has of a dataset, each with the hashes that versions saw it under."""
    nodes = [node for node in lineage.graph.nodes if node.kind == "data" and node.name == name]
    return {node: {link.note for link in lineage.graph.below[node]} for node in nodes}


def _named(lineage: Lineage, kind: NodeKind, name: str) -> Focus | None:
    node = Node(kind, name)
    return Focus(kind, (node,)) if node in lineage.graph.nodes else None


def _data(ws: Workspace, lineage: Lineage, text: str) -> Focus | None:
    nodes = data_states(ws, lineage, text)
    return Focus("data", same_content(lineage, nodes)) if nodes else None


def _commit(lineage: Lineage, text: str) -> Focus | None:
    if not _COMMIT.fullmatch(text):
        return None
    nodes = tuple(node for node in lineage.graph.nodes if node.kind == "code" and node.name.startswith(text))
    return Focus("code", nodes) if nodes else None


def _frame(ws: Workspace, registry: Hub, lineage: Lineage, text: str, *, earlier: bool) -> Focus | None:
    frames = frames_called(ws, registry, lineage.state, text, earlier=earlier)
    by_content: dict[str, set[str]] = {}
    for frame in frames.holders:
        by_content.setdefault(frame.name, set()).add(frame.detail)
    names = list(by_content)
    if not names:
        return None
    if len(names) > 1 and len({frozenset(contents) for contents in by_content.values()}) > 1:
        spellings = [f"frame:{dataset}/{frames.id}" for dataset in names]
        raise UsageError(f"{len(names)} datasets have a frame {text!r}", f"say which: {' or '.join(spellings)}")
    node = Node("frame", frames.id, names[0])
    holders = same_content(lineage, tuple(frames.holders))
    links = [Link("frame", node, holder, frames.splits.get(holder, "")) for holder in holders]
    links += [Link("frame", node, Node("version", version), "its picture is among the training frames") for version in frames.versions]
    return Focus("frame", (node,), tuple(links))


def _seen_in(hashes: set[str]) -> str:
    short = sorted(hash_[:12] for hash_ in hashes if hash_.endswith(".dir"))
    return f" (in data/ {', '.join(short)})" if short else ""


def _unknown(lineage: Lineage, name: str) -> VortexError:
    """The error for a name that nothing here has, with what there is."""
    details = []
    for kind in ("version", "data", "teacher", "channel", "device", "robot"):
        names = list(dict.fromkeys(node.name for node in lineage.graph.nodes if node.kind == kind))
        selection = names if len(names) <= 8 else [*names[:4], "…", *names[-3:]]
        details += [f"{kind}: {', '.join(selection)}"] if names else []
    return VortexError(
        f"{name[:80]!r} is no version, dataset, teacher, channel, device, robot, commit or frame that is known here",
        "datasets are written NAME or NAME@HASH, frames FRAME or DATASET/FRAME; frames are looked for in data/ and in DVC's cache",
        details,
    )
