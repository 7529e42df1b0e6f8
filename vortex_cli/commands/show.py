"""`vortex show`: everything that is recorded about one version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.classes import CLASSES
from vortex_cli import console, wording
from vortex_cli.commands import history
from vortex_cli.commands.versions import complete_versions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from registry.ledger import Event
    from registry.records import Metrics, Parent, Version

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
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A registered version.", autocompletion=complete_versions)],
) -> None:
    """Show everything recorded about a version: parents, data, recipe, metrics, exports, stages, environment, history.

    Example: vortex show v6
    """
    from pipelines.hub.open import hub

    registry = hub(console.workspace())
    found = registry.get(version)
    events = [event for event in history.recorded(registry.ledger, version) if history.concerns(event, version, None, None)]
    payload = {**{key: value for key, value in vars(found).items() if key != "headline"}, "headline": found.headline}
    payload["stages"] = [{"channel": channel, "stage": stage} for channel, stage in found.stages]
    console.emit({**payload, "history": [history.payload(event) for event in events]}, *_sections(found, events))


def _sections(found: Version, events: list[Event]) -> Iterator[RenderableType]:
    yield _heading(found)
    yield _titled("Lineage", _table(["edge", "to", "detail"], [(edge.kind, edge.ref, _detail(edge)) for edge in found.parents]))
    yield _titled("Data", _data(found))
    if found.metrics:
        yield _titled("Metrics", _metrics(found))
        classes = [f"iou_{name}" for name in CLASSES]
        if any(name in one.values for one in found.metrics for name in classes):
            yield _titled("IoU per class, %", _classes(found, classes))
    if found.exports:
        yield _titled("Exports", _exports(found))
    yield _titled("Recipe", _settings(found.recipe_config))
    if found.environment:
        yield _titled("Environment", _settings(found.environment))
    yield _titled("History", history.table(events))


def _heading(found: Version) -> RenderableType:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    checkpoint = found.checkpoint
    grid.add_row("for", found.domain or "–")
    grid.add_row("stages", wording.stages(found.stages) if found.stages else "none")
    line = found.headline
    if line:
        grid.add_row("RMSE", f"{wording.metres(line.rmse) or '–'} m on {wording.measured_on(line)}")
    if found.truncated:
        grid.add_row("cut short", Text(found.truncated, "red"))
    grid.add_row("input", f"{wording.size(found.size)} (height x width)")
    grid.add_row("registered", f"{wording.when(found.created_at)} by {found.actor}")
    if found.reason:
        grid.add_row("because", found.reason)
    grid.add_row("commit", found.commit or "–")
    grid.add_row("checkpoint", f"{checkpoint.uri}  {wording.megabytes(checkpoint.bytes)}  sha256 {checkpoint.sha256[:12]}")
    grid.add_row("run", f"{found.run}  (MLflow run {found.run_id}, model version {found.mlflow_version})")
    title = Text.assemble((found.name, "bold"), f"  {found.codename}" if found.codename else "")
    return Panel(grid, title=title, title_align="left", border_style="dim", expand=False)


def _titled(title: str, body: RenderableType) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    return Group(Text(title, "bold"), body)


def _table(columns: Sequence[console.Column], rows: Iterable[Sequence[object]]) -> RenderableType:
    from rich.padding import Padding

    return Padding(wording.snug(console.table(columns, rows)), (0, 0, 1, 2))


def _detail(edge: Parent) -> str | None:
    return wording.digest(edge.detail) if edge.kind == "data" else edge.detail or None


def _data(found: Version) -> RenderableType:
    columns: list[console.Column] = ["data set", "domain", "kind", "frames", "validated", "content", "data.dvc"]
    return _table(
        columns,
        [
            (
                use.name,
                use.domain,
                use.kind,
                ", ".join(f"{split} {use.frames[split]}" for split in SPLITS if use.frames.get(split)),
                "yes" if use.validated else "NO",
                wording.digest(use.digest),
                wording.digest(use.dvc),
            )
            for use in found.data
        ],
    )


def _metrics(found: Version) -> RenderableType:
    wide = wording.width() >= 110
    shown = [measure for measure in MEASURES if (wide or measure[0] in NARROW) and any(measure[0] in one.values for one in found.metrics)]
    heads: list[console.Column] = [(head, "right") for _, head, _ in shown]
    columns: list[console.Column] = ["measured on", *(["protocol"] if wide else []), ("frames", "right"), *heads]
    return _table(columns, [[_place(one), *([one.protocol] if wide else []), one.frames, *_values(one, shown)] for one in found.metrics])


def _place(one: Metrics) -> str:
    return f"{one.domain} · {one.camera}" + (f" ({one.dataset})" if one.dataset != one.domain else "")


def _values(one: Metrics, shown: list[tuple[str, str, bool]]) -> list[str | None]:
    return [wording.percent(one.values.get(name)) if share else wording.metres(one.values.get(name)) for name, _, share in shown]


def _classes(found: Version, classes: list[str]) -> RenderableType:
    columns: list[console.Column] = ["measured on", *((name.removeprefix("iou_"), "right") for name in classes)]
    rows = [[_place(one), *(wording.percent(one.values.get(name)) for name in classes)] for one in found.metrics]
    return _table(columns, rows)


def _exports(found: Version) -> RenderableType:
    columns: list[console.Column] = ["form", "input", "depth differs by", "same class", "compared on", "file", "sha256"]
    return _table(
        columns,
        [
            (
                f"{one.format} {one.precision}" + (f", opset {one.opset}" if one.opset else ""),
                wording.size(one.size) if one.size else None,
                None if one.parity_m is None else f"{one.parity_m:.1e} m",
                None if one.class_agreement is None else f"{100 * one.class_agreement:.2f} %",
                f"{one.frames} of {one.parity_on}" if one.parity_on else None,
                wording.megabytes(one.artifact.bytes),
                wording.digest(one.artifact.sha256),
            )
            for one in found.exports
        ],
    )


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
