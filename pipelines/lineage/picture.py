"""A lineage as a picture: SVG with our own layout, and Mermaid for pages that draw it themselves. The same graph gives the same text."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping
from html import escape
from typing import Final

from core.printable import clean
from pipelines.lineage.folding import WORDS, Box, fold
from pipelines.lineage.layout import Layout, natural, place
from registry.graph import Graph, Link, LinkKind, Node

REST: Final = "vortex lineage NAME shows a part, and --format json has all"
"""Where the rest of a folded picture is."""
LONGEST: Final = 34
"""Columns of a box's text; the whole text is its tooltip."""
LETTER, SMALL, LINE, ROW, GAP, EDGE = 8.3, 6.2, 15, 54, 58, 16
"""Pixels: a letter's width, a small one's, a line's and a row's height, between two columns, and around everything."""
HUES: Final[Mapping[LinkKind, int]] = {
    "frame": 200, "data": 190, "teacher": 45, "recipe": 220, "weights": 310, "code": 260, "export": 25, "channel": 140, "device": 160, "robot": 175,
}  # fmt: skip
"""Of a kind's colour; every colour is said in words too."""
NODE_HUES: Final[Mapping[str, int]] = dict(HUES.items()) | {"version": 310}
STYLE: Final = """
svg.lineage{--lineage-ink:currentColor;font:12px system-ui,sans-serif;max-width:none}
svg.lineage text{fill:var(--lineage-ink)}
svg.lineage .small{font-size:10.5px;opacity:.82}
svg.lineage .name{font-weight:600}
svg.lineage a:focus rect,svg.lineage a:hover rect{stroke-width:2.5}
"""
ALONE: Final = """
svg.lineage{color-scheme:light dark;color:#1a1a1a;background:#fff}
@media (prefers-color-scheme:dark){svg.lineage{color:#e8e8e8;background:#16181c}}
"""
"""For a picture in a file of its own."""

Label = Callable[[Node], str]


def kind_words(node: Node, graph: Graph) -> str:
    """What a node is, in words."""
    return "declared, not registered" if graph.declared(node) else WORDS.get(node.kind, node.kind)


def lineage_svg(
    graph: Graph,
    focus: Collection[Node] = (),
    *,
    label: Label | None = None,
    quarantined: Collection[Node] = (),
    href: Callable[[Node], str | None] | None = None,
    alone: bool = False,
) -> str:
    """The picture of a graph as SVG, to be put into a page; `alone`, as a file of its own.

    It takes its ink from the page (`currentColor`), so that it is light or dark as that is. `focus` is drawn with a thicker frame,
    `label` gives a node a second line, `href` a link. Of more than 300 nodes, those that are far from the focus are folded into boxes
    with a count, and the last line says so.
    """
    folded = fold(graph, focus, quarantined)
    graph = folded.graph
    layout = place(graph)
    columns = layout.size[0]
    texts = {node: _texts(node, graph, label, node in quarantined, folded.boxes.get(node)) for node in graph.nodes}
    widths = [0.0] * columns
    for node, lines in texts.items():
        widths[layout.columns[node]] = max(widths[layout.columns[node]], LETTER * max(_width(_short(line)) for line in lines) + 20)
    lefts = [EDGE + sum(widths[:column]) + GAP * column for column in range(columns)]
    bottom = EDGE + ROW * layout.size[1] + 22
    legend = _legend(graph, bottom)
    remark = f"{folded.words}: {REST}" if folded.words else ""
    note = f'<text class="small" x="{EDGE}" y="{bottom + ROW / 2:.1f}">{escape(remark)}</text>' if remark else ""
    width = max(EDGE * 2 + sum(widths) + GAP * max(columns - 1, 0), legend[1] + EDGE, 2 * EDGE + SMALL * _width(remark))
    height = EDGE + bottom + (ROW / 2 if remark else 0)
    links = [_drawn_link(pair, kinds, layout, lefts, widths) for pair, kinds in _pairs(graph).items()]
    boxes = [
        _drawn_node(
            node,
            texts[node],
            lefts[layout.columns[node]],
            widths[layout.columns[node]],
            layout,
            node in focus,
            node in quarantined,
            None if node in folded.boxes else href,
            folded=node in folded.boxes,
        )
        for node in sorted(graph.nodes, key=lambda node: (layout.columns[node], layout.rows[node]))
    ]
    about = ", ".join(clean(str(node)) for node in focus) or "all versions"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lineage" role="group" aria-label="Lineage of {escape(about)}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">'
    )
    return "\n".join(
        [head, f"<style>{STYLE}{ALONE if alone else ''}</style>", *links, *boxes, legend[0], *([note] if note else []), "</svg>", ""]
    )


def mermaid(graph: Graph, focus: Collection[Node] = (), *, label: Label | None = None, quarantined: Collection[Node] = ()) -> str:
    """The graph as a Mermaid flowchart; of more than 300 nodes, those that are far from the focus are folded, which a node of its own says."""
    folded = fold(graph, focus, quarantined)
    graph = folded.graph
    nodes = sorted(graph.nodes, key=lambda node: (node.kind, natural(node.name), node.detail))
    names = {node: f"n{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart LR"]
    for node in nodes:
        box = folded.boxes.get(node)
        text = "<br/>".join(_mermaid_text(line) for line in _texts(node, graph, label, node in quarantined, box))
        lines.append(f'  {names[node]}[["{text}"]]' if box else f'  {names[node]}["{text}"]')
    if folded.words:
        lines.append(f'  folded["{_mermaid_text(f"{folded.words}: {REST}")}"]')
    for (source, target), links in _pairs(graph).items():
        arrow = "-.->" if all(link.until for link in links) else "-->"
        lines.append(f'  {names[source]} {arrow}|"{_mermaid_text(_kinds(links))}"| {names[target]}')
    lines += [f"  style {names[node]} stroke-width:3px" for node in nodes if node in focus]
    lines += [f"  style {names[node]} stroke:#d00,stroke-dasharray:4" for node in nodes if node in quarantined]
    return "\n".join(lines) + "\n"


def _texts(node: Node, graph: Graph, label: Label | None, quarantined: bool, box: Box | None) -> list[str]:
    """The two lines of a node: its name, and what it is with what there is to say; of a box, how many are in it and which."""
    if box:
        return [clean(node.name), clean(box.words)]
    more = label(node) if label else ""
    parts = ["quarantined" if quarantined else "", more or kind_words(node, graph)]
    return [clean(str(node)), clean(" · ".join(part for part in parts if part))]


def _pairs(graph: Graph) -> dict[tuple[Node, Node], list[Link]]:
    """All links between two nodes as one, in a settled order."""
    pairs: dict[tuple[Node, Node], list[Link]] = {}
    for link in sorted(graph.links, key=lambda link: (link.source, link.target, link.kind, link.since)):
        pairs.setdefault((link.source, link.target), []).append(link)
    return pairs


def _kinds(links: Collection[Link]) -> str:
    """The kinds of some links in words, a channel's with its stages."""
    return ", ".join(dict.fromkeys(link.note if link.kind == "channel" else link.kind for link in links))


def _drawn_link(pair: tuple[Node, Node], links: list[Link], layout: Layout, lefts: list[float], widths: list[float]) -> str:
    source, target = pair
    points = [(layout.columns[source], layout.rows[source]), *layout.bends.get(pair, []), (layout.columns[target], layout.rows[target])]
    start = (lefts[points[0][0]] + widths[points[0][0]], _middle(points[0][1]))
    path = [f"M{start[0]:.1f} {start[1]:.1f}"]
    at = start
    for number, (column, row) in enumerate(points[1:], 2):
        x, y = lefts[column], _middle(row)
        bow = max(GAP / 2, (x - at[0]) / 2) if x > at[0] else GAP
        path.append(f"C{at[0] + bow:.1f} {at[1]:.1f} {x - bow:.1f} {y:.1f} {x:.1f} {y:.1f}")
        at = (x, y)
        if number < len(points):  # straight through the column
            at = (x + widths[column], y)
            path.append(f"L{at[0]:.1f} {y:.1f}")
    kind = links[0].kind
    ended = all(link.until for link in links)
    dashes = ' stroke-dasharray="2 4"' if ended else ' stroke-dasharray="7 4"' if kind == "recipe" else ""
    heavy = "2.2" if kind == "weights" else "1.4"
    words = f"{source} → {target}: {_kinds(links)}{', ended' if ended else ''}"
    tip = f"M{at[0] - 6:.1f} {at[1] - 3.5:.1f}L{at[0]:.1f} {at[1]:.1f}L{at[0] - 6:.1f} {at[1] + 3.5:.1f}"
    return (
        f'<g fill="none" stroke="hsl({HUES[kind]} 65% 54%)" stroke-width="{heavy}"><title>{escape(clean(words))}</title>'
        f'<path d="{"".join(path)}"{dashes}/><path d="{tip}"/></g>'
    )


def _drawn_node(
    node: Node,
    lines: list[str],
    left: float,
    width: float,
    layout: Layout,
    focused: bool,
    quarantined: bool,
    href: Callable[[Node], str | None] | None,
    *,
    folded: bool,
) -> str:
    y = _middle(layout.rows[node])
    hue = 0 if quarantined else NODE_HUES[node.kind]
    frame = 'stroke-width="3"' if focused else 'stroke-dasharray="5 3"' if quarantined else ""
    corner = 16 if node.kind == "version" else 4
    behind = f'<path d="M{left + corner:.1f} {y - 22:.1f}h{width - 2 * corner:.1f}" stroke="hsl({hue} 65% 54%)"/>' if folded else ""
    box = (
        f"<title>{escape(': '.join(lines))}</title>{behind}"
        f'<rect x="{left:.1f}" y="{y - 19:.1f}" width="{width:.1f}" height="38" rx="{corner}" fill="hsl({hue} 70% 50% / .13)" '
        f'stroke="hsl({hue} 65% 54%)" {frame}/>'
        f'<text class="name" x="{left + 10:.1f}" y="{y - 3:.1f}">{escape(_short(lines[0]))}</text>'
        f'<text class="small" x="{left + 10:.1f}" y="{y + LINE - 3:.1f}">{escape(_short(lines[1]))}</text>'
    )
    link = href(node) if href else None
    return f'<a href="{escape(link)}">{box}</a>' if link else f"<g>{box}</g>"


def _legend(graph: Graph, y: float) -> tuple[str, float]:
    """A line of each kind that is there, with its name, and where that ends."""
    left = float(EDGE)
    parts = []
    for kind in dict.fromkeys(link.kind for link in sorted(graph.links, key=lambda link: list(HUES).index(link.kind))):
        dashes = ' stroke-dasharray="7 4"' if kind == "recipe" else ""
        parts.append(
            f'<path d="M{left:.1f} {y - 4:.1f}h22" stroke="hsl({HUES[kind]} 65% 54%)" stroke-width="2"{dashes}/>'
            f'<text class="small" x="{left + 28:.1f}" y="{y:.1f}">{kind}</text>'
        )
        left += 44 + LETTER * len(kind)
    return "<g>" + "".join(parts) + "</g>", left


def _middle(row: float) -> float:
    return EDGE + ROW * row + ROW / 2


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _width(text: str) -> int:
    """Columns of a text: a letter of eastern Asia takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _mermaid_text(text: str) -> str:
    """A text that Mermaid takes for nothing else: every character that could command it by its number."""
    return "".join(letter if letter.isalnum() or letter in " _·→.@:/-," else f"#{ord(letter)};" for letter in text)
