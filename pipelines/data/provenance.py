"""Who made a label: the record that a run leaves beside it, and the key that names both.

A label's file is `teacher/KEY/ID.png` or `segmentation/KEY/ID.png`; the row's `provenance` is the record of the newest run that
touched the frame, and carries the records of earlier runs whose labels the frame kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from core.files import inside
from validation.rows import Frame

Label = Literal["depth", "segmentation"]
Described = dict[str, dict[str, Any]]
"""What each teacher says of itself, by name, in the order in which they work."""

FORMAT: Final = 1
"""Raise when the same teachers would give other labels: the rules of merging, or how a label is written, have changed."""
FOLDER: Final = "provenance"
_PLACE: Final = re.compile(r"(?:teacher|segmentation)/([0-9a-f]{12})/[^/]+")


def canonical(value: object) -> str:
    """JSON that is the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def work_key(digest: str, described: Described) -> str:
    """Twelve hex digits that stand for these teachers at work on this content."""
    work = canonical({"format": FORMAT, "dataset": digest, "teachers": described})
    return hashlib.sha256(work.encode()).hexdigest()[:12]


def record(
    key: str,
    dataset: str,
    digest: str,
    described: Described,
    labels: Mapping[Label, Iterable[str]],
    quarantined: Mapping[str, Mapping[Label, str]],
    depth_from: Mapping[str, int],
    earlier: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of a run. It holds no time and no place, so that the same run leaves the same bytes."""
    import cv2
    import numpy as np

    return {
        "format": FORMAT,
        "key": key,
        "dataset": dataset,
        "dataset_digest": digest,
        "teachers": described,
        "labels": {label: list(names) for label, names in labels.items() if names},
        "depth_from": dict(sorted(depth_from.items())),
        "quarantined": {frame: dict(quarantined[frame]) for frame in sorted(quarantined)},
        "versions": {"numpy": np.__version__, "opencv": cv2.__version__},
        "earlier": {name: earlier[name] for name in sorted(earlier)},
    }


def key_of(path: str | None) -> str | None:
    """The key of the run that wrote a label's file; None for one that no run wrote."""
    match = _PLACE.fullmatch(path or "")
    return match[1] if match else None


class Records:
    """The records of a dataset, each read once. One that is missing or damaged counts as none: labels of unknown origin."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, dict[str, Any] | None] = {}

    def of(self, frame: Frame) -> dict[str, Any] | None:
        """The newest record of a frame."""
        path = frame.provenance
        if path is None:
            return None
        if path not in self._known:
            self._known[path] = _read(self._root, path)
        return self._known[path]

    def record_of(self, frame: Frame, label: Label) -> dict[str, Any] | None:
        """The record of the run that made this label of a frame."""
        key, newest = key_of(frame.teacher_depth if label == "depth" else frame.segmentation), self.of(frame)
        if key is None or newest is None:
            return None
        record = newest if newest["key"] == key else newest["earlier"].get(key)
        return record if isinstance(record, dict) and label in record.get("labels", {}) else None

    def makers(self, frame: Frame, label: Label) -> Described | None:
        """The teachers that made this label of a frame, as they described themselves then."""
        record = self.record_of(frame, label)
        if record is None or record.get("format") != FORMAT:
            return None
        return {name: record["teachers"].get(name, {}) for name in record["labels"][label]}

    def quarantined(self, frames: Iterable[Frame], label: Label, makers: Described) -> set[str]:
        """Frames that exactly these teachers could not give this label, as all the records that `frames` name say."""
        frame_ids: set[str] = set()
        newest = {frame.provenance: record for frame in frames if (record := self.of(frame)) is not None}
        for entry in [record for each in newest.values() for record in (each, *each["earlier"].values())]:
            if entry.get("format") == FORMAT and {name: entry["teachers"].get(name) for name in entry["labels"].get(label, ())} == makers:
                frame_ids.update(frame for frame, labels in entry["quarantined"].items() if label in labels)
        return frame_ids

    def carried(self, frame: Frame, replaced: Iterable[Label]) -> dict[str, Any]:
        """Records that a new one of this frame has to carry on, by key: those of labels that are not replaced."""
        records: dict[str, Any] = {}
        for label in ("depth", "segmentation"):
            record = None if label in replaced else self.record_of(frame, label)
            if record is not None:
                records[record["key"]] = {key: value for key, value in record.items() if key != "earlier"}
        return records


def teachers_behind(root: Path, frames: Iterable[Frame]) -> dict[str, list[str]]:
    """Every teacher that the labels of `frames` come from, and what is recorded of it: weights and record, one text a kind.

    Labels without a record (a synthetic teacher, depth that came with the frames) give a name and no text.
    """
    records, texts_of = Records(root), dict[str, dict[str, None]]()
    for frame in frames:
        for label, teacher in (("depth", frame.teacher), ("segmentation", frame.segmentation_teacher)):
            record = records.record_of(frame, label)  # type: ignore[arg-type]  # mypy widens the two words to str
            if record is None:
                if teacher is not None:
                    texts_of.setdefault(teacher, {})
                continue
            for name in record["labels"][label]:
                weights = record["teachers"].get(name, {}).get("weights_sha256")
                about = f"weights {str(weights)[:12]}" if weights else "no weights"
                texts_of.setdefault(name, {})[f"{about}, record {record['key']}"] = None
    return {name: list(texts) for name, texts in texts_of.items()}


def _read(root: Path, path: str) -> dict[str, Any] | None:
    try:
        record = json.loads(inside(root, path).read_bytes())
        whole = isinstance(record["key"], str) and all(
            isinstance(record[key], dict) for key in ("teachers", "labels", "earlier", "quarantined")
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if whole else None
