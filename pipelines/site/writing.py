"""The site written as a folder: whole or not at all, and the same for one ledger head."""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.environment import writable
from core.errors import VortexError
from core.files import locked, swapped_directory
from core.printable import clean
from core.progress import NamedProgress
from core.stages import STAGES
from pipelines.compare.forgetting import Forgetting, forgetting
from pipelines.compare.pareto import Pareto, pareto
from pipelines.compare.recommend import Recommendation, recommend
from pipelines.compare.shared_series import shared_series
from pipelines.compare.side_by_side import Comparison, compare
from pipelines.hub.evidence import items
from pipelines.lineage.picture import lineage_svg
from pipelines.report.comparison_page import comparison_values
from pipelines.report.page import TEMPLATES, cleaned, environment
from pipelines.report.pareto_drawing import pareto_svg
from pipelines.site.channel_card import channel_card, nothing_forgotten
from pipelines.site.frames import Figure, figures, films, worst_frames
from pipelines.site.register import Register, read
from pipelines.site.version_page import Detail, VersionPage, declared_page, parent_of, parent_verdicts, version_page
from pipelines.workspace import Workspace
from registry.graph import CARRYING, Direction, Graph, Node
from registry.records import Quarantine, Version
from validation.policies import load_policies

if TYPE_CHECKING:
    from jinja2 import Environment

MARKER: Final = ".vortex-report"
"""In a folder that a report was written to: nothing else is ever replaced."""
LARGE: Final = 50
"""Versions from which on verdicts are worked out only for those that a channel speaks of, and for those that are asked for."""
NEWEST: Final = 50
"""Versions on the first page."""
VERSIONS_A_PAGE: Final = 200
EVENTS_A_PAGE: Final = 250
NEIGHBOURS: Final = 3
"""Pages before and after the present one that a page leads to, beside the first and the last."""
MOST_FRONTS: Final = 3
MOST_NAMED: Final = 50
"""Versions that a quarantine names on its page; each says so on its own."""
SHORT: Final = 80
"""Letters of a text that is remembered while a site is written."""
UP: Final[tuple[Direction, ...]] = ("up",)
MOST_DRAWN: Final = 120
"""Nodes of a lineage: what has more is drawn in part."""
_FILE: Final = re.compile(r"v\d{1,18}")


@dataclass(frozen=True)
class Report:
    """A site that was written: where it begins, and what is in it. `pictures` say which versions were drawn."""

    index: Path
    event: int
    versions: int
    worked_out: tuple[str, ...]
    pages: int
    pictures: int


@dataclass
class Site:
    """What every template may ask, and the writer of pages below `folder`."""

    folder: Path
    title: str
    register: Register
    nav: tuple[tuple[str, str], ...]
    pages: int = 0
    comparisons: dict[tuple[str, str], str] = field(default_factory=dict)
    """(a, b) → the address of the page that compares b with a."""

    @cached_property
    def names(self) -> Collection[str]:
        """The versions that have a page."""
        return self.register.summaries.keys() | self.register.declared.keys()

    @cached_property
    def templates(self) -> Environment:
        """As for every page; but a short text that comes again and again, as names of settings do, is looked through once."""
        once = lru_cache(maxsize=1 << 16, typed=True)(cleaned)  # typed: markup and a text are equal, and not the same

        def cleaned_once(value: object) -> object:
            return once(value) if isinstance(value, str) and len(value) <= SHORT else cleaned(value)

        return environment().overlay(finalize=cleaned_once)

    def file(self, name: str) -> str:
        """The file of a version's page. Raises VortexError for a name that vortex never gives: it could lead out of the folder."""
        if not _FILE.fullmatch(name):
            raise VortexError(f"version {name[:60]!r} has no name that a page can have", "see what is wrong with: vortex audit verify")
        return f"{name}.html"

    def event(self, number: int) -> str:
        """The address of an event in the history."""
        pages = -(-len(self.register.lines) // EVENTS_A_PAGE)
        return f"history/{_history_file((number - 1) // EVENTS_A_PAGE + 1, pages)}#e{number}"

    @staticmethod
    def when(at: str) -> str:
        """A recorded time, to the minute; it is UTC."""
        return at[:16].replace("T", " ")

    @staticmethod
    def who(actor: str) -> str:
        """An actor's name without the address."""
        return actor.partition(" <")[0]

    def write(self, path: str, template: str, values: Mapping[str, Any]) -> None:
        """Render a page."""
        target = self.folder / path
        target.parent.mkdir(exist_ok=True)
        page = self.templates.get_template(f"site/{template}").render(values, site=self, root="../" * path.count("/"), here=path)
        target.write_bytes(page.encode("utf-8", "replace"))
        self.pages += 1


def write_report(
    ws: Workspace,
    folder: Path | None = None,
    *,
    versions: Sequence[str] = (),
    pictures: bool = True,
    on_progress: NamedProgress | None = None,
) -> Report:
    """Write the site of the workspace's registry to `folder` (default: build/report) and return what is in it.

    `versions` are worked out in any case: verdicts, worst frames, pictures; of a large registry others are only where a channel speaks of
    them. Raises VortexError for an unknown version, for a folder that holds something else than a report, and for a broken ledger.
    """
    folder = (folder or ws.build / "report").resolve()
    # In a workspace that this user can only read there is no lock to take, and no other report of this user to wait for.
    with locked(ws.build / "report.lock") if writable(ws.build) else nullcontext():
        if folder.exists() and not (folder / MARKER).exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise VortexError(f"{folder} is not empty and no report", "name a new folder with -o")
        register = read(ws)
        for name in versions:
            register.registry.get(name)
        with swapped_directory(folder) as staging:
            report = _write(ws, register, staging, versions, pictures, on_progress or (lambda what, done, total: None))
    return Report(folder / "index.html", *report)


def _write(
    ws: Workspace, register: Register, folder: Path, asked: Sequence[str], pictures: bool, on_progress: NamedProgress
) -> tuple[int, int, tuple[str, ...], int, int]:
    (folder / MARKER).touch()
    shutil.copyfile(TEMPLATES / "site" / "style.css", folder / "style.css")
    nav = (
        ("What runs", "index.html"),
        ("Versions", "versions/index.html"),
        ("Comparisons", "comparisons/index.html"),
        ("Pareto", "pareto.html"),
        ("Gates", "gates.html"),
        ("Quarantine", "quarantine.html"),
        ("History", "history/index.html"),
    )
    site = Site(folder, clean(ws.root.name), register, nav)
    details = _details(ws, site, asked, pictures, on_progress)
    _first_page(ws, site, details)
    _version_pages(site, details, on_progress)
    _listing(site)
    _history(site)
    _gates(site)
    _quarantine(site)
    _pareto(ws, site)
    drawn = len(list((folder / "pictures").glob("*"))) if (folder / "pictures").exists() else 0
    return register.head.seq, len(register.summaries), tuple(details), site.pages, drawn


def _worked_out(register: Register, asked: Sequence[str]) -> list[str]:
    """The versions whose verdicts are worked out: all of a small registry, else those that channels speak of and that were asked for."""
    if len(register.summaries) <= LARGE:
        return list(register.summaries)
    named = {name for channel in register.channels for hold in channel.holds for name in (hold.version, hold.replaced)}
    named |= {channel.before for channel in register.channels} | set(asked)
    return [name for name in register.summaries if name in named]


def _details(ws: Workspace, site: Site, asked: Sequence[str], pictures: bool, on_progress: NamedProgress) -> dict[str, Detail]:
    """Version → what is worked out of it; their comparisons are written on the way."""
    register = site.register
    names = _worked_out(register, asked)
    drawn = {hold.version for channel in register.channels for hold in channel.holds} | set(asked)
    written: list[tuple[Comparison, str]] = []
    details = {}
    for number, name in enumerate(names):
        on_progress("versions worked out", number, len(names))
        version = register.version(name)
        parent = parent_of(register, version.parents)
        comparison = _compared(ws, site, parent, name, written) if parent else None
        forgot = tuple(forgetting(register.registry, version))
        details[name] = _detail(ws, site, version, parent, comparison, forgot, pictures and name in drawn)
    for channel in register.channels:
        run = channel.production
        if run and run.replaced in register.summaries and run.replaced not in (None, run.version):
            _compared(ws, site, str(run.replaced), run.version, written)
    on_progress("versions worked out", len(names), len(names))
    site.write(
        "comparisons/index.html", "comparisons.html", {"comparisons": [(each, file, list(parent_verdicts(each))) for each, file in written]}
    )
    return details


def _compared(ws: Workspace, site: Site, a: str, b: str, written: list[tuple[Comparison, str]]) -> Comparison | str:
    """The comparison of b with a, whose page is written; or in words why there is none."""
    try:
        if (a, b) in site.comparisons:
            return next(each for each, _ in written if (each.a.name, each.b.name) == (a, b))
        comparison = compare(ws, a, b)
    except VortexError as error:
        return f"{b} was not compared with {a}: {error.message}"
    path = f"comparisons/{site.file(b).removesuffix('.html')}-{site.file(a)}"
    site.write(path, "comparison.html", comparison_values(comparison))
    site.comparisons[a, b] = path
    written.append((comparison, path))
    return comparison


def _detail(
    ws: Workspace,
    site: Site,
    version: Version,
    parent: str | None,
    comparison: Comparison | str | None,
    forgot: tuple[Forgetting, ...],
    pictures: bool,
) -> Detail:
    register = site.register
    drawn = list(figures(ws, register.registry, version, site.folder)) if pictures else []
    missing = [each for each in drawn if isinstance(each, str)]
    if not pictures:
        missing = [f"Pictures are drawn of versions that hold a stage, and with: vortex report --version {version.name}"]
    elif not drawn:
        missing = ["No exam is recorded, so there are no frames to draw."]
    verdicts = tuple(parent_verdicts(comparison)) if isinstance(comparison, Comparison) else ()
    unjudged = comparison if isinstance(comparison, str) else f"{parent} and {version.name} were examined on nothing in common."
    return Detail(
        parent or "",
        _family(site, version.name),
        site.comparisons.get((parent or "", version.name), ""),
        verdicts,
        unjudged if parent else "It was made from no version that is registered here.",
        forgot,
        nothing_forgotten(version.parents),
        tuple(items(ws, register.registry, version)),
        tuple(worst_frames(register.registry, version)),
        tuple(each for each in drawn if isinstance(each, Figure)),
        tuple(missing),
        tuple(films(ws, version.name, site.folder)),
    )


def _first_page(ws: Workspace, site: Site, details: Mapping[str, Detail]) -> None:
    register = site.register
    cards = []
    for channel in register.channels:
        run = channel.production
        forgot = details[run.version].forgot if run else ()
        against = site.comparisons.get((str(run.replaced), run.version), "") if run else ""
        cards.append(channel_card(register, channel, forgot, against, _advice(ws, register, channel.domain)))
    rows = list(reversed(register.summaries.values()))[:NEWEST]
    values = {"cards": cards, "rows": rows, "count": len(register.summaries), "lineage": _whole_lineage(site)}
    site.write("index.html", "index.html", values)


def _advice(ws: Workspace, register: Register, domain: str) -> Recommendation | str:
    if len(register.summaries) > LARGE:
        return f"vortex recommend --domain {domain} says which version has the best figures"
    try:
        return recommend(ws, domain)
    except VortexError as error:
        return error.message


def _whole_lineage(site: Site) -> str:
    """Versions with their data, teachers and channels; of a large registry what runs and what it was made from, else all of it folded."""
    graph = site.register.graph
    channels = [node for node in graph.nodes if node.kind == "channel"]
    parts = (
        graph.part([node for node in graph.nodes if node.kind not in ("export", "code", "device", "robot", "recipe")]),
        graph.family(channels, UP, CARRYING),
    )
    return _drawn(site, next((part for part in parts if len(part.nodes) <= MOST_DRAWN), parts[0]), (), "", folded=True)


def _family(site: Site, name: str) -> str:
    """The drawing of what a version was made from and what came of it; where that is too much, of the first alone."""
    graph, node = site.register.graph, Node("version", name)
    parts = (graph.family([node], ("up", "down")), graph.family([node], UP))
    return _drawn(site, next((part for part in parts if len(part.nodes) <= MOST_DRAWN), parts[-1]), (node,), "../")


def _drawn(site: Site, graph: Graph, focus: tuple[Node, ...], root: str, *, folded: bool = False) -> str:
    """A drawing with links to the pages of versions; empty where there is nothing to draw, or too much and it may not be `folded`."""
    from markupsafe import Markup

    if (len(graph.nodes) > MOST_DRAWN and not folded) or not graph.links:
        return ""

    def address(node: Node) -> str | None:
        return f"{root}versions/{site.file(node.name)}" if node.kind == "version" and node.name in site.names else None

    def quarantined(node: Node) -> bool:
        if node.kind == "version":
            return node.name in site.register.barred
        return node.kind == "data" and any(each.holds_data(node.name, node.detail) for each in site.register.quarantines)

    return Markup(lineage_svg(graph, focus, href=address, quarantined=[node for node in graph.nodes if quarantined(node)]))


def _version_pages(site: Site, details: Mapping[str, Detail], on_progress: NamedProgress) -> None:
    register, total = site.register, len(site.register.summaries)
    for number, version in enumerate(register.versions()):
        if number % 100 == 0:
            on_progress("pages of versions", number, total)
        page: VersionPage = version_page(register, version, details.get(version.name), site.when(version.created_at))
        site.write(f"versions/{site.file(version.name)}", "version.html", {"page": page})
    for name, declared in register.declared.items():
        if name not in register.summaries:
            site.write(f"versions/{site.file(name)}", "declared.html", {"page": declared_page(register, declared)})
    on_progress("pages of versions", total, total)


def _listing(site: Site) -> None:
    declared = [each for name, each in site.register.declared.items() if name not in site.register.summaries]
    rows = list(reversed(site.register.summaries.values()))
    count = max(1, -(-len(rows) // VERSIONS_A_PAGE))
    files = ["index.html", *(f"page-{number}.html" for number in range(2, count + 1))]
    for number, file in enumerate(files, 1):
        part = rows[(number - 1) * VERSIONS_A_PAGE : number * VERSIONS_A_PAGE]
        label = [f"{(at - 1) * VERSIONS_A_PAGE + 1}–{min(at * VERSIONS_A_PAGE, len(rows))}" for at in range(1, count + 1)]
        values = {
            "rows": part,
            "number": number,
            "pages": pager(list(zip(label, files, strict=True)), number - 1),
            "declared": declared if number == 1 else [],
        }
        site.write(f"versions/{file}", "versions.html", values)


def _history(site: Site) -> None:
    """Pages of so many events each, counted from the first event, so that an event stays on its page; the newest page is the index."""
    lines = site.register.lines
    count = max(1, -(-len(lines) // EVENTS_A_PAGE))
    numbers = list(range(count, 0, -1))
    label = [f"{(number - 1) * EVENTS_A_PAGE + 1}–{min(number * EVENTS_A_PAGE, len(lines))}" for number in numbers]
    links = list(zip(label, (_history_file(number, count) for number in numbers), strict=True))
    for at, number in enumerate(numbers):
        part = list(reversed(lines[(number - 1) * EVENTS_A_PAGE : number * EVENTS_A_PAGE]))
        site.write(f"history/{links[at][1]}", "history.html", {"events": part, "number": at + 1, "pages": pager(links, at)})


def _history_file(number: int, count: int) -> str:
    return "index.html" if number == count else f"{number}.html"


def pager(links: Sequence[tuple[str, str]], at: int) -> list[tuple[str, str]]:
    """The links to some of many pages: the first, the last, and those around the present one, whose address is empty."""
    near = [place for place in range(len(links)) if place in (0, len(links) - 1) or abs(place - at) <= NEIGHBOURS]
    return [(links[place][0], "" if place == at else links[place][1]) for place in near]


@dataclass(frozen=True)
class GateRule:
    """A rule of a stage: the check's name, what it asks, and the numbers that are not said in that."""

    check: str
    question: str
    numbers: str


def _gates(site: Site) -> None:
    policies = load_policies()
    stages = [(stage, list(_rules(policies.promotion.stage(stage)))) for stage in STAGES]
    site.write("gates.html", "gates.html", {"stages": stages, "digest": policies.digest})


def _rules(rules: Iterable[Any]) -> Iterator[GateRule]:
    """Each rule by its own docstring, with its numbers where that names them, and beside it where it does not."""
    for rule in rules:
        numbers = {name: _number(value) for name, value in rule.model_dump(exclude={"check"}).items()}
        question = " ".join((inspect.getdoc(type(rule)) or "").split())
        beside = [f"{name} {number}" for name, number in numbers.items() if f"`{name}`" not in question]
        for name, number in numbers.items():
            question = question.replace(f"`{name}`", number)
        yield GateRule(rule.check, question.replace("`", ""), ", ".join(beside))


def _number(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_number(item)}" for key, item in value.items())
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Barrier:
    """Something in quarantine, with the versions that it bars and those of them that run all the same, each with its channel."""

    quarantine: Quarantine
    barred: tuple[str, ...]
    running: tuple[tuple[str, str], ...]


def _quarantine(site: Site) -> None:
    register = site.register
    running = [(channel.production.version, channel.name) for channel in register.channels if channel.production]
    barriers = []
    for quarantine in register.quarantines:
        barred = [name for name, bars in register.barred.items() if any(bar.quarantine == quarantine for bar in bars)]
        barriers.append(Barrier(quarantine, tuple(barred[:MOST_NAMED]), tuple(each for each in running if each[0] in barred)))
    site.write("quarantine.html", "quarantine.html", {"barriers": barriers, "count": len(register.barred), "most": MOST_NAMED})


@dataclass(frozen=True)
class Front:
    """A Pareto front and its drawing."""

    pareto: Pareto
    svg: str


def _pareto(ws: Workspace, site: Site) -> None:
    large = len(site.register.summaries) > LARGE
    fronts = [] if large else list(_fronts(ws, site))
    site.write("pareto.html", "pareto.html", {"fronts": fronts, "large": large, "most": LARGE})


def _fronts(ws: Workspace, site: Site) -> Iterator[Front]:
    """Over each two of the exams that most versions have sat; over one exam and the size of the network where there is no second."""
    from markupsafe import Markup

    places = sorted(shared_series(list(site.register.versions())), key=lambda shared: -len(shared.metrics))
    names = [f"{shared.name}.rmse" for shared in places]
    pairs = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :]] or [(name, "params") for name in names]
    for axes in pairs[:MOST_FRONTS]:
        try:
            front = pareto(ws, axes)
        except VortexError:  # no version has both
            continue
        yield Front(front, Markup(pareto_svg(front, lambda name: f"versions/{site.file(name)}")))
