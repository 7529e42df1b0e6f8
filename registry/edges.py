"""Lineage edges: what a version was made from. Each kind is a class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from registry import stored

EdgeKind = Literal["recipe", "weights", "teacher", "data"]


class Edge:
    """A lineage edge, from a version to what it came from. Each kind names its two fields; the ledger and `--json` have them by position."""

    kind: ClassVar[EdgeKind]

    def triple(self) -> tuple[EdgeKind, str, str]:
        """(kind, ref, detail), as the ledger stores it."""
        ref, detail = vars(self).values()
        return self.kind, ref, detail

    def as_json(self) -> dict[str, str]:
        """Under `--json`."""
        kind, ref, detail = self.triple()
        return {"kind": kind, "ref": ref, "detail": detail}


@dataclass(frozen=True)
class VersionEdge(Edge):
    """From another version, registered here or only named; `note` says how where the kind does not say all."""

    version: str
    note: str = ""


class WeightsEdge(VersionEdge):
    """Trained on from its weights."""

    kind = "weights"


class RecipeEdge(VersionEdge):
    """Made by its recipe."""

    kind = "recipe"


@dataclass(frozen=True)
class TeacherEdge(Edge):
    """Supervised by a teacher; `labels` says on which dataset, and by which of its labels."""

    kind = "teacher"
    teacher: str
    labels: str = ""


@dataclass(frozen=True)
class DataEdge(Edge):
    """Saw a dataset; `hash` is the `.dir` hash of `data.dvc`, or the digest of a manifest outside of `data/`."""

    kind = "data"
    name: str
    hash: str = ""


EDGES: Final[Mapping[str, type[WeightsEdge | RecipeEdge | TeacherEdge | DataEdge]]] = {
    edge.kind: edge for edge in (WeightsEdge, RecipeEdge, TeacherEdge, DataEdge)
}


def edges(triples: Iterable[tuple[str, str, str]]) -> tuple[Edge, ...]:
    """Edges from what the ledger stores of them. Raises KeyError for an unknown kind, TypeError for a part that is no text."""
    return tuple([EDGES[kind](stored.text(ref), stored.text(detail)) for kind, ref, detail in triples])
