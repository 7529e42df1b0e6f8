"""`vortex show`: everything that is recorded about one version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.classes import CLASSES
from vortex_cli import console, published, wording
from vortex_cli.commands import evidence, history
from vortex_cli.parameters import VersionName

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.hub.evidence import EvidenceItem
    from pipelines.workspace import Workspace
    from registry.declarations import DeclaredVersion
    from registry.edges import Edge
    from registry.ledger import Entry
    from registry.quarantine import Bar
    from registry.records import Metrics, Version
    from registry.versions import Hub
    from validation.checks import Check

MEASURES = (
    # name in the metrics, heading, whether it is a share shown in percent
    ("rmse", "RMSE m", False),
    ("mae", "MAE m", False),
    ("abs_rel", "AbsRel", False),
    ("delta1", "δ1 %", True),
    ("rmse_near", "near m", False),
    ("rmse_mid", "mid m", False),
    ("rmse_far", "far m", False),
    ("miou", "mIoU %", True),
)
NARROW = ("rmse", "delta1", "rmse_near", "miou")
"""What a terminal of less than 110 columns shows of them; `--json` has all."""
SPLITS = ("train", "gap", "val", "test")


def show(
    version: VersionName,
) -> None:
    """Show everything recorded about a version: parents, data, recipe, metrics, exports, stages, environment, history.

    Example: vortex show v6
    """
    from pipelines.hub import history as recorded
    from pipelines.hub.classes import class_pixels
    from pipelines.hub.open import hub
    from registry.declarations import DeclaredVersion
    from registry.quarantine import bars_of

    ws = console.workspace()
    registry = hub(ws)
    record = registry.described(version)
    bars = bars_of(registry.ledger, version)
    entries = list(recorded.history(registry.ledger, version=version))
    if isinstance(record, DeclaredVersion):
        _show_declared(record, bars, entries)
        return
    payload = {**{key: value for key, value in vars(record).items() if key != "headline"}, "headline": record.headline}
    payload["stages"] = [{"channel": channel, "stage": stage} for channel, stage in record.stages]
    pixels = class_pixels(registry, record)
    payload["trained_classes"] = pixels
    payload["quarantined"] = [str(bar) for bar in bars]
    payload["published"] = record.published
    payload["evidence"] = reports = _evidence(ws, registry, record) if record.evidence else []
    payload["int8_speed"] = speed = _int8_speed(ws, registry, record)
    console.emit(
        {**payload, "history": [history.payload(entry) for entry in entries]}, *_sections(record, pixels, bars, reports, speed, entries)
    )


def _evidence(ws: Workspace, registry: Hub, record: Version) -> list[EvidenceItem]:
    from pipelines.hub.evidence import items  # numpy, which most versions are shown without

    return items(ws, registry, record)


def _show_declared(declared: DeclaredVersion, bars: Sequence[Bar], entries: list[Entry]) -> None:
    parents = _table(["edge", "to", "detail"], [_lineage(edge) for edge in declared.parents])
    metrics = declared.declaration.metrics
    figures = [_titled(published.TITLE, _indented(published.table_of_figures(metrics)))] if metrics else []
    history_table = _titled("History", history.table(entries))
    quarantined = [str(bar) for bar in bars]
    payload = {**vars(declared), "declared": True, "quarantined": quarantined, "history": [history.payload(entry) for entry in entries]}
    console.emit(payload, published.heading(declared, bars), _titled("Lineage", parents), *figures, history_table)


def _sections(
    version: Version,
    pixels: dict[str, int] | None,
    bars: Sequence[Bar],
    reports: list[EvidenceItem],
    speed: Check | None,
    entries: list[Entry],
) -> Iterator[RenderableType]:
    from rich.text import Text

    yield _heading(version, pixels, bars)
    yield _titled("Lineage", _table(["edge", "to", "detail"], [_lineage(edge) for edge in version.parents]))
    yield _titled("Data", _data(version))
    for protocol in dict.fromkeys(metrics.protocol for metrics in version.metrics):  # figures of two never stand in one table
        of_protocol = [metrics for metrics in version.metrics if metrics.protocol == protocol]
        yield _titled(f"Metrics, {protocol}", _metrics(of_protocol))
        if any(f"iou_{name}" in metrics.values for metrics in of_protocol for name in CLASSES):
            yield _titled(f"IoU per class, %, {protocol}", _classes(of_protocol))
    if version.published:
        yield _titled(published.TITLE, _indented(published.table_of_figures(version.published)))
    if version.exports:
        yield _titled("Exports", _exports(version))
    if speed:
        yield _indented(Text(f"int8 for host is {'offered' if speed.passed else 'not offered'}: {speed.found}; {speed.asked}"))
    if reports:
        yield _titled("Evidence", _indented(evidence.lines(reports)))
    own, of_recipe = _recipe(version)
    yield _titled("Recipe", _settings(own))
    if version.declaration:
        yield _titled("What was published of it", _settings(dict(published.facts(version.declaration))))
    elif of_recipe:
        yield _titled("What the recipe was published with (not what this version is)", _settings(of_recipe))
    if version.environment:
        yield _titled("Environment", _settings(version.environment))
    yield _titled("History", history.table(entries))


def _heading(version: Version, pixels: dict[str, int] | None, bars: Sequence[Bar]) -> RenderableType:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    from pipelines.hub.classes import trained_on

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    checkpoint = version.checkpoint
    grid.add_row("for", version.domain or "–")
    grid.add_row("stages", wording.stages(version.stages) if version.stages else "none")
    for bar in bars:
        grid.add_row("quarantine", Text(f"{bar}: it enters no stage", "bold red"))
    line = version.headline
    if line:
        grid.add_row("RMSE", f"{wording.metres(line.rmse) or '–'} m on {wording.measured_on(line)}")
    if version.truncated:
        grid.add_row("cut short", Text(version.truncated, "red"))
    grid.add_row("classes", trained_on(pixels))
    grid.add_row("input", f"{wording.size(version.size)} (height x width)")
    grid.add_row("registered", f"{wording.when(version.created_at)} by {version.actor}")
    if version.reason:
        grid.add_row("because", version.reason)
    grid.add_row("commit", version.commit or str(version.environment.get("git", "–")))
    if version.adoption:
        grid.add_row(
            "adopted from", Text(f"{version.adoption.source}, sha256 {version.adoption.sha256[:12]}: its training is declared, not proven")
        )
    grid.add_row("checkpoint", f"{checkpoint.uri}  {wording.megabytes(checkpoint.bytes)}  sha256 {checkpoint.sha256[:12]}")
    grid.add_row("run", f"{version.run}  (MLflow run {version.run_id}, model version {version.mlflow_version})")
    title = Text.assemble((version.name, "bold"), f"  {version.codename}" if version.codename else "")
    return Panel(grid, title=title, title_align="left", border_style="dim", expand=False)


def _titled(title: str, body: RenderableType) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return Group(Text(title, "bold"), body)


def _table(columns: Sequence[console.Column], rows: Iterable[Sequence[object]]) -> RenderableType:
    return _indented(wording.snug(console.table(columns, rows)))


def _indented(table: RenderableType) -> RenderableType:
    from rich.padding import Padding

    return Padding(table, (0, 0, 1, 2))


def _lineage(edge: Edge) -> tuple[str, str, str | None]:
    kind, ref, detail = edge.triple()
    return kind, ref, wording.digest(detail) if kind == "data" else detail or None


def _data(version: Version) -> RenderableType:
    columns: list[console.Column] = ["dataset", "domain", "kind", "frames", "validated", "content", "data.dvc"]
    return _table(
        columns,
        [
            (
                use.name,
                use.domain,
                use.kind,
                ", ".join(f"{split} {use.frames[split]}" for split in SPLITS if use.frames.get(split)),
                "yes" if use.state == "passed" else use.state,
                wording.digest(use.digest),
                wording.digest(use.dvc),
            )
            for use in version.data
        ],
    )


def _metrics(of_protocol: Sequence[Metrics]) -> RenderableType:
    wide = wording.width() >= 110
    measured = {name for metrics in of_protocol for name in metrics.values}
    measures = [measure for measure in MEASURES if (wide or measure[0] in NARROW) and measure[0] in measured]
    heads: list[console.Column] = [(head, "right") for _, head, _ in measures]
    columns: list[console.Column] = ["measured on", "data", ("frames", "right"), *heads]
    rows = [
        [
            metrics.series.place,
            wording.digest(metrics.digest, 12 if wide else 8),
            metrics.frames,
            *_values(metrics, measures),
        ]
        for metrics in of_protocol
    ]
    return _table(columns, rows)


def _values(metrics: Metrics, measures: list[tuple[str, str, bool]]) -> list[str | None]:
    return [wording.percent(metrics.values.get(name)) if share else wording.metres(metrics.values.get(name)) for name, _, share in measures]


def _classes(of_protocol: Sequence[Metrics]) -> RenderableType:
    columns: list[console.Column] = ["measured on", *((name, "right") for name in CLASSES)]
    rows = [[metrics.series.place, *(wording.percent(metrics.values.get(f"iou_{name}")) for name in CLASSES)] for metrics in of_protocol]
    return _table(columns, rows)


def _int8_speed(ws: Workspace, registry: Hub, version: Version) -> Check | None:
    """Whether the version's int8 file is one that a host is sent; None without such a file."""
    if not any((entry.precision, entry.target) == ("int8", "host") for entry in version.exports):
        return None
    from pipelines.hub.exports import INT8_HOST, newest, speed_checks

    exported = newest(version, INT8_HOST)
    return next(iter(speed_checks(ws, registry, version, exported)), None) if exported else None


def _exports(version: Version) -> RenderableType:
    columns: list[console.Column] = ["form", "input", "depth differs by", "same class", "compared on", "file", "sha256"]
    return _table(
        columns,
        [
            (
                export.form + (f", opset {export.opset}" if export.opset else ""),
                wording.size(export.size) if export.size else None,
                None if export.parity_m is None else f"{export.parity_m:.1e} m",
                None if export.class_agreement is None else f"{100 * export.class_agreement:.2f} %",
                f"{export.frames} of {export.parity_on}" if export.parity_on else None,
                wording.megabytes(export.artifact.bytes),
                wording.digest(export.artifact.sha256),
            )
            for export in version.exports
        ],
    )


def _recipe(version: Version) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of the recipe made this version, and what its authors told of their own."""
    from pipelines.recipes.recipe import parts
    from registry.edges import TeacherEdge

    return parts(version.recipe_config, by_teacher=any(isinstance(edge, TeacherEdge) for edge in version.parents))


def _settings(values: Mapping[str, Any]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for key, value in _names_first(values):
        if value in (None, "", [], {}):
            continue
        grid.add_row(f"  {key}", Text(_brief(value)))
    grid.add_row("", "")
    return grid


def _names_first(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    # The ledger sorts keys; what something is called still reads best first.
    return sorted(values.items(), key=lambda item: (item[0] not in ("name", "codename"), item[0] == "codename"))


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{key}={_inner(item)}" for key, item in _names_first(value))
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return "\n".join(_brief(item) for item in value)
    return _inner(value)


def _inner(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_inner(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inner(item) for item in value) + "]"
    return "–" if value is None else str(value)
