"""`vortex evaluate`: measure a version on frames it was not trained on, and record what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.classes import CLASSES
from core.depth import RANGES_M
from core.errors import UsageError
from vortex_cli import console, wording
from vortex_cli.completion import complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from pipelines.compare.verdict import Verdict
    from pipelines.workspace import Workspace
    from registry.records import Metrics

SCALED = "_median_scaled"
SPLITS = ("val", "test", "train")


def evaluate(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A registered version.", autocompletion=complete_versions)],
    domain: Annotated[
        str | None, typer.Option("--domain", metavar="D", help="Measure on its datasets; default: the version's own.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="NAME|MANIFEST", help="Measure on this set alone.")] = None,
    split: Annotated[str, typer.Option("--split", help="Which frames: val, test or train.")] = "val",
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="VERSION", help="Compare with this version, frame by frame.", autocompletion=complete_versions),
    ] = None,
    picture: Annotated[bool, typer.Option("--picture", help="Write a grid of input, truth, prediction, error and classes.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Frames at a time; it changes the speed, not the figures.")] = 8,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="NAME", help="What --against judges by, again for more; default: rmse.")
    ] = None,
    margin: Annotated[
        float, typer.Option("--margin", min=0.0, max=1.0, help="Share of the other's value within which the two are equivalent.")
    ] = 0.01,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resampling where there are eight sequences or more.")] = 0,
    allow_unvalidated: Annotated[
        bool, typer.Option("--allow-unvalidated", help="Measure on data that has not passed `vortex validate`.")
    ] = False,
) -> None:
    """Measure a version, and record metrics and per-frame errors in the registry.

    Every figure is that of one domain, one camera and one protocol. With --against, the two are judged on the same frames: better, worse,
    equivalent within the margin, or too little to say. The interval rests on whole sequences or on five contiguous batches of the
    stream, never on single frames, which are not independent. The other version is measured too where it was not.

    Example: vortex evaluate v10 --domain rooms --against v6
    """
    ws = console.workspace()
    _check(ws, version, against, split, metric or [])
    options = {
        "domain": domain,
        "data": data,
        "split": split,
        "device": device,
        "batch": batch_size,
        "allow_unvalidated": allow_unvalidated,
    }
    judging = {"metrics": tuple(dict.fromkeys(metric or ["rmse"])), "margin": margin, "seed": seed}
    measured = _measure(ws, version, options)
    verdicts = [(metrics, _compare(ws, version, against, metrics, judging, options)) for metrics in measured] if against else []
    picture_path = _draw(ws, version, measured[0], domain, data, split) if picture else None
    leaks = _leaks(ws, version, measured)
    payload = {
        "version": version,
        "metrics": measured,
        "against": against,
        "comparisons": _comparisons(verdicts),
        "picture": picture_path,
        "leaks": leaks,
    }
    console.emit(payload, *tables(version, measured), *_findings(version, str(against), verdicts))
    for leak in leaks:
        console.note(f"{leak}: {version} cannot be promoted there")
    if picture_path:
        console.note(f"picture: {picture_path}")


def _check(ws: Workspace, version: str, against: str | None, split: str, metrics: Sequence[str]) -> None:
    """Refuse before anything is measured what could only fail after it."""
    from pipelines.compare.pooled import metric_named
    from pipelines.hub.open import hub

    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}, allowed: {', '.join(SPLITS)}", "leave --split out to measure on val")
    for metric in metrics:
        metric_named(metric)
    if against is not None:
        if against == version:
            raise UsageError(f"--against {against} is the version itself: nothing to compare", "name another one: vortex versions")
        hub(ws).get(against)


def _leaks(ws: Workspace, version: str, measured: Sequence[Metrics]) -> list[str]:
    """What of the exams that were measured the version has seen in training, in words."""
    from pipelines.exam.leaks import version_leaks
    from pipelines.hub.open import hub

    registry = hub(ws)
    domains = dict.fromkeys(metrics.domain for metrics in measured if metrics.series.exam)
    return [str(leak) for domain in domains for leak in version_leaks(ws, registry, registry.get(version), domain)]


def tables(version: str, measured: Sequence[Metrics]) -> Iterator[RenderableType]:
    """Depth as it is and after median scaling, by range; then classes, where any were labelled."""
    wide = console.stdout().width >= 100
    heads = ("RMSE m", "MAE m", "AbsRel", *(("log10", "SILog", "δ1 %", "δ2 %", "δ3 %") if wide else ("δ1 %",)), "near m", "mid m", "far m")
    rows = [row for metrics in measured for row in _depth_rows(metrics, wide)]
    protocol = ", ".join(dict.fromkeys(metrics.protocol for metrics in measured))
    title = f"{version}: depth, {sum(metrics.frames for metrics in measured)} frames, protocol {protocol}"
    caption = "near 0–1.5 m, mid 1.5–3 m, far 3–6 m; median-scaled: each frame by median(truth)/median(prediction)"
    yield _titled(console.table(["measured on", *((head, "right") for head in heads)], rows, title, caption))
    labelled = [metrics for metrics in measured if "miou" in metrics.values]
    names = ("miou", *(f"iou_{name}" for name in CLASSES), *(("pixel_accuracy",) if wide else ()))
    if labelled:
        heads = ("mIoU %", *CLASSES, *(("pixels right %",) if wide else ()))
        rows = [(metrics.series.place, *(wording.percent(metrics.values.get(name)) for name in names)) for metrics in labelled]
        yield _titled(console.table(["measured on", *((head, "right") for head in heads)], rows, f"{version}: IoU per class, %"))


def _titled(table: Table) -> RenderableType:
    from rich.padding import Padding

    return Padding(wording.snug(table), (0, 0, 1, 0))


def _depth_rows(metrics: Metrics, wide: bool) -> list[tuple[Any, ...]]:
    """As it is, median-scaled, and what knows nothing of a picture where it was measured."""
    from pipelines.evaluate.baselines import NAMES

    rows = [_depth_row(metrics, "", wide), _depth_row(metrics, SCALED, wide)]
    blank = [None] * (len(rows[0]) - 2)
    known = [(heading, metrics.values.get(f"rmse_{name}")) for name, heading in NAMES.items()]
    return rows + [(f"  {heading}", wording.metres(value), *blank) for heading, value in known if value is not None]


def _depth_row(metrics: Metrics, suffix: str, wide: bool) -> tuple[Any, ...]:
    values = metrics.values
    decimals = (("log10", 3), ("silog", 1)) if wide else ()
    logs = (None if (value := values.get(f"{name}{suffix}")) is None else f"{value:.{digits}f}" for name, digits in decimals)
    return (
        "  median-scaled" if suffix else metrics.series.place,
        *(wording.metres(values.get(f"{name}{suffix}")) for name in ("rmse", "mae", "abs_rel")),
        *logs,
        *(wording.percent(values.get(f"delta{k}{suffix}")) for k in ((1, 2, 3) if wide else (1,))),
        *(None if suffix else wording.metres(values.get(f"rmse_{part}")) for part in RANGES_M),
    )


def _measure(ws: Workspace, version: str, options: dict[str, Any]) -> list[Metrics]:
    from pipelines.evaluate.version import evaluate as measure

    with console.progress() as display:
        task = display.add_task(f"measuring {version}", total=None)

        def show(what: str) -> Callable[[int, int], None]:
            return lambda count, total: display.update(task, description=f"{what} {version}", completed=count, total=total or None)

        return measure(ws, version, **options, on_progress=show("measuring"), on_packing=show("packing frames for"))


def _compare(
    ws: Workspace, version: str, against: str, measured: Metrics, judging: dict[str, Any], options: dict[str, Any]
) -> tuple[Verdict, ...]:
    from pipelines.compare.versions import compare_measured

    def measure(name: str, domain: str) -> None:
        console.note(f"{name} was not measured on {measured.dataset} yet: measuring it too")
        _measure(ws, name, options | {"domain": options["domain"] or domain})

    return compare_measured(ws, version, against, measured, measure, **judging)


def _comparisons(verdicts: Iterable[tuple[Metrics, tuple[Verdict, ...]]]) -> list[dict[str, Any]]:
    return [
        {"domain": metrics.domain, "camera": metrics.camera, "protocol": metrics.protocol, "dataset": metrics.dataset}
        | {"words": verdict.words, "reason": verdict.reason, **verdict.model_dump()}
        for metrics, of_metrics in verdicts
        for verdict in of_metrics
    ]


def _findings(version: str, against: str, verdicts: Iterable[tuple[Metrics, tuple[Verdict, ...]]]) -> Iterator[RenderableType]:
    for metrics, of_metrics in verdicts:
        heads = (version, against, "difference", "interval")
        rows = [
            (
                verdict.metric,
                verdict.text(verdict.a),
                verdict.text(verdict.b),
                verdict.text(verdict.difference, "+"),
                verdict.range_text,
                verdict.words,
            )
            for verdict in of_metrics
        ]
        title = f"{version} against {against} on {metrics.series.place}"
        caption = "\n".join(f"{verdict.metric}: {'; '.join(filter(None, (verdict.reason, verdict.basis)))}" for verdict in of_metrics)
        yield _titled(console.table(["metric", *((head, "right") for head in heads), f"{version} is"], rows, title, caption))


def _draw(ws: Workspace, version: str, metrics: Metrics, domain: str | None, data: str | None, split: str) -> Path:
    from pipelines.report.predictions import draw

    name = f"{version}-{metrics.dataset if data else metrics.domain}-{split}.png"
    return draw(ws, version, domain, ws.build / "pictures" / name, data=data, split=split)
