"""`vortex versions`: every registered version in one line each."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vortex_cli import console, published, wording
from vortex_cli.completion import complete_domains

if TYPE_CHECKING:
    from rich.console import RenderableType

    from registry.declarations import DeclaredMetric, DeclaredVersion
    from registry.quarantine import Bar
    from registry.records import Summary

    Bars = dict[str, tuple[Bar, ...]]

PRETTY_ROWS = 200
"""Above this many rows the table is written without rich, which takes 0.4 ms a row."""


def versions(
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="D", help="Only versions for, or measured on, this domain.", autocompletion=complete_domains),
    ] = None,
) -> None:
    """List every version: what it is, what it was made from, how good it is and where it runs.

    RMSE and mIoU are those of the version's own domain; each names the domain and the camera it holds for. What is in quarantine, by itself
    or by what it was made from, says so beside its stages. What was published of declared and adopted versions, and not measured here,
    stands below.

    Example: vortex versions --domain corridor
    """
    from pipelines.hub.open import hub

    ws = console.workspace()
    if domain is not None:
        ws.domain(domain)
    listing = hub(ws).listing()
    figures, bars = listing.published, listing.barred
    listed = [summary for summary in listing.summaries if domain is None or _concerns(summary, domain, figures)]
    without_weights = [
        version for version in listing.declared if not version.adopted and (domain is None or _published_on(version, domain))
    ]
    if not listed and not without_weights:
        console.note(
            f"no version for domain {domain} yet; make one with: vortex train v6 --domain {domain}"
            if listing.summaries
            else "no versions yet; make one with: vortex train v6"
        )
    if console.session.json:
        rows = (_declared_payload(version, bars) for version in without_weights)
        console.emit(chain((_payload(summary, figures, bars) for summary in listed), rows))
        return
    if len(listed) > PRETTY_ROWS:
        console.write(wording.aligned(*_cells(listed, domain, bars)))
    tables = [_table(listed, domain, bars)] if 0 < len(listed) <= PRETTY_ROWS else []
    lines = [_adopted_line(summary, figures[summary.name]) for summary in listed if figures.get(summary.name)]
    lines += [_declared_line(version, bars.get(version.name, ())) for version in without_weights]
    console.emit([], *tables, *([""] if tables and lines else []), *([_published(lines)] if lines else []))


def _concerns(summary: Summary, domain: str, figures: Mapping[str, tuple[DeclaredMetric, ...]]) -> bool:
    domains = {summary.domain, *(line.domain for line in summary.headlines), *(metric.domain for metric in figures.get(summary.name, ()))}
    return domain in domains


def _published(lines: list[published.Line]) -> RenderableType:
    """What was published of versions, apart from what was measured here."""
    return published.listing(lines, "its weights", "not measured here; weights are brought in with vortex adopt")


def _adopted_line(summary: Summary, metrics: tuple[DeclaredMetric, ...]) -> published.Line:
    return published.Line(summary.name, summary.codename, summary.parents, metrics, summary.truncated, "adopted")


def _declared_line(version: DeclaredVersion, bars: tuple[Bar, ...]) -> published.Line:
    words = ("not here", wording.barred(version.name, bars))
    return published.line(version.name, version.declaration, ", ".join(filter(None, words)))


def _published_on(version: DeclaredVersion, domain: str) -> bool:
    return any(metric.domain == domain for metric in version.declaration.metrics)


def _declared_payload(version: DeclaredVersion, bars: Bars) -> dict[str, Any]:
    """The keys of `_payload`, for a version without weights."""
    fields = {name: getattr(version, name) for name in ("name", "number", "parents", "created_at", "actor", "reason", "commit")}
    of_publisher = {"codename": version.declaration.codename, "truncated": version.declaration.truncated}
    absent: dict[str, Any] = {
        "recipe": None,
        "domain": None,
        "size": None,
        "headline": None,
        "exports": 0,
        "unproven": [],
        "headlines": [],
        "stages": [],
        "quarantined": [str(bar) for bar in bars.get(version.name, ())],
    }
    return {**fields, **of_publisher, **absent, "declared": True, "published": version.declaration.metrics}


def _payload(summary: Summary, metrics: Mapping[str, tuple[DeclaredMetric, ...]], bars: Bars) -> dict[str, Any]:
    stages = [{"channel": channel, "stage": stage} for channel, stage in summary.stages]
    quarantined = [str(bar) for bar in bars.get(summary.name, ())]
    of_publisher = {"declared": False, "published": metrics.get(summary.name, ())}
    return {**vars(summary), "headline": summary.headline, "stages": stages, "quarantined": quarantined, **of_publisher}


STAGES = ("stages", "left")
COLUMNS: list[tuple[str, str, int]] = [
    # name, justify, the least width of the terminal that shows it
    ("version", "left", 0),
    ("codename", "left", 100),
    ("made from", "left", 0),
    ("for", "left", 135),
    ("size", "right", 100),
    ("RMSE m", "right", 0),
    ("mIoU %", "right", 0),
    ("measured on", "left", 0),
    (*STAGES, 0),
    ("when", "left", 116),
]


def _row(summary: Summary, domain: str | None, bars: Bars) -> tuple[str, ...]:
    line = next((line for line in reversed(summary.headlines) if line.domain == domain), summary.headline)
    return (
        summary.name + ("†" if summary.truncated else ""),
        summary.codename,
        wording.descent(summary.parents) or "–",
        summary.domain or "–",
        wording.size(summary.size),
        wording.metres(line.rmse if line else None) or "–",
        wording.percent(line.miou if line else None) or "–",
        wording.measured_on(line) or (f"{summary.domain}, not yet" if summary.domain else "not yet"),
        ", ".join(
            [
                *(f"{stage} {wording.place(channel, summary.domain)}" for channel, stage in summary.stages),
                *([barred] if (barred := wording.barred(summary.name, bars.get(summary.name, ()))) else []),
            ]
        ),
        wording.when(summary.created_at, minutes=False),
    )


def _cells(listed: list[Summary], domain: str | None, bars: Bars) -> tuple[list[tuple[str, str]], list[list[str]]]:
    width = wording.width()
    numbers = [number for number, (_, _, least) in enumerate(COLUMNS) if width >= least]
    return [COLUMNS[number][:2] for number in numbers], [
        [row[number] for number in numbers] for row in (_row(summary, domain, bars) for summary in listed)
    ]


def _table(listed: list[Summary], domain: str | None, bars: Bars) -> RenderableType:
    heads, rows = _cells(listed, domain, bars)
    stages = heads.index(STAGES)
    coloured = (wording.standing(summary, bars.get(summary.name, ())) for summary in listed)
    pretty = [[*row[:stages], stage, *row[stages + 1 :]] for row, stage in zip(rows, coloured, strict=True)]
    caption = "† its training was cut short: see vortex show" if any(summary.truncated for summary in listed) else ""
    return wording.snug(console.table(heads, pretty, caption=caption))  # type: ignore[arg-type]
