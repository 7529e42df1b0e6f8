"""The demo's workspace, and what its versions measured."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import VortexError
from pipelines import workspace
from pipelines.compare.versions import compare
from pipelines.evaluate.predictions import draw
from pipelines.hub.open import hub
from pipelines.init import init
from pipelines.site.writing import write_report
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from registry.records import Version

MARKER = ".vortex-demo"
BASE, SPECIALIST = "v6", "v10"
PHRASES: Final = {
    "corridor": {
        "better": "beats its base",
        "worse": "does worse than its base",
        "equivalent": "is as good as its base",
        "open": "cannot be told from its base",
    },
    "rooms": {
        "better": "forgot nothing",
        "worse": "forgot",
        "equivalent": "forgot nothing",
        "open": "may have forgotten or not",
    },
}
"""Domain → what each verdict means for the specialist there."""


@dataclass(frozen=True)
class Row:
    """One version's headline: RMSE in metres and mIoU in percent, domain by domain."""

    version: str
    trained_on: str
    cells: tuple[float | None, ...]


@dataclass(frozen=True)
class DemoSummary:
    """What the demo ends with; every figure is a metric that the registry holds."""

    workspace: Path
    domains: tuple[str, ...]
    rows: tuple[Row, ...]
    findings: tuple[str, ...]
    pictures: tuple[Path, ...]
    report: Path
    """The first page of its report."""
    seconds: float


def prepare(folder: Path | None, name: str = "demo") -> Workspace:
    """Make the demo's own workspace (default `build/NAME`); an earlier demo there is replaced, anything else is left alone.

    Raises VortexError when the folder holds something that no demo made.
    """
    if folder is None:
        try:
            folder = workspace.find().build / name
        except VortexError:
            folder = Path(f"vortex-{name}")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise VortexError(f"{folder} is not empty and no demo made it", "name a new folder: vortex demo DIR")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()
    return init(folder)


def summary(ws: Workspace, seconds: float) -> DemoSummary:
    """Read the two versions back from the registry, compare them frame by frame, draw what they see, and write the report."""
    versions = [hub(ws).get(name) for name in (BASE, SPECIALIST)]
    measured = [_by_domain(version) for version in versions]
    domains = ("rooms", "corridor")
    rows = tuple(
        Row(version.name, version.domain or "–", tuple(cell for domain in domains for cell in _cells(values.get(domain))))
        for version, values in zip(versions, measured, strict=True)
    )
    findings = []
    for domain, phrases in PHRASES.items():
        (verdict,) = compare(ws, SPECIALIST, BASE, domain=domain)
        because = f" ({verdict.reason})" if verdict.reason else ""
        findings.append(
            f"{SPECIALIST} {phrases[verdict.word]} on {domain}{because}: RMSE {verdict.b:.3f} → {verdict.a:.3f} m "
            f"({verdict.a / verdict.b - 1:+.0%}; difference {verdict.difference:+.3f} m, {verdict.range_text}); {verdict.basis}"
        )
    pictures = tuple(draw(ws, SPECIALIST, domain, ws.build / f"{SPECIALIST}-{domain}.png") for domain in domains)
    return DemoSummary(ws.root, domains, rows, tuple(findings), pictures, write_report(ws).index, seconds)


def _by_domain(version: Version) -> dict[str, Mapping[str, float]]:
    return {metrics.domain: metrics.values for metrics in version.metrics}


def _cells(values: Mapping[str, float] | None) -> tuple[float | None, float | None]:
    if values is None:
        return None, None
    miou = values.get("miou")
    return values["rmse"], None if miou is None else 100 * miou
