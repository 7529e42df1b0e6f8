"""The report in a real browser: every link leads somewhere, nothing complains, and it can be read on a phone and in the dark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from tests.browser import Browser, chromium

PAGES = ("index.html", "versions/index.html", "versions/v9.html", "comparisons/index.html", "comparisons/v9-v6.html", "pareto.html",
         "gates.html", "quarantine.html", "history/index.html")  # fmt: skip

FAINT_TEXT = """(() => {
  const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1]; };
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const light = colour => { const [r, g, b] = colour.map(v => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const faults = [];
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    if (element.closest('title, style') || !element.getClientRects().length) continue;
    let ground = [255, 255, 255, 1], faded = 1;
    const above = []; for (let e = element; e; e = e.parentElement) above.unshift(e);
    for (const e of above) { const style = getComputedStyle(e); ground = over(rgba(style.backgroundColor), ground); faded *= Number(style.opacity); }
    const style = getComputedStyle(element), ink = rgba(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(over([ink[0], ink[1], ink[2], ink[3] * faded], ground)), light(ground)];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) faults.push(`${ratio.toFixed(2)} ${element.tagName} ${element.className} ${element.textContent.slice(0, 40)}`);
  }
  return faults; })()"""
NAMELESS = """[...document.querySelectorAll('a, button, summary, img, [role=img], [role=group], [tabindex]')].filter(e =>
  !(e.textContent.trim() || e.getAttribute('aria-label') || e.getAttribute('alt'))).map(e => e.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def test_every_link_leads_to_a_file_and_a_place_in_it(lineage_template: Path) -> None:
    site = lineage_template / "build" / "report"
    for page in site.rglob("*.html"):
        for address in re.findall(r'(?:href|src)="([^"]*)"', page.read_text()):
            if address == "data:,":
                continue
            path, place = urldefrag(address)
            target = (page.parent / path).resolve()
            assert target.is_file() and target.is_relative_to(site), f"{page}: {address}"
            assert not place or f'id="{place}"' in target.read_text(), f"{page}: {address}"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_whole_and_readable_everywhere(browser: Browser, lineage_template: Path, page: str) -> None:
    url = (lineage_template / "build" / "report" / page).as_uri()
    for width, dark in ((1280, False), (1280, True), (390, False)):
        browser.open(url, width=width, dark=dark)
        assert browser.value("document.documentElement.scrollWidth") <= width
        assert browser.value("getComputedStyle(document.body).backgroundColor") == ("rgb(20, 23, 26)" if dark else "rgb(255, 255, 255)")
        assert browser.value(FAINT_TEXT) == []
    assert browser.value(NAMELESS) == []
    assert browser.value("document.querySelectorAll('h1').length") == 1 and browser.value("document.title")
    assert browser.complaints == []
