"""`vortex data …`: frames in, datasets out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vortex_cli import console
from vortex_cli.completion import complete_datasets
from vortex_cli.options import parse_size
from vortex_cli.parameters import DatasetName

if TYPE_CHECKING:
    from rich.table import Table

    from pipelines.data.catalogue import CatalogueChange
    from pipelines.data.datasets import Dataset
    from pipelines.workspace import Workspace


_COLUMNS: Final[tuple[console.Column, ...]] = (
    "name",
    "domain",
    "kind",
    ("train", "right"),
    ("gap", "right"),
    ("val", "right"),
    ("test", "right"),
    "cameras",
    "labels",
    "format",
)


WIDE: Final = 100
"""Columns of a terminal from which on every column of `vortex data list` has room."""


class Teacher(StrEnum):
    """Teachers that a synthetic world can play: one that speaks metres, one with the unbounded inverse depth that V1 fell for, none."""

    metric = "metric"
    relative = "relative"
    none = "none"


def complete_formats(incomplete: str) -> list[str]:
    """Native formats that start with `incomplete`."""
    from pipelines.ingest import ADAPTERS

    return [name for name in ADAPTERS if name.startswith(incomplete)]


def complete_worlds(incomplete: str) -> list[str]:
    """Worlds that start with `incomplete`."""
    from pipelines.synthetic.worlds import WORLDS

    return [name for name in WORLDS if name.startswith(incomplete)]


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new dataset's name.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder that holds the frames; it is only read.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="Native format, by its name in docs/data.md; default: detected.",
            autocompletion=complete_formats,
        ),
    ] = None,
    domain: Annotated[str | None, typer.Option(help="The place the frames show; a new one is written into vortex.toml.")] = None,
    kind: Annotated[str | None, typer.Option(help="Bounds in validation/policies.yaml to judge by; default: the domain's.")] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="Unit of the depth files: mm, m, or m/N (m/5000); plain folders need it.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="T,G,V", help="Percent of each stream for training, gap, validation; default: official splits, or 72,8,20."),
    ] = None,
    camera: Annotated[
        str | None, typer.Option(help="Name of the camera; every metric carries it; default: the format's sensor, or unnamed.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, metavar="N", help="Take each N-th frame of a stream.")] = 1,
    pairs_only: Annotated[bool, typer.Option("--pairs-only", help="Leave frames out that lack colour or depth.")] = False,
    filled: Annotated[bool, typer.Option("--filled-depth", help="Take in-painted depth, where a set has it beside the measured.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Copies at a time, and processes that decode; the frames are the same.")] = 2,
) -> None:
    """Take a folder of RGB-D frames into data/, checked and versioned with DVC.

    Files are copied as they are; what a format encodes in its own way becomes PNG. Official splits hold. A stream without any is
    split in its own order: first the training frames, then a gap, last the validation frames.

    Example: vortex data add kitchen ~/frames/kitchen --format 7scenes --domain kitchen
    """
    from pipelines.ingest.add import add_dataset, parse_split, parse_unit

    with console.progress() as display:
        task = display.add_task("checking", total=None)
        added = add_dataset(
            console.workspace(),
            name,
            path,
            format=format_,
            domain=domain,
            kind=kind,
            unit=parse_unit(unit) if unit else None,
            split=parse_split(split) if split else None,
            camera=camera,
            pairs_only=pairs_only,
            filled=filled,
            every=every,
            workers=workers,
            on_frame=lambda what, count, total: display.update(task, description=what, completed=count, total=total),
        )
    for remark in added.notes:
        console.note(remark)
    _emit(added.dataset, added.notes)


def synth(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new dataset's name.")],
    world: Annotated[
        str, typer.Option(metavar="WORLD", help="Which world to render, by its name in docs/data.md.", autocompletion=complete_worlds)
    ] = "rooms",
    frames: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many frames.")] = 200,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same frames.")] = 0,
    size: Annotated[str, typer.Option(metavar="HxW", help="Size of the pictures.")] = "240x320",
    domain: Annotated[str | None, typer.Option(help="Domain of the frames; default: the world's name.")] = None,
    teacher: Annotated[Teacher, typer.Option(help="The teacher whose depth goes with the frames.")] = Teacher.metric,
    labelled: Annotated[
        float, typer.Option(metavar="SHARE", help="Share of the training frames, 0 to 1, that keep their class mask.")
    ] = 1.0,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that render; the frames are the same.")] = 2,
) -> None:
    """Render a synthetic indoor world: exact metric depth, six classes, and a ToF sensor that fails as real ones do.

    Example: vortex data synth practice --world corridor --frames 120 --seed 7
    """
    from pipelines.synthetic.dataset import synthesise

    with console.progress() as display:
        task = display.add_task(f"rendering {world}", total=frames)
        dataset = synthesise(
            console.workspace(),
            name,
            world=world,
            frames=frames,
            seed=seed,
            size=parse_size(size, least=16, example="240x320"),
            domain=domain,
            teacher=None if teacher is Teacher.none else teacher.value,
            labelled=labelled,
            workers=workers,
            on_frame=lambda count, total: display.update(task, completed=count, total=total),
        )
    _emit(dataset, [])


def list_() -> None:
    """List the datasets of this workspace.

    Example: vortex data list
    """
    from pipelines.data import datasets
    from pipelines.data.pointer import FETCH, data_hash, unfetched

    ws = console.workspace()
    listed, hash_ = datasets.listing(ws), data_hash(ws)
    payload = {"data": hash_, "datasets": [dataset.card for dataset in listed]}
    if listed:
        console.emit(payload, _table(listed), f"data.dvc: {hash_ or 'not versioned yet'}")
    elif unfetched(ws):
        console.emit(payload, f"data.dvc records frames that are not here; {FETCH}")
    else:
        console.emit(payload, "no datasets yet: vortex data add NAME PATH, or vortex data synth NAME")


def show(
    name: DatasetName,
    frames: Annotated[int, typer.Option(min=1, max=64, help="Frames on the contact sheet.")] = 8,
    frame: Annotated[
        str | None, typer.Option("--frame", metavar="ID", help="All that is known of this frame alone, and its picture.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="PNG", help="Where to write it; default: build/sheets/NAME.png.")
    ] = None,
) -> None:
    """Show what a dataset holds, and write a contact sheet: colour, depth in turbo, classes.

    Of one frame: its row, its files with their hashes, what the data gate measures of it, and which versions were trained on it.

    Example: vortex data show rooms --frames 6
    """
    from pipelines.data import datasets
    from pipelines.data.versioning import unversioned_changes
    from pipelines.report.contact_sheet import contact_sheet

    ws = console.workspace()
    dataset = datasets.find(ws, name)
    if frame is not None:
        _show_frame(ws, dataset, frame, output)
        return
    sheet = _place_of_sheet(ws, output, name)
    if sheet is not None:
        with console.progress() as display:
            task = display.add_task("drawing", total=frames)
            contact_sheet(dataset, sheet, frames=frames, on_frame=lambda count, total: display.update(task, completed=count, total=total))
    changed = unversioned_changes(ws)
    if changed:
        console.note(_changed(ws))
    card = dataset.card.model_dump()
    fields = {**{key: value for key, value in card.items() if key not in ("name", "settings")}, **card["settings"]}
    facts = [(key.replace("_", " "), _text(value)) for key, value in fields.items() if value not in ("", [], {}, None)]
    payload = {**card, "sheet": sheet, "unversioned_changes": changed}
    console.emit(payload, console.table(("dataset", name), [*facts, ("contact sheet", sheet or "–")]))


def remove(name: DatasetName) -> None:
    """Take a dataset out of data/, and record data/ without it. DVC's cache keeps its frames, and checkout brings them back.

    Refuses while data/ has changes that no version holds, while a run at work uses the dataset, and where an exam names it.

    Example: vortex data remove practice
    """
    from pipelines.data import catalogue

    with console.progress() as display:
        task = display.add_task("removing", total=None)
        change = catalogue.remove(console.workspace(), name, lambda done, total: display.update(task, completed=done, total=total))
    console.emit(change, f"{name} is out of data/ ({change.files} files); it comes back with: vortex data checkout {change.before[:12]}")
    _note_users(change)


def rename(
    name: Annotated[str, typer.Argument(metavar="OLD", help="A dataset of `vortex data list`.", autocompletion=complete_datasets)],
    new_name: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
) -> None:
    """Give a dataset another name. Its frames and its digest stay, so what was judged and measured of it holds; exams follow.

    Refuses while data/ has changes that no version holds, and while a run at work uses the dataset.

    Example: vortex data rename practice corridor-practice
    """
    from pipelines.data import catalogue

    with console.progress() as display:
        task = display.add_task("renaming", total=None)
        change = catalogue.rename(
            console.workspace(), name, new_name, lambda done, total: display.update(task, completed=done, total=total)
        )
    console.emit(change, f"{name} is called {new_name} now ({change.files} files); data.dvc: {change.data}")
    _note_users(change)


def _note_users(change: CatalogueChange) -> None:
    """Who had to do with the dataset: versions keep its old name, runs that were begun with it cannot go on."""
    if change.versions:
        console.note(f"trained on it: {', '.join(change.versions)}; their history calls it as it was called then")
    if change.runs:
        console.note(f"begun with it, and not to be resumed without it: {', '.join(change.runs)}")


def _place_of_sheet(ws: Workspace, output: Path | None, name: str) -> Path | None:
    """Where a contact sheet goes; None, with a remark, where nobody named a place and this user cannot write to the build folder."""
    from core.environment import writable

    folder = ws.build / "sheets"
    if output is None and not writable(folder):
        console.note(f"nothing is drawn, for {folder} cannot be written; name a file with -o")
        return None
    return output or folder / f"{name}.png"


def _show_frame(ws: Workspace, dataset: Dataset, id_: str, output: Path | None) -> None:
    from pipelines.exam.frame_record import find, frame_record
    from pipelines.report.contact_sheet import contact_sheet

    frame = find(dataset, id_)
    record = frame_record(ws, dataset, frame)
    slug = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in id_)[-100:]
    picture = _place_of_sheet(ws, output, f"{dataset.name}-{slug}")
    if picture is not None:
        contact_sheet(dataset, picture, only=frame)
    roles = {file.role for file in record.files}
    facts = [(key.replace("_", " "), _text(value)) for key, value in record.row.items() if key not in roles]
    files = [
        (file.role.replace("_", " "), f"{file.path}  {file.sha256[:12]}…, {file.bytes:,} bytes" if file.sha256 else f"{file.path}  missing")
        for file in record.files
    ]
    measured = [
        (key.replace("_", " "), f"{value:.4g}" if isinstance(value, float) else _text(value)) for key, value in record.statistics.items()
    ]
    trained = [("trained on it", ", ".join(record.trained) or "no version")]
    if record.unknown:
        trained.append(("cannot be told of", ", ".join(record.unknown)))
    console.emit(
        {**console.plain(record), "picture": picture},
        console.table((dataset.name, id_), [*facts, *files, *measured, *trained, ("picture", picture or "–")]),
    )


def _emit(dataset: Dataset, notes: list[str]) -> None:
    from pipelines.data.pointer import data_hash

    hash_ = data_hash(console.workspace())
    payload = {**dataset.card.model_dump(), "data": hash_, "notes": notes}
    console.emit(payload, _table([dataset]), f"data.dvc: {hash_}")
    console.note(f"next: vortex data show {dataset.name}, vortex validate {dataset.name}")


def _table(datasets: list[Dataset]) -> Table:
    """A row a dataset; a narrow terminal gets the columns that tell datasets apart."""
    rows = [_row(dataset) for dataset in datasets]
    if console.stdout().width >= WIDE:
        return console.table(_COLUMNS, rows)
    return console.table(
        ("name", "domain", "frames", "labels"),
        [(row[0], row[1], _text(dataset.card.frames), row[8]) for row, dataset in zip(rows, datasets, strict=True)],
    )


def _row(dataset: Dataset) -> tuple[object, ...]:
    card = dataset.card
    counts = [card.frames.get(split, 0) for split in ("train", "gap", "val", "test")]
    return (card.name, card.domain, card.kind, *counts, ", ".join(card.cameras), card.segmentation, card.format)


def _changed(ws: Workspace) -> str:
    """Which files of data/ are in no version, the first of them by name, and what to do."""
    from pipelines.data import checkout
    from pipelines.data.pointer import data_hash

    changes = [f"{file} {how}" for file, how in checkout.changes(ws).items()]
    more = f", and {len(changes) - 3} more" if len(changes) > 3 else ""
    return f"data/ was changed since it was versioned: {', '.join(changes[:3])}{more}; {checkout.remedy(data_hash(ws))}"


def _text(value: object) -> str:
    """A card's value in words: `train 180, gap 20`; what holds more than that, part by part: `depth: valid 0.89, p5 0.916; …`."""
    if isinstance(value, dict):
        nested = any(isinstance(item, dict) for item in value.values())
        parts = [f"{key}{':' if isinstance(item, dict) else ''} {_text(item)}" for key, item in value.items() if item not in ([], None)]
        return ("; " if nested else ", ").join(parts)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
