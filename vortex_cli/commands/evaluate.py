"""`vortex evaluate`: measure a version on frames it was not trained on, and record what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.classes import CLASSES
from core.depth import RANGES_M
from core.errors import UsageError
from vortex_cli import console, wording
from vortex_cli.completion import complete_datasets, complete_domains, complete_versions
from vortex_cli.parameters import ComputeDevice, JudgedMetrics, Margin

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from pipelines.compare.verdict import Verdict
    from pipelines.evaluate.all_versions import Standing
    from pipelines.protocol import Protocol
    from pipelines.workspace import Workspace
    from registry.records import Metrics

SCALED = "_median_scaled"
FUSED = "fused_"
STANDING = (
    # name in the metrics, heading, whether it is a share shown in percent
    ("rmse", "RMSE m", False),
    ("delta1", "δ1 %", True),
    ("rmse_near", "near m", False),
    ("rmse_far", "far m", False),
    ("fused_rmse", "fused m", False),
    ("jitter", "jitter m", False),
    ("miou", "mIoU %", True),
    ("iou_glass", "glass %", True),
)


def evaluate(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="A registered version.", autocompletion=complete_versions)
    ] = None,
    all_: Annotated[
        bool, typer.Option("--all", help="Measure every version that was not measured there, and show all in one table.")
    ] = False,
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="D", help="Measure on its datasets; default: the version's own.", autocompletion=complete_domains),
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="NAME|MANIFEST", help="Measure on this set alone.", autocompletion=complete_datasets)
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Which frames: val, test or train; default: val.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", metavar="NAME", help="A published one: nyu654-eigen, lineage-val or femto459-da3.")
    ] = None,
    align: Annotated[str, typer.Option("--align", help="Fit each prediction to its truth: raw (not at all), median or logls.")] = "raw",
    tta: Annotated[str, typer.Option("--tta", help="Average over the mirror image too: none or flip.")] = "none",
    runtime: Annotated[str, typer.Option("--runtime", help="torch, or onnx: the exported file, without torch.")] = "torch",
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="VERSION", help="Compare with this version, frame by frame.", autocompletion=complete_versions),
    ] = None,
    picture: Annotated[bool, typer.Option("--picture", help="Write a grid of input, truth, prediction, error and classes.")] = False,
    device: ComputeDevice = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            help="Frames at a time, else as many as 16 of 240x320 have pixels; it changes the speed, not the figures.",
        ),
    ] = None,
    metric: JudgedMetrics = None,
    margin: Margin = 0.01,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the resampling where there are eight sequences or more.")] = 0,
    allow_unvalidated: Annotated[
        bool, typer.Option("--allow-unvalidated", help="Measure on data that has not passed `vortex validate`.")
    ] = False,
) -> None:
    """Measure a version, and record metrics and per-frame errors in the registry.

    Every figure is that of one domain, one camera and one protocol, whose name says how the prediction was compared with truth. With
    --against, the two are judged on the same frames: better, worse, equivalent within the margin, or too little to say. The interval rests
    on whole sequences or on five contiguous batches of the stream, never on single frames, which are not independent. The other version is
    measured too where it was not. With --all every version is measured that was not yet, which can be interrupted and goes on where it was.

    Example: vortex evaluate v10 --domain rooms --against v6
    """
    from pipelines.protocol import protocol_of

    measured_by = protocol_of(protocol, split=split, align=align, tta=tta, runtime=runtime)
    ws = console.workspace()
    if all_ or version is None:
        _require_no_version(version, against, picture)
        _require_all(all_)
        _all(ws, domain, data, measured_by, device, batch_size)
        return
    _check(ws, version, against, measured_by, metric or [])

    def measure(name: str, domain: str | None) -> list[Metrics]:
        return _measure(ws, name, domain, data, measured_by, device, batch_size, allow_unvalidated)

    measured = measure(version, domain)
    verdicts = []
    if against is not None:
        from pipelines.compare.versions import compare_measured

        def measure_too(name: str, measured_domain: str) -> None:
            console.note(f"{name} was not measured on these frames of {measured_domain} yet: measuring it too")
            measure(name, domain or measured_domain)

        judge = partial(
            compare_measured,
            ws,
            version,
            against,
            measure=measure_too,
            metrics=tuple(dict.fromkeys(metric or ["rmse"])),
            margin=margin,
            seed=seed,
        )
        verdicts = [(metrics, judge(metrics)) for metrics in measured]
    picture_path = _draw(ws, version, measured[0], domain, data, measured_by) if picture else None
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


def _check(ws: Workspace, version: str, against: str | None, protocol: Protocol, metrics: Sequence[str]) -> None:
    """Refuse before anything is measured what could only fail after it."""
    from pipelines.compare.pooled import metric_named
    from pipelines.hub.open import hub

    if against is not None and protocol.per_image:
        raise UsageError(
            f"--against does not go with --protocol {protocol.name}: its figures are means of images, and a verdict pools pixels",
            "leave one of them out",
        )
    for metric in metrics:
        metric_named(metric)
    if against is not None:
        if against == version:
            raise UsageError(f"--against {against} is the version itself: nothing to compare", "name another one: vortex versions")
        hub(ws).get(against)


def _require_no_version(version: str | None, against: str | None, picture: bool) -> None:
    if version is not None:
        raise UsageError(f"--all with {version}: it measures every version", "leave one of them out")
    if against is not None or picture:
        raise UsageError("--against and --picture are of one version", "name the version, without --all")


def _require_all(all_: bool) -> None:
    if not all_:
        raise UsageError("which version?", "name one (vortex versions lists them), or measure every one with --all")


def _all(ws: Workspace, domain: str | None, data: str | None, protocol: Protocol, device: str, batch: int | None) -> None:
    from pipelines.evaluate.all_versions import evaluate_all

    with console.progress() as display:
        task = display.add_task("reading the registry", total=None)
        standings = evaluate_all(
            ws,
            domain=domain,
            data=data,
            protocol=protocol,
            device=device,
            batch=batch,
            on_progress=lambda what, count, total: display.update(task, description=what, completed=count, total=total or None),
        )
    console.emit({"versions": standings}, *_standings(standings))
    for standing in standings:
        if standing.fault:
            console.note(f"{standing.version} could not be measured: {standing.fault}")
    console.note(
        f"{sum(standing.new for standing in standings)} measured now, {sum(not standing.new and not standing.fault for standing in standings)} before"
    )


def _standings(standings: Sequence[Standing]) -> Iterator[RenderableType]:
    """A table for each place and protocol, the smallest error first: two protocols never stand in one."""
    entries = [(standing.version, metrics) for standing in standings for metrics in standing.metrics]
    for series in sorted({metrics.series for _, metrics in entries}, key=str):
        ranked = sorted(
            ((version, metrics.values) for version, metrics in entries if metrics.series == series),
            key=lambda entry: entry[1].get("rmse", float("inf")),
        )
        measures = [measure for measure in STANDING if any(measure[0] in values for _, values in ranked)]
        rows = [
            (version, *((wording.percent if share else wording.metres)(values.get(name)) for name, _, share in measures))
            for version, values in ranked
        ]
        frames = next(metrics.frames for _, metrics in entries if metrics.series == series)
        title = f"{series.place}: {frames} frames of {series.dataset}@{series.digest[:12]}, protocol {series.protocol}"
        yield _titled(console.table(["version", *((heading, "right") for _, heading, _ in measures)], rows, title))


def _leaks(ws: Workspace, version: str, measured: Sequence[Metrics]) -> list[str]:
    """What of the exams that were measured the version has seen in training, in words."""
    from pipelines.exam.leaks import version_leaks
    from pipelines.hub.open import hub

    registry = hub(ws)
    domains = dict.fromkeys(metrics.domain for metrics in measured if metrics.series.exam)
    return [str(leak) for domain in domains for leak in version_leaks(ws, registry, registry.get(version), domain)]


def tables(version: str, measured: Sequence[Metrics]) -> Iterator[RenderableType]:
    """For each protocol, since figures of two never stand in one table: depth as it is and after median scaling, by range, then classes."""
    for protocol in dict.fromkeys(metrics.protocol for metrics in measured):
        of_protocol = [metrics for metrics in measured if metrics.protocol == protocol]
        yield _depth_table(version, of_protocol, protocol)
        labelled = [metrics for metrics in of_protocol if "miou" in metrics.values]
        if labelled:
            yield _class_table(version, labelled)


def _depth_table(version: str, measured: Sequence[Metrics], protocol: str) -> RenderableType:
    wide = console.stdout().width >= 100
    heads = ("RMSE m", "MAE m", "AbsRel", *(("log10", "SILog", "δ1 %", "δ2 %", "δ3 %") if wide else ("δ1 %",)), "near m", "mid m", "far m")
    rows = [row for metrics in measured for row in _depth_rows(metrics, wide)]
    title = f"{version}: depth, {sum(metrics.frames for metrics in measured)} frames, protocol {protocol}"
    caption = "near 0–1.5 m, mid 1.5–3 m, far 3–6 m; median-scaled: each frame by median(truth)/median(prediction)"
    return _titled(console.table(["measured on", *((head, "right") for head in heads)], rows, title, caption))


def _class_table(version: str, measured: Sequence[Metrics]) -> RenderableType:
    wide = console.stdout().width >= 100
    names = ("miou", *(f"iou_{name}" for name in CLASSES), *(("pixel_accuracy",) if wide else ()))
    heads = ("mIoU %", *CLASSES, *(("pixels right %",) if wide else ()))
    rows = [(metrics.series.place, *(wording.percent(metrics.values.get(name)) for name in names)) for metrics in measured]
    return _titled(console.table(["measured on", *((head, "right") for head in heads)], rows, f"{version}: IoU per class, %"))


def _titled(table: Table) -> RenderableType:
    from rich.padding import Padding

    return Padding(wording.snug(table), (0, 0, 1, 0))


def _depth_rows(metrics: Metrics, wide: bool) -> list[tuple[Any, ...]]:
    """As it is, median-scaled, and what knows nothing of a picture where it was measured."""
    from pipelines.evaluate.baselines import NAMES

    rows = [_depth_row(metrics, "", wide), _depth_row(metrics, SCALED, wide)]
    rows += [_fused_row(metrics.values, wide)] if "fused_rmse" in metrics.values else []
    blank = [None] * (len(rows[0]) - 2)
    known = [(heading, metrics.values.get(f"rmse_{name}")) for name, heading in NAMES.items()]
    rows += [(f"  {heading}", wording.metres(value), *blank) for heading, value in known if value is not None]
    jitter = metrics.values.get("jitter")
    return rows + ([] if jitter is None else [("  jitter between frames", None, wording.metres(jitter), *blank[1:])])


def _fused_row(values: dict[str, float], wide: bool) -> tuple[Any, ...]:
    """What the robot makes of prediction and ToF together."""
    gap = (None,) * 2 if wide else ()
    return (
        "  fused with ToF",
        *(wording.metres(values.get(f"{FUSED}{name}")) for name in ("rmse", "mae", "abs_rel")),
        *gap,
        wording.percent(values.get(f"{FUSED}delta1")),
        *gap,
        *(wording.metres(values.get(f"{FUSED}rmse_{part}")) for part in RANGES_M),
    )


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


def _measure(
    ws: Workspace,
    version: str,
    domain: str | None,
    data: str | None,
    protocol: Protocol,
    device: str,
    batch: int | None,
    allow_unvalidated: bool,
) -> list[Metrics]:
    """What `pipelines.evaluate.version.evaluate` measures, with progress."""
    from pipelines.evaluate.version import evaluate as measure

    with console.progress() as display:
        task = display.add_task(f"measuring {version}", total=None)

        def show(what: str) -> Callable[[int, int], None]:
            return lambda count, total: display.update(task, description=f"{what} {version}", completed=count, total=total or None)

        return measure(
            ws,
            version,
            domain=domain,
            data=data,
            protocol=protocol,
            device=device,
            batch=batch,
            allow_unvalidated=allow_unvalidated,
            on_progress=show("measuring"),
            on_packing=show("packing frames for"),
        )


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


def _draw(ws: Workspace, version: str, metrics: Metrics, domain: str | None, data: str | None, protocol: Protocol) -> Path:
    from pipelines.evaluate.predictions import draw

    name = f"{version}-{metrics.dataset if data else metrics.domain}-{protocol.split}.png"
    return draw(ws, version, domain, ws.build / "pictures" / name, data=data, split=protocol.split, runtime=protocol.runtime)
