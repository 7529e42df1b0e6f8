"""Pictures of a replay: every seed as a point, the interval that judged as a line, and the range that the claim asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.files import staged_file
from pipelines.experiments.replay.claims import FAILS, HOLDS, Part
from pipelines.experiments.replay.page import PICTURES
from pipelines.experiments.replay.results import Replay

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = {HOLDS: "#2a7f4f", FAILS: "#b3372f"}
UNDECIDED = "#6b6b6b"


def draw(replay: Replay, folder: Path) -> list[Path]:
    """Write one picture for each group of findings that was judged below `folder`, and return their paths."""
    by_key = {finding.key: finding for finding in replay.findings}
    paths = []
    for name, keys in PICTURES.items():
        parts = [(key, part) for key in keys if key in by_key for part in by_key[key].parts]
        if parts:
            _draw(parts, folder / name)
            paths.append(folder / name)
    return paths


def _draw(parts: Sequence[tuple[str, Part]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(parts), 1, figsize=(8.0, 1.15 * len(parts) + 0.4), squeeze=False, layout="constrained")
    for axis, (key, part) in zip(axes[:, 0], parts, strict=True):
        _row(axis, key, part)
    with staged_file(path) as staging:
        figure.savefig(staging, dpi=110, format="png", metadata={"Software": None})
    plt.close(figure)


def _row(axis: Any, key: str, part: Part) -> None:
    """One claim: its points, its interval, and the asked range as a shade."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    colour = COLOURS.get(part.verdict, UNDECIDED)
    ratio = part.unit == "ratio"
    values = list(part.values.values())
    ends = [*values, *((part.seeds.low, part.seeds.high) if part.seeds else ()), 1.0 if ratio else 0.0]
    ends += [bound for bound in (part.above, part.below) if bound is not None]
    if ratio:
        # Two wild seeds give an interval of many decades; beyond a thousand nothing more is to be seen.
        low, high = max(min(ends), 1e-3) / 1.15, min(max(ends), 1e3) * 1.15
        axis.set_xscale("log")
        plain = FuncFormatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_major_formatter(plain)
        axis.xaxis.set_minor_formatter(plain if high < 10 * low else NullFormatter())
    else:
        room = 0.12 * (max(ends) - min(ends)) or 1.0
        low, high = min(ends) - room, max(ends) + room
    axis.set_xlim(low, high)
    axis.axvspan(low if part.above is None else part.above, high if part.below is None else part.below, color="#dfeee5", zorder=0)
    axis.axvline(1.0 if ratio else 0.0, color="#999999", linewidth=0.8, linestyle=":")
    if part.seeds:
        axis.plot([part.seeds.low, part.seeds.high], [0, 0], color=colour, linewidth=2.5, alpha=0.6, solid_capstyle="butt")
        axis.plot([part.seeds.estimate], [0], "|", color=colour, markersize=16, markeredgewidth=2.5)
    axis.plot(values, [0] * len(values), "o", color=colour, markersize=5, markeredgecolor="white")
    axis.set_yticks([])
    axis.set_ylim(-1, 1)
    axis.set_title(f"{key}: {part.claim}: {part.verdict}", fontsize=9, loc="left", color=colour)
    axis.set_xlabel(part.quantity + ("" if ratio else " (points)"), fontsize=8, labelpad=1)
    axis.tick_params(which="both", labelsize=7)
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
