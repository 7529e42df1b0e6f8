"""`vortex lineage`: what every version was made from, and what came of a version, a dataset, a teacher or a frame."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from core.errors import UsageError
from vortex_cli import branches, console, wording
from vortex_cli.completion import complete_versions_and_datasets

if TYPE_CHECKING:
    from rich.console import RenderableType

    from pipelines.lineage.ancestry import Lineage, Tenure
    from pipelines.lineage.device_runs import DeviceRun
    from pipelines.lineage.focus import Focus
    from pipelines.lineage.metric_line import MetricHistory, MetricLine, Point
    from pipelines.lineage.query import Answer, Step
    from pipelines.workspace import Workspace
    from registry import graph
    from registry.declarations import DeclaredVersion
    from registry.lineage import Node
    from registry.quarantine import Bar
    from registry.records import Summary
    from vortex_cli.branches import Line

Form = Literal["tree", "json", "mermaid", "svg"]

PRETTY_NODES = 200
"""Above this many versions the tree is written without rich, which takes 0.3 ms a line."""
MOST_NAMES: Final = 4
"""Contents of a dataset that a heading names."""
PLOT: Final = 24
"""Columns of the longest bar."""
TENURES: Final = {(True, True): "runs", (True, False): "ran", (False, True): "holds", (False, False): "held"}
"""Whether a stage is production, and whether it is held now → in a word."""


def lineage(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A version, DATASET, DATASET@HASH, teacher, FRAME or DATASET/FRAME, channel, device, robot or commit; or KIND:NAME.",
            autocompletion=complete_versions_and_datasets,
        ),
    ] = None,
    data: Annotated[bool, typer.Option("--data/--no-data", help="Show teachers and datasets below each version.")] = True,
    up: Annotated[bool, typer.Option("--up", help="What it was made from.")] = False,
    down: Annotated[
        bool, typer.Option("--down", help="What came of it, and every channel, device and robot that runs or ran that.")
    ] = False,
    metric: Annotated[
        str | None,
        typer.Option("--metric", metavar="NAME@DOMAIN", help="This metric along the version's ancestors, with each step's change."),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How it is printed; a picture of more than 300 nodes is folded.")] = "tree",
) -> None:
    """Show which version was made from which: by weights or by recipe, with its teachers and its data.

    Below each version stand its branches, indented, and after the arrow, not indented, the child from which most versions descend.
    A version in brackets was named as a parent but is not registered here; a declared one has no weights here.
    One with weights of data that had not passed its gate says so, however far back that was, and so does one that is in quarantine.

    With --down, which is meant for anything but a version, it ends in every channel and every enrolled device, the robots, that runs or ran
    what came of it: by their reports, and where none has come since, by what their channel had for them.

    Example: vortex lineage v10 --down
    """
    ws = console.workspace()
    console.session.json |= form == "json"
    if name is None and (up or down or metric):
        raise UsageError("--up, --down and --metric start from something", "name it: vortex lineage v10 --down")
    if metric is not None and (up or down or form == "mermaid"):
        raise UsageError("--metric follows the ancestors of a version, as a table or as --format svg", "leave --up, --down and mermaid out")
    if metric is not None:
        _metric(ws, str(name), metric, form)
    elif not (up or down) and form == "tree" and (name is None or _is_version(ws, name)):
        _forest(ws, name, data)
    else:
        _graph(ws, name, up, down, form)


def _is_version(ws: Workspace, name: str) -> bool:
    return re.fullmatch(r"v\d+", name) is not None and not (ws.data / name).exists()


def _forest(ws: Workspace, version: str | None, data: bool) -> None:
    """The tree of all versions, or of one's family."""
    from pipelines.hub.open import hub
    from registry.lineage import branch, tree, unproven

    registry = hub(ws)
    listing = registry.listing()
    summaries, bars = listing.summaries, listing.barred
    declared = {each.name: each for each in listing.declared if not each.adopted}
    by_name = {summary.name: summary for summary in summaries}
    if version is not None and version not in by_name and version not in declared:
        registry.get(version)  # a wrong name is answered with the right ones
    forest = tree([*summaries, *declared.values()])
    if not forest:
        console.note("no versions yet; make one with: vortex train v6")
    roots = [branch(forest, version)] if version else forest
    remarks = unproven(summaries)
    if console.session.json:
        console.emit(
            {
                **_payload(node),
                "declared": node.declared or node.name in declared,
                "unproven": remarks.get(node.name),
                "quarantined": [str(bar) for bar in bars.get(node.name, ())],
            }
            for node in branches.every(roots)
        )
        return

    def label(node: Node) -> Line:
        return _label(node, by_name.get(node.name) or declared.get(node.name), remarks, bars, version)

    _print_lines(len(branches.every(roots)), branches.lines(roots, label, lambda node: _others(node) if data and node.others else None))


def _graph(ws: Workspace, name: str | None, up: bool, down: bool, form: Form) -> None:
    """What leads to `name` and what came of it, as a tree with a table, as JSON, or as a picture; of all there is without a name."""
    from pipelines.hub.open import hub
    from pipelines.lineage.ancestry import lineage_of
    from pipelines.lineage.query import ask, document

    registry = hub(ws)
    lineage = lineage_of(registry)
    gc.freeze()  # none of it becomes garbage before the end; looking for some took a seventh of the time (measured, 10,000 versions)
    answer = ask(ws, registry, lineage, name, up=up, down=down)
    if form in ("mermaid", "svg"):
        text = _picture(answer, form)
        console.emit({"format": form, "text": text})
        if not console.session.json:
            console.write(text)
    elif console.session.json:
        console.emit(document(answer))
    else:
        _print_answer(answer)


def _picture(answer: Answer, form: Form) -> str:
    """The part of the graph that answers, as SVG or Mermaid."""
    from pipelines.lineage.picture import lineage_svg, mermaid

    lineage, part = answer.lineage, answer.part()
    quarantined = [node for node in part.nodes if lineage.quarantine_of(node)]

    def label(node: graph.Node) -> str:
        return _node_words(lineage, node)

    if form == "svg":
        return lineage_svg(part, answer.starts, alone=True, label=label, quarantined=quarantined)
    return mermaid(part, answer.starts, label=label, quarantined=quarantined)


def _print_answer(answer: Answer) -> None:
    for direction in answer.directions:
        _print_tree(answer.lineage, answer.starts, direction, both=len(answer.directions) > 1)
    if answer.focus and "down" in answer.directions:
        _print_tenures(answer.focus, answer.tenures)
        _print_runs(answer.runs)
    for setback in answer.setbacks:
        console.emit([], f"{setback.device} on {setback.channel}: {setback.version} {setback.outcome}: {setback.reason}")


def _metric(ws: Workspace, version: str, metric: str, form: Form) -> None:
    """A metric along the ancestors of a version."""
    from pipelines.hub.open import hub
    from pipelines.lineage.ancestry import lineage_of
    from pipelines.lineage.metric_line import metric_history
    from pipelines.lineage.metric_plot import metric_svg

    registry = hub(ws)
    registry.get(version)
    history = metric_history(registry, lineage_of(registry), version, metric)
    if form == "svg" and not console.session.json:
        console.write(metric_svg(history, alone=True))
        return
    console.emit(history, *_metric_tables(history))


def _payload(node: Node) -> dict[str, Any]:
    parents = node.version.parents if node.version else ()
    return {"name": node.name, "declared": node.declared, "parents": parents, "children": [child.name for child in node.children]}


def _print_lines(size: int, lines: Iterator[tuple[str, Line]]) -> None:
    if size > PRETTY_NODES:
        console.write("\n".join(guide + branches.plain(line) for guide, line in lines))
        return
    from rich.text import Text

    console.emit([], *(Text.assemble((guide, "dim"), *line) for guide, line in lines))


def _label(
    node: Node, summary: Summary | DeclaredVersion | None, remarks: dict[str, str], bars: dict[str, tuple[Bar, ...]], focus: str | None
) -> Line:
    from registry.declarations import DeclaredVersion

    label = _kinds([edge.kind for edge in node.edges])
    if node.edges:
        label.append(" → ")
    if summary is None:
        return [*label, (f"({node.name})", "dim"), ("  declared, not registered here", "dim")]
    label.append((node.name, "bold reverse" if node.name == focus else "bold"))
    label += _declared(summary, bars) if isinstance(summary, DeclaredVersion) else _said_of(summary, bars)
    if node.name in remarks:
        label.append((f"  {remarks[node.name]}", "red"))
    return label


def _kinds(kinds: Iterable[str]) -> Line:
    """Kinds of edges, each in its colour."""
    line: Line = []
    for kind in kinds:
        line += [" + ", (kind, _style(kind))] if line else [(kind, _style(kind))]
    return line


def _style(kind: str) -> str:
    return wording.EDGE_STYLES.get(kind, "green")


def _declared(version: DeclaredVersion, bars: dict[str, tuple[Bar, ...]]) -> Line:
    """What stands behind the name of a version without weights: the first published error, as such."""
    errors = [metric for metric in version.declaration.metrics if metric.metric == "rmse"][:1]
    published = "".join(f", published {metric.value:g} m on {metric.domain} · {metric.camera}" for metric in errors)
    barred = wording.barred(version.name, bars.get(version.name, ()))
    return [f"  {version.declaration.codename}", (f"  declared{published}", "dim"), (f"  {barred}" if barred else "", "bold red")]


def _said_of(summary: Summary, bars: dict[str, tuple[Bar, ...]]) -> Line:
    """What stands behind a version's name."""
    label: Line = [f"  {summary.codename}" if summary.codename else ""]
    if line := summary.headline:
        label += [(f"  {wording.metres(line.rmse) or '–'} m", "bold"), (f" on {wording.measured_on(line)}", "dim")]
    barred = bars.get(summary.name, ())
    if (summary.stages or barred) and (standing := wording.standing(summary, barred)):
        label += ["  ", standing]
    if summary.truncated:
        label.append(("  cut short", "red"))
    return label


def _others(node: Node) -> Line:
    from registry.edges import DataEdge

    line: Line = []
    for kind in ("weights", "recipe", "teacher", "data"):
        edges = [edge for edge in node.others if edge.kind == kind]
        refs = [f"{edge.name}@{edge.hash[:8]}" if isinstance(edge, DataEdge) and edge.hash else edge.triple()[1] for edge in edges]
        if refs:
            line += ["  " if line else "", (kind, _style(kind)), (f" {', '.join(dict.fromkeys(refs))}", "dim")]
    return line


def _print_tree(lineage: Lineage, starts: Sequence[graph.Node], direction: graph.Direction, *, both: bool) -> None:
    from rich.text import Text

    from pipelines.lineage.query import steps as tree_of

    steps = tree_of(lineage, starts, direction)
    if both:
        console.emit([], Text("Made from" if direction == "up" else "\nWhat came of it", "bold"))

    def elsewhere(step: Step) -> Line | None:
        names = [f"{link.kind} {link.source if direction == 'down' else link.target}" for link in step.elsewhere]
        return [(f"also {', '.join(dict.fromkeys(names))}", "dim")] if names else None

    roots = [steps[start] for start in starts if start in steps]
    focused = set(starts)
    _print_lines(len(steps), branches.lines(roots, lambda step: _step_label(lineage, step, direction, step.node in focused), elsewhere))


def _step_label(lineage: Lineage, step: Step, direction: graph.Direction, focused: bool) -> Line:
    label = _kinds(dict.fromkeys(link.kind for link in step.links))
    if step.links:
        label.append(" → " if direction == "down" else " ← ")
    node = step.node
    style = "bold reverse" if focused else "bold"
    if published := lineage.state.declared.get(node.name) if lineage.graph.declared(node) else None:
        return [*label, (node.name, style), *_declared(published, lineage.bars)]
    if lineage.graph.declared(node):
        return [*label, (f"({node.name})", "dim"), ("  declared, not registered here", "dim")]
    if not step.links and node.kind != "version":
        label.append((f"{_kind(node)} ", "dim"))
    label.append((str(node), style))
    if node.kind == "version":
        return label + _said_of(lineage.summaries[node.name], lineage.bars)
    notes = dict.fromkeys(_note(link) for link in step.links)
    label.append(("".join(f"  {note}" for note in notes if note), "dim"))
    if quarantine := lineage.quarantine_of(node):
        label.append((f"  quarantined: {quarantine.reason}", "bold red"))
    return label


def _note(link: graph.Link) -> str:
    """What a link says beside its kind, where it ties something else than two versions."""
    from pipelines.lineage.query import LASTING

    if link.kind in LASTING:
        return f"{link.note} since {wording.when(link.since)}" + (f" until {wording.when(link.until)}" if link.until else "")
    if link.kind == "data":
        return f"in data/ {link.note[:12]}" if link.note.endswith(".dir") else ""
    return f"sha256 {wording.digest(link.target.detail)}" if link.kind == "export" else link.note


def _kind(node: graph.Node) -> str:
    return {"data": "dataset", "code": "commit"}.get(node.kind, node.kind)


def _node_words(lineage: Lineage, node: graph.Node) -> str:
    """The second line of a node in a picture."""
    summary = lineage.summaries.get(node.name) if node.kind == "version" else None
    if summary is None:
        return ""
    line = summary.headline
    error = f"{wording.metres(line.rmse) or '–'} m on {line.domain}" if line else ""
    return " · ".join(part for part in (summary.codename, error) if part)


def _print_tenures(focus: Focus, running: Sequence[Tenure]) -> None:
    """Every channel that runs or ran what came of it, in production first."""
    every = list(dict.fromkeys(str(node) for node in focus.nodes))
    names = ", ".join(every if len(every) <= MOST_NAMES else [*every[:MOST_NAMES], f"and {len(every) - MOST_NAMES} more"])
    if not running:
        console.emit([], f"no channel runs or ran what came of {names}")
        return
    rows = [
        (
            TENURES[tenure.stage == "production", tenure.until is None],
            tenure.channel,
            tenure.stage,
            tenure.version,
            wording.when(tenure.since),
            wording.when(tenure.until) if tenure.until else None,
            " → ".join(tenure.way if len(tenure.way) <= 4 else (*tenure.way[:2], "…", tenure.way[-1])),
        )
        for tenure in running
    ]
    columns: list[console.Column] = ["", "channel", "stage", "version", "since", "until", "by way of"]
    if len(rows) > PRETTY_NODES:
        console.write(f"\nWhat runs or ran what came of {names}")
        console.write(wording.aligned([(str(column), "left") for column in columns], [[cell or "–" for cell in row] for row in rows]))
        return
    table = console.fitting(columns, rows, ("by way of",), title=f"What runs or ran what came of {names}")
    console.emit([], "", wording.snug(table))


def _print_runs(runs: Sequence[DeviceRun]) -> None:
    """Every enrolled device that runs or ran what came of it, what runs first."""
    if not runs:
        return
    rows = [
        (run.word, run.device, run.version, run.channel, wording.when(run.since), wording.when(run.until) if run.until else None)
        for run in runs
    ]
    columns: list[console.Column] = ["", "robot", "version", "channel", "since", "until"]
    title = "Robots, by their reports; what may run was not reported"
    if len(rows) > PRETTY_NODES:
        console.write(f"\n{title}")
        console.write(wording.aligned([(str(column), "left") for column in columns], [[cell or "–" for cell in row] for row in rows]))
        return
    console.emit([], "", wording.snug(console.fitting(columns, rows, ("channel",), title=title)))


def _metric_tables(history: MetricHistory) -> Iterator[RenderableType]:
    from rich.console import Group
    from rich.text import Text

    for line in history.lines:
        title = f"{history.metric} on {line.series}, {line.series.dataset}@{line.series.digest[:12]}"
        yield Group(Text(title, "bold"), _metric_table(line), Text(""))
    if not history.lines:
        yield f"no exam measured {history.metric} on {history.domain}: nothing can be joined"
    if history.apart:
        rows = [[point.version, _value(point), point.series.protocol, point.frames, str(point.series.place)] for point in history.apart]
        columns: list[console.Column] = ["version", ("value", "right"), "protocol", ("frames", "right"), "measured on"]
        yield Group(Text("Not joined: not made by an exam, or not finite", "bold"), wording.snug(console.table(columns, rows)), Text(""))
    if history.unmeasured:
        yield f"not measured on {history.domain}: {', '.join(history.unmeasured)}"


def _metric_table(line: MetricLine) -> RenderableType:
    from pipelines.lineage.metric_plot import span

    low, high = span(line.points)
    rows = []
    for point in line.points:
        bar = "█" * max(1, round(PLOT * (point.value - low) / (high - low)))
        change = None if point.change is None else f"{point.change:+.4f} on {point.against}"
        rows.append([point.version, point.made_by or None, _value(point), change, point.frames, bar])
    columns: list[console.Column] = ["version", "by", ("value", "right"), "change", ("frames", "right"), f"from {low:.3g}"]
    return wording.snug(console.fitting(columns, rows, ("frames", f"from {low:.3g}")))


def _value(point: Point) -> str:
    return f"{point.value:.4f}"
