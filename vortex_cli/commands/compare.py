"""`vortex compare`: two versions or recipes, what differs in how they were made and in what they measured, and what each forgot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import UsageError
from vortex_cli import console, published, wording
from vortex_cli.completion import complete_domains, complete_recipes, complete_versions
from vortex_cli.parameters import JudgedMetrics, Margin

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.compare.forgetting import Forgetting
    from pipelines.compare.published import PublishedPair
    from pipelines.compare.side_by_side import Comparison, Measured, MetricRow


def _complete(incomplete: str) -> list[str]:
    return sorted({*complete_versions(incomplete), *complete_recipes(incomplete)})


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A version, a shipped recipe or a recipe file.", autocompletion=_complete)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.", autocompletion=_complete)],
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="D", help="Only what was measured on this domain.", autocompletion=complete_domains)
    ] = None,
    metric: JudgedMetrics = None,
    margin: Margin = 0.01,
    html: Annotated[Path | None, typer.Option("--html", metavar="PATH", help="Write the comparison as one HTML page, too.")] = None,
) -> None:
    """Show what differs between two versions in recipe and figures, whether B is better than A, and what each forgot of its parent.

    A registered version stands for what it was really trained with, a name that is not registered for the shipped recipe. Figures
    stand side by side only where domain, camera, protocol and data are the same; what cannot be compared is listed with what differs.
    B is judged against A as by `vortex evaluate B --against A`, by range of depth and by class too. Nothing is measured for this: the
    verdicts come from the errors of frames that the registry keeps.

    Example: vortex compare v5 v6
    """
    from pipelines.compare.published import published_pairs
    from pipelines.compare.side_by_side import compare as put_side_by_side
    from pipelines.report.comparison_page import comparison_page

    metrics = tuple(dict.fromkeys(metric or ["rmse"]))
    if a == b:
        raise UsageError(f"{a} with itself: nothing to compare", "name another one: vortex versions")
    ws = console.workspace()
    result = put_side_by_side(ws, a, b, domain=domain, metrics=metrics, margin=margin)
    pairs = published_pairs(ws, a, b)
    page = comparison_page(result, html) if html else None
    console.emit({**vars(result), "published": pairs, "page": page}, *_parts(result), *(_published(result, pairs) if pairs else ()))
    if page:
        console.note(f"page: {page}")


def _parts(result: Comparison) -> Iterator[RenderableType]:
    yield from (f"{name} may enter no stage: {bars}" for name, bars in result.barred.items())
    yield from _recipe(result)
    for measured in result.measured:
        yield from _measured(result, measured)
    if result.forgetting:
        yield from _forgetting(result.forgetting)
    if result.unpaired:
        yield "\nnot compared, because only figures of the same frames by the same protocol are:"
        yield from (f"  - {line.sentence}" for line in result.unpaired)


def _published(result: Comparison, pairs: Sequence[PublishedPair]) -> Iterator[RenderableType]:
    """What was published of the two, apart from what was measured."""
    names: Any = [(name, "right") for name in (result.a.name, result.b.name)]
    rows = [(pair.metric, pair.a, pair.b, pair.place) for pair in pairs]
    yield f"\n{published.TITLE}"
    yield wording.snug(console.table(["metric", *names, "published on"], rows))


def _recipe(result: Comparison) -> Iterator[RenderableType]:
    names = result.a.name, result.b.name
    lacking = [side.name for side in (result.a, result.b) if side.source == "version without recipe"]
    if result.recipe:
        rows = [(line.key, _text(line.a), _text(line.b)) for line in result.recipe]
        heads = (f"{side.name} ({side.source})" for side in (result.a, result.b))
        yield console.table(["recipe", *heads], rows, f"what differs between {' and '.join(names)}")
    else:
        yield f"no recipe is known of {', '.join(lacking)}" if lacking else f"the recipes of {' and '.join(names)} do not differ"


def _measured(result: Comparison, measured: Measured) -> Iterator[RenderableType]:
    """What was measured on one thing; with room for it, the interval of each difference."""
    judged = any(row.verdict for row in measured.rows)
    wide = judged and wording.width() >= 110
    numbers: Any = [(name, "right") for name in (result.a.name, result.b.name, "change")]
    heads: list[Any] = [*([("interval", "right")] if wide else []), *([f"{result.b.name} is"] if judged else [])]
    rows = []
    for row in measured.rows:
        interval = [row.verdict.range_text if row.verdict else None] if wide else []
        words = [row.verdict.words if row.verdict else "not judged" if row.unjudged else None] if judged else []
        rows.append((*_figures(row), *interval, *words))
    yield f"\n{measured.series}, data {wording.digest(measured.digest, 8)}" + ("" if measured.exam else ", not an exam")
    yield wording.snug(console.table(["metric", *numbers, *heads], rows, whole=["metric", *(name for name, _ in numbers)]))
    yield from _basis(measured, result.asked)


def _figures(row: MetricRow) -> tuple[str, ...]:
    """Its values and the change, in its own unit."""
    from pipelines.compare.pooled import METRICS

    metric = METRICS.get(row.metric)
    values = [(row.a, ""), (row.b, ""), (row.change, "+")]
    texts = ["–" if value is None else metric.text(value, sign) if metric else f"{value:{sign}.4f}" for value, sign in values]
    return row.metric, *texts


def _basis(measured: Measured, asked: Sequence[str]) -> Iterator[str]:
    """What the verdicts of a table rest on, and why there are none."""
    from pipelines.compare.verdict import UNDECIDED

    families: list[str] = []
    reasons: dict[str, list[str]] = {}
    for row in measured.rows:
        verdict = row.verdict
        if verdict is None:
            if row.unjudged:
                reasons.setdefault(f"not judged: {row.unjudged}", []).append(row.metric)
        elif row.metric in asked:
            difference = f"{row.metric}: {verdict.text(verdict.difference, '+')} ({verdict.range_text})"
            yield "; ".join(filter(None, (difference, verdict.reason, verdict.basis)))
        else:
            families += [f"ranges and classes: {verdict.family}"] if verdict.interval else []
            if verdict.reason:
                reasons.setdefault(UNDECIDED if verdict.undecided else verdict.reason, []).append(row.metric)
    yield from dict.fromkeys(families)
    yield from (f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _forgetting(records: Iterable[Forgetting]) -> Iterator[RenderableType]:
    """Each version against the one whose weights it started from, on that one's domains."""
    rows, reasons = [], []
    for record in records:
        share = None if record.share is None else f"{100 * record.share:+.1f} %"
        words = record.verdict.words if record.verdict else "not judged"
        rows.append(
            (f"{record.version} ← {record.parent}", record.place, record.metric, share, "worse: forgotten" if record.forgotten else words)
        )
        reason = record.verdict.reason if record.verdict else record.unjudged
        if reason:
            reasons.append(f"{record.version} on {record.place}, {record.metric}: {reason}")
    yield "\nforgetting: each against the version whose weights it started from, on that one's domains"
    yield wording.snug(console.table(["version", "domain", "metric", ("change", "right"), "verdict"], rows))
    yield from reasons


def _text(value: Any) -> str:
    return "–" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
