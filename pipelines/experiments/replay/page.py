"""The page of a replay: what was trained on what, each finding with its numbers, and what the lineage published beside it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from statistics import fmean
from typing import Final

from pipelines.compare.intervals import Interval
from pipelines.experiments.replay.claims import FAILS, HOLDS, OPEN, Finding, Part
from pipelines.experiments.replay.results import Replay, RunRecord

MARK: Final = "<!-- Everything below is written by: python -m benchmarks.replay --write -->"
PICTURES: Final = {
    "replay-targets.png": ("F1", "F2", "F3"),
    "replay-recipes.png": ("F4", "F5", "F6"),
    "replay-corridor.png": ("F7", "F8", "F9"),
}
"""Picture → the findings that it shows."""


def page(text: str, replay: Replay) -> str:
    """`text` with everything after its mark replaced by what `replay` found."""
    return text.partition(MARK)[0].rstrip() + "\n\n" + MARK + "\n\n" + generated(replay)


def generated(replay: Replay) -> str:
    """The part of the page that a replay decides, as Markdown."""
    height, width = replay.size
    minutes = replay.seconds / 60
    opening = (
        f"The scale `{replay.scale}`: {height}x{width} pixels, {replay.seeds} seed(s), {len(replay.runs)} runs, "
        f"{minutes:.1f} minutes on {replay.device}. Verdicts: {', '.join(_counted(replay.findings))}."
    )
    parts = ["## What was found", opening, _verdicts(replay.findings), *replay.lost, *_without_frames(replay.findings)]
    for picture, keys in PICTURES.items():
        parts.append(f"![{', '.join(keys)}: every seed, and the interval that judges](pictures/{picture})")
    parts += ["## The numbers behind it", *(_detail(finding) for finding in replay.findings)]
    parts += ["## What was measured", _measured(replay), "## What it was trained on", _sets(replay)]
    return "\n\n".join(parts) + "\n"


def number(value: float) -> str:
    """Three significant digits, without exponents for what a person reads."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def interval_text(interval: Interval | None) -> str:
    """An estimate with its interval."""
    if interval is None:
        return "–"
    return f"{number(interval.estimate)} ({number(interval.low)} to {number(interval.high)})"


def range_text(part: Part) -> str:
    """The range that a claim puts its quantity in."""
    if part.above is not None and part.below is not None:
        return f"{number(part.above)} to {number(part.below)}"
    return f"above {number(part.above)}" if part.above is not None else f"below {number(part.below or 0.0)}"


def frames_text(part: Part) -> str:
    """The verdict over frames, or why there is none."""
    if part.frames is None:
        return "errors of single frames were not kept" if part.by_frames else "–"
    frames = part.frames
    return f"{frames.words}: {frames.text(frames.difference, '+')} ({frames.range_text}; worth {frames.effective_frames or 0:.0f} frames)"


def _without_frames(findings: Sequence[Finding]) -> list[str]:
    """Which findings want frames that were not kept, in a paragraph."""
    keys = [finding.key for finding in findings if any(part.by_frames and part.frames is None for part in finding.parts)]
    if not keys:
        return []
    paragraph = (
        f"The errors of single frames were not kept with this result. {', '.join(keys)} say which of two versions is better, which these would "
        f"have to confirm by intervals that hold for a stream: until the replay is run again they are {OPEN}, whatever their seeds say. "
        "The other findings are judged by their seeds alone, on these frames."
    )
    return [textwrap.fill(paragraph, 160, break_on_hyphens=False)]


def _counted(findings: Sequence[Finding]) -> list[str]:
    verdicts = [finding.verdict for finding in findings]
    return [f"{verdicts.count(verdict)} {verdict}" for verdict in (HOLDS, FAILS, OPEN) if verdict in verdicts]


def _verdicts(findings: Sequence[Finding]) -> str:
    rows = [(finding.key, finding.title, f"**{finding.verdict}**") for finding in findings]
    return _table(("", "finding", "verdict"), rows)


def _detail(finding: Finding) -> str:
    claims = [(part.claim, range_text(part), part.published or "–", part.verdict) for part in finding.parts]
    figures = [
        (
            part.quantity,
            ", ".join(number(value) for value in part.values.values()) or "–",
            interval_text(part.seeds),
            frames_text(part),
        )
        for part in finding.parts
    ]
    tables = [
        _table(("claim", "asked", "published", "verdict"), claims),
        _table(("quantity", "each seed", "95 % interval over seeds", "over frames"), figures),
    ]
    return "\n\n".join((f"### {finding.key}: {finding.verdict}", f"{finding.title}.", *tables))


def _measured(replay: Replay) -> str:
    sets = list(replay.constants)
    versions = dict.fromkeys(run.version for run in replay.runs)
    rows = [
        (version, *(cell for name in sets for cell in _mean([run for run in replay.runs if run.version == version], name)))
        for version in versions
    ]
    rows.append(("best constant", *(cell for name in sets for cell in (number(replay.constants[name]), "–"))))
    columns = ("mean over seeds", *(f"{name} {figure}" for name in sets for figure in ("RMSE m", "mIoU %")))
    return _table(columns, rows)


def _mean(runs: Sequence[RunRecord], name: str) -> tuple[str, str]:
    values = [run.scores[name].values for run in runs if name in run.scores]
    rmse = [scores["rmse"] for scores in values if "rmse" in scores]
    miou = [100 * scores["miou"] for scores in values if "miou" in scores]
    return number(fmean(rmse)) if rmse else "–", number(fmean(miou)) if miou else "–"


def _sets(replay: Replay) -> str:
    rows = [
        (
            dataset.name,
            dataset.source,
            ", ".join(dataset.cameras),
            ", ".join(f"{split} {count}" for split, count in dataset.frames.items()),
            dataset.segmentation,
        )
        for dataset in replay.sets
    ]
    return _table(("set", "from", "camera", "frames", "classes"), rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
