"""`vortex demo`: the main job, as the commands a person would type."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from vortex_cli import console

STEPS = """
data synth rooms --world rooms --frames 240 --seed 1 --size 96x128
data synth corridor --world corridor --frames 200 --seed 2 --size 96x128
validate rooms
validate corridor
train v6 --domain rooms --encoder-weights none --epochs 12 --size 96x128
evaluate v6 --domain corridor
train --from v6 --domain corridor --epochs 12
evaluate v10 --domain rooms
compare v6 v10
promote v10 --stage production
versions
lineage
"""


def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A new folder for the demo's workspace; default: build/demo.")
    ] = None,
) -> None:
    """Run the main job on synthetic frames: two places, a base, a specialist, a promotion.

    Every step is a command you can type yourself; the demo has a workspace of its own and takes a few minutes on two cores.

    Example: vortex demo
    """
    import shlex

    from pipelines.demo import prepare, summary

    started = time.monotonic()
    workspace = prepare(folder)
    steps = [shlex.split(step) for step in STEPS.strip().splitlines()]
    for number, step in enumerate(steps, 1):
        console.rule(f"{number}/{len(steps)}  vortex {shlex.join(step)}")
        run(context, [*step, "--workspace", str(workspace.root)])
    result = summary(workspace, time.monotonic() - started)
    console.rule("result")
    console.emit(
        result,
        console.table(
            ["version", "trained on", *[(f"{domain} {metric}", "right") for domain in result.domains for metric in ("RMSE m", "mIoU %")]],
            [(row.version, row.trained_on, *row.cells) for row in result.rows],
        ),
        *result.findings,
        f"report: {result.report}",
        f"pictures: {', '.join(str(picture) for picture in result.pictures)}",
        f"look around: cd {workspace.root} && vortex show v10",
        f"done in {result.seconds:.0f} s",
    )


def run(context: typer.Context, arguments: list[str]) -> None:
    """Run one command line in this process, exactly as the shell would; errors reach the caller.

    Under `--json` stdout belongs to the demo's one document, so what the steps print moves to stderr.
    """
    options = dataclasses.replace(console.session)
    with contextlib.redirect_stdout(sys.stderr) if options.json else contextlib.nullcontext():
        context.find_root().command.main(arguments, "vortex", standalone_mode=False)
    console.session.restore(options)
