"""`vortex pack`: decode a dataset once, so that training and evaluation never wait for it again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vortex_cli import console
from vortex_cli.completion import complete_datasets
from vortex_cli.options import parse_size

if TYPE_CHECKING:
    from pipelines.pack.preparing import Prepared


def pack(
    name: Annotated[
        str, typer.Argument(metavar="NAME|MANIFEST", help="A dataset, or the path of a manifest.", autocompletion=complete_datasets)
    ],
    size: Annotated[str, typer.Option(metavar="HxW", help="Height and width of the frames: that of the recipe that will read them.")],
    workers: Annotated[int, typer.Option(min=0, max=256, help="Threads that decode; default: one a core. The bytes are the same.")] = 0,
    verify: Annotated[bool, typer.Option("--verify", help="Read the whole pack and check every row.")] = False,
) -> None:
    """Pack a dataset at one size: every frame decoded and resized once, into memory-mapped arrays in build/packs.

    Training and evaluation read packs and make those that are missing, so this command only chooses when. A pack is rebuilt when
    its dataset has changed, and then replaces the old one. With --verify a pack that is there is checked byte by byte.

    Example: vortex pack rooms --size 240x320
    """
    from pipelines.data import datasets
    from pipelines.pack.preparing import packs_folder, prepare

    ws = console.workspace()
    height_and_width = parse_size(size, least=32, example="240x320")
    ref = datasets.resolve(ws, name_or_manifest=name)
    with console.progress() as display:
        task = display.add_task(f"packing {ref.name}", total=None)
        prepared = prepare(
            packs_folder(ws),
            ref,
            height_and_width,
            workers=workers,
            progress=lambda count, total: display.update(task, completed=count, total=total or None),
        )
        if verify:
            checking = display.add_task("checking every row", total=None)
            prepared.pack.verify(lambda count, total: display.update(checking, completed=count, total=total))
    _show(prepared, verify)


def _show(prepared: Prepared, verified: bool) -> None:
    pack = prepared.pack
    arrays = [
        {"role": role, "frames": entry.rows, "type": pack.arrays[role].dtype.name, "bytes": entry.bytes}
        for role, entry in pack.index.arrays.items()
    ]
    payload = {
        "name": pack.index.name, "path": pack.path, "size": pack.size, "frames": len(pack), "splits": pack.index.splits, "arrays": arrays,
        "digest": pack.index.digest, "built": prepared.built, "seconds": prepared.seconds, "replaced": prepared.replaced, "verified": verified,
    }  # fmt: skip
    rows = [(array["role"], array["frames"], array["type"], f"{int(str(array['bytes'])) / 1e6:.1f}") for array in arrays]
    caption = f"{pack.path}{'; every row is as it was written' if verified else ''}"
    console.emit(payload, console.table(("array", ("frames", "right"), "type", ("MB", "right")), rows, prepared.summary, caption))
