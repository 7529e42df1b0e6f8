"""The page of a replay: what was trained on what, each finding with its numbers, and what the lineage published beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Final

from pipelines.compare.intervals import Interval
from pipelines.experiments.replay.judging import Finding, Part
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
    parts = ["## What was found", opening, _verdicts(replay.findings), *replay.lost]
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


def shown(interval: Interval | None, unit: str = "") -> str:
    """An estimate with its interval."""
    if interval is None:
        return "–"
    return f"{number(interval.estimate)}{unit} ({number(interval.low)} to {number(interval.high)})"


def asked(part: Part) -> str:
    """The range that a claim puts its quantity in."""
    if part.above is not None and part.below is not None:
        return f"{number(part.above)} to {number(part.below)}"
    return f"above {number(part.above)}" if part.above is not None else f"below {number(part.below or 0.0)}"


def _counted(findings: Sequence[Finding]) -> list[str]:
    verdicts = [finding.verdict for finding in findings]
    return [f"{verdicts.count(verdict)} {verdict}" for verdict in ("holds", "does not hold", "not decidable") if verdict in verdicts]


def _verdicts(findings: Sequence[Finding]) -> str:
    rows = [(finding.key, finding.title, f"**{finding.verdict}**") for finding in findings]
    return _table(("", "finding", "verdict"), rows)


def _detail(finding: Finding) -> str:
    claims = [(part.claim, asked(part), part.published or "–", part.verdict) for part in finding.parts]
    figures = [
        (
            part.quantity,
            ", ".join(number(value) for value in part.values.values()) or "–",
            shown(part.seeds),
            shown(part.frames, " m"),
        )
        for part in finding.parts
    ]
    tables = [
        _table(("claim", "asked", "published", "verdict"), claims),
        _table(("quantity", "each seed", "95 % interval over seeds", "RMSE difference over frames"), figures),
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
