"""The figures of docs/developers.md: no circles, names that say what a thing is, ways that a person can follow, folders that are all on the map."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import structure

MAP = structure.ROOT / "docs" / "developers.md"


@pytest.fixture(scope="module")
def files() -> list[structure.Source]:
    return structure.sources()


def test_no_files_import_each_other_in_a_circle(files: list[structure.Source]) -> None:
    assert structure.circles(files) == []


def test_a_circle_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure, "ROOT", tmp_path)
    (tmp_path / "a.py").write_text("def late():\n    import b\n")
    (tmp_path / "b.py").write_text("from c import name\n")
    (tmp_path / "c.py").write_text("import a\n")
    (tmp_path / "d.py").write_text("import a\n")
    assert structure.circles([structure.Source(tmp_path / f"{name}.py") for name in "abcd"]) == [["a", "b", "c"]]


def test_modules_import_each_other_at_their_top(files: list[structure.Source]) -> None:
    late = structure.late_imports(files)
    row = next(line for line in MAP.read_text().splitlines() if line.startswith("| imports of own modules inside functions"))
    assert len(late) <= int(row.split("|")[3]), (
        f"an import inside a function spares a caller a heavy library, or belongs to the top: {late}"
    )


def test_a_variable_is_called_what_it_is(files: list[structure.Source]) -> None:
    vague, bindings = structure.vague_names(files)
    assert bindings > 10_000
    assert vague.total() <= 0.01 * bindings, vague


@pytest.mark.parametrize("way", structure.WAYS)
def test_a_way_leads_from_file_to_file(way: str) -> None:
    for path, name in structure.WAYS[way]:
        assert name in structure.Source(structure.ROOT / path).bindings(), f"{path} has no {name}"


def test_the_ways_are_as_short_as_the_map_says() -> None:
    text = MAP.read_text()
    for label, way in (
        ("files from the command to the optimizer's step", "command to optimizer step"),
        ("the same with batch, loss and optimizer", "the same with batch, loss and optimizer"),
        ("files of a promotion", "one promotion"),
    ):
        row = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
        assert int(row.split("|")[3]) == len({path for path, _ in structure.WAYS[way]})


def test_every_folder_is_on_the_map_and_the_map_is_short() -> None:
    lines = MAP.read_text().splitlines()
    assert len(lines) <= 100
    places = "\n".join(line.split("|")[1] for line in lines if line.startswith("| `"))
    packages = {
        source.path.parent.relative_to(structure.ROOT) for source in structure.sources() if source.path.parent.parent.name == "pipelines"
    }
    files = {path.name for path in (structure.ROOT / "pipelines").glob("*.py") if path.name != "__init__.py"}
    for place in sorted({*map(str, packages), *files}):
        assert place in places, f"{place} is not on the map"
