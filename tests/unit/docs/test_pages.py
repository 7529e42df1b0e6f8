"""What holds for every page of Markdown: generated pages are fresh, links and paths lead somewhere, lines can be read."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pipelines.workspace import WorkspaceConfig
from vortex_cli.app import app

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "generated.py"))
MADE_BY_USE = (".venv/", "build/", "data/", "mlruns/", "remote/", "references/", ".dvc/cache", "models/teachers/da3_process/.venv")
"""Paths of a workspace that appear when it is used: no file of the repository has to have them."""
WIDEST = 200


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def links(page: Path) -> Iterator[str]:
    """Targets of a page's links and pictures, but those that lead out of the repository."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return (target for target in re.findall(r"\]\(([^()\s]+)\)", text) if "://" not in target)


def anchors(page: Path) -> set[str]:
    return {GENERATED["anchor"](heading) for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)}


def paths(page: Path) -> Iterator[str]:
    """What a page names in backticks that is a path of the repository: it begins with one of its folders, or is a file of Python or YAML in a folder."""
    folders = {f"{entry.name}/" for entry in ROOT.iterdir() if entry.is_dir()}
    for words in re.findall(r"`([^`\n]+)`", prose(page)):
        is_path = re.fullmatch(r"[\w.{},*/-]+", words) and "/" in words and not words.startswith(MADE_BY_USE)
        if is_path and (words[: words.index("/") + 1] in folders or words.endswith((".py", ".yaml", ".yml"))):
            yield words


@pytest.mark.parametrize("page", GENERATED["pages"]().items(), ids=lambda page: page[0].name)
def test_a_generated_page_is_what_would_be_written_now(page: tuple[Path, str]) -> None:
    path, text = page
    assert path.read_text(encoding="utf-8") == text, f"{name(path)} is not what its sources say: run `make docs`, and commit it"


def commands(group: Any, prefix: str = "vortex") -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {word}")
        else:
            yield f"{prefix} {word}", command


def test_the_reference_has_every_option_of_every_command_below_its_heading() -> None:
    common, *sections = re.split(r"^### ", GENERATED["commands_page"](), flags=re.MULTILINE)
    below = {heading.strip("`"): text for heading, _, text in (section.partition("\n") for section in sections)}
    reference = dict(commands(typer.main.get_command(app)))
    assert below.keys() == reference.keys()
    for path, command in reference.items():
        for parameter in command.params:
            option = parameter.opts[-1] if parameter.param_type_name == "option" else parameter.metavar
            assert re.search(rf"{re.escape(option)}(?![\w-])", below[path] + common), f"{path}: {option} is not in the reference"
            assert parameter.help, f"{path}: {option} has no help"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        target, _, fragment = link.partition("#")
        aim = (page.parent / target).resolve() if target else page
        assert aim.exists(), f"{name(page)} links to {link}: no such file"
        assert not fragment or fragment in anchors(aim), f"{name(page)} links to {link}: no such heading; there are {sorted(anchors(aim))}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_of_the_repository_that_a_page_names_exists(page: Path) -> None:
    missing = [path for path in paths(page) if not any(ROOT.glob(path.rstrip("/")))]
    assert not missing, f"{name(page)} names what is not in the repository: {missing}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_module_and_target_that_a_page_tells_to_run_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][\w%-]*(?: [a-z][\w%-]*)*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = {target for line in targets for target in line.split()} | {
        f"bench-{path.stem}" for path in (ROOT / "benchmarks").glob("[a-z]*.py")
    }
    for module in re.findall(r"python -m (benchmarks[\w.]*)", text):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), f"{name(page)}: no module {module}"
    for target in re.findall(r"`make ([a-z][\w-]*)`", text):
        assert target in known, f"{name(page)}: `make {target}` is no target of the Makefile"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_line_is_wider_than_a_window(page: Path) -> None:
    wide = [number for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1) if len(line) > WIDEST]
    assert not wide, f"{name(page)}: lines {wide} have more than {WIDEST} characters"


def test_every_page_that_the_code_names_exists() -> None:
    sources = [path for folder in ("core", "vortex_cli", "pipelines", "models", "registry", "validation", "jetson", "benchmarks")
               for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".yaml") and ".venv" not in path.parts]  # fmt: skip
    assert sources
    for source in [*sources, ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / "dvc.yaml"]:
        for page in re.findall(r"docs/[\w./-]+\.(?:md|json|png)", source.read_text(encoding="utf-8")):
            assert (ROOT / page).is_file(), f"{name(source)} names {page}: no such file"


def test_every_decision_has_its_date_and_says_something() -> None:
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        if page.name == "README.md":
            continue
        title, *sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert title.startswith("# ") and sections, f"{name(page)} has no title or no decision"
        for section in sections:
            heading, _, body = section.partition("\n")
            assert re.match(r"20\d\d-\d\d-\d\d: (Negative: )?\S", heading), f"{name(page)}: {heading!r} does not begin with its date"
            assert body.strip(), f"{name(page)}: {heading!r} says nothing more"
        dates = [section[:10] for section in sections]
        assert dates == sorted(dates), f"{name(page)}: the newest decision stands last"


@pytest.mark.parametrize(
    ("heading", "fragment"),
    [
        ("Several machines", "several-machines"),
        ("`vortex data add`", "vortex-data-add"),
        ("2026-11-20: A JPEG's bits, 1 %", "2026-11-20-a-jpegs-bits-1-"),
    ],
)
def test_an_anchor_is_what_github_makes_of_a_heading(heading: str, fragment: str) -> None:
    assert GENERATED["anchor"](heading) == fragment


def test_the_page_of_data_states_unit_splits_and_registration_of_every_format() -> None:
    from pipelines.ingest import ADAPTERS

    page = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    rows = {row[0].strip("` "): row[1:] for line in page.splitlines() if len(row := re.split(r"(?<!\\)\|", line)[1:-1]) == 6}
    assert [cell.strip() for cell in rows["--format"]] == ["layout", "unit of depth", "no depth", "splits", "depth on colour"]
    for format_, adapter in ADAPTERS.items():
        cells = [cell.strip() for cell in rows[format_]]
        assert all(cells) and cells[-1].startswith("registered" if adapter.registered else "**not registered**"), format_


def test_the_page_of_data_lists_every_format() -> None:
    from pipelines.ingest import ADAPTERS

    table = (ROOT / "docs" / "data.md").read_text(encoding="utf-8").partition("| `--format` |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)) == sorted(ADAPTERS)


def test_every_setting_of_a_workspace_is_in_the_table_of_vortex_toml() -> None:
    rows = [line for line in (ROOT / "docs" / "start.md").read_text().splitlines() if line.startswith("| `")]
    keys = {key.strip("[]").partition(".")[0] for row in rows for key in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert keys == set(WorkspaceConfig.model_fields)
